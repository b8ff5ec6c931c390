/** Small files of our own beside a mailbox. */
import { closeSync, constants, fchownSync, openSync, unlinkSync } from 'node:fs';
import { failureCode } from '../maildir/failure.ts';
import type { Owner } from '../maildir/walk.ts';

const createNew = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;

/** Makes a file, 0600 and the owner's, in place of one that a crash left; gives its descriptor. Throws system errors. */
export function createSideFile(file: string, owner: Owner | undefined): number {
  let fd: number;
  try {
    fd = openSync(file, createNew, 0o600);
  } catch (error) {
    if (failureCode(error) !== 'EEXIST') throw error;
    unlinkIfThere(file);
    fd = openSync(file, createNew, 0o600);
  }
  try {
    if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
    return fd;
  } catch (error) {
    closeSync(fd);
    unlinkIfThere(file);
    throw error;
  }
}

/** Removes a name; that it is gone already is no fault. */
export function unlinkIfThere(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (failureCode(error) !== 'ENOENT') throw error;
  }
}
