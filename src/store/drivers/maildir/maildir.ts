/** The mail store driver for Maildir, compatible with Dovecot reading and writing the same Maildirs. */
import { expandMailLocation } from '../../../mail/mail-location.ts';
import type { MailUser } from '../../../mail/mail-user.ts';
import type { MailStore, StoreDelivery, StoreOutcome, StoreRecipient } from '../../mail-store.ts';
import { storeGroup } from './deliver-group.ts';
import type { Target, Work } from './deliver-group.ts';
import { type Disk, diskHere } from './disk.ts';
import { diskThread } from './disk-thread.ts';
import { type Durability, eachByItself, noDurability } from './durability.ts';
import { errorText } from '../../../mail/error-text.ts';
import { failureOutcome } from './failure.ts';
import type { Layout } from './folder-path.ts';
import { groupedDisk } from './grouped-disk.ts';
import type { Place } from './mailbox.ts';
import { holdsMessage } from './holds.ts';
import { mailboxSet } from './mailboxes.ts';
import { prepareContent } from './message-file.ts';
import { subscribe } from './subscriptions.ts';
import { maildirRule, ownerRule, placeOf } from './place.ts';
import { tmpCleaner } from './tmp-cleaner.ts';
import { flushesWhole, loadSyncfs } from './syncfs.ts';
import type { Owner } from './walk.ts';

export interface MaildirOptions {
  /** Where mail lies of users whose directory entry does not say it, as Dovecot's `mail_location`: `maildir:/var/vmail/%u`. Without it they cannot get mail. */
  readonly location?: string;
  /** How folders lie in Maildirs of users of whom nothing else is said. Default `maildir++`. */
  readonly layout?: Layout;
  /**
   * Owner of the mail of users without uid or gid, as Dovecot's `mail_uid` and `mail_gid`. Only root changes owners:
   * in another process every uid and gid is passed over, and files belong to that process.
   */
  readonly uid?: number;
  readonly gid?: number;
  /**
   * Dovecot's `mail_fsync`. With `optimized`, the default, and `always` file and name are durable before the answer;
   * `always` flushes each by itself, `optimized` groups deliveries where the file system allows it (grouped-disk.ts).
   */
  readonly fsync?: 'optimized' | 'always' | 'never';
  /** Maildirs kept open, at two descriptors each. Default 1,024. */
  readonly maxOpenMailboxes?: number;
  /** Told of what did not keep mail from being stored, such as a folder that could not be subscribed. Must not throw. */
  readonly onProblem?: (text: string) => void;
}

/** Opens the store. Mailboxes are made when mail first comes for them; a location that no user could have throws. */
export function openMaildirStore(options: MaildirOptions): MailStore {
  if (options.location !== undefined) {
    const probe = expandMailLocation(options.location, { username: 'user@example.test', home: '/home/user' });
    if (probe.kind === 'refused') throw new Error(probe.reason);
  }
  const durability = options.fsync === 'never' ? noDurability : eachByItself();
  const disk = openDisk(options, durability);
  const cleaner = tmpCleaner();
  const mailboxes = mailboxSet(
    options.maxOpenMailboxes ?? 1024,
    durability,
    (m) => cleaner.consider(m),
    subscribed,
  );
  const ownerOf = ownerRule(options);
  const maildirOf = maildirRule(options.location);
  const running = new Set<Promise<unknown>>();
  let closing = false;

  /** Mail for the folder is stored all the same, as Dovecot does it. */
  async function subscribed(place: Place): Promise<void> {
    if (place.folder === undefined) return;
    try {
      await subscribe(place, place.folder, durability);
    } catch (error) {
      options.onProblem?.(
        `${place.root}/subscriptions: ${place.folder.levels.join('/')}: ${errorText(error)}`,
      );
    }
  }

  async function open(work: Work, position: number, reopened: boolean): Promise<Target | undefined> {
    const recipient = recipientAt(work.delivery, position);
    const { user } = recipient;
    const location = maildirOf(user);
    if (location.kind === 'refused') {
      work.outcomes[position] = { kind: 'unavailable', reason: `${user.username}: ${location.reason}` };
      return undefined;
    }
    const owner = ownerOf(user);
    const place = placeOf(location, owner, recipient, options.layout);
    if (place.kind === 'invalid') {
      work.outcomes[position] = { kind: 'no-folder', reason: place.reason };
      return undefined;
    }
    try {
      const lease = mailboxes.lease(place.place, recipient.missingFolder);
      return { position, lease: lease instanceof Promise ? await lease : lease, reopened };
    } catch (error) {
      work.outcomes[position] = failureOutcome(error, location.path);
      return undefined;
    }
  }

  async function storePositions(work: Work, positions: readonly number[]): Promise<void> {
    const opened = await Promise.all(positions.map((position) => open(work, position, false)));
    await storeGroup(
      work,
      opened.filter((target) => target !== undefined),
    );
  }

  async function deliver(delivery: StoreDelivery, signal: AbortSignal): Promise<readonly StoreOutcome[]> {
    if (closing || signal.aborted) {
      const reason = closing ? 'the store is closing' : 'the delivery was given up';
      return delivery.recipients.map(() => ({ kind: 'unavailable', reason }));
    }
    const work: Work = {
      delivery,
      prepared: prepareContent(delivery.content),
      signal,
      disk,
      large: durability,
      outcomes: [],
      reopen: (position) => open(work, position, true),
    };
    const groups = groupPositions(delivery, ownerOf);
    await Promise.all(groups.map((positions) => storePositions(work, positions)));
    return delivery.recipients.map(
      (_, i) => work.outcomes[i] ?? { kind: 'unavailable', reason: 'no outcome' },
    );
  }

  return {
    deliver(delivery, signal) {
      const run = deliver(delivery, signal);
      running.add(run);
      return run.finally(() => running.delete(run));
    },
    holds: holdsMessage,
    async close() {
      closing = true;
      cleaner.close();
      await Promise.allSettled(running);
      await cleaner.idle();
      await disk.close();
      mailboxes.close();
    },
  };
}

/** Recipients whose files would be equal octet for octet and belong to one owner, in order of their first. */
function groupPositions(
  delivery: StoreDelivery,
  ownerOf: (user: MailUser) => Owner | undefined,
): readonly (readonly number[])[] {
  if (delivery.recipients.length === 1) return [[0]];
  const groups = new Map<string, number[]>();
  delivery.recipients.forEach((recipient, position) => {
    const owner = ownerOf(recipient.user);
    const key = `${owner === undefined ? '' : `${owner.uid}:${owner.gid}`} ${delivery.trace(position)}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [position]);
    else group.push(position);
  });
  return [...groups.values()];
}

/** Flushes are shared where the value allows it and there is a call for it (docs/decisions/0009). */
function openDisk({ fsync = 'optimized', onProblem }: MaildirOptions, durability: Durability): Disk {
  const here = diskHere(durability);
  if (fsync !== 'optimized' || loadSyncfs() === undefined) return here;
  return groupedDisk({
    here,
    suits: flushesWhole,
    thread: diskThread,
    slowMs: 250,
    slowInARow: 8,
    restMs: 10_000,
    onProblem: (text) => onProblem?.(text),
  });
}

function recipientAt(delivery: StoreDelivery, position: number): StoreRecipient {
  const recipient = delivery.recipients[position];
  if (recipient === undefined) throw new RangeError(`no recipient ${position}`);
  return recipient;
}
