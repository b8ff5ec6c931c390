/** The directory driver for one passwd-file of Dovecot's. */
import { readFileSync, statSync } from 'node:fs';
import type { Awaitable } from '../../mail/awaitable.ts';
import { systemErrorText } from '../../net/system-error.ts';
import type { Directory, DirectoryAnswer } from '../directory.ts';
import { createDirectory, type UserSource } from '../user-source.ts';
import { type PasswdContents, readPasswd } from './passwd-contents.ts';

export interface PasswdFileOptions {
  /** Absolute path of the file. */
  readonly file: string;
  /** A longer file is not read: everybody is unavailable then. Default 64 MiB. */
  readonly maxBytes?: number;
  /** The file is looked at again at most this often. Default 1,000 ms. */
  readonly checkIntervalMs?: number;
  /** How long a file must have been unchanged before "not in it" counts; ten times as long where its last line has no end. Default 1,000 ms. */
  readonly settleMs?: number;
  /** While true, a file that does not exist, and did not a minute ago, names nobody, instead of making everybody unavailable. */
  readonly mayBeMissing?: () => boolean;
  /** Told `file:line: problem` once per version of the file for each malformed line (at most 100), and once when the file cannot be read. */
  readonly onProblem?: (text: string) => void;
  /** Monotonic clock in milliseconds. */
  readonly nowMs?: () => number;
}

type Contents =
  | ({ readonly kind: 'loaded' } & PasswdContents)
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'missing' };

/** A word of the system's. */
const missingText = 'No such file or directory';
/** A file that was there is not taken to be gone before this. */
const goneAfterMs = 60_000;

const unknown: DirectoryAnswer = { kind: 'unknown' };

/**
 * The file is read now, and read again when it changed (device, inode, size, mtime, ctime). A file that cannot be read, is
 * too long or names nobody makes every answer `unavailable`: mail waits, nothing bounces.
 *
 * What is promised for a file that is written in place and seen half-written: who is not in it is `unknown` only if the file
 * has been unchanged for `settleMs` and is read once more after that, or was before it changed. Until then the question waits,
 * `settleMs` at most, and is answered `unavailable` where the file is still changing then. A writer that pauses for
 * `settleMs` or longer at the end of a line is taken to have finished; one that pauses within a line gets ten times as long, and that
 * line's user is `unavailable` meanwhile. A file put in place by rename is never seen half-written.
 */
export function passwdFileUsers(options: PasswdFileOptions): UserSource {
  const { file, maxBytes = 64 << 20, checkIntervalMs = 1000, settleMs = 1000, mayBeMissing } = options;
  const report = options.onProblem ?? ((): void => undefined);
  const nowMs = options.nowMs ?? ((): number => performance.now());
  let version = '';
  let contents: Contents = { kind: 'failed', reason: 'not read yet' };
  let checkedAt = Number.NEGATIVE_INFINITY;
  /** Absence from a file that is not settled means nothing; it is settled when read again unchanged after this. */
  let settled = true;
  let settlesAt = 0;
  let presentAt = Number.NEGATIVE_INFINITY;
  let wait: { readonly over: Promise<void>; end(): void } | undefined;

  function look(now: number): void {
    checkedAt = now;
    const before = versionOf(file);
    const again = before.text === version;
    version = before.text;
    if (before.missing && now - presentAt > goneAfterMs && mayBeMissing?.() === true) {
      contents = { kind: 'missing' };
      settled = true;
      return;
    }
    if (!before.missing) presentAt = now;
    else if (contents.kind === 'missing') contents = { kind: 'failed', reason: `${file}: ${missingText}` };
    if (again && (settled || now < settlesAt)) return;
    const ageMs = again ? Number.POSITIVE_INFINITY : Date.now() - before.changedMs;
    // Told once: the second reading of the same version finds the same.
    contents = load(ageMs < settleMs * 10, again ? (): void => undefined : report);
    const needMs = contents.kind === 'loaded' && !contents.complete ? settleMs * 10 : settleMs;
    const leftMs = ageMs < 0 ? needMs : needMs - ageMs;
    settled = contents.kind !== 'loaded' || leftMs <= 0;
    settlesAt = now + leftMs;
  }

  function load(doubtful: boolean, tell: (text: string) => void): Contents {
    const failed = (reason: string): Contents => {
      tell(reason);
      return { kind: 'failed', reason };
    };
    try {
      const stats = statSync(file);
      // Opening a pipe would stop everything until somebody writes into it.
      if (!stats.isFile()) return failed(`${file}: not a regular file`);
      const { size } = stats;
      if (size > maxBytes) return failed(`${file}: ${size} bytes, more than the ${maxBytes} allowed`);
      const read = readPasswd(file, readFileSync(file, 'latin1'), doubtful, tell);
      // A file being rewritten in place is empty for a moment; "nobody exists" would bounce everybody's mail.
      return read.answers.size === 0 ? failed(`${file}: names no users`) : { kind: 'loaded', ...read };
    } catch (error) {
      return failed(`${file}: ${systemErrorText(error)}`);
    }
  }

  function answer(name: string): DirectoryAnswer | undefined {
    if (contents.kind === 'failed') return { kind: 'unavailable', reason: contents.reason };
    if (contents.kind === 'missing') return unknown;
    return contents.answers.get(name) ?? (settled ? unknown : undefined);
  }

  function settle(): Promise<void> {
    if (wait !== undefined) return wait.over;
    let end = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      let timer: NodeJS.Timeout;
      // Node counts from the beginning of the turn: after a long one a timer comes too early.
      const arm = (): void => {
        timer = setTimeout(
          () => (nowMs() < settlesAt ? arm() : resolve()),
          Math.max(0, settlesAt - nowMs()) + 1,
        );
      };
      arm();
      end = (): void => {
        clearTimeout(timer);
        resolve();
      };
    }).then(() => void (wait = undefined));
    wait = { over, end };
    return over;
  }

  look(nowMs());
  return {
    find(name): Awaitable<DirectoryAnswer> {
      const now = nowMs();
      if (now - checkedAt >= checkIntervalMs) look(now);
      const first = answer(name);
      if (first !== undefined) return first;
      if (now >= settlesAt) look(now);
      const changing: DirectoryAnswer = { kind: 'unavailable', reason: `${file}: it is being written` };
      const second = answer(name);
      if (second !== undefined || settlesAt - now > settleMs) return second ?? changing;
      return settle().then(() => {
        look(nowMs());
        return answer(name) ?? changing;
      });
    },
    list(max) {
      const now = nowMs();
      if (now - checkedAt >= checkIntervalMs) look(now);
      return contents.kind === 'loaded' ? [...contents.answers.keys().take(max)] : [];
    },
    async close() {
      wait?.end();
    },
  };
}

/** One file as a whole directory, for programs: `usernameFormat` is Dovecot's auth_username_format, here with the default `%Ln`. */
export function openPasswdFile({
  usernameFormat = '%Ln',
  ...options
}: PasswdFileOptions & { readonly usernameFormat?: string }): Directory {
  return createDirectory(passwdFileUsers(options), { format: usernameFormat });
}

interface Version {
  /** Changes whenever the file was written or replaced; the error's code where it cannot be looked at. */
  readonly text: string;
  readonly changedMs: number;
  readonly missing: boolean;
}

function versionOf(file: string): Version {
  try {
    const s = statSync(file);
    return {
      text: `${s.dev} ${s.ino} ${s.size} ${s.mtimeMs} ${s.ctimeMs}`,
      changedMs: Math.max(s.mtimeMs, s.ctimeMs),
      missing: false,
    };
  } catch (error) {
    const code = codeOf(error);
    return { text: code, changedMs: 0, missing: code === 'ENOENT' };
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
