import fs from 'node:fs';
import path from 'node:path';
import { open, type Database } from 'lmdb';
import { MailError } from '../../mail/mail-error.ts';
import type { Hints, HintsDatabase } from '../hints.ts';

export interface LmdbHintsOptions {
  /** Made where it does not exist; a folder of its own. */
  readonly directory: string;
  /** Most records a database keeps, but for a thousandth: a new one then replaces one that expires soon. 100,000. */
  readonly maxRecords?: number;
}

/** Octets of a key, below lmdb's bound of 1,978. A record with a longer one is not kept; hints may be lost. */
const maxKeyBytes = 1900;
/** Records looked at to find the one to give up, and walked in one go by tidy and entries. */
const sample = 16;
const batch = 512;

/**
 * Hints in lmdb, shared by processes. A value is the expiry as a double, then the record as JSON.
 *
 * Kept in an environment apart from the spool, with lmdb-js's `overlappingSync` (its default): a put resolves when the
 * commit is visible, and the disk follows later without the file ever being torn. Nobody waits for the disk.
 */
export function openLmdbHints(options: LmdbHintsOptions): Hints {
  const maxRecords = options.maxRecords ?? 100_000;
  // Counting costs as much as writing.
  const countEvery = Math.max(1, Math.floor(maxRecords / 1000));
  fs.mkdirSync(options.directory, { recursive: true, mode: 0o750 });
  const databaseDirectory = path.join(options.directory, 'db');
  fs.mkdirSync(databaseDirectory, { recursive: true, mode: 0o750 });
  const root = open<Buffer, Buffer>({
    path: databaseDirectory,
    noSubdir: false,
    // See the spool driver: otherwise a failed transaction rejects a promise nobody can reach.
    eventTurnBatching: false,
    encoding: 'binary',
    keyEncoding: 'binary',
    mapSize: 2 ** 28,
    maxDbs: 8,
    maxReaders: 512,
  });
  const openOne = (name: HintsDatabase): Store => {
    const db = root.openDB<Buffer, Buffer>(name, { encoding: 'binary', keyEncoding: 'binary' });
    return { db, cursor: undefined, shrinking: undefined, uncounted: 0 };
  };
  const stores: Readonly<Record<HintsDatabase, Store>> = {
    callout: openOne('callout'),
    retry: openOne('retry'),
    wait: openOne('wait'),
  };
  let closed = false;

  const storeOf = (name: HintsDatabase): Store => {
    if (closed) throw new MailError('CLOSED', 'the hints are closed');
    return stores[name];
  };

  /** Gives up what is above the bound and a little more, so that not every further put has to. */
  const shrink = (store: Store): Promise<void> => {
    const evict = async (): Promise<void> => {
      try {
        const surplus = Math.min(batch, entryCount(store.db) - maxRecords + Math.floor(maxRecords / 64));
        await writing(() =>
          root.transaction(() => {
            for (let i = 0; i < surplus; i++) {
              const victim = nextVictim(store);
              if (victim !== undefined) store.db.removeSync(victim);
            }
          }),
        );
      } finally {
        store.shrinking = undefined;
      }
    };
    store.shrinking ??= evict();
    return store.shrinking;
  };

  return {
    get: (name, key, nowMs) => {
      const { db } = storeOf(name);
      const encoded = encodeKey(key);
      // Valid until the next read only, which is after the parse.
      const value = encoded === undefined ? undefined : db.getBinaryFast(encoded);
      return value === undefined ? undefined : decode(value, nowMs);
    },

    put: async (name, key, record, expiresAtMs) => {
      const store = storeOf(name);
      const { db } = store;
      const encoded = encodeKey(key);
      if (encoded === undefined) return;
      const value = encode(record, expiresAtMs);
      await writing(() => db.put(encoded, value));
      if (++store.uncounted < countEvery) return;
      store.uncounted = 0;
      while (!closed && entryCount(db) > maxRecords) await shrink(store);
    },

    delete: async (name, key) => {
      const { db } = storeOf(name);
      const encoded = encodeKey(key);
      if (encoded !== undefined) await writing(() => db.remove(encoded));
    },

    entries: (name, prefix, nowMs) => liveEntries(storeOf(name).db, prefix, nowMs),

    tidy: async (name, nowMs) => {
      const { db } = storeOf(name);
      let removed = 0;
      for (let start: Buffer | undefined = Buffer.alloc(1); start !== undefined && !closed; ) {
        const found: { key: Buffer; value: Buffer }[] = [...db.getRange({ start, limit: batch })];
        const expired = found.filter(({ value }) => expiryOf(value) <= nowMs).map(({ key }) => key);
        if (expired.length > 0) {
          await writing(() =>
            root.transaction(() => {
              for (const key of expired) {
                // Another process may have renewed it since.
                const value = db.getBinary(key);
                if (value === undefined || expiryOf(value) > nowMs) continue;
                db.removeSync(key);
                removed++;
              }
            }),
          );
        }
        start = found.length < batch ? undefined : after(found.at(-1)?.key);
        if (start !== undefined) await new Promise((resolve) => setImmediate(resolve));
      }
      return removed;
    },

    close: async () => {
      if (closed) return;
      closed = true;
      await root.close();
    },
  };
}

interface Store {
  readonly db: Database<Buffer, Buffer>;
  /** Where the search for a record to give up goes on. */
  cursor: Buffer | undefined;
  /** The eviction under way: one at a time. */
  shrinking: Promise<void> | undefined;
  /** Records written since they were last counted. */
  uncounted: number;
}

/** Records in the committed state. */
function entryCount(db: Database<Buffer, Buffer>): number {
  const stats: { entryCount?: unknown } = db.getStats();
  return typeof stats.entryCount === 'number' ? stats.entryCount : 0;
}

/** Of the next few records the one that expires first. */
function nextVictim(store: Store): Buffer | undefined {
  let victim: Buffer | undefined;
  let earliest = Infinity;
  let last: Buffer | undefined;
  for (const { key, value } of store.db.getRange({ start: store.cursor ?? Buffer.alloc(1), limit: sample })) {
    last = key;
    const expiry = expiryOf(value);
    if (expiry >= earliest) continue;
    earliest = expiry;
    victim = key;
  }
  store.cursor = last === undefined ? undefined : after(last);
  return victim;
}

/** In batches, so that no snapshot is held while the caller takes its time. */
function* liveEntries(
  db: Database<Buffer, Buffer>,
  prefix: string,
  nowMs: number,
): Iterable<readonly [string, unknown, number]> {
  const first = Buffer.from(prefix, 'utf8');
  let start: Buffer | undefined = first.length === 0 ? Buffer.alloc(1) : first;
  while (start !== undefined) {
    const found: { key: Buffer; value: Buffer }[] = [...db.getRange({ start, limit: batch })];
    for (const { key, value } of found) {
      const text = Buffer.from(key).toString('utf8');
      if (!text.startsWith(prefix)) return;
      const record = decode(value, nowMs);
      if (record !== undefined) yield [text, record, expiryOf(value)];
    }
    start = found.length < batch ? undefined : after(found.at(-1)?.key);
  }
}

/** The least key above `key`. */
function after(key: Buffer | undefined): Buffer | undefined {
  return key === undefined ? undefined : Buffer.concat([key, Buffer.alloc(1)]);
}

function encodeKey(key: string): Buffer | undefined {
  if (key === '') return undefined;
  const encoded = Buffer.from(key, 'utf8');
  return encoded.length > maxKeyBytes ? undefined : encoded;
}

function encode(record: unknown, expiresAtMs: number): Buffer {
  const json = JSON.stringify(record) ?? 'null';
  const value = Buffer.allocUnsafe(8 + 3 * json.length);
  value.writeDoubleLE(expiresAtMs, 0);
  return value.subarray(0, 8 + value.write(json, 8, 'utf8'));
}

/** Undefined for an expired record, and for one that cannot be read: a hint less. */
function decode(value: Buffer, nowMs: number): unknown {
  if (!(expiryOf(value) > nowMs)) return undefined;
  try {
    return JSON.parse(value.toString('utf8', 8, value.length));
  } catch {
    return undefined;
  }
}

function expiryOf(value: Buffer): number {
  return value.length < 8 ? -Infinity : value.readDoubleLE(0);
}

/** lmdb-js rejects with "Commit failed" and tells the reason in a second promise, which must not go unhandled. */
async function writing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    let cause: unknown = error;
    if (error instanceof Error && 'commitError' in error) {
      cause = await Promise.resolve(error.commitError).catch((reason: unknown) => reason);
    }
    throw new MailError('IO', 'a hint could not be written', { cause });
  }
}
