/** Appends one message to a mailbox file (Exim manual, "Operational details for appending"). Runs as the mailbox's user. */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { dotLock } from './dot-lock.ts';
import { fcntlLock, flockLock } from '../../../net/file-lock.ts';
import { makeDirectory, mayCreate, type Creation } from './creation.ts';
import { codeOf, deferred, errorWords, type JobOutcome } from './outcome.ts';

export interface MailboxJob extends Creation {
  readonly kind: 'mailbox';
  readonly path: string;
  readonly mode: number;
  readonly modeFailNarrower: boolean;
  readonly fileMustExist: boolean;
  readonly checkOwner: boolean;
  readonly checkGroup: boolean;
  readonly allowSymlink: boolean;
  readonly allowFifo: boolean;
  readonly useLockFile: boolean;
  readonly useFcntl: boolean;
  readonly useFlock: boolean;
  readonly lockRetries: number;
  readonly lockIntervalMs: number;
  readonly lockFileMode: number;
  readonly lockFileTimeoutMs: number;
  readonly hostname: string;
}

export async function appendToMailbox(job: MailboxJob, content: AsyncIterable<Buffer>): Promise<JobOutcome> {
  let before = await look(job.path);
  if (before === undefined) {
    if (job.fileMustExist)
      return deferred(
        `No such file or directory: mailbox ${job.path} does not exist, but file_must_exist is set`,
      );
    const refused = mayCreate(job.path, job);
    if (refused !== undefined) return deferred(refused);
    // Without the option what follows tells that it is missing.
    const wrong = job.createDirectory ? await makeDirectory(path.dirname(job.path), job) : undefined;
    if (wrong !== undefined) return deferred(wrong);
  }
  const lock = job.useLockFile
    ? await dotLock(job.path, {
        retries: job.lockRetries,
        intervalMs: job.lockIntervalMs,
        timeoutMs: job.lockFileTimeoutMs,
        mode: job.lockFileMode,
        hostname: job.hostname,
      })
    : undefined;
  if (typeof lock === 'string') return deferred(lock);
  try {
    // What stood there may have changed while the lock was waited for.
    before = await look(job.path);
    const opened = await openMailbox(job, before);
    if ('kind' in opened) return opened;
    try {
      return await write(opened, before, job, content);
    } finally {
      await opened.close();
    }
  } finally {
    await lock?.release();
  }
}

async function look(file: string): Promise<Stats | undefined> {
  try {
    return await lstat(file);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Opens what `look` saw, and nothing else; refuses what could lead elsewhere. */
async function openMailbox(job: MailboxJob, before: Stats | undefined): Promise<FileHandle | JobOutcome> {
  const { path: file } = job;
  let handle: FileHandle;
  if (before === undefined) {
    handle = await open(
      file,
      constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_EXCL,
      job.mode,
    );
    // The umask took bits away.
    await handle.chmod(job.mode);
  } else {
    const wrong = checkSeen(job, before);
    if (wrong !== undefined) return deferred(wrong);
    const fifo = before.isFIFO();
    const follow = before.isSymbolicLink() ? 0 : constants.O_NOFOLLOW;
    const how = fifo ? constants.O_WRONLY | constants.O_NONBLOCK : constants.O_RDWR | constants.O_APPEND;
    handle = await open(file, how | follow);
  }
  const wrong = await checkOpened(job, handle, before);
  if (wrong === undefined) return handle;
  await handle.close();
  return deferred(wrong);
}

function checkSeen(job: MailboxJob, seen: Stats): string | undefined {
  const { path: file } = job;
  if (!seen.isSymbolicLink()) return checkFile(job, seen);
  // The link itself must be its user's.
  const uid = process.geteuid?.();
  if (job.checkOwner && seen.uid !== uid)
    return `mailbox ${file} (symlink) has wrong uid (${seen.uid} != ${uid})`;
  return job.allowSymlink ? undefined : `mailbox ${file} is a symlink`;
}

/** Kind, links, owner, group, and bits that somebody has taken away on purpose. */
function checkFile(job: MailboxJob, found: Stats): string | undefined {
  const name = job.path;
  if (found.nlink !== 1) return `mailbox ${name} has too many links (${found.nlink})`;
  if (!found.isFile() && !(job.allowFifo && found.isFIFO()))
    return `mailbox ${name} is not a regular file${job.allowFifo ? ' or named pipe' : ''}`;
  const uid = process.geteuid?.();
  const gid = process.getegid?.();
  if (job.checkOwner && found.uid !== uid) return `mailbox ${name} has wrong uid (${found.uid} != ${uid})`;
  if (job.checkGroup && found.gid !== gid) return `mailbox ${name} has wrong gid (${found.gid} != ${gid})`;
  const mode = found.mode & allBits;
  const narrower = !found.isFIFO() && (mode & job.mode) !== job.mode;
  return narrower && job.modeFailNarrower
    ? `mailbox ${name} has the wrong mode ${mode.toString(8)} (${job.mode.toString(8)} expected)`
    : undefined;
}

const allBits = 0o7777;

/** The same again for what was really opened, which must be what was seen; a mode that is too wide is set right. */
async function checkOpened(
  job: MailboxJob,
  file: FileHandle,
  seen: Stats | undefined,
): Promise<string | undefined> {
  const found = await file.stat();
  const name = job.path;
  if (seen !== undefined && !seen.isSymbolicLink() && (seen.ino !== found.ino || seen.dev !== found.dev))
    return `mailbox ${name} was changed while it was opened`;
  const wrong = checkFile(job, found);
  if (wrong !== undefined) return wrong;
  const mode = found.mode & allBits;
  if (found.isFIFO() || mode === job.mode || (mode & job.mode) !== job.mode) return undefined;
  try {
    await file.chmod(job.mode);
  } catch (error) {
    return `attempt to chmod mailbox ${name} failed: ${errorWords(error)}`;
  }
  return undefined;
}

async function write(
  file: FileHandle,
  before: Stats | undefined,
  job: MailboxJob,
  content: AsyncIterable<Buffer>,
): Promise<JobOutcome> {
  if (before?.isFIFO() === true) {
    for await (const part of content) await file.writeFile(part);
    return { kind: 'done' };
  }
  const locked = await lockFile(file, job);
  if (locked !== undefined) return deferred(locked);
  const { size, atime } = await file.stat();
  try {
    for await (const part of content) await file.appendFile(part);
    await file.sync();
    if (before === undefined) await syncDirectory(path.dirname(job.path));
  } catch (error) {
    // A part of a message must not stay.
    await file.truncate(size);
    return deferred(`error while writing to ${job.path}: ${errorWords(error)}`);
  }
  // That nobody has read it yet is seen by its times.
  await file.utimes(atime, new Date()).catch(() => {});
  return { kind: 'done' };
}

async function lockFile(file: FileHandle, job: MailboxJob): Promise<string | undefined> {
  for (let attempt = 0; ; attempt++) {
    const fcntl = !job.useFcntl || fcntlLock(file.fd);
    if (fcntl && (!job.useFlock || flockLock(file.fd))) return undefined;
    if (attempt >= job.lockRetries)
      return `failed to lock mailbox ${job.path} (${fcntl ? 'flock' : 'fcntl'})`;
    await pause(job.lockIntervalMs);
  }
}

export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
