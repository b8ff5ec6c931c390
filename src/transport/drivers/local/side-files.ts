/** Files beside the mail that the autoreply transport looks at and keeps: text, log, and who was answered when. */
import { constants } from 'node:fs';
import { open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dotLock } from './dot-lock.ts';
import { codeOf, deferred, errorWords, type JobOutcome } from './outcome.ts';

export interface ReadJob {
  readonly kind: 'read';
  readonly path: string;
  /** A missing file is an empty one. */
  readonly optional: boolean;
  readonly maxOctets: number;
}

/** Appends a text to a log file. */
export interface LogJob {
  readonly kind: 'log';
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

/** Which of these recipients are to be answered, and that they are answered now. */
export interface OnceJob {
  readonly kind: 'once';
  readonly path: string;
  readonly recipients: readonly string[];
  /** 0: for ever. */
  readonly repeatMs: number;
  /** 0: no bound but that of our own. */
  readonly maxOctets: number;
  readonly mode: number;
  /** Told with each entry: an entry of the same token does not count, so that a delivery can be repeated. */
  readonly token: string;
  readonly nowMs: number;
}

export async function readText(job: ReadJob): Promise<JobOutcome> {
  try {
    const handle = await open(job.path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { size } = await handle.stat();
      if (size > job.maxOctets) return deferred(`${job.path} is longer than ${job.maxOctets} octets`);
      return { kind: 'done', text: await handle.readFile('latin1') };
    } finally {
      await handle.close();
    }
  } catch (error) {
    return job.optional
      ? { kind: 'done', text: '' }
      : deferred(`failed to open file ${job.path}: ${errorWords(error)}`);
  }
}

export async function appendLog(job: LogJob): Promise<JobOutcome> {
  const how = constants.O_APPEND | constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
  const handle = await open(job.path, how, job.mode);
  try {
    await handle.appendFile(Buffer.from(job.text, 'latin1'));
  } finally {
    await handle.close();
  }
  return { kind: 'done' };
}

/** Larger lists drop their oldest entries. */
const largestOnceFile = 16 * 1024 * 1024;
const lockTries = { retries: 20, intervalMs: 250, timeoutMs: 60_000 };

/**
 * `text` holds the recipients to answer, one a line. The file is ours, not Exim's: a line for each recipient, after the
 * seconds since 1970 at which it was answered and the token.
 */
export async function askOnce(job: OnceJob): Promise<JobOutcome> {
  const lock = await dotLock(job.path, { ...lockTries, mode: job.mode, hostname: 'once' });
  if (typeof lock === 'string') return deferred(lock);
  try {
    const answered = await readOnce(job.path);
    const due = job.recipients.filter((r) => {
      const at = answered.get(r.toLowerCase());
      if (at === undefined || at.token === job.token) return true;
      return job.repeatMs > 0 && job.nowMs - at.seconds * 1000 >= job.repeatMs;
    });
    if (due.length > 0) {
      for (const recipient of due) {
        answered.delete(recipient.toLowerCase());
        answered.set(recipient.toLowerCase(), {
          seconds: Math.floor(job.nowMs / 1000),
          token: job.token,
        });
      }
      await writeOnce(job, answered);
    }
    return { kind: 'done', text: due.join('\n') };
  } finally {
    await lock.release();
  }
}

interface Answered {
  readonly seconds: number;
  readonly token: string;
}

async function readOnce(file: string): Promise<Map<string, Answered>> {
  const out = new Map<string, Answered>();
  try {
    if ((await stat(file)).size > largestOnceFile * 2) throw new Error(`${file} is too large`);
    for (const line of (await readFile(file, 'latin1')).split('\n')) {
      const found = /^(\d{1,12}) (\S+) (.+)$/.exec(line);
      if (found !== null) out.set(found[3] ?? '', { seconds: Number(found[1]), token: found[2] ?? '' });
    }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  return out;
}

async function writeOnce(job: OnceJob, answered: ReadonlyMap<string, Answered>): Promise<void> {
  const lines = [...answered].map(([recipient, { seconds, token }]) => `${seconds} ${token} ${recipient}\n`);
  let total = lines.reduce((n, line) => n + line.length, 0);
  const most = job.maxOctets > 0 ? job.maxOctets : largestOnceFile;
  while (total > most && lines.length > 0) total -= lines.shift()?.length ?? 0;
  const temporary = `${job.path}.new`;
  await unlink(temporary).catch(() => {});
  const handle = await open(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    job.mode,
  );
  try {
    await handle.writeFile(Buffer.from(lines.join(''), 'latin1'));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, job.path);
}
