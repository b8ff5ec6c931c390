/** Writes one message into a maildir (Exim manual, "Operational details for delivery to a new file"). Runs as its user. */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Creation, makeDirectory, mayCreate } from './creation.ts';
import { syncDirectory } from './mailbox-file.ts';
import { codeOf, deferred, errorWords, type JobOutcome } from './outcome.ts';

export interface MaildirJob extends Creation {
  readonly kind: 'maildir';
  readonly directory: string;
  readonly mode: number;
  readonly retries: number;
  /** What the name in `new` ends in, expanded. */
  readonly tag: string;
  readonly hostname: string;
}

const parts = ['tmp', 'new', 'cur'] as const;
const betweenTriesMs = 2000;

export async function writeToMaildir(job: MaildirJob, content: AsyncIterable<Buffer>): Promise<JobOutcome> {
  const directory = job.directory.replace(/\/+$/, '');
  const wrong = await prepare(directory, job);
  if (wrong !== undefined) return deferred(wrong);
  const made = await newFile(directory, job);
  if ('kind' in made) return made;
  const { handle, name } = made;
  const temporary = path.join(directory, 'tmp', name);
  try {
    try {
      await handle.chmod(job.mode);
      for await (const part of content) await handle.appendFile(part);
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Names in new are never reused: they hold time, process and host.
    await rename(temporary, path.join(directory, 'new', name + job.tag));
    await syncDirectory(path.join(directory, 'new'));
    return { kind: 'done' };
  } catch (error) {
    await unlink(temporary).catch(() => {});
    return deferred(`error while writing to ${temporary}: ${errorWords(error)}`);
  }
}

async function prepare(directory: string, job: MaildirJob): Promise<string | undefined> {
  const there = await lstat(directory).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there === undefined) {
    const refused = mayCreate(directory, job);
    if (refused !== undefined) return refused;
  }
  const wrong = await makeDirectory(directory, job);
  if (wrong !== undefined) return wrong;
  for (const part of parts) {
    const sub = path.join(directory, part);
    const failed = await makeDirectory(sub, { ...job, createDirectory: true });
    if (failed !== undefined) return failed;
    // A link in their place could lead out of the maildir.
    if (!(await lstat(sub)).isDirectory()) return `${sub} is not a directory`;
  }
  return undefined;
}

async function newFile(
  directory: string,
  job: MaildirJob,
): Promise<{ readonly handle: FileHandle; readonly name: string } | JobOutcome> {
  for (let attempt = 1; ; attempt++) {
    const now = performance.timeOrigin + performance.now();
    const seconds = Math.floor(now / 1000);
    const micros = Math.floor((now - seconds * 1000) * 1000);
    const name = `${seconds}.M${micros}P${process.pid}.${job.hostname}`;
    try {
      const how = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      return { handle: await open(path.join(directory, 'tmp', name), how, job.mode), name };
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || attempt >= job.retries)
        return deferred(`failed to open ${path.join(directory, 'tmp', name)}: ${errorWords(error)}`);
      await pause(betweenTriesMs);
    }
  }
}
