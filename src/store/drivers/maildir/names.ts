/** Names of Maildir files (Maildir specification; Dovecot's form `sec.MusecPpid.host,S=size,W=vsize`). */
import os from 'node:os';
import { threadId } from 'node:worker_threads';

// One counter for all stores of a thread: the name must be unique wherever the thread delivers.
let lastMicroseconds = 0;

/** Pid and host of every name made here; a thread adds its number, since threads share the pid. */
const suffix = `P${process.pid}${threadId === 0 ? '' : `_${threadId}`}.${safeHost(os.hostname())}`;

/**
 * A name that no other delivery has: the time in microseconds, counted on by one where two fall into the same
 * microsecond or the clock stepped back.
 */
export function uniqueBase(nowMs: number = Date.now()): string {
  lastMicroseconds = Math.max(lastMicroseconds + 1, Math.floor(nowMs) * 1000);
  const seconds = Math.floor(lastMicroseconds / 1_000_000);
  return `${seconds}.M${lastMicroseconds - seconds * 1_000_000}${suffix}`;
}

/** The final name: S is the size as stored, W the size with every line ending in CRLF, by which IMAP counts. */
export function sizedName(base: string, storedBytes: number, virtualBytes: number): string {
  return `${base},S=${storedBytes},W=${virtualBytes}`;
}

/** `/` and `:` would end the name, `,` begins its fields: written as Maildir asks, in octal. */
function safeHost(host: string): string {
  const safe = host.replace(
    /[/:,\x00-\x20\x7f-\uffff]/g,
    (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
  return safe === '' ? 'localhost' : safe.slice(0, 100);
}
