/**
 * From files to logical lines (Exim manual, "Configuration file format" and "File inclusions"): macros, comments,
 * conditionals, inclusions and continuation, in Exim's order. The caller pulls lines one by one, since a line may define
 * a macro for those that follow.
 */
import type { SourcePart, SourceText } from '../mail/diagnostic.ts';
import { sliceSource } from '../mail/source-text.ts';
import { type Conditions, createConditions } from './conditions.ts';
import { type Macros, isUpper, maxLineOctets, partsOf, type Replaced } from './macros.ts';
import type { Report } from './report.ts';

export interface LineReader {
  /** The next logical line that is not empty, without white space at its ends; undefined after the last. */
  next(): SourceText | undefined;
}

/** Reads a file as one octet a character; throws as node:fs does. */
export type ReadFile = (path: string) => string;

export interface LineContext {
  readonly macros: Macros;
  readonly report: Report;
  readonly readFile: ReadFile;
  /** Called with the physical lines of every file read, in order. */
  readonly onFile: (file: string, lines: readonly string[]) => void;
  /** Called where the reader goes into another file or comes back from it: at the line that it left, and at the one where it goes on. */
  readonly onPlace?: (file: string, line: number) => void;
}

const maxIncludeDepth = 50;
const maxFiles = 1000;

interface OpenFile {
  readonly file: string;
  readonly lines: readonly string[];
  next: number;
}

/** @param text the main file's content */
export function createLineReader(file: string, text: string, context: LineContext): LineReader {
  const { macros, report } = context;
  const conditions: Conditions = createConditions(report);
  const stack: OpenFile[] = [];
  let filesOpened = 0;
  const open = (path: string, content: string): void => {
    const lines = content.split('\n');
    if (lines.at(-1) === '') lines.pop();
    context.onFile(path, lines);
    stack.push({ file: path, lines, next: 0 });
    filesOpened++;
  };
  open(file, text);

  /** A physical line with macros replaced, from its first octet that is not white space. */
  const physical = (startsLogical: boolean): (SourceText & { readonly found: boolean }) | undefined => {
    for (;;) {
      const top = stack.at(-1);
      if (top === undefined) return undefined;
      const raw = top.lines[top.next];
      if (raw === undefined) {
        stack.pop();
        const outer = stack.at(-1);
        if (outer !== undefined) context.onPlace?.(outer.file, outer.next);
        continue;
      }
      const number = ++top.next;
      const here = { file: top.file, line: number, column: 1 };
      if (stack.length === 1 && number === 1 && raw.startsWith('\xef\xbb\xbf')) {
        report.error(here, 'found unexpected BOM (Byte Order Mark)', 'save the file without one');
        return { ...trimmed({ text: raw.slice(3), found: false }, top.file, number), found: false };
      }
      if (raw.length > maxLineOctets) {
        report.error(here, 'line is too long');
        continue;
      }
      const replaced = macros.replace(raw, startsLogical ? afterDefinedName(raw) : 0);
      if (typeof replaced === 'string') {
        report.error(here, replaced);
        continue;
      }
      return { ...trimmed(replaced, top.file, number), found: replaced.found };
    }
  };

  const include = (line: SourceText, directive: string): void => {
    const ifExists = directive === 'include_if_exists';
    let name = line.text.slice(directive.length + 1).trim();
    if (name.length >= 2 && name.startsWith('"') && name.endsWith('"')) name = name.slice(1, -1);
    if (name === '') {
      report.error(line.position, `file name missing after ".${directive}"`);
      return;
    }
    if (!name.startsWith('/')) {
      if (ifExists) {
        report.error(line.position, `.include specifies a non-absolute path "${name}"`);
        return;
      }
      const from = stack.at(-1)?.file ?? '';
      name = from.includes('/') ? `${from.slice(0, from.lastIndexOf('/'))}/${name}` : name;
    }
    if (stack.some((f) => f.file === name)) {
      report.error(line.position, `configuration file ${name} includes itself`);
      return;
    }
    if (stack.length >= maxIncludeDepth || filesOpened >= maxFiles) {
      report.error(line.position, `too many included files, at ${name}`);
      return;
    }
    try {
      const content = context.readFile(name);
      context.onPlace?.(stack.at(-1)?.file ?? name, line.position.line);
      context.onPlace?.(name, 1);
      open(name, content);
    } catch (error) {
      if (ifExists && isMissing(error)) return;
      report.error(line.position, `failed to open included configuration file ${name}`, reasonOf(error));
    }
  };

  /** One logical line, empty where continuation lines held nothing; undefined at the end. */
  const logical = (): SourceText | undefined => {
    let started = false;
    let text = '';
    const parts: SourcePart[] = [];
    for (;;) {
      const line = physical(!started);
      if (line === undefined) {
        conditions.end();
        break;
      }
      if (line.text.startsWith('#')) continue;
      const directive = directiveOf(line.text);
      if (directive !== undefined && conditions.take(directive, line, line.found)) continue;
      if (conditions.skipping()) continue;
      if (directive === 'include' || directive === 'include_if_exists') {
        include(line, directive);
        continue;
      }
      if (line.text === '') {
        // An empty line ends a continuation.
        if (started) break;
        continue;
      }
      const continued = line.text.endsWith('\\');
      for (const p of line.parts ?? [{ offset: 0, position: line.position }])
        parts.push({ ...p, offset: p.offset + text.length });
      text += continued ? line.text.slice(0, -1) : line.text;
      started = true;
      if (text.length > maxLineOctets) {
        report.error(line.position, 'line is too long with its continuations');
        break;
      }
      if (!continued) break;
    }
    const first = parts[0];
    if (first === undefined) return undefined;
    return sliceSource({ text, position: first.position, parts }, 0, text.trimEnd().length);
  };

  return {
    next() {
      let line = logical();
      while (line !== undefined && line.text === '') line = logical();
      return line;
    },
  };
}

/**
 * Where a line begins with the definition of a macro, the place after its name: the name itself is not replaced.
 * Else the line's begin.
 */
function afterDefinedName(line: string): number {
  let i = 0;
  while (isSpace(line[i])) i++;
  if (!isUpper(line[i])) return 0;
  while (isNameCharacter(line[i])) i++;
  const end = i;
  while (isSpace(line[i])) i++;
  return line[i] === '=' ? end : 0;
}

/** The word after a dot at the begin of a line. */
function directiveOf(text: string): string | undefined {
  if (!text.startsWith('.')) return undefined;
  let end = 1;
  while (end < text.length && !isSpace(text[end])) end++;
  return text.slice(1, end);
}

function trimmed(line: Replaced, file: string, number: number): SourceText {
  let from = 0;
  while (isSpace(line.text[from])) from++;
  const parts = partsOf(line, from, 0, file, number);
  const position = parts[0]?.position ?? { file, line: number, column: from + 1 };
  return { text: line.text.slice(from).trimEnd(), position, parts };
}

export function isSpace(c: string | undefined): boolean {
  return c === ' ' || (c !== undefined && c >= '\t' && c <= '\r');
}

export function isNameCharacter(c: string | undefined): boolean {
  return (
    c !== undefined &&
    (c === '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
  );
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** What the system said, without the path that the message has already. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/, \w+(?: '.*')?$/s, '') : String(error);
}
