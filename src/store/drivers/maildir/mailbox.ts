/** One user's Maildir, opened for delivery. */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  unlinkSync,
} from 'node:fs';
import path from 'node:path';
import type { Durability } from './durability.ts';

/** Who shall own what is made; undefined where the process does not change owners. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface Mailbox {
  readonly path: string;
  /** Put in front of a file's name: the folder with its slash. */
  readonly tmp: string;
  readonly fresh: string;
  /** Descriptors that stay open: `new` for its fsync, `tmp` only where paths go through descriptors. */
  readonly newFd: number;
  readonly tmpFd: number | undefined;
  /** Mode of the files made here, from the Maildir's own mode as Dovecot has it (0700 gives 0600). */
  readonly fileMode: number;
  readonly owner: Owner | undefined;
  /** Device and inode of `new`, to see that the path still leads there. */
  readonly device: number;
  readonly inode: number;
}

const openFolder = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const createFile = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Opens the Maildir at `root` where it exists; undefined where a part of it is missing. Throws system errors.
 *
 * With an owner the process is root and works in folders that belong to somebody else, who may swap a folder for a
 * symbolic link at any moment. So tmp/ and new/ are opened without following links and every name below goes through
 * those descriptors (`/proc/self/fd/N/name`, openat in all but name), and a link on the way to the Maildir must belong to root.
 */
export function openMailbox(root: string, owner: Owner | undefined): Mailbox | undefined {
  if (owner !== undefined) refuseForeignLinks(root);
  const opened: number[] = [];
  try {
    const rootFd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
    opened.push(rootFd);
    const base = owner === undefined ? root : `/proc/self/fd/${rootFd}`;
    const newFd = openSync(`${base}/new`, openFolder);
    opened.push(newFd);
    const tmpFd = openSync(`${base}/tmp`, openFolder);
    opened.push(tmpFd);
    if (!lstatSync(`${base}/cur`).isDirectory())
      throw Object.assign(new Error(`${root}/cur is not a folder`), { code: 'ENOTDIR' });
    const { mode, gid } = fstatSync(rootFd);
    const { dev, ino } = fstatSync(newFd);
    closeSync(rootFd);
    if (owner === undefined) closeSync(tmpFd);
    return {
      path: root,
      tmp: owner === undefined ? `${root}/tmp/` : `/proc/self/fd/${tmpFd}/`,
      fresh: owner === undefined ? `${root}/new/` : `/proc/self/fd/${newFd}/`,
      newFd,
      tmpFd: owner === undefined ? undefined : tmpFd,
      fileMode: (mode & 0o666) | 0o600,
      // A Maildir open to its group keeps its group, as Dovecot does for shared mailboxes.
      owner: owner !== undefined && (mode & 0o070) !== 0 ? { uid: owner.uid, gid } : owner,
      device: dev,
      inode: ino,
    };
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

export function closeMailbox(mailbox: Mailbox): void {
  closeSync(mailbox.newFd);
  if (mailbox.tmpFd !== undefined) closeSync(mailbox.tmpFd);
}

/** Makes what is missing of a Maildir, each folder with the owner and 0700, and waits until their names are durable. */
export async function createMailbox(
  root: string,
  owner: Owner | undefined,
  durability: Durability,
): Promise<void> {
  if (owner !== undefined) refuseForeignLinks(root);
  const parents = new Set<string>();
  const firstMade = mkdirSync(root, { recursive: true, mode: 0o700 });
  if (firstMade !== undefined) {
    for (let made = root; made.length >= firstMade.length; made = path.dirname(made)) {
      if (owner !== undefined) lchownSync(made, owner.uid, owner.gid);
      parents.add(path.dirname(made));
    }
  }
  const rootFd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const base = owner === undefined ? root : `/proc/self/fd/${rootFd}`;
    const mode = fstatSync(rootFd).mode & 0o777;
    for (const name of ['tmp', 'new', 'cur']) {
      if (!makeFolder(`${base}/${name}`, mode)) continue;
      if (owner !== undefined) lchownSync(`${base}/${name}`, owner.uid, owner.gid);
      parents.add(root);
    }
    if (parents.delete(root)) await durability.folder({ fd: rootFd, device: fstatSync(rootFd).dev });
  } finally {
    closeSync(rootFd);
  }
  for (const parent of parents) {
    const fd = openSync(parent, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await durability.folder({ fd, device: fstatSync(fd).dev });
    } finally {
      closeSync(fd);
    }
  }
}

/** True where the folder was made; its mode is set apart from mkdir so that the umask has no say. */
function makeFolder(folder: string, mode: number): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
  if (mode !== 0o700) chmodSync(folder, mode);
  return true;
}

/** A new file in tmp/, owned and with the mode of the mailbox. Nothing is left of it where that fails. */
export function createInTmp(mailbox: Mailbox, base: string): number {
  const fd = openSync(mailbox.tmp + base, createFile, 0o600);
  try {
    if (mailbox.owner !== undefined) fchownSync(fd, mailbox.owner.uid, mailbox.owner.gid);
    if (mailbox.fileMode !== 0o600) fchmodSync(fd, mailbox.fileMode);
  } catch (error) {
    closeSync(fd);
    unlinkSync(mailbox.tmp + base);
    throw error;
  }
  return fd;
}

/** True while the path leads to the folder that is held open; a Maildir may be moved, removed or restored under us. */
export function stillThere(mailbox: Mailbox): boolean {
  const now = lstatSync(`${mailbox.path}/new`, { throwIfNoEntry: false });
  return now !== undefined && now.ino === mailbox.inode && now.dev === mailbox.device;
}

/** Throws ELOOP where a link on the path belongs to somebody other than root. */
function refuseForeignLinks(folder: string): void {
  for (let at = folder; at !== '/'; at = path.dirname(at)) {
    const found = lstatSync(at, { throwIfNoEntry: false });
    if (found?.isSymbolicLink() === true && found.uid !== 0) {
      throw Object.assign(new Error(`${at} is a symbolic link that does not belong to root`), {
        code: 'ELOOP',
      });
    }
  }
}
