/** The open Maildirs of a store: a bounded set of descriptors, the least recently used closed first. */
import { closeMailbox, createMailbox, openMailbox, stillThere } from './mailbox.ts';
import type { Mailbox, Owner } from './mailbox.ts';
import type { Durability } from './durability.ts';

/** A mailbox in use; `release` must be called once. */
export interface Lease {
  readonly mailbox: Mailbox;
  /** `stale` closes it for good: a name in it was not found, so the folder may be gone. */
  release(stale?: boolean): void;
}

export interface Mailboxes {
  /** Opens, making what is missing. A value at once where it is open already. Throws or rejects with system errors. */
  lease(root: string, owner: Owner | undefined): Lease | Promise<Lease>;
  close(): void;
}

interface Entry {
  readonly mailbox: Mailbox;
  readonly key: string;
  users: number;
  dropped: boolean;
  checkedAtMs: number;
}

const recheckMs = 1000;

/**
 * @param maxOpen mailboxes kept open beyond those in use
 * @param onOpen told of each mailbox that is opened anew (the cleaning of tmp/ hangs on it)
 */
export function mailboxSet(
  maxOpen: number,
  durability: Durability,
  onOpen: (mailbox: Mailbox) => void,
): Mailboxes {
  const entries = new Map<string, Entry>();
  const making = new Map<string, Promise<void>>();

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
    const entry: Entry = { mailbox, key, users: 0, dropped: false, checkedAtMs: performance.now() };
    entries.set(key, entry);
    const lease = leaseOf(entry);
    trim();
    onOpen(mailbox);
    return lease;
  }

  function find(key: string): Lease | undefined {
    const known = entries.get(key);
    if (known === undefined) return undefined;
    const now = performance.now();
    if (now - known.checkedAtMs >= recheckMs) {
      if (!stillThere(known.mailbox)) {
        drop(known);
        return undefined;
      }
      known.checkedAtMs = now;
    }
    entries.delete(key);
    entries.set(key, known);
    return leaseOf(known);
  }

  async function createAndLease(key: string, root: string, owner: Owner | undefined): Promise<Lease> {
    let creating = making.get(key);
    if (creating === undefined) {
      creating = createMailbox(root, owner, durability).finally(() => making.delete(key));
      making.set(key, creating);
    }
    await creating;
    const known = find(key);
    if (known !== undefined) return known;
    const mailbox = openMailbox(root, owner);
    if (mailbox === undefined)
      throw Object.assign(new Error(`${root} vanished while it was made`), { code: 'ENOENT' });
    return add(key, mailbox);
  }

  return {
    lease(root, owner) {
      const key = owner === undefined ? root : `${owner.uid}:${owner.gid}:${root}`;
      const known = find(key);
      if (known !== undefined) return known;
      // While it is being made its names are not durable yet, even where they can be opened already.
      const mailbox = making.has(key) ? undefined : openMailbox(root, owner);
      return mailbox === undefined ? createAndLease(key, root, owner) : add(key, mailbox);
    },
    close() {
      for (const entry of entries.values()) drop(entry);
    },
  };
}
