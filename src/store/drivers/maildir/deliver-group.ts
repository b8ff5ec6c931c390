/** Delivery of one text to several mailboxes: one file is written, the others are hard links to it. */
import { closeSync, linkSync, renameSync } from 'node:fs';
import type { StoreDelivery, StoreOutcome } from '../../mail-store.ts';
import type { Durability } from './durability.ts';
import { errorText } from '../../../mail/error-text.ts';
import { failureCode, failureOutcome } from './failure.ts';
import type { Mailbox } from './mailbox.ts';
import type { Lease } from './mailboxes.ts';
import { discardFile, removeQuietly, writeMessage, writePrepared } from './message-file.ts';
import type { MessageFile, PreparedContent } from './message-file.ts';
import { sizedName, uniqueBase } from './names.ts';

/** A recipient whose mailbox is open. */
export interface Target {
  readonly position: number;
  readonly lease: Lease;
  /** Its mailbox was opened a second time, since the first was gone. */
  readonly reopened: boolean;
}

/** One transaction on its way into the mailboxes. */
export interface Work {
  readonly delivery: StoreDelivery;
  /** The content where it is small and in memory. */
  readonly prepared: PreparedContent | undefined;
  readonly signal: AbortSignal;
  readonly durability: Durability;
  /** By position; complete when every group has been stored. */
  readonly outcomes: (StoreOutcome | undefined)[];
  /** Opens a mailbox again that vanished while it was held open; undefined where that failed and the outcome is set. */
  reopen(position: number): Promise<Target | undefined>;
}

/**
 * Stores one text (trace and content) for all targets and sets the outcome of each. A target whose mailbox cannot be
 * linked to (another device, too many links, another owner) gets a file of its own, and so does the next one when the
 * first mailbox takes none.
 */
export async function storeGroup(work: Work, targets: readonly Target[]): Promise<void> {
  let rest = targets;
  for (let first = rest[0]; first !== undefined; first = rest[0]) {
    rest = await storeLinked(work, first, rest.slice(1));
  }
}

/** Answers the targets that still have no outcome. */
async function storeLinked(work: Work, first: Target, others: readonly Target[]): Promise<readonly Target[]> {
  let file: MessageFile;
  const names = new Map<Target, string>();
  let silent: ReadonlySet<Target>;
  try {
    ({ file, silent } = await writeDurably(work, first, others, names));
  } catch (error) {
    const open = (target: Target): boolean => work.outcomes[target.position] === undefined;
    const again = open(first) ? await afterFailedWrite(work, first, error) : [];
    return [...again, ...others.filter(open)];
  }
  const placed: Target[] = [];
  const apart: Target[] = [];
  // Links come before the rename: once in new/, a mail reader may move the file away.
  for (const other of others)
    if (!silent.has(other)) linkInto(work, file, first, other, names.get(other), placed, apart);
  try {
    if (silent.has(first)) removeQuietly(file.path);
    else {
      renameSync(file.path, first.lease.mailbox.fresh + file.name);
      placed.push(first);
    }
  } catch (error) {
    removeQuietly(file.path);
    settle(work, first, failureOutcome(error, first.lease.mailbox.path), failureCode(error) === 'ENOENT');
  }
  if (placed.length === 1 && placed[0] !== undefined) await makeNamesDurable(work, placed[0], file);
  else await Promise.all(placed.map((target) => makeNamesDurable(work, target, file)));
  return apart;
}

/** Writes for the first target and waits for the disk, and for the announcements of all: whose failed are `silent`. */
async function writeDurably(
  work: Work,
  target: Target,
  others: readonly Target[],
  names: Map<Target, string>,
): Promise<{ readonly file: MessageFile; readonly silent: ReadonlySet<Target> }> {
  const { mailbox } = target.lease;
  const trace = work.delivery.trace(target.position);
  const file =
    work.prepared === undefined
      ? await writeMessage(mailbox, trace, work.delivery.content, work.signal)
      : writePrepared(mailbox, trace, work.prepared);
  const announced = announceAll(work, file, target, others, names);
  let silent: ReadonlySet<Target> = nobody;
  try {
    const alone = work.prepared === undefined;
    const durable = work.durability.file({ fd: file.fd, device: mailbox.device, alone });
    if (announced === undefined) await durable;
    else [silent] = await Promise.all([announced, durable]);
  } catch (error) {
    // No word of this announcement may come when the next has been made.
    await announced;
    discardFile(file.fd, file.path);
    throw error;
  }
  closeSync(file.fd);
  return { file, silent };
}

const nobody: ReadonlySet<Target> = new Set();

/** Tells those who want to know it where the message will be; undefined where nobody does. */
function announceAll(
  work: Work,
  file: MessageFile,
  first: Target,
  others: readonly Target[],
  names: Map<Target, string>,
): Promise<ReadonlySet<Target>> | undefined {
  const tellers = [first, ...others].filter(
    (t) => work.delivery.recipients[t.position]?.announce !== undefined,
  );
  if (tellers.length === 0) return undefined;
  const silent = new Set<Target>();
  const told = tellers.map(async (target) => {
    const name = target === first ? file.name : sizedName(uniqueBase(), file.storedBytes, file.virtualBytes);
    names.set(target, name);
    try {
      await work.delivery.recipients[target.position]?.announce?.(`${target.lease.mailbox.path}/${name}`);
    } catch (error) {
      silent.add(target);
      settle(work, target, { kind: 'unavailable', reason: `journal of transfers: ${errorText(error)}` });
    }
  });
  return Promise.all(told).then(() => silent);
}

/** A mailbox that is gone is opened again, once; every other fault is the target's outcome. */
async function afterFailedWrite(work: Work, target: Target, error: unknown): Promise<readonly Target[]> {
  if (failureCode(error) !== 'ENOENT' || target.reopened) {
    settle(work, target, failureOutcome(error, target.lease.mailbox.path));
    return [];
  }
  target.lease.release(true);
  const again = await work.reopen(target.position);
  return again === undefined ? [] : [again];
}

/** Where the file system or the owners do not allow a link, or the folder is gone, the target is left to a file of its own. */
const linkFaults: ReadonlySet<string> = new Set(['EXDEV', 'EMLINK', 'EPERM', 'EOPNOTSUPP', 'ENOENT']);

function linkInto(
  work: Work,
  file: MessageFile,
  first: Target,
  other: Target,
  name: string | undefined,
  placed: Target[],
  apart: Target[],
): void {
  const { mailbox } = other.lease;
  if (!sameOwner(mailbox, first.lease.mailbox)) {
    apart.push(other);
    return;
  }
  try {
    linkSync(
      file.path,
      mailbox.fresh + (name ?? sizedName(uniqueBase(), file.storedBytes, file.virtualBytes)),
    );
    placed.push(other);
  } catch (error) {
    if (linkFaults.has(failureCode(error))) apart.push(other);
    else settle(work, other, failureOutcome(error, mailbox.path));
  }
}

function sameOwner(a: Mailbox, b: Mailbox): boolean {
  return a.fileMode === b.fileMode && a.owner?.uid === b.owner?.uid && a.owner?.gid === b.owner?.gid;
}

/** The message stays in new/ where this fails: it is whole, and the sender's second try is a duplicate rather than a loss. */
async function makeNamesDurable(work: Work, target: Target, file: MessageFile): Promise<void> {
  const { mailbox } = target.lease;
  const { storedBytes, virtualBytes } = file;
  try {
    await work.durability.folder({ fd: mailbox.newFd, device: mailbox.device });
    settle(work, target, { kind: 'stored', storedBytes, virtualBytes });
  } catch (error) {
    settle(work, target, failureOutcome(error, mailbox.path));
  }
}

function settle(work: Work, target: Target, outcome: StoreOutcome, stale = false): void {
  work.outcomes[target.position] = outcome;
  target.lease.release(stale);
}
