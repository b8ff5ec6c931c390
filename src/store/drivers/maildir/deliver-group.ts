/** Delivery of one text to several mailboxes: one file is written, the others are hard links to it. */
import { closeSync } from 'node:fs';
import type { StoreDelivery, StoreOutcome } from '../../mail-store.ts';
import {
  type Disk,
  discardFile,
  type NameOrder,
  type NameResult,
  type NameResults,
  type NamesOrder,
} from './disk.ts';
import type { Durability } from './durability.ts';
import { errorText } from '../../../mail/error-text.ts';
import { failureCode, failureOutcome } from './failure.ts';
import type { Mailbox } from './mailbox.ts';
import type { Lease } from './mailboxes.ts';
import {
  type MessageFile,
  type OpenFile,
  type PreparedContent,
  preparedFile,
  streamFile,
} from './message-file.ts';
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
  readonly disk: Disk;
  /** For files that are written over time, which would hold up the others. */
  readonly large: Durability;
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
  const same = (other: Target): boolean => sameOwner(other.lease.mailbox, first.lease.mailbox);
  const linked = others.filter(same);
  const apart = others.filter((other) => !same(other));
  let placed: Placed;
  try {
    placed = await place(work, first, linked);
  } catch (error) {
    const open = (target: Target): boolean => work.outcomes[target.position] === undefined;
    const again = open(first) ? await afterFailedWrite(work, first, error) : [];
    return [...again, ...others.filter(open)];
  }
  const { file, targets, results } = placed;
  for (const [i, target] of targets.entries())
    if (!settleNamed(work, target, results[i], file, target === first ? nothing : linkFaults))
      apart.push(target);
  return apart;
}

interface Placed {
  readonly file: MessageFile;
  /** Those who were to get it: links, then the first, who gets the file itself. */
  readonly targets: readonly Target[];
  /** By their order. */
  readonly results: NameResults;
}

/** Rejects where the file could not be written. */
async function place(work: Work, first: Target, linked: readonly Target[]): Promise<Placed> {
  const { mailbox } = first.lease;
  const { prepared, delivery, disk } = work;
  const trace = delivery.trace(first.position);
  const announced = [first, ...linked].some((t) => delivery.recipients[t.position]?.announce !== undefined);
  if (prepared !== undefined && !announced) {
    const { file, order } = preparedFile(mailbox, trace, prepared);
    const { targets, names } = namesOf(file, first, linked, new Map(), nobody);
    return { file, targets, results: await disk.deliver(order, names) };
  }
  let file: MessageFile;
  let written: Promise<void>;
  if (prepared === undefined) {
    const open = await streamFile(mailbox, trace, delivery.content, work.signal);
    file = open.file;
    written = endStream(work, open, mailbox.device);
  } else {
    const { file: next, order } = preparedFile(mailbox, trace, prepared);
    file = next;
    written = disk.write(order);
  }
  const told = new Map<Target, string>();
  const [silent, end] = await Promise.allSettled([announceAll(work, file, first, linked, told), written]);
  if (end.status === 'rejected') throw end.reason;
  const { targets, names } = namesOf(
    file,
    first,
    linked,
    told,
    silent.status === 'fulfilled' ? silent.value : nobody,
  );
  return { file, targets, results: await disk.publish(file.path, names) };
}

const nobody: ReadonlySet<Target> = new Set();

/** @param told names that were announced @param silent who gets none */
function namesOf(
  file: MessageFile,
  first: Target,
  linked: readonly Target[],
  told: ReadonlyMap<Target, string>,
  silent: ReadonlySet<Target>,
): { readonly targets: readonly Target[]; readonly names: NamesOrder } {
  const linking = linked.filter((target) => !silent.has(target));
  const links = linking.map((target) => nameIn(target, told.get(target) ?? nameFor(file)));
  const rename = silent.has(first) ? undefined : nameIn(first, file.name);
  const targets = rename === undefined ? linking : [...linking, first];
  return { targets, names: { device: first.lease.mailbox.device, links, rename } };
}

/** Another name for the file. */
function nameFor({ storedBytes, virtualBytes }: MessageFile): string {
  return sizedName(uniqueBase(), storedBytes, virtualBytes);
}

function nameIn({ lease: { mailbox } }: Target, name: string): NameOrder {
  return { path: mailbox.fresh + name, folderFd: mailbox.newFd };
}

/** Where the file system or the owners do not allow a link, or the folder is gone, the target is left to a file of its own. */
const linkFaults: ReadonlySet<string> = new Set(['EXDEV', 'EMLINK', 'EPERM', 'EOPNOTSUPP', 'ENOENT']);
const nothing: ReadonlySet<string> = new Set();

/**
 * Gives false where the name was refused with one of the codes that are left to a second try. A name that may not be durable stays
 * in new/: the message is whole, and the sender's second try is a duplicate rather than a loss.
 */
function settleNamed(
  work: Work,
  target: Target,
  result: NameResult | undefined,
  { storedBytes, virtualBytes }: MessageFile,
  leftOver: ReadonlySet<string>,
): boolean {
  if (result?.kind === 'durable') settle(work, target, { kind: 'stored', storedBytes, virtualBytes });
  else {
    const code = failureCode(result?.error);
    if (result?.kind === 'unnamed' && leftOver.has(code)) return false;
    const stale = result?.kind === 'unnamed' && code === 'ENOENT';
    settle(work, target, failureOutcome(result?.error, target.lease.mailbox.path), stale);
  }
  return true;
}

async function endStream(work: Work, { file, fd }: OpenFile, device: number): Promise<void> {
  try {
    await work.large.file({ fd, device });
  } catch (error) {
    discardFile(fd, file.path);
    throw error;
  }
  closeSync(fd);
}

/** Tells those who want to know it where the message will be; gives whom that failed for, whose outcome is set. */
async function announceAll(
  work: Work,
  file: MessageFile,
  first: Target,
  others: readonly Target[],
  told: Map<Target, string>,
): Promise<ReadonlySet<Target>> {
  const silent = new Set<Target>();
  await Promise.all(
    [first, ...others].map(async (target) => {
      const { announce } = work.delivery.recipients[target.position] ?? {};
      if (announce === undefined) return;
      const name = target === first ? file.name : nameFor(file);
      told.set(target, name);
      try {
        await announce(`${target.lease.mailbox.path}/${name}`);
      } catch (error) {
        silent.add(target);
        settle(work, target, { kind: 'unavailable', reason: `journal of transfers: ${errorText(error)}` });
      }
    }),
  );
  return silent;
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

function sameOwner(a: Mailbox, b: Mailbox): boolean {
  return a.fileMode === b.fileMode && a.owner?.uid === b.owner?.uid && a.owner?.gid === b.owner?.gid;
}

function settle(work: Work, target: Target, outcome: StoreOutcome, stale = false): void {
  work.outcomes[target.position] = outcome;
  target.lease.release(stale);
}
