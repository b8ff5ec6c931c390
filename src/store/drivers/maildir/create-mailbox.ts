/** Makes what is missing of a Maildir or of a folder in it, as Dovecot makes it, with every name durable before it is used. */
import { closeSync, constants, fchmodSync, fchownSync, lstatSync, openSync } from 'node:fs';
import type { Durability } from './durability.ts';
import { failureCode } from './failure.ts';
import type { FolderPath } from './folder-path.ts';
import type { Place } from './mailbox.ts';
import { below, inherited, makeBelow, makeRoot, openBelow, openRoot, statOf } from './walk.ts';
import type { Inherited, Owner } from './walk.ts';

/** Whether a folder's place is taken, so that mail may go there without making it. Throws system errors. */
export function folderExists({ root, owner, folder }: Place): boolean {
  if (folder === undefined) return true;
  const opened: number[] = [];
  try {
    opened.push(openRoot(root, owner));
    for (const name of folder.names) opened.push(openBelow(opened.at(-1) ?? -1, name, owner));
    // In the layout `fs` a folder may be there only for those below it.
    return folder.layout !== 'fs' || lstatSync(below(opened.at(-1) ?? -1, 'cur')).isDirectory();
  } catch (error) {
    if (failureCode(error) === 'ENOENT') return false;
    throw error;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Gives true where the folder asked for was not there before. Rejects with system errors. */
export async function createMailbox(place: Place, durability: Durability): Promise<boolean> {
  const { root, owner, folder } = place;
  /** Folders in which names were made. */
  const changed = new Set<number>();
  const opened: number[] = [];
  try {
    let fd = makeRoot(root, owner, (parent) => {
      opened.push(parent);
      changed.add(parent);
    });
    opened.push(fd);
    // An empty Maildir is as good as none: the INBOX is made with its first folder.
    const rootIsNew = changed.size > 0;
    if (folder === undefined || (rootIsNew && place.inboxApart !== true))
      makeSubfolders(fd, owner, changed, opened);
    let made = false;
    for (const name of folder?.names ?? []) {
      const gets = inherited(statOf(modelFor(fd, folder, owner, opened)), owner, statOf(fd));
      const next = makeBelow(fd, name, gets);
      made = next !== undefined;
      if (made) changed.add(fd);
      fd = next ?? openBelow(fd, name, owner);
      opened.push(fd);
    }
    if (folder !== undefined) {
      const completed = makeSubfolders(fd, owner, changed, opened);
      if (folder.layout === 'fs') made = completed;
      else if (completed) markFolder(fd, inherited(statOf(fd), owner));
    }
    await Promise.all([...changed].map((f) => durability.folder({ fd: f, device: statOf(f).dev })));
    return made;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** The folder whose mode and group a new one gets: the one above it by its name, where that is there. */
function modelFor(
  fd: number,
  folder: FolderPath | undefined,
  owner: Owner | undefined,
  opened: number[],
): number {
  if (folder?.parent === undefined) return fd;
  try {
    const above = openBelow(fd, folder.parent, owner);
    opened.push(above);
    return above;
  } catch (error) {
    if (failureCode(error) === 'ENOENT') return fd;
    throw error;
  }
}

/** True where one was missing. */
function makeSubfolders(
  fd: number,
  owner: Owner | undefined,
  changed: Set<number>,
  opened: number[],
): boolean {
  const gets = inherited(statOf(fd), owner);
  let any = false;
  // Where all three are there the folder is ready for its first mail: `new`, which is asked for first, comes last.
  for (const name of ['cur', 'tmp', 'new']) {
    const made = makeBelow(fd, name, gets);
    if (made === undefined) continue;
    opened.push(made);
    changed.add(fd);
    any = true;
  }
  return any;
}

/** The file by which a delivery agent knows a folder from a Maildir (Maildir++). It is empty; that it is there is enough. */
function markFolder(fd: number, { fileMode, owner }: Inherited): void {
  let file: number;
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    file = openSync(below(fd, 'maildirfolder'), flags, 0o600);
  } catch (error) {
    if (failureCode(error) === 'EEXIST') return;
    throw error;
  }
  try {
    if (owner !== undefined) fchownSync(file, owner.uid, owner.gid);
    if (fileMode !== 0o600) fchmodSync(file, fileMode);
  } finally {
    closeSync(file);
  }
}
