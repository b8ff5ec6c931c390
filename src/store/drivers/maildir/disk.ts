/** What a delivery does to the disk, each step durable before it is answered. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  linkSync,
  openSync,
  renameSync,
  unlinkSync,
  writevSync,
} from 'node:fs';
import type { Durability } from './durability.ts';
import type { Owner } from './walk.ts';

/** A new file. */
export interface FileOrder {
  /** In tmp/, a name that nothing has. */
  readonly path: string;
  readonly mode: number;
  readonly owner: Owner | undefined;
  /** Of the file system. */
  readonly device: number;
  /** A folder of it, open. */
  readonly folderFd: number;
  /** Its content, one part after the other. */
  readonly parts: readonly Uint8Array[];
}

/** A name for a file that is written. */
export interface NameOrder {
  readonly path: string;
  /** Of the folder that the name is in. */
  readonly folderFd: number;
}

/** A file in tmp/ comes into mailboxes of its file system. */
export interface NamesOrder {
  readonly device: number;
  readonly links: readonly NameOrder[];
  /** The file's last name; undefined: its name in tmp/ is taken away. */
  readonly rename: NameOrder | undefined;
}

/** `unsure`: the file has the name, but it may be gone after a crash; or, where a thread was lost, it may have it. */
export type NameResult =
  | { readonly kind: 'durable' }
  | { readonly kind: 'unnamed' | 'unsure'; readonly error: unknown };

/** One result for each link, in order, and one for the rename where it is asked for. */
export type NameResults = readonly NameResult[];

/** All reject with system errors where the file could not be written; nothing is left of it then. */
export interface Disk {
  /** {@link write} and {@link publish} in one go. */
  deliver(file: FileOrder, names: NamesOrder): Promise<NameResults>;
  write(file: FileOrder): Promise<void>;
  publish(from: string, names: NamesOrder): Promise<NameResults>;
  /** Ends what it has of the system. Nothing may be under way, and nothing come. */
  close(): Promise<void>;
}

/** Synchronous calls, which cost less than the thread pool's round trip (docs/decisions/0003), and waits for each file. */
export function diskHere(durability: Durability): Disk {
  async function write({ path, mode, owner, device, parts }: FileOrder): Promise<void> {
    const fd = writeFile(path, mode, owner, parts);
    try {
      await durability.file({ fd, device });
    } catch (error) {
      discardFile(fd, path);
      throw error;
    }
    closeSync(fd);
  }

  function publish(from: string, { device, links, rename }: NamesOrder): Promise<NameResults> {
    const named = nameFile(from, links, rename);
    const orders = rename === undefined ? links : [...links, rename];
    return Promise.all(
      orders.map(async ({ folderFd }, i): Promise<NameResult> => {
        const failed = named[i];
        if (failed !== undefined) return failed;
        try {
          await durability.folder({ fd: folderFd, device });
          return durable;
        } catch (error) {
          return { kind: 'unsure', error };
        }
      }),
    );
  }

  return {
    async deliver(file, names) {
      await write(file);
      return publish(file.path, names);
    },
    write,
    publish,
    close: () => Promise.resolve(),
  };
}

export const durable = { kind: 'durable' } as const;

/** A new file with its content, still open and not durable yet. Throws system errors; nothing is left of the file then. */
export function writeFile(
  path: string,
  mode: number,
  owner: Owner | undefined,
  parts: readonly Uint8Array[],
): number {
  const fd = createFile(path, mode, owner);
  try {
    // The file system takes less only when it is full; the next write would say so, and the message is lost to it anyway.
    if (writevSync(fd, parts) !== parts.reduce((sum, part) => sum + part.length, 0))
      throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
  } catch (error) {
    discardFile(fd, path);
    throw error;
  }
  return fd;
}

/** Gives a file its names; what could not be had, by the position of its {@link NameResults}. */
export function nameFile(
  from: string,
  links: readonly NameOrder[],
  rename: NameOrder | undefined,
): readonly (NameResult | undefined)[] {
  // Links come before the rename: once in new/, a mail reader may move the file away.
  const named = links.map((link) => fault(() => linkSync(from, link.path)));
  if (rename === undefined) removeQuietly(from);
  else {
    const failed = fault(() => renameSync(from, rename.path));
    if (failed !== undefined) removeQuietly(from);
    named.push(failed);
  }
  return named;
}

function fault(call: () => void): NameResult | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return { kind: 'unnamed', error };
  }
}

const newFile = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** A new file with its owner and mode, open for writing. Throws system errors; nothing is left of it then. */
export function createFile(path: string, mode: number, owner: Owner | undefined): number {
  const fd = openSync(path, newFile, 0o600);
  try {
    if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
    if (mode !== 0o600) fchmodSync(fd, mode);
  } catch (error) {
    discardFile(fd, path);
    throw error;
  }
  return fd;
}

/** Closes and removes; a file that is gone already is no fault. */
export function discardFile(fd: number, path: string): void {
  closeSync(fd);
  removeQuietly(path);
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // What stays in tmp/ is harmless, and removed after 36 hours.
  }
}
