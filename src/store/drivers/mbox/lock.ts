/** An mbox opened and locked for writing as Dovecot locks it: fcntl(2) on the file, and a lock file beside it. */
import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  type Stats,
  writeSync,
} from 'node:fs';
import os from 'node:os';
import { openFileLock, flockLock } from '../../../net/file-lock.ts';
import { failureCode } from '../maildir/failure.ts';
import type { Owner } from '../maildir/walk.ts';
import type { Folder } from './folder.ts';
import { createSideFile, unlinkIfThere } from './side-file.ts';

export type LockKind = 'dotlock' | 'fcntl' | 'flock';

export interface LockRules {
  readonly kinds: readonly LockKind[];
  /** A lock file is taken away when it and the mailbox have not changed for so long. */
  readonly dotlockChangeTimeoutMs: number;
}

export interface LockedMailbox {
  readonly fd: number;
  /** Of the file before anything was written. */
  readonly before: Stats;
  /** The file was made just now. */
  readonly created: boolean;
  /** Closes the file and gives up the locks. */
  release(): void;
}

/**
 * Opens `name`, making it where it is missing, and takes all locks without waiting; undefined where somebody holds one. Since
 * none is kept while another is waited for, the order in which other programs take them cannot lead to a deadlock.
 * Throws system errors, and where the file is none that mail may be put into.
 */
export function tryLock(
  folder: Folder,
  name: string,
  owner: Owner | undefined,
  rules: LockRules,
): LockedMailbox | undefined {
  const file = folder.name(name);
  const { fd, created } = openFile(file, owner);
  let dotlock: (() => void) | undefined;
  try {
    checkFile(fd, name, owner);
    const locked =
      (!rules.kinds.includes('fcntl') || openFileLock(fd)) &&
      (!rules.kinds.includes('flock') || flockLock(fd));
    if (locked && rules.kinds.includes('dotlock')) dotlock = tryDotlock(folder, name, fd, owner, rules);
    // The file may have been replaced or removed while it was opened: then we hold locks on nothing.
    const before = fstatSync(fd);
    const now = lstatSync(file, { throwIfNoEntry: false });
    const same = now !== undefined && now.ino === before.ino && now.dev === before.dev;
    if (locked && same && (dotlock !== undefined || !rules.kinds.includes('dotlock'))) {
      const held = dotlock;
      return {
        fd,
        before,
        created: created || before.size === 0,
        release() {
          held?.();
          closeSync(fd);
        },
      };
    }
  } catch (error) {
    dotlock?.();
    closeSync(fd);
    throw error;
  }
  dotlock?.();
  closeSync(fd);
  return undefined;
}

function openFile(file: string, owner: Owner | undefined): { fd: number; created: boolean } {
  const how = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    return { fd: openSync(file, how), created: false };
  } catch (error) {
    if (failureCode(error) === 'ELOOP') throw refusal('the mailbox is a symbolic link');
    if (failureCode(error) !== 'ENOENT') throw error;
  }
  let fd: number;
  try {
    fd = openSync(file, how | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch (error) {
    // Somebody made it meanwhile.
    if (failureCode(error) === 'EEXIST') return { fd: openSync(file, how), created: false };
    throw error;
  }
  try {
    if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
  } catch (error) {
    closeSync(fd);
    unlinkIfThere(file);
    throw error;
  }
  return { fd, created: true };
}

/** A file that somebody else could have put here, or can write to, is none to put mail into. */
function checkFile(fd: number, name: string, owner: Owner | undefined): void {
  const found = fstatSync(fd);
  const uid = owner?.uid ?? process.geteuid?.() ?? found.uid;
  if (!found.isFile()) throw refusal(`${name} is not a regular file`);
  if (found.nlink > 1) throw refusal(`${name} has ${found.nlink} links`);
  if (found.uid !== uid) throw refusal(`${name} belongs to uid ${found.uid} and not to ${uid}`);
  if ((found.mode & 0o002) !== 0) throw refusal(`${name} can be written by everybody`);
}

function refusal(text: string): Error {
  return new Error(text);
}

/** Takes the lock file; gives what releases it. */
function tryDotlock(
  folder: Folder,
  name: string,
  mailbox: number,
  owner: Owner | undefined,
  rules: LockRules,
): (() => void) | undefined {
  const lockFile = folder.name(`${name}.lock`);
  if (!isFree(lockFile, mailbox, rules.dotlockChangeTimeoutMs)) return undefined;
  // Made apart and linked into place, so that it is never seen without its text, and holds over NFS. Names that begin with a
  // dot and end in .lock are no mailboxes to Dovecot. One name for all: what a crash leaves is replaced here.
  const post = folder.name(`.${name}.dotlock.lock`);
  const fd = createSideFile(post, owner);
  try {
    writeSync(fd, `${process.pid}:${os.hostname()}`);
    try {
      linkSync(post, lockFile);
    } catch (error) {
      const code = failureCode(error);
      // Over NFS the answer may be lost although the link was made.
      if (code !== 'EEXIST' && code !== 'ENOENT' && fstatSync(fd).nlink !== 2) throw error;
    }
    if (fstatSync(fd).nlink !== 2) return undefined;
    const { ino } = fstatSync(fd);
    return () => {
      if (lstatSync(lockFile, { throwIfNoEntry: false })?.ino === ino) unlinkIfThere(lockFile);
    };
  } finally {
    closeSync(fd);
    unlinkIfThere(post);
  }
}

/** Takes a lock file away whose process is dead, or with which nothing has happened for too long. */
function isFree(lockFile: string, mailbox: number, changeTimeoutMs: number): boolean {
  const found = lstatSync(lockFile, { throwIfNoEntry: false });
  if (found === undefined) return true;
  const { mtimeMs, ctimeMs } = fstatSync(mailbox);
  const changedMs = Math.max(found.mtimeMs, found.ctimeMs, mtimeMs, ctimeMs);
  if (Date.now() - changedMs <= changeTimeoutMs && !holderIsDead(lockFile)) return false;
  // Another that came meanwhile must stay.
  if (lstatSync(lockFile, { throwIfNoEntry: false })?.ino === found.ino) unlinkIfThere(lockFile);
  return true;
}

/** Dovecot writes `pid:host` into a lock file; only of a process of this machine it can be said that it is dead. */
function holderIsDead(lockFile: string): boolean {
  let fd: number;
  try {
    fd = openSync(lockFile, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return false;
  }
  try {
    const text = Buffer.alloc(256);
    const holder = /^([1-9]\d{0,9}):(.+?)\n?$/.exec(text.toString('latin1', 0, readSync(fd, text)));
    if (holder === null || holder[2] !== os.hostname() || Number(holder[1]) === process.pid) return false;
    process.kill(Number(holder[1]), 0);
    return false;
  } catch (error) {
    return failureCode(error) === 'ESRCH';
  } finally {
    closeSync(fd);
  }
}
