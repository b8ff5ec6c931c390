/** The open Maildirs of a store: a bounded set of descriptors, the least recently used closed first. */
import type { StoreRecipient } from '../../mail-store.ts';
import { createMailbox, folderExists } from './create-mailbox.ts';
import { closeMailbox, openMailbox, stillThere } from './mailbox.ts';
import type { Mailbox, Place } from './mailbox.ts';
import type { Durability } from './durability.ts';
import { noFolder } from './failure.ts';

/** A mailbox in use; `release` must be called once. */
export interface Lease {
  readonly mailbox: Mailbox;
  /** `stale` closes it for good: a name in it was not found, so the folder may be gone. */
  release(stale?: boolean): void;
}

export interface Mailboxes {
  /**
   * Opens, making what is missing. A value at once where it is open already. Throws or rejects with system errors, and
   * with `code` {@link noFolder} for a folder that is missing and shall not be made.
   * @param missing what is done about a folder that is missing, by default `refuse`; a Maildir is always made
   */
  lease(place: Place, missing: StoreRecipient['missingFolder']): Lease | Promise<Lease>;
  close(): void;
}

interface Entry {
  readonly mailbox: Mailbox;
  readonly key: string;
  users: number;
  dropped: boolean;
}

/**
 * @param maxOpen mailboxes kept open beyond those in use
 * @param onOpen told of each mailbox that is opened anew (the cleaning of tmp/ hangs on it)
 * @param subscribed waited for when a folder was made that shall be subscribed; must not reject
 */
export function mailboxSet(
  maxOpen: number,
  durability: Durability,
  onOpen: (mailbox: Mailbox) => void,
  subscribed: (place: Place) => Promise<void>,
): Mailboxes {
  const entries = new Map<string, Entry>();
  /** By Maildir: one thing after another is made in it, so that nobody uses names that are not durable yet. */
  const making = new Map<string, Promise<unknown>>();

  function drop(entry: Entry): void {
    if (entry.dropped) return;
    entry.dropped = true;
    if (entries.get(entry.key) === entry) entries.delete(entry.key);
    if (entry.users === 0) closeMailbox(entry.mailbox);
  }

  function trim(): void {
    if (entries.size <= maxOpen) return;
    for (const entry of entries.values()) {
      if (entry.users > 0) continue;
      drop(entry);
      if (entries.size <= maxOpen) return;
    }
  }

  function leaseOf(entry: Entry): Lease {
    entry.users++;
    return {
      mailbox: entry.mailbox,
      release(stale = false) {
        entry.users--;
        if (entry.dropped) {
          if (entry.users === 0) closeMailbox(entry.mailbox);
        } else if (stale || (entry.users === 0 && entries.size > maxOpen)) drop(entry);
      },
    };
  }

  function add(key: string, mailbox: Mailbox): Lease {
    const entry: Entry = { mailbox, key, users: 0, dropped: false };
    entries.set(key, entry);
    const lease = leaseOf(entry);
    trim();
    onOpen(mailbox);
    return lease;
  }

  function find(key: string): Lease | undefined {
    const known = entries.get(key);
    if (known === undefined) return undefined;
    // A restored mailbox takes the place of the old one at any moment, and mail must not go where nobody looks.
    if (!stillThere(known.mailbox)) {
      drop(known);
      return undefined;
    }
    entries.delete(key);
    entries.set(key, known);
    return leaseOf(known);
  }

  async function createAndLease(
    key: string,
    rootKey: string,
    place: Place,
    missing: StoreRecipient['missingFolder'] = 'refuse',
  ): Promise<Lease> {
    for (let other = making.get(rootKey); other !== undefined; other = making.get(rootKey)) {
      await other.catch(() => undefined);
    }
    const known = find(key);
    if (known !== undefined) return known;
    if (place.folder !== undefined && missing === 'refuse' && !folderExists(place))
      throw Object.assign(new Error("Mailbox doesn't exist"), { code: noFolder });
    const creating = createMailbox(place, durability);
    making.set(rootKey, creating);
    let made: boolean;
    try {
      made = await creating;
    } finally {
      making.delete(rootKey);
    }
    if (made && missing === 'create-and-subscribe') await subscribed(place);
    const opened = find(key);
    if (opened !== undefined) return opened;
    const mailbox = openMailbox(place);
    if (mailbox === undefined)
      throw Object.assign(new Error(`${place.root} vanished while it was made`), { code: 'ENOENT' });
    return add(key, mailbox);
  }

  return {
    lease(place, missing) {
      const rootKey = keyOf(place);
      const key = place.folder === undefined ? rootKey : `${rootKey}\0${place.folder.names.join('/')}`;
      const known = find(key);
      if (known !== undefined) return known;
      // While it is being made its names are not durable yet, even where they can be opened already.
      const mailbox = making.has(rootKey) ? undefined : openMailbox(place);
      return mailbox === undefined ? createAndLease(key, rootKey, place, missing) : add(key, mailbox);
    },
    close() {
      for (const entry of entries.values()) drop(entry);
    },
  };
}

function keyOf({ root, owner }: Place): string {
  return owner === undefined ? root : `${owner.uid}:${owner.gid}:${root}`;
}
