/** The waits for the disk, on the thread pool: nothing else of a delivery goes there (DESIGN §5). */
import { fdatasync, fsync } from 'node:fs';

export interface Durability {
  /** Resolves when the file's content and size are on the disk. */
  file(fd: number): Promise<void>;
  /** Resolves when every name that stood in the folder at the call is on the disk. Calls for one folder share a flush. */
  folder(fd: number): Promise<void>;
}

/** `mail_fsync = never`. */
export const noDurability: Durability = {
  file: () => Promise.resolve(),
  folder: () => Promise.resolve(),
};

/** `mail_fsync = optimized` and `always`, which differ only in Dovecot's index files: fsync of the file, fdatasync of the folder. */
export function diskDurability(): Durability {
  const folders = new Map<number, FolderFlush>();
  return {
    file: (fd) => new Promise((resolve, reject) => fsync(fd, settle(resolve, reject))),
    folder(fd) {
      const running = folders.get(fd);
      if (running === undefined) {
        const flush: FolderFlush = { next: undefined };
        folders.set(fd, flush);
        return flushFolder(folders, fd, flush);
      }
      // What runs may have begun before the caller's rename: wait for the one after it, together with all who come meanwhile.
      running.next ??= deferred();
      return running.next.promise;
    },
  };
}

interface FolderFlush {
  next: Deferred | undefined;
}
type Deferred = ReturnType<typeof deferred>;

function deferred(): { promise: Promise<void>; resolve: () => void; reject: (reason: Error) => void } {
  return Promise.withResolvers<void>();
}

function flushFolder(folders: Map<number, FolderFlush>, fd: number, flush: FolderFlush): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => {
      const waiting = flush.next;
      if (waiting === undefined) folders.delete(fd);
      else {
        flush.next = undefined;
        flushFolder(folders, fd, flush).then(waiting.resolve, waiting.reject);
      }
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function settle(resolve: () => void, reject: (reason: Error) => void): (error: Error | null) => void {
  return (error) => {
    if (error === null) resolve();
    else reject(error);
  };
}
