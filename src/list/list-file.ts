/**
 * Files as lists (Exim manual, "File names in lists"): one item a line, read anew when the file has changed. Small files
 * are read at once, since that costs less than the thread pool (docs/decisions).
 */
import { readFileSync, statSync } from 'node:fs';
import type { MatchKind } from '../expand/scope.ts';
import { systemErrorText } from '../expand/system-error.ts';
import { compileItems } from './compile.ts';
import type { CompiledList } from './model.ts';

interface CachedFile {
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly size: number;
  readonly inode: number;
  readonly readAtMs: number;
  readonly list: CompiledList;
}

const maxBytes = 16 * 1024 * 1024;
const maxFiles = 200;
const files = new Map<string, CachedFile>();

/** The file's items; a text says why it cannot be read. */
export function readListFile(kind: MatchKind, path: string): CompiledList | string {
  try {
    const now = statSync(path);
    const key = `${kind} ${path}`;
    const known = files.get(key);
    if (known !== undefined && isSame(known, now)) return known.list;
    if (now.size > maxBytes) return `${path} is larger than ${maxBytes} octets`;
    const list = compileItems(kind, fileItems(kind, readFileSync(path, 'latin1')), { tainted: false }, true);
    if (known === undefined && files.size >= maxFiles) files.clear();
    files.set(key, {
      mtimeMs: now.mtimeMs,
      ctimeMs: now.ctimeMs,
      size: now.size,
      inode: now.ino,
      readAtMs: Date.now(),
      list,
    });
    return list;
  } catch (e) {
    return `failed to open ${path}: ${systemErrorText(e)}`;
  }
}

/** The clock of file times is coarse: a file that changed shortly before it was read may change again unseen. */
const settledAfterMs = 1000;

function isSame(
  known: CachedFile,
  now: { mtimeMs: number; ctimeMs: number; size: number; ino: number },
): boolean {
  return (
    known.mtimeMs === now.mtimeMs &&
    known.ctimeMs === now.ctimeMs &&
    known.size === now.size &&
    known.inode === now.ino &&
    now.ctimeMs < known.readAtMs - settledAfterMs
  );
}

/** The lines without comments, white space around and empty lines. */
export function fileItems(kind: MatchKind, text: string): string[] {
  // A local part may contain #: there a comment needs white space before it.
  const comment = kind === 'domain' || kind === 'host' ? /#.*/ : /(?:^|\s)#.*/;
  return text
    .split('\n')
    .map((line) => line.replace(comment, '').trim())
    .filter((line) => line !== '');
}
