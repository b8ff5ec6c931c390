/** The list of a user's subscribed folders, in Dovecot's format and under its lock. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import type { Durability } from './durability.ts';
import { failureCode } from './failure.ts';
import type { FolderPath } from './folder-path.ts';
import type { Place } from './mailbox.ts';
import { below, inherited, openRoot, type Owner, statOf } from './walk.ts';

/** Version 2: a line a name, its levels parted by tabs. A file without this line has the driver's separator between levels. */
const header = 'V\t2\n\n';
const maxFileOctets = 4 << 20;
const lockWaitMs = 5000;
const lockPollMs = 20;
/** As Dovecot: a lock that has not changed for so long is of somebody who is gone. */
const staleLockMs = 30_000;

const createLock = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Adds a folder where it is not listed. The lock file `subscriptions.lock` becomes the new list, so readers see the old
 * one or the new one. `name` is the list's. Rejects with system errors, `ETIMEDOUT` where the lock is held for longer than 5 s.
 */
export async function subscribe(
  place: Pick<Place, 'root' | 'owner'>,
  folder: Pick<FolderPath, 'layout' | 'levels'>,
  durability: Durability,
  name = 'subscriptions',
): Promise<void> {
  const rootFd = openRoot(place.root, place.owner);
  try {
    const list = below(rootFd, name);
    const lock = below(rootFd, `${name}.lock`);
    const fd = await takeLock(lock);
    try {
      const old = readList(list, place.owner);
      const added = withFolder(old, folder);
      if (added === old) {
        unlinkSync(lock);
        return;
      }
      const { owner, fileMode } = inherited(statOf(rootFd), place.owner);
      if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
      if (fileMode !== 0o600) fchmodSync(fd, fileMode);
      const bytes = Buffer.from(added, 'latin1');
      if (writeSync(fd, bytes) !== bytes.length)
        throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
      await durability.file({ fd, device: fstatSync(fd).dev });
      renameSync(lock, list);
    } catch (error) {
      unlinkSync(lock);
      throw error;
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(rootFd);
  }
}

/** The list with the folder in it; the same text where it is there already. A list that does not exist gets the header. */
export function withFolder(
  list: string | undefined,
  { levels, layout }: Pick<FolderPath, 'layout' | 'levels'>,
): string {
  const text = list ?? header;
  const v2 = text.startsWith('V\t2\n');
  const line = levels.join(v2 ? '\t' : layout === 'fs' ? '/' : '.');
  if (
    text
      .split('\n')
      .slice(v2 ? 2 : 0)
      .includes(line)
  )
    return text;
  return `${text === '' || text.endsWith('\n') ? text : `${text}\n`}${line}\n`;
}

function readList(path: string, owner: Owner | undefined): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (failureCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const found = fstatSync(fd);
    if (!found.isFile() || found.size > maxFileOctets)
      throw Object.assign(new Error('subscriptions is too large or no file'), { code: 'EFBIG' });
    // A link that the user made of somebody else's file: he would get its text in a file of his own.
    if (owner !== undefined && found.nlink > 1 && found.uid !== owner.uid)
      throw Object.assign(new Error(`subscriptions belongs to uid ${found.uid}`), { code: 'EPERM' });
    return readFileSync(fd, 'latin1');
  } finally {
    closeSync(fd);
  }
}

async function takeLock(lock: string): Promise<number> {
  const end = Date.now() + lockWaitMs;
  for (;;) {
    try {
      return openSync(lock, createLock, 0o600);
    } catch (error) {
      if (failureCode(error) !== 'EEXIST') throw error;
    }
    const held = lstatSync(lock, { throwIfNoEntry: false });
    if (held !== undefined && Date.now() - Math.max(held.mtimeMs, held.ctimeMs) > staleLockMs) {
      removeQuietly(lock);
      continue;
    }
    if (Date.now() > end)
      throw Object.assign(new Error('subscriptions.lock is held by another'), { code: 'ETIMEDOUT' });
    await new Promise((resolve) => setTimeout(resolve, lockPollMs));
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (failureCode(error) !== 'ENOENT') throw error;
  }
}
