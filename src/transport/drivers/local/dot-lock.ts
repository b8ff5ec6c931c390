/** The lock file beside a mailbox, made through a hitching post so that it holds over NFS too (Exim manual, "Operational details for appending"). */
import { link, lstat, open, stat, unlink } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { codeOf, errorWords } from './outcome.ts';

export interface DotLockOptions {
  readonly retries: number;
  readonly intervalMs: number;
  /** A lock file older than this is taken away; 0 for never. */
  readonly timeoutMs: number;
  readonly mode: number;
  readonly hostname: string;
}

export interface DotLock {
  release(): Promise<void>;
}

/** A text says why there is no lock. */
export async function dotLock(file: string, o: DotLockOptions): Promise<DotLock | string> {
  const lockFile = `${file}.lock`;
  const post = `${lockFile}.${o.hostname}.${Math.floor(Date.now() / 1000).toString(16)}.${process.pid.toString(16)}`;
  try {
    await (await open(post, 'wx', o.mode)).close();
  } catch (error) {
    return `${errorWords(error)}: creating lock file hitching post ${post} (euid=${process.geteuid?.()} egid=${process.getegid?.()})`;
  }
  try {
    for (let attempt = 0; ; attempt++) {
      const linked = await link(post, lockFile).then(
        () => true,
        () => false,
      );
      // Over NFS the answer may be lost although the link was made.
      if (linked || (await stat(post)).nlink === 2)
        return { release: () => unlink(lockFile).catch(() => {}) };
      if (o.timeoutMs > 0) await removeStale(lockFile, o.timeoutMs);
      if (attempt >= o.retries) return `failed to lock mailbox ${file} (lock file)`;
      await pause(o.intervalMs);
    }
  } catch (error) {
    return `failed to lock mailbox ${file} (lock file): ${errorWords(error)}`;
  } finally {
    await unlink(post).catch(() => {});
  }
}

async function removeStale(lockFile: string, timeoutMs: number): Promise<void> {
  try {
    const { mtimeMs } = await lstat(lockFile);
    if (Date.now() - mtimeMs > timeoutMs) await unlink(lockFile);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
