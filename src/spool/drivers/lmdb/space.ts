import fs from 'node:fs';
import { MailError } from '../../../mail/mail-error.ts';
import type { SpoolDatabases } from './environment.ts';

export interface SpaceLimits {
  readonly directory: string;
  /** Free space below which no message is taken, so that what is in the spool can still be recorded (Exim: check_spool_space). */
  readonly minFreeBytes: number;
  /** Most that the databases may hold, in octets of pages; content files not counted. */
  readonly maxDatabaseBytes: number;
}

export interface SpaceGuard {
  /** Throws MailError('NO_SPACE') where so many octets more should not be taken into the database or a content file. */
  admit(bytes: number, where: 'database' | 'file'): void;
  /** Says whether the file system is short of space now: the reason for a failed write that LMDB reports as EIO. */
  isFull(): boolean;
}

const intervalMs = 250;
/** More than one transaction writes at once (group-commit.ts bounds it), so one that failed for want of space had less. */
const nearlyFullBytes = 32 * 2 ** 20;

/** Asks the file system and the databases at intervals and counts what was admitted in between. */
export function spaceGuard(limits: SpaceLimits, databases: SpoolDatabases): SpaceGuard {
  let askedAt = -Infinity;
  let fileRoom = 0;
  let databaseRoom = 0;
  let reason = '';

  const ask = (): void => {
    askedAt = performance.now();
    fileRoom = freeBytes(limits.directory) - limits.minFreeBytes;
    // The database file never shrinks: what was freed inside it is room as well.
    const { used, reusable } = databaseUse(databases);
    databaseRoom = fileRoom + reusable;
    reason = 'not enough free space for the spool';
    if (limits.maxDatabaseBytes - used < databaseRoom) {
      databaseRoom = limits.maxDatabaseBytes - used;
      reason = 'the spool has reached its size limit';
    }
  };

  return {
    admit: (bytes, where) => {
      const room = (): number => (where === 'file' ? fileRoom : databaseRoom);
      if (performance.now() - askedAt > intervalMs || bytes > room()) ask();
      if (bytes > room()) throw new MailError('NO_SPACE', reason);
      if (where === 'file') fileRoom -= bytes;
      databaseRoom -= bytes;
    },
    isFull: () => {
      askedAt = -Infinity;
      return freeBytes(limits.directory) < nearlyFullBytes;
    },
  };
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = fs.statfsSync(directory);
  return bavail * bsize;
}

/** Octets of pages in use, and of pages in the file that are free for reuse. */
function databaseUse(databases: SpoolDatabases): { used: number; reusable: number } {
  let pages = 0;
  let total = 0;
  let pageSize = 0;
  for (const db of [databases.message, databases.state, databases.due]) {
    const stats: Partial<Record<string, unknown>> = db.getStats();
    const count = (name: string): number => (typeof stats[name] === 'number' ? stats[name] : 0);
    pages += count('treeBranchPageCount') + count('treeLeafPageCount') + count('overflowPages');
    total = count('lastPageNumber') + 1;
    pageSize = count('pageSize');
  }
  return { used: pages * pageSize, reusable: Math.max(0, total - pages) * pageSize };
}
