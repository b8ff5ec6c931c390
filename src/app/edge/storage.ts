/** The spool and the hints of a folder, shared by the edges of one process. */
import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openLmdbHints } from '../../hints/drivers/lmdb.ts';
import type { Hints } from '../../hints/hints.ts';
import { openLmdbSpool } from '../../spool/drivers/lmdb/lmdb-spool.ts';
import type { Spool } from '../../spool/spool.ts';

export interface Storage {
  readonly spool: Spool;
  readonly hints: Hints;
  /** A name of the spool that no other has, the same for ever. */
  readonly instance: string;
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
    const { spool, hints, instance } = shared;
    return {
      spool,
      hints,
      instance,
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
  readonly instance: string;
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
  return { spool, hints, instance: instanceOf(spoolDirectory), listener, uses: 0 };
}

/** Made with the spool. Of two processes that make it at once, one's name stands. */
function instanceOf(spoolDirectory: string): string {
  const file = path.join(spoolDirectory, 'instance');
  for (;;) {
    const existed = existsSync(file);
    const found = existed ? readFileSync(file, 'latin1').trim() : '';
    if (/^[0-9a-f]{32}$/.test(found)) return found;
    const fresh = `${file}.${process.pid}`;
    writeFileSync(fresh, `${randomBytes(16).toString('hex')}\n`, { mode: 0o640, flush: true });
    // One that is there and holds no name is broken: it is replaced. One that came meanwhile is another process's, and stands.
    if (!linked(fresh, file) && existed) renameSync(fresh, file);
    rmSync(fresh, { force: true });
  }
}

/** False where the file is there already. */
function linked(fresh: string, file: string): boolean {
  try {
    linkSync(fresh, file);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}
