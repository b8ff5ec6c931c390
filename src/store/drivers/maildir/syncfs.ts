/** syncfs(2) of the C library through koffi: one call makes all of a file system durable. Node has no call for it. */
import { statfsSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

/**
 * Flushes the file system that the descriptor lies on, and blocks until then; false where the kernel reports a fault of any of
 * its writes since the descriptor was opened or last asked.
 */
export type FileSystemFlush = (fd: number) => boolean;

/** Undefined where koffi or the call is missing; then files are flushed one by one. */
export function loadSyncfs(): FileSystemFlush | undefined {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
    const syncfs = koffi.load('libc.so.6').func('int syncfs(int fd)') as Koffi.KoffiFunc<
      (fd: number) => number
    >;
    return (fd) => syncfs(fd) === 0;
  } catch {
    return undefined;
  }
}

/**
 * File systems whose syncfs is known to wait for data, names and the disk's own cache: ext4, XFS, btrfs, F2FS. Others
 * (FUSE, network file systems) may answer before anything is durable.
 */
const trusted: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010]);

export function flushesWhole(fd: number): boolean {
  try {
    return trusted.has(statfsSync(`/proc/self/fd/${fd}`).type);
  } catch {
    return false;
  }
}
