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
  const opened = new Map<
    string,
    { storage: Omit<Storage, 'close'>; uses: number; problem: (text: string) => void }
  >();
  return (spoolDirectory, problem) => {
    let found = opened.get(spoolDirectory);
    if (found === undefined) {
      const tell = (text: string): void => opened.get(spoolDirectory)?.problem(text);
      const spool = openLmdbSpool({
        directory: path.join(spoolDirectory, 'spool'),
        onCorrupt: (id, error) => tell(`${id} cannot be read and is left alone: ${error.message}`),
      });
      const hints = openLmdbHints({ directory: path.join(spoolDirectory, 'hints') });
      found = { storage: { spool, hints }, uses: 0, problem };
      opened.set(spoolDirectory, found);
    }
    const { storage } = found;
    const entry = found;
    entry.uses++;
    // The newest edge's logs.
    entry.problem = problem;
    return {
      ...storage,
      async close() {
        if (--entry.uses > 0) return;
        opened.delete(spoolDirectory);
        await storage.spool.close();
        await storage.hints.close();
      },
    };
  };
}
