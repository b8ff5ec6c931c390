import type { QueueId } from '../../../mail/message-id.ts';

/**
 * The index of what may be claimed when. A key is bucket (4 octets), time (8), queue id (16), all in an order that
 * octets compare in, so one seek finds the first of a bucket and one range gives all that is due:
 *
 * - bucket 0: unclaimed; the time is when the message is due
 * - bucket of an owner: claimed by it; the time is the end of the lease
 * - bucket `frozen`: never claimed; the time is when it was frozen
 */
export interface DueKey {
  readonly bucket: number;
  readonly timeMs: number;
  readonly id: QueueId;
}

export const unclaimedBucket = 0;
export const frozenBucket = 0xffff_ffff;
const keyLength = 28;

export function encodeDueKey(bucket: number, timeMs: number, id: string): Buffer {
  const key = Buffer.allocUnsafe(12 + id.length);
  key.writeUInt32BE(bucket, 0);
  // Doubles that are not negative compare as their octets do.
  key.writeDoubleBE(Math.max(0, timeMs), 4);
  key.write(id, 12, 'latin1');
  return key;
}

/** A key after every key of the bucket with a time up to `timeMs` (`~` follows all characters of a queue id). */
export function afterDueKey(bucket: number, timeMs: number): Buffer {
  return encodeDueKey(bucket, timeMs, '~');
}

/** A key before every key of the bucket. */
export function bucketStart(bucket: number): Buffer {
  return encodeDueKey(bucket, 0, '');
}

/** Undefined for a key that is none of ours (a damaged index). */
export function decodeDueKey(key: Uint8Array): DueKey | undefined {
  if (key.length !== keyLength) return undefined;
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  let id = '';
  for (let i = 12; i < keyLength; i++) id += String.fromCharCode(key[i] ?? 0);
  return { bucket: view.getUint32(0), timeMs: view.getFloat64(4), id: id as QueueId };
}

/** The value of an index entry: when the message is due, which for a claimed one is not in the key. */
export function encodeDueValue(dueMs: number): Buffer {
  const value = Buffer.allocUnsafe(8);
  value.writeDoubleBE(dueMs, 0);
  return value;
}

/** 0 (due at once) for a damaged value: better an early attempt than none. */
export function decodeDueValue(value: Buffer): number {
  return value.length === 8 ? value.readDoubleBE(0) : 0;
}
