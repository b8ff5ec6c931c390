/** The folder that a mailbox file lies in, held open: every name in it goes through the descriptor, wherever its path leads later. */
import { closeSync, fstatSync } from 'node:fs';
import type { Durability } from '../maildir/durability.ts';
import { below, makeRoot, openRoot, type Owner } from '../maildir/walk.ts';

export interface Folder {
  /** Puts the folder in front of a name. */
  name(name: string): string;
  /** Resolves when all names of the folder are on the disk. */
  sync(durability: Durability): Promise<void>;
  close(): void;
}

/** Opens a folder; with `make` what is missing of its path is made, 0700 for the owner, durably. Rejects with system errors. */
export async function openFolder(
  path: string,
  owner: Owner | undefined,
  make: boolean,
  durability: Durability,
): Promise<Folder> {
  const made: number[] = [];
  let fd: number | undefined;
  const sync = (of: number, by: Durability): Promise<void> =>
    by.folder({ fd: of, device: fstatSync(of).dev });
  try {
    const opened = make ? makeRoot(path, owner, (parentFd) => made.push(parentFd)) : openRoot(path, owner);
    fd = opened;
    for (const parent of made) await sync(parent, durability);
    return {
      name: (name) => below(opened, name),
      sync: (by) => sync(opened, by),
      close: () => closeSync(opened),
    };
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw error;
  } finally {
    for (const parent of made) closeSync(parent);
  }
}
