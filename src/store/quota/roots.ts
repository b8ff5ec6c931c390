/** Mailbox folders held open between deliveries, the least recently used closed first: a safe way to a folder costs more than a look at it. */
import { closeSync, fstatSync, statSync } from 'node:fs';
import { failureCode } from '../drivers/maildir/failure.ts';
import { openRoot } from '../drivers/maildir/walk.ts';
import type { Owner } from '../drivers/maildir/walk.ts';

interface Root<T> {
  /** Closed when the next folder is taken, at the earliest. */
  readonly fd: number;
  /** What is known of the folder, empty when it is opened. */
  readonly value: T;
}

interface Entry<T> extends Root<T> {
  readonly device: number;
  readonly inode: number;
}

export interface Roots<T> {
  /** Undefined where there is no such folder; throws other system errors. */
  take(path: string, owner: Owner | undefined): Root<T> | undefined;
  close(): void;
}

export function openRoots<T extends object>(max: number): Roots<Partial<T>> {
  const entries = new Map<string, Entry<Partial<T>>>();

  function drop(path: string, entry: Entry<Partial<T>>): void {
    entries.delete(path);
    closeSync(entry.fd);
  }

  return {
    take(path, owner) {
      const entry = entries.get(path);
      if (entry !== undefined) {
        const now = statSync(path, { throwIfNoEntry: false });
        if (now !== undefined && now.ino === entry.inode && now.dev === entry.device) {
          entries.delete(path);
          entries.set(path, entry);
          return entry;
        }
        drop(path, entry);
      }
      let fd: number;
      try {
        fd = openRoot(path, owner);
      } catch (error) {
        if (failureCode(error) === 'ENOENT') return undefined;
        throw error;
      }
      const { dev: device, ino: inode } = fstatSync(fd);
      const opened: Entry<Partial<T>> = { fd, value: {}, device, inode };
      entries.set(path, opened);
      for (const [oldest, old] of entries) {
        if (entries.size <= max) break;
        drop(oldest, old);
      }
      return opened;
    },
    close() {
      for (const [path, entry] of entries) drop(path, entry);
    },
  };
}
