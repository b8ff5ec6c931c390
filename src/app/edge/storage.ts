/** The spool and the hints of a folder, shared by the edges of one process. */
import path from 'node:path';
import { openLmdbHints } from '../../hints/drivers/lmdb.ts';
import type { Hints } from '../../hints/hints.ts';
import { openLmdbSpool } from '../../spool/drivers/lmdb/lmdb-spool.ts';
import type { Spool } from '../../spool/spool.ts';

export interface Storage {
  readonly spool: Spool;
  readonly hints: Hints;
  /** Gives up one use; the last one closes. */
  close(): Promise<void>;
}

/**
 * Opens `spool` and `hints` below a spool directory. `problem` is told of entries that cannot be read.
 * Throws what the drivers throw.
 */
export type OpenStorage = (spoolDirectory: string, problem: (text: string) => void) => Storage;

/**
 * Each folder is opened once, also while one edge ends and the next begins (SIGHUP): a second opening would wait for
 * lmdb's writer, which waits for this thread.
 */
export function sharedStorage(): OpenStorage {
  const opened = new Map<string, Shared>();
  return (spoolDirectory, problem) => {
    const shared = opened.get(spoolDirectory) ?? openShared(spoolDirectory, problem);
    opened.set(spoolDirectory, shared);
    shared.uses++;
    shared.listener.problem = problem;
    const { spool, hints } = shared;
    return {
      spool,
      hints,
      async close() {
        if (--shared.uses > 0) return;
        opened.delete(spoolDirectory);
        await spool.close();
        await hints.close();
      },
    };
  };
}

interface Shared {
  readonly spool: Spool;
  readonly hints: Hints;
  /** The newest edge's logs. */
  readonly listener: { problem: (text: string) => void };
  uses: number;
}

function openShared(spoolDirectory: string, problem: (text: string) => void): Shared {
  const listener = { problem };
  const spool = openLmdbSpool({
    directory: path.join(spoolDirectory, 'spool'),
    onCorrupt: (id, error) => listener.problem(`${id} cannot be read and is left alone: ${error.message}`),
  });
  const hints = openLmdbHints({ directory: path.join(spoolDirectory, 'hints') });
  return { spool, hints, listener, uses: 0 };
}
