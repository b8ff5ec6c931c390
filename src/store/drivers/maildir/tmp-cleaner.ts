/** Removal of what crashed deliveries left in tmp/ (Maildir: files not touched for 36 hours). */
import { lstat, opendir, unlink } from 'node:fs/promises';
import path from 'node:path';

export interface TmpCleaner {
  /** Looks through a Maildir's tmp/ some time soon, unless it was looked at lately or too many wait. */
  consider(maildir: string): void;
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
  const waiting = new Set<string>();
  let running: Promise<void> | undefined;
  let closed = false;

  async function run(): Promise<void> {
    for (const maildir of waiting) {
      waiting.delete(maildir);
      if (closed) return;
      await clean(path.join(maildir, 'tmp'), now() - maxAgeMs);
    }
  }

  return {
    consider(maildir) {
      const last = cleanedAtMs.get(maildir);
      if (closed || waiting.size >= maxWaiting || (last !== undefined && now() - last < intervalMs)) return;
      if (cleanedAtMs.size >= maxRemembered) cleanedAtMs.clear();
      cleanedAtMs.set(maildir, now());
      waiting.add(maildir);
      running ??= run().finally(() => {
        running = undefined;
      });
    },
    idle: async () => {
      while (running !== undefined) await running;
    },
    close() {
      closed = true;
      waiting.clear();
    },
  };
}

/** Faults are passed over: another program may clean the same folder, and a delivery finds out by itself what is wrong. */
async function clean(folder: string, olderThanMs: number): Promise<void> {
  try {
    for await (const found of await opendir(folder)) {
      if (!found.isFile()) continue;
      const file = path.join(folder, found.name);
      const { mtimeMs, ctimeMs } = await lstat(file);
      if (mtimeMs < olderThanMs && ctimeMs < olderThanMs) await unlink(file);
    }
  } catch {
    // see above
  }
}
