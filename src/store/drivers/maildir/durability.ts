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
    folder({ fd }) {
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
