/**
 * Folders opened and made one below another through descriptors (`/proc/self/fd/N/name`, openat in all but name), so that
 * a user who swaps one of his folders for a symbolic link leads root nowhere.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
} from 'node:fs';
import type { Stats } from 'node:fs';
import { failureCode } from './failure.ts';

/** Who shall own what is made; undefined where the process does not change owners. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY;

/** A name in a folder that is held open. */
export function below(fd: number, name: string): string {
  return `/proc/self/fd/${fd}/${name}`;
}

/**
 * Opens an absolute path. With an owner the process is root: then a link on the way must belong to root too. Throws
 * ELOOP where it does not, and other system errors.
 */
export function openRoot(root: string, owner: Owner | undefined): number {
  return owner === undefined ? openSync(root, folderFlags) : walk(root, owner, undefined);
}

/**
 * The same, making what is missing with the owner and 0700. `made` is told the folder above each one made, still open; the
 * receiver closes it.
 */
export function makeRoot(root: string, owner: Owner | undefined, made: (parentFd: number) => void): number {
  return walk(root, owner, made);
}

function walk(
  root: string,
  owner: Owner | undefined,
  made: ((parentFd: number) => void) | undefined,
): number {
  let fd = openSync('/', folderFlags);
  for (const name of root.split('/')) {
    if (name === '') continue;
    let keep = false;
    try {
      const next = openNext(fd, name, owner, () => {
        if (made === undefined) return false;
        makeFolder(fd, name, owner, 0o700);
        keep = true;
        return true;
      });
      if (keep) made?.(fd);
      else closeSync(fd);
      fd = next;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }
  return fd;
}

/** @param make makes what is missing, or says that it does not */
function openNext(fd: number, name: string, owner: Owner | undefined, make: () => boolean): number {
  const path = below(fd, name);
  if (owner === undefined) {
    try {
      return openSync(path, folderFlags);
    } catch (error) {
      if (failureCode(error) !== 'ENOENT' || !isMade(make)) throw error;
      return openSync(path, folderFlags);
    }
  }
  try {
    return openSync(path, folderFlags | constants.O_NOFOLLOW);
  } catch (error) {
    const code = failureCode(error);
    if (code === 'ENOENT') {
      if (!isMade(make)) throw error;
      return openSync(path, folderFlags | constants.O_NOFOLLOW);
    }
    if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error;
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isSymbolicLink() !== true) throw error;
    if (found.uid !== 0)
      throw systemError('ELOOP', `${name} is a symbolic link that does not belong to root`);
    if (!keepsNames(fstatSync(fd)))
      throw systemError(
        'ELOOP',
        `${name} is a symbolic link in a folder where others can put one of their own`,
      );
    return openSync(path, folderFlags);
  }
}

/** Only root can change what a name leads to: it alone may write there, or nobody else may rename (the sticky bit). */
function keepsNames({ uid, mode }: Stats): boolean {
  return uid === 0 && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0);
}

/** Also where somebody else was quicker. */
function isMade(make: () => boolean): boolean {
  try {
    return make();
  } catch (error) {
    if (failureCode(error) === 'EEXIST') return true;
    throw error;
  }
}

/** Opens a folder of a Maildir. As root links are not followed, since they are the user's. */
export function openBelow(fd: number, name: string, owner: Owner | undefined): number {
  return openSync(below(fd, name), folderFlags | (owner === undefined ? 0 : constants.O_NOFOLLOW));
}

/** What things made in a folder get: permissions, group and set-group-id bit. */
export interface Inherited {
  readonly folderMode: number;
  readonly fileMode: number;
  readonly owner: Owner | undefined;
}

type Rights = Pick<Stats, 'mode' | 'gid'>;

/**
 * Dovecot's rule: permissions are those of the model, and so is the group where that makes a difference, else it is the
 * kernel's choice (mkdir(2)): the container's where that has the set-group-id bit, or the user's own.
 * @param model the folder that the new thing shall be like
 * @param container the folder in which it is made
 */
export function inherited(model: Rights, owner: Owner | undefined, container: Rights = model): Inherited {
  const { mode } = model;
  const inheritsGroup = container.mode & 0o2000;
  return {
    folderMode: (mode & 0o777) | 0o700 | inheritsGroup,
    fileMode: (mode & 0o666) | 0o600,
    owner: owner === undefined ? undefined : { uid: owner.uid, gid: groupFor(model, owner, container) },
  };
}

function groupFor({ mode, gid }: Rights, owner: Owner, container: Rights): number {
  const counts = (mode & 0o2000) === 0 && (mode & 0o070) >> 3 !== (mode & 0o007) && gid !== owner.gid;
  if (counts) return gid;
  return (container.mode & 0o2000) === 0 ? owner.gid : container.gid;
}

/** Makes a folder and opens it; undefined where it is there already. */
export function makeBelow(fd: number, name: string, { folderMode, owner }: Inherited): number | undefined {
  try {
    makeFolder(fd, name, owner, folderMode);
  } catch (error) {
    if (failureCode(error) === 'EEXIST') return undefined;
    throw error;
  }
  return openSync(below(fd, name), folderFlags | constants.O_NOFOLLOW);
}

/**
 * Makes a folder, which has its name only when owner and mode are right: a crash in between would leave one under it that its
 * user can never open. Throws EEXIST where it is there already, and other system errors.
 */
function makeFolder(fd: number, name: string, owner: Owner | undefined, mode: number): void {
  const path = below(fd, name);
  if (owner === undefined && mode === 0o700) {
    mkdirSync(path, { mode });
    return;
  }
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw systemError('EEXIST', `${name} exists`);
  // Without a dot in front it is no folder of a Maildir++.
  const draft = below(fd, `mailchute-${randomUUID()}`);
  mkdirSync(draft, { mode: 0o700 });
  try {
    const made = openSync(draft, folderFlags | constants.O_NOFOLLOW);
    try {
      if (owner !== undefined) fchownSync(made, owner.uid, owner.gid);
      // Apart from mkdir, so that the umask has no say.
      if (mode !== 0o700) fchmodSync(made, mode);
    } finally {
      closeSync(made);
    }
    renameSync(draft, path);
  } catch (error) {
    rmdirSync(draft);
    // Somebody else was quicker, and has put something into it or made something else of that name.
    const code = failureCode(error);
    throw code === 'ENOTEMPTY' || code === 'ENOTDIR' ? systemError('EEXIST', `${name} exists`) : error;
  }
}

export function statOf(fd: number): Stats {
  return fstatSync(fd);
}

function systemError(code: string, text: string): Error {
  return Object.assign(new Error(text), { code });
}
