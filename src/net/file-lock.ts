/** fcntl(2) and flock(2) locks on open files, through koffi: Node has no call for them. Linux, 64 bit. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

interface Calls {
  readonly fcntl: (fd: number, command: number, kind: string, lock: Buffer) => number;
  readonly flock: (fd: number, operation: number) => number;
}

let calls: Calls | undefined;

function library(): Calls {
  if (calls !== undefined) return calls;
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  const libc = koffi.load('libc.so.6');
  calls = {
    fcntl: libc.func('int fcntl(int fd, int command, ...)') as Calls['fcntl'],
    flock: libc.func('int flock(int fd, int operation)') as Calls['flock'],
  };
  return calls;
}

/** F_SETLK, F_OFD_SETLK. */
const setLock = 6;
const setOpenFileLock = 37;
const writeLock = 1;
const exclusiveNow = 2 | 4;
/** `struct flock`: l_type and l_whence, then l_start and l_len from octet 8, l_pid. */
const lockOctets = 32;

/** Loads what locks need, for a process that is about to lose the right to read it. Throws where koffi or the calls are missing. */
export function prepareLocks(): void {
  library();
}

/** Tries to lock the whole file for writing; false where somebody else holds it. The lock ends with the process or any close of the file. */
export function fcntlLock(fd: number): boolean {
  return lockWhole(fd, setLock);
}

/**
 * The same lock held by the open file instead of the process: it also shuts out other descriptors of this process, and ends
 * only when this descriptor is closed. Locks of {@link fcntlLock} and of other programs' `fcntl` shut it out and are shut out by it.
 */
export function openFileLock(fd: number): boolean {
  return lockWhole(fd, setOpenFileLock);
}

/** The same with flock(2). */
export function flockLock(fd: number): boolean {
  return library().flock(fd, exclusiveNow) >= 0;
}

function lockWhole(fd: number, command: number): boolean {
  const lock = Buffer.alloc(lockOctets);
  lock.writeInt16LE(writeLock, 0);
  return library().fcntl(fd, command, 'void *', lock) >= 0;
}
