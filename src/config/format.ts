/** A diagnostic with the source line it speaks of. */
import { type Diagnostic, formatDiagnostic } from '../mail/diagnostic.ts';

const maxShown = 160;

/**
 * `file:line: message`, the source line, and a caret under the place. Without the line where the file was not read.
 *
 * @param sources physical lines of each file, from readConfig
 */
export function formatWithSource(d: Diagnostic, sources: ReadonlyMap<string, readonly string[]>): string {
  const line = sources.get(d.position.file)?.[d.position.line - 1];
  const head = formatDiagnostic(d);
  if (line === undefined) return head;
  const at = Math.min(d.position.column - 1, line.length);
  // A long line is cut on both sides of the place.
  const from = line.length > maxShown && at > maxShown / 2 ? at - maxShown / 2 : 0;
  const shown = line.slice(from, from + maxShown).trimEnd();
  const before = line.slice(from, at).replace(/[^\t]/g, ' ');
  return `${head}\n  ${shown.replace(/[^\t\x20-\x7e\xa0-\xff]/g, '?')}\n  ${before}^`;
}
