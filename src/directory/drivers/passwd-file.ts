/** The directory driver for Dovecot's passwd-file. */
import { readFileSync, statSync } from 'node:fs';
import type { Address } from '../../mail/address.ts';
import { lowerAscii, unquoteLocalPart } from '../../mail/local-part.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { Directory, DirectoryAnswer } from '../directory.ts';
import { parsePasswdLine } from './passwd-entry.ts';
import { systemIds } from './system-ids.ts';

export interface PasswdFileOptions {
  /** Absolute path of the file. */
  readonly file: string;
  /**
   * What an address becomes before it is looked up, as Dovecot's `auth_username_format`: `local-part` is `%Ln` (the local
   * part in lower case, whatever the domain), `address` is `%Lu` (the whole address in lower case). Default `local-part`.
   */
  readonly usernameFormat?: 'local-part' | 'address';
  /** A longer file is not read: everybody is unavailable then. Default 64 MiB. */
  readonly maxBytes?: number;
  /** The file is looked at again at most this often. Default 1,000 ms. */
  readonly checkIntervalMs?: number;
  /** Told `file:line: problem` once per version of the file for each malformed line (at most 100), and once when the file cannot be read. */
  readonly onProblem?: (text: string) => void;
  /** Monotonic clock in milliseconds. */
  readonly nowMs?: () => number;
}

type Entry = MailUser | { readonly malformed: string };
type Contents =
  | { readonly kind: 'loaded'; readonly entries: ReadonlyMap<string, Entry> }
  | { readonly kind: 'failed'; readonly reason: string };

const maxProblems = 100;

/**
 * Opens the directory; the file is read now, and read again when it changed (device, inode, size, mtime, ctime).
 * A file that cannot be read, is too long or names nobody makes every answer `unavailable`: mail waits, nothing bounces.
 * A malformed line that names a user makes that one user unavailable. Of two lines for one user the first counts, as in Dovecot.
 */
export function openPasswdFile(options: PasswdFileOptions): Directory {
  const { file, usernameFormat = 'local-part', maxBytes = 64 << 20, checkIntervalMs = 1000 } = options;
  const report = options.onProblem ?? ((): void => undefined);
  const nowMs = options.nowMs ?? ((): number => performance.now());
  let version = '';
  let contents: Contents = { kind: 'failed', reason: 'not read yet' };
  let checkedAt = Number.NEGATIVE_INFINITY;

  function current(): Contents {
    const now = nowMs();
    if (now - checkedAt < checkIntervalMs) return contents;
    checkedAt = now;
    const before = fileVersion(file);
    if (before === version) return contents;
    version = before;
    contents = load(file, maxBytes, report);
    return contents;
  }

  current();
  return {
    find(address: Address): DirectoryAnswer {
      const now = current();
      if (now.kind === 'failed') return { kind: 'unavailable', reason: now.reason };
      const entry = now.entries.get(usernameOf(address, usernameFormat));
      if (entry === undefined) return { kind: 'unknown' };
      return 'malformed' in entry
        ? { kind: 'unavailable', reason: entry.malformed }
        : { kind: 'found', user: entry };
    },
    list(max: number): readonly string[] | undefined {
      const now = current();
      return now.kind === 'failed' ? [] : [...now.entries.keys().take(max)];
    },
    async close(): Promise<void> {},
  };
}

/** The user name that an address stands for. */
function usernameOf(address: Address, format: 'local-part' | 'address'): string {
  const local = unquoteLocalPart(address.local);
  return lowerAscii(format === 'local-part' || address.domain === '' ? local : `${local}@${address.domain}`);
}

/** Changes whenever the file was written or replaced; the error's code where it cannot be looked at. */
function fileVersion(file: string): string {
  try {
    const s = statSync(file);
    return `${s.dev} ${s.ino} ${s.size} ${s.mtimeMs} ${s.ctimeMs}`;
  } catch (error) {
    return errorText(error);
  }
}

function load(file: string, maxBytes: number, report: (text: string) => void): Contents {
  let text: string;
  try {
    const size = statSync(file).size;
    if (size > maxBytes) return failed(`${file}: ${size} bytes, more than the ${maxBytes} allowed`, report);
    text = readFileSync(file, 'latin1');
  } catch (error) {
    return failed(`${file}: ${errorText(error)}`, report);
  }
  const entries = new Map<string, Entry>();
  let problems = 0;
  const problem = (line: number, what: string): void => {
    if (++problems <= maxProblems) report(`${file}:${line}: ${what}`);
  };
  const ids = systemIds();
  text.split('\n').forEach((line, index) => {
    const entry = parsePasswdLine(line.endsWith('\r') ? line.slice(0, -1) : line, ids);
    if (entry.kind === 'blank') return;
    const name = entry.kind === 'user' ? entry.user.username : entry.name;
    if (entry.kind === 'malformed') problem(index + 1, entry.problem);
    if (name === undefined) return;
    const key = lowerAscii(name);
    if (entries.has(key)) problem(index + 1, `user ${key} stands here a second time; the first line counts`);
    else if (entry.kind === 'malformed')
      entries.set(key, { malformed: `${file}:${index + 1}: ${entry.problem}` });
    else entries.set(key, key === name ? entry.user : { ...entry.user, username: key });
  });
  if (problems > maxProblems) report(`${file}: ${problems - maxProblems} more problems`);
  // A file being rewritten in place is empty for a moment; "nobody exists" would bounce everybody's mail.
  if (entries.size === 0) return failed(`${file}: names no users`, report);
  return { kind: 'loaded', entries };
}

function failed(reason: string, report: (text: string) => void): Contents {
  report(reason);
  return { kind: 'failed', reason };
}

function errorText(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
