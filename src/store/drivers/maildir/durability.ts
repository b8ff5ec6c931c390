/** The waits for the disk, on the thread pool: nothing else of a delivery goes there (DESIGN §5). */
import { fdatasync, fsync } from 'node:fs';

/** An open file or folder, and the device number of its file system. */
export interface FlushTarget {
  readonly fd: number;
  readonly device: number;
}

export interface Durability {
  /** Resolves when the file's content and size are on the disk. */
  file(target: FlushTarget): Promise<void>;
  /** Resolves when every name that stood in the folder at the call is on the disk. */
  folder(target: FlushTarget): Promise<void>;
}

/** `mail_fsync = never`. */
export const noDurability: Durability = {
  file: () => Promise.resolve(),
  folder: () => Promise.resolve(),
};

/** fsync of each file and fdatasync of each folder, as Dovecot does, right on any file system; waits for one folder share a flush. */
export function eachByItself(): Durability {
  const folders = new Map<number, FolderFlush>();
  return {
    file: ({ fd }) => new Promise((resolve, reject) => fsync(fd, settle(resolve, reject))),
    folder: ({ fd }) =>
      new Promise((resolve, reject) => {
        const waiter = settle(resolve, reject);
        const running = folders.get(fd);
        // What runs may have begun before the caller's rename: wait for the one after it, together with all who come meanwhile.
        if (running !== undefined) running.next.push(waiter);
        else flushFolder(folders, fd, [waiter]);
      }),
  };
}

type Waiter = (error: Error | null) => void;

/** A folder whose flush is under way, and who came since it began. */
interface FolderFlush {
  readonly next: Waiter[];
}

function flushFolder(folders: Map<number, FolderFlush>, fd: number, waiters: readonly Waiter[]): void {
  const flush: FolderFlush = { next: [] };
  folders.set(fd, flush);
  fdatasync(fd, (error) => {
    if (flush.next.length === 0) folders.delete(fd);
    else flushFolder(folders, fd, flush.next);
    for (const waiter of waiters) waiter(error);
  });
}

function settle(resolve: () => void, reject: (reason: Error) => void): Waiter {
  return (error) => {
    if (error === null) resolve();
    else reject(error);
  };
}
