/** The journal of transfers in lmdb: two generations, of which the older is dropped when the younger has had its time. */
import fs from 'node:fs';
import path from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import type { JournalEntry, TransferJournal } from '../../transfer-journal.ts';

export interface LmdbJournalOptions {
  /** A folder of its own; made where it does not exist. */
  readonly directory: string;
  /** A transfer is remembered at least so long, and at most twice as long, milliseconds. */
  readonly keepMs: number;
  /** Entries of a generation; when there are more the older generation is dropped early. Default 500,000. */
  readonly maxEntries?: number;
  readonly nowMs?: () => number;
}

interface Opened {
  readonly root: RootDatabase<Buffer, string>;
  readonly generations: readonly [Database<Buffer, string>, Database<Buffer, string>];
  /** Keys announced and not known to be stored. */
  readonly unfinished: Database<Buffer, string>;
  readonly meta: Database<Buffer, string>;
  readonly state: State;
  /** Entries of the younger generation. */
  count: number;
  uses: number;
}

/** One opening for each folder: a second in the same process would wait for lmdb's writer, which waits for this thread (SIGHUP). */
const opened = new Map<string, Opened>();

/** Octets of a key, below lmdb's bound. */
const maxKeyOctets = 1500;

export function openLmdbJournal(options: LmdbJournalOptions): TransferJournal {
  const { directory, keepMs, maxEntries = 500_000, nowMs = Date.now } = options;
  const shared = opened.get(directory) ?? openEnvironment(directory);
  opened.set(directory, shared);
  shared.uses++;
  const { root, generations, unfinished, meta, state } = shared;
  let closing = false;

  /** Within a transaction: makes room for one more. */
  function turn(): void {
    const now = nowMs();
    if (now - state.sinceMs < keepMs && shared.count < maxEntries) return;
    state.current = state.current === 0 ? 1 : 0;
    state.sinceMs = now;
    generations[state.current].clearSync();
    shared.count = 0;
    meta.putSync('state', Buffer.from(JSON.stringify(state), 'latin1'));
  }

  function put(key: string, entry: JournalEntry, stored: boolean): Promise<unknown> {
    return root.transaction(() => {
      turn();
      if (!generations[state.current].doesExist(key)) shared.count++;
      const value = JSON.stringify({ ...entry, ...(stored ? { stored: true } : {}) });
      generations[state.current].putSync(key, Buffer.from(value, 'latin1'));
      if (stored) unfinished.removeSync(key);
      else unfinished.putSync(key, Buffer.alloc(0));
    });
  }

  const journal: TransferJournal = {
    find(key) {
      if (key.length > maxKeyOctets) return undefined;
      for (const generation of [state.current, 1 - state.current] as const) {
        const value = (generation === 0 ? generations[0] : generations[1]).get(key);
        const entry = value === undefined ? undefined : read(value);
        if (entry !== undefined) return entry;
      }
      return undefined;
    },
    async announce(key, entry) {
      if (key.length > maxKeyOctets) return;
      await put(key, entry, false);
    },
    async stored(key, entry) {
      if (key.length > maxKeyOctets || closing) return;
      await put(key, entry, true).catch(() => undefined);
    },
    async forget(key) {
      if (closing) return;
      await root
        .transaction(() => {
          for (const generation of generations) generation.removeSync(key);
          unfinished.removeSync(key);
        })
        .catch(() => undefined);
    },
    unfinished: () =>
      [...unfinished.getKeys()].flatMap((key) => {
        const entry = journal.find(key);
        return entry === undefined || entry.stored ? [] : [{ ...entry, key }];
      }),
    async close() {
      closing = true;
      if (--shared.uses > 0) return;
      opened.delete(directory);
      await root.close();
    },
  };
  return journal;
}

function openEnvironment(directory: string): Opened {
  fs.mkdirSync(directory, { recursive: true, mode: 0o750 });
  const root = open<Buffer, string>({
    path: path.join(directory, 'db'),
    noSubdir: false,
    // As the spool's: a promise resolves after the disk has it, and failures reach the caller.
    overlappingSync: false,
    eventTurnBatching: false,
    encoding: 'binary',
    mapSize: 2 ** 28,
    maxDbs: 6,
    maxReaders: 128,
  });
  const byKey = { encoding: 'binary' } as const;
  const generations = [root.openDB('even', byKey), root.openDB('odd', byKey)] as const;
  const meta: Database<Buffer, string> = root.openDB('meta', byKey);
  const known = meta.get('state');
  const state = readState(known);
  // Else the time of the first generation would begin anew with each start.
  if (known === undefined) meta.putSync('state', Buffer.from(JSON.stringify(state), 'latin1'));
  return {
    root,
    generations,
    unfinished: root.openDB('unfinished', byKey),
    meta,
    state,
    count: generations[state.current].getCount(),
    uses: 0,
  };
}

interface State {
  current: 0 | 1;
  sinceMs: number;
}

function readState(stored: Buffer | undefined): State {
  const value = parsed(stored);
  const { current, sinceMs } = (value ?? {}) as { current?: unknown; sinceMs?: unknown };
  return { current: current === 1 ? 1 : 0, sinceMs: typeof sinceMs === 'number' ? sinceMs : Date.now() };
}

function read(value: Buffer): (JournalEntry & { readonly stored: boolean }) | undefined {
  const entry = parsed(value);
  if (typeof entry !== 'object' || entry === null || !('session' in entry)) return undefined;
  const { session, token, stored } = entry as { session: unknown; token?: unknown; stored?: unknown };
  if (typeof session !== 'string') return undefined;
  return { session, stored: stored === true, ...(typeof token === 'string' ? { token } : {}) };
}

function parsed(value: Buffer | undefined): unknown {
  try {
    return value === undefined ? undefined : JSON.parse(value.toString('latin1'));
  } catch {
    return undefined;
  }
}
