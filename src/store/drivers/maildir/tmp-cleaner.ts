/** Removal of what crashed deliveries left in tmp/ (Maildir: files not touched for 36 hours). */
import { closeSync, constants, openSync } from 'node:fs';
import { lstat, opendir, unlink } from 'node:fs/promises';

export interface TmpCleaner {
  /** Looks through a mailbox's tmp/ some time soon, unless it was looked at lately or too many wait. */
  consider(mailbox: { readonly path: string; readonly tmp: string }): void;
  /** Resolves when nothing waits or runs. */
  idle(): Promise<void>;
  close(): void;
}

const maxAgeMs = 36 * 3600_000;
/** As Dovecot: a folder is looked through every 8 hours at most. */
const intervalMs = 8 * 3600_000;
const maxWaiting = 100;
const maxRemembered = 10_000;

/** One folder at a time, so that cleaning never takes more than one thread of the pool. `now` is milliseconds since 1970. */
export function tmpCleaner(now: () => number = Date.now): TmpCleaner {
  const cleanedAtMs = new Map<string, number>();
  /** Descriptors of the folders to look through: a path could be turned into a link to other people's files meanwhile. */
  const waiting = new Set<number>();
  let running: Promise<void> | undefined;
  let closed = false;

  async function run(): Promise<void> {
    for (const fd of waiting) {
      waiting.delete(fd);
      try {
        await clean(`/proc/self/fd/${fd}`, now() - maxAgeMs);
      } finally {
        closeSync(fd);
      }
    }
  }

  return {
    consider({ path, tmp }) {
      const last = cleanedAtMs.get(path);
      if (closed || waiting.size >= maxWaiting || (last !== undefined && now() - last < intervalMs)) return;
      if (cleanedAtMs.size >= maxRemembered) cleanedAtMs.clear();
      cleanedAtMs.set(path, now());
      try {
        waiting.add(openSync(`${tmp}.`, constants.O_RDONLY | constants.O_DIRECTORY));
      } catch {
        return; // It is gone, or too many are open: the next time will do.
      }
      running ??= run().finally(() => {
        running = undefined;
      });
    },
    idle: async () => {
      while (running !== undefined) await running;
    },
    close() {
      closed = true;
      for (const fd of waiting) closeSync(fd);
      waiting.clear();
    },
  };
}

/** Faults are passed over: another program may clean the same folder, and a delivery finds out by itself what is wrong. */
async function clean(folder: string, olderThanMs: number): Promise<void> {
  try {
    for await (const found of await opendir(folder)) {
      if (!found.isFile()) continue;
      const file = `${folder}/${found.name}`;
      const { mtimeMs, ctimeMs } = await lstat(file);
      if (mtimeMs < olderThanMs && ctimeMs < olderThanMs) await unlink(file);
    }
  } catch {
    // see above
  }
}
