/** Where in a configuration a thing stands. Lines and columns count from 1; a physical line, not a logical one. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Something wrong with a configuration, told so that it can be mended. */
export interface Diagnostic {
  readonly severity: 'error' | 'warning' | 'note';
  readonly position: SourcePosition;
  /** One sentence: what is wrong and what was expected. */
  readonly message: string;
  /** What to do about it, where that is not plain from the message. */
  readonly hint?: string;
}

/** `file:line: message`, the form of start-up errors. */
export function formatDiagnostic(d: Diagnostic): string {
  const hint = d.hint === undefined ? '' : ` (${d.hint})`;
  const kind = d.severity === 'error' ? '' : `${d.severity}: `;
  return `${d.position.file}:${d.position.line}: ${kind}${d.message}${hint}`;
}

/** A run of a {@link SourceText} that stands together in one physical line. */
export interface SourcePart {
  /** Where in the text the run begins, in octets. */
  readonly offset: number;
  readonly position: SourcePosition;
  /** The run is what a macro stood for: all of it belongs to the place of the macro's name. */
  readonly macro?: true;
}

/** A text from a configuration with the place where it begins. */
export interface SourceText {
  readonly text: string;
  readonly position: SourcePosition;
  /** Where the text comes from more than one line or from macros: its runs in order. See `positionAt` in source-text.ts. */
  readonly parts?: readonly SourcePart[];
}
