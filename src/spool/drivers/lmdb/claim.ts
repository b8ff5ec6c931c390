import { MailError } from '../../../mail/mail-error.ts';
import type { QueueId } from '../../../mail/message-id.ts';
import type { Claim, ClaimOptions } from '../../spool.ts';
import { memorySource } from './content.ts';
import type { SpoolContext } from './context.ts';
import {
  afterDueKey,
  bucketStart,
  decodeDueKey,
  decodeDueValue,
  encodeDueKey,
  encodeDueValue,
  frozenBucket,
  unclaimedBucket,
} from './due-index.ts';
import { dueKeyOf } from './encoding.ts';
import { refresh } from './environment.ts';
import { loadEntry, readHead, replaceHead, type LoadedEntry } from './rows.ts';

/** Content held in memory by the claims of one call; further messages are left for the next call. */
const maxClaimBytes = 16 * 2 ** 20;
/** Leases ended in one transaction, which runs on the event loop. */
const maxReap = 2000;
/** An entry that cannot be read is looked at again after this time (a newer program may read it then). */
const corruptRetryMs = 3_600_000;

/** Spool.claim: one transaction that ends void leases and takes new ones. */
export async function claimDue(context: SpoolContext, options: ClaimOptions): Promise<readonly Claim[]> {
  const max = Math.floor(options.max);
  if (max <= 0) return [];
  const forced = options.id !== undefined || options.force !== undefined;
  // Most calls find nothing: they must not cost a write.
  if (!forced && (nextDue(context) ?? Infinity) > options.nowMs) return [];
  return context.group.run('required', 0, () => {
    const claims: Claim[] = [];
    reap(context, options.nowMs);
    let bytes = 0;
    for (const candidate of candidates(context, options, max)) {
      if (claims.length >= max || (claims.length > 0 && bytes > maxClaimBytes)) break;
      const claim = lease(context, candidate, options);
      if (claim === undefined) continue;
      claims.push(claim);
      bytes += claim.content.bytes?.length ?? 0;
    }
    return claims;
  });
}

interface Candidate {
  readonly id: QueueId;
  /** Where the index has it; undefined for one asked for by id. */
  readonly key: Buffer | undefined;
}

function* candidates(context: SpoolContext, options: ClaimOptions, max: number): Generator<Candidate> {
  if (options.id !== undefined) {
    yield { id: options.id, key: undefined };
    return;
  }
  const until = options.force === undefined ? options.nowMs : Infinity;
  yield* inBucket(context, unclaimedBucket, until, max);
  if (options.force === 'frozen') yield* inBucket(context, frozenBucket, Infinity, max);
}

/** In batches, each read to its end before the caller changes the index, and a batch more where some were skipped. */
function* inBucket(
  context: SpoolContext,
  bucket: number,
  untilMs: number,
  max: number,
): Generator<Candidate> {
  const end = untilMs === Infinity ? nextBucket(bucket) : afterDueKey(bucket, untilMs);
  let start = bucketStart(bucket);
  for (;;) {
    const keys = [...context.databases.due.getKeys({ start, end, limit: max + 1 })];
    for (const key of keys) {
      const decoded = decodeDueKey(key);
      if (decoded === undefined) context.databases.due.removeSync(key);
      else yield { id: decoded.id, key };
    }
    const last = keys.at(-1);
    if (last === undefined || keys.length <= max) return;
    start = Buffer.concat([last, Buffer.alloc(1)]);
  }
}

function nextBucket(bucket: number): Buffer {
  return bucket === frozenBucket ? Buffer.alloc(29, 0xff) : bucketStart(bucket + 1);
}

/** Takes the lease of a candidate; undefined where it may not be taken or cannot be read. */
function lease(context: SpoolContext, candidate: Candidate, options: ClaimOptions): Claim | undefined {
  const { databases, owners } = context;
  const { id, key } = candidate;
  let loaded: LoadedEntry | undefined;
  try {
    loaded = loadEntry(databases, id);
    if (loaded !== undefined) checkBody(context, id, loaded);
  } catch (error) {
    setAside(context, id, key, options.nowMs, error);
    return undefined;
  }
  if (loaded === undefined) {
    if (key !== undefined) databases.due.removeSync(key);
    return undefined;
  }
  const { entry, message, head } = loaded;
  if (head.frozenAtMs !== undefined && options.force !== 'frozen') return undefined;
  if (options.id !== undefined && options.force === undefined && head.dueMs > options.nowMs) return undefined;
  const leased = head.owner !== 0 && head.leaseUntilMs > options.nowMs && !owners.isVoid(head.owner);
  if (leased) return undefined;
  const taken = {
    ...head,
    owner: owners.self,
    token: head.token + 1,
    leaseUntilMs: options.nowMs + options.leaseMs,
  };
  if (key !== undefined && !key.equals(dueKeyOf(id, head))) databases.due.removeSync(key);
  replaceHead(databases, id, head, taken);
  const content =
    message.bodyOwner === 0
      ? memorySource(message.content)
      : context.bodies.source(id, message.bodyOwner, entry.size);
  return { entry, content, token: String(taken.token) };
}

function checkBody(context: SpoolContext, id: QueueId, loaded: LoadedEntry): void {
  const { bodyOwner, record } = loaded.message;
  if (bodyOwner === 0) return;
  const size = context.bodies.sizeOf(id, bodyOwner);
  if (size === undefined) throw new MailError('CORRUPT', 'the content file is missing');
  if (size !== record.size)
    throw new MailError('CORRUPT', `the content file has ${size} octets, not ${record.size}`);
}

/** Keeps what cannot be read, reports it, and puts it off so that it does not stand before the others. */
function setAside(
  context: SpoolContext,
  id: QueueId,
  key: Buffer | undefined,
  nowMs: number,
  error: unknown,
): void {
  context.onCorrupt(id, error instanceof Error ? error : new Error(String(error)));
  if (key === undefined) return;
  const later = nowMs + corruptRetryMs;
  context.databases.due.removeSync(key);
  context.databases.due.putSync(encodeDueKey(unclaimedBucket, later, id), encodeDueValue(later));
}

/** Ends leases that are over: those of processes that are gone, all; those of live ones, by time. */
export function reap(context: SpoolContext, nowMs: number): void {
  const { databases, owners } = context;
  let left = maxReap;
  for (const bucket of ownerBuckets(context)) {
    const isVoid = owners.isVoid(bucket);
    const end = isVoid ? nextBucket(bucket) : afterDueKey(bucket, nowMs);
    const keys = [...databases.due.getKeys({ start: bucketStart(bucket), end, limit: left })];
    for (const key of keys) endLease(context, key, nowMs);
    left -= keys.length;
    if (left <= 0) return;
    if (isVoid) owners.remove(bucket);
  }
}

function endLease(context: SpoolContext, key: Buffer, nowMs: number): void {
  const { databases } = context;
  const id = decodeDueKey(key)?.id;
  if (id === undefined) {
    databases.due.removeSync(key);
    return;
  }
  try {
    const head = readHead(databases, id);
    if (head === undefined) throw new MailError('CORRUPT', 'half of the entry is missing');
    if (!key.equals(dueKeyOf(id, head))) databases.due.removeSync(key);
    else replaceHead(databases, id, head, { ...head, owner: 0, leaseUntilMs: 0 });
  } catch (error) {
    setAside(context, id, key, nowMs, error);
  }
}

/** Owners that have leases, by one seek each. */
function ownerBuckets(context: SpoolContext): number[] {
  const buckets: number[] = [];
  let bucket = unclaimedBucket + 1;
  for (;;) {
    const [key] = context.databases.due.getKeys({
      start: bucketStart(bucket),
      end: bucketStart(frozenBucket),
      limit: 1,
    });
    const found = key === undefined ? undefined : decodeDueKey(key)?.bucket;
    if (found === undefined) return buckets;
    buckets.push(found);
    bucket = found + 1;
  }
}

/** Spool.nextDueAtMs: some seeks in the index. */
export function nextDue(context: SpoolContext): number | undefined {
  refresh(context.databases);
  const { due } = context.databases;
  let earliest = Infinity;
  const firstOf = (bucket: number): void => {
    const [key] = due.getKeys({ start: bucketStart(bucket), end: nextBucket(bucket), limit: 1 });
    const time = key === undefined ? undefined : decodeDueKey(key)?.timeMs;
    if (time !== undefined) earliest = Math.min(earliest, time);
  };
  firstOf(unclaimedBucket);
  for (const bucket of ownerBuckets(context)) {
    if (!context.owners.isVoid(bucket)) firstOf(bucket);
    else {
      for (const { value } of due.getRange({ start: bucketStart(bucket), end: nextBucket(bucket) })) {
        earliest = Math.min(earliest, decodeDueValue(value));
      }
    }
  }
  return earliest === Infinity ? undefined : earliest;
}
