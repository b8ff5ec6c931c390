/** The mail store driver for mbox files, compatible with Dovecot reading and writing the same files at the same time. */
import { lstatSync } from 'node:fs';
import path from 'node:path';
import type { Awaitable } from '../../../mail/awaitable.ts';
import { errorText } from '../../../mail/error-text.ts';
import type { MailUser } from '../../../mail/mail-user.ts';
import type { MailStore, StoreDelivery, StoreOutcome, StoreRecipient } from '../../mail-store.ts';
import { eachByItself, noDurability } from '../maildir/durability.ts';
import { subscribe } from '../maildir/subscriptions.ts';
import type { Owner } from '../maildir/walk.ts';
import { prepare } from './append.ts';
import type { LockKind } from './lock.ts';
import { type MailboxFile, mailboxFile, type MboxPlaces } from './places.ts';
import { letterQueue } from './queue.ts';

export interface MboxOptions {
  /** Where a user's mail lies: Dovecot's `mbox:~/mail:INBOX=/var/mail/%u` in two paths. A text says why nowhere. */
  readonly locate: (user: MailUser) => Awaitable<MboxPlaces | { readonly refused: string }>;
  /** Owner of the mail of users without uid or gid. Only root changes owners; see `MaildirOptions`. */
  readonly uid?: number;
  readonly gid?: number;
  /** Dovecot's `mail_fsync`; all but `never` wait for the disk before the answer. Default `optimized`. */
  readonly fsync?: 'optimized' | 'always' | 'never';
  /** Dovecot's `mbox_write_locks`, of which the order does not matter here. Default `dotlock` and `fcntl`. */
  readonly locks?: readonly LockKind[];
  /** Dovecot's `mbox_lock_timeout`: longest wait for the locks, milliseconds. Default 5 minutes. */
  readonly lockTimeoutMs?: number;
  /** Dovecot's `mbox_dotlock_change_timeout`, milliseconds. Default 2 minutes. */
  readonly dotlockChangeTimeoutMs?: number;
  /** Told of what did not keep mail from being stored, such as a folder that could not be subscribed. Must not throw. */
  readonly onProblem?: (text: string) => void;
  /** Mailboxes open at one time, at four descriptors each. Default 128. */
  readonly maxOpenMailboxes?: number;
}

/** Opens the store. Mailboxes are made when mail first comes for them. */
export function openMboxStore(options: MboxOptions): MailStore {
  const durability = options.fsync === 'never' ? noDurability : eachByItself();
  const enqueue = letterQueue({
    kinds: options.locks ?? ['dotlock', 'fcntl'],
    lockTimeoutMs: options.lockTimeoutMs ?? 300_000,
    dotlockChangeTimeoutMs: options.dotlockChangeTimeoutMs ?? 120_000,
    durability,
    maxOpen: options.maxOpenMailboxes ?? 128,
  });
  const running = new Set<Promise<unknown>>();
  let closing = false;

  async function deliver(delivery: StoreDelivery, signal: AbortSignal): Promise<readonly StoreOutcome[]> {
    if (closing || signal.aborted) {
      const reason = closing ? 'the store is closing' : 'the delivery was given up';
      return delivery.recipients.map(() => ({ kind: 'unavailable', reason }));
    }
    const prepared = prepare(delivery);
    return Promise.all(
      delivery.recipients.map(async (recipient, position): Promise<StoreOutcome> => {
        const target = await find(options, recipient);
        if (target.kind === 'refused') return { kind: 'unavailable', reason: target.reason };
        if (target.kind === 'no-folder') return target;
        const owner = ownerOf(recipient.user, options);
        const folder = path.dirname(target.path);
        // A folder that users share, such as /var/mail, is not made to be one user's.
        const make = owner === undefined || recipient.user.uid === undefined || target.ownFolder;
        const place = { folder, name: path.basename(target.path), owner, make };
        const outcome = await new Promise<StoreOutcome>((answer) =>
          enqueue(place, { delivery, position, prepared, signal, answer }),
        );
        if (outcome.kind === 'stored' && target.kind === 'folder' && target.subscribe)
          await subscribed(target, owner);
        return outcome;
      }),
    );
  }

  /** Mail for the folder is stored all the same, as Dovecot does it. */
  async function subscribed({ folders, levels }: NewFolder, owner: Owner | undefined): Promise<void> {
    try {
      await subscribe({ root: folders, owner }, { layout: 'fs', levels }, durability, '.subscriptions');
    } catch (error) {
      options.onProblem?.(`${folders}/.subscriptions: ${levels.join('/')}: ${errorText(error)}`);
    }
  }

  return {
    deliver(delivery, signal) {
      const run = deliver(delivery, signal);
      running.add(run);
      return run.finally(() => running.delete(run));
    },
    async close() {
      closing = true;
      await Promise.allSettled(running);
    },
  };
}

type NewFolder = Extract<MailboxFile, { kind: 'folder' }>;
type Target = Exclude<MailboxFile, NewFolder> | (NewFolder & { readonly subscribe: boolean });

async function find({ locate }: MboxOptions, recipient: StoreRecipient): Promise<Target> {
  const { user, folder, missingFolder = 'refuse' } = recipient;
  const refused = (reason: string): Target => ({
    kind: 'refused',
    reason: `${user.username}: ${reason}`,
  });
  try {
    const places = await locate(user);
    if ('refused' in places) return refused(places.refused);
    const file = mailboxFile(places, folder);
    if (file.kind === 'refused') return refused(file.reason);
    if (file.kind !== 'folder') return file;
    const found = lstatSync(file.path, { throwIfNoEntry: false });
    if (found === undefined && missingFolder === 'refuse')
      return { kind: 'no-folder', reason: "Mailbox doesn't exist" };
    if (found?.isDirectory() === true) return { kind: 'no-folder', reason: 'the mailbox holds only folders' };
    return { ...file, subscribe: found === undefined && missingFolder === 'create-and-subscribe' };
  } catch (error) {
    return refused(errorText(error));
  }
}

function ownerOf(user: MailUser, options: MboxOptions): Owner | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const uid = user.uid ?? options.uid;
  const gid = user.gid ?? options.gid;
  // Mail of root in folders of root needs no change of owner.
  return uid === undefined || gid === undefined || (uid === 0 && gid === 0) ? undefined : { uid, gid };
}
