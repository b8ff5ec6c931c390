/** One folder of a user's mail, opened for delivery: the Maildir itself, which is the INBOX, or one below it. */
import { closeSync, constants, lstatSync, openSync, statSync } from 'node:fs';
import { failureCode } from './failure.ts';
import type { FolderPath } from './folder-path.ts';
import { below, inherited, openBelow, openRoot, statOf } from './walk.ts';
import type { Owner } from './walk.ts';

export type { Owner } from './walk.ts';

/** Where a message shall go. */
export interface Place {
  /** The Maildir, an absolute path. */
  readonly root: string;
  readonly owner: Owner | undefined;
  /** Absent for the Maildir itself. */
  readonly folder?: FolderPath;
  /** The INBOX is another Maildir: this one is only there for its folders. */
  readonly inboxApart?: true;
}

export interface Mailbox {
  readonly path: string;
  /** Put in front of a file's name: the folder with its slash. */
  readonly tmp: string;
  readonly fresh: string;
  /** Descriptors that stay open: `new` for its fsync, `tmp` only where paths go through descriptors. */
  readonly newFd: number;
  readonly tmpFd: number | undefined;
  /** Mode of the files made here, from the folder's own mode as Dovecot has it (0700 gives 0600). */
  readonly fileMode: number;
  readonly owner: Owner | undefined;
  /** Mode and group of the folder, from which the two above come. */
  readonly folderMode: number;
  readonly folderGroup: number;
  /** Device and inode of `new`, to see that the path still leads there. */
  readonly device: number;
  readonly inode: number;
}

const openFolder = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens what is there; undefined where a part of it is missing. Throws system errors.
 *
 * With an owner the process is root and works in folders that belong to somebody else, who may swap a folder for a
 * symbolic link at any moment. So every folder is opened without following links and every name below goes through
 * those descriptors, and a link on the way to the Maildir must belong to root.
 */
export function openMailbox({ root, owner, folder }: Place): Mailbox | undefined {
  const opened: number[] = [];
  const keep = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  try {
    let fd = keep(openRoot(root, owner));
    let path = root;
    for (const name of folder?.names ?? []) {
      fd = keep(openBelow(fd, name, owner));
      path = `${path}/${name}`;
    }
    const base = owner === undefined ? path : `/proc/self/fd/${fd}`;
    const newFd = keep(openSync(`${base}/new`, openFolder));
    const tmpFd = keep(openSync(`${base}/tmp`, openFolder));
    if (!lstatSync(`${base}/cur`).isDirectory())
      throw Object.assign(new Error(`${path}/cur is not a folder`), { code: 'ENOTDIR' });
    const own = statOf(fd);
    const gets = inherited(own, owner, owner === undefined ? own : statOf(tmpFd));
    const { dev, ino } = statOf(newFd);
    for (const other of opened)
      if (other !== newFd && (other !== tmpFd || owner === undefined)) closeSync(other);
    return {
      path,
      tmp: owner === undefined ? `${path}/tmp/` : below(tmpFd, ''),
      fresh: owner === undefined ? `${path}/new/` : below(newFd, ''),
      newFd,
      tmpFd: owner === undefined ? undefined : tmpFd,
      fileMode: gets.fileMode,
      owner: gets.owner,
      folderMode: own.mode,
      folderGroup: own.gid,
      device: dev,
      inode: ino,
    };
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    if (failureCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export function closeMailbox(mailbox: Mailbox): void {
  closeSync(mailbox.newFd);
  if (mailbox.tmpFd !== undefined) closeSync(mailbox.tmpFd);
}

/**
 * True while the path leads to the folder that is held open and that folder has the mode and group it had; a Maildir may be
 * moved, removed, restored or shared under us.
 */
export function stillThere(mailbox: Mailbox): boolean {
  const fresh = lstatSync(`${mailbox.path}/new`, { throwIfNoEntry: false });
  if (fresh?.ino !== mailbox.inode || fresh.dev !== mailbox.device) return false;
  const own = statSync(mailbox.path, { throwIfNoEntry: false });
  return own?.mode === mailbox.folderMode && own.gid === mailbox.folderGroup;
}
