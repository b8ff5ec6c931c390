import { MailError } from '../../../mail/mail-error.ts';
import type { SpoolDatabases } from './environment.ts';
import type { SpaceGuard } from './space.ts';

/**
 * Group commit: operations asked for while a transaction is on its way to the disk share the next one, so that many
 * messages cost one fdatasync. One transaction at a time; operations run in the order in which they were asked for.
 */
export interface GroupCommit {
  /**
   * Runs `operation` inside a write transaction and resolves with its value once that is on disk. The operation is
   * synchronous, reads the latest state, throws only before its first write, and may run again after a failed
   * transaction when it is `required`. Rejects with what it threw, or with MailError NO_SPACE or IO; nothing is written then.
   */
  run<T>(kind: OperationKind, bytes: number, operation: () => T): Promise<T>;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

/**
 * What becomes of an operation whose transaction failed: `refusable` (a new message) is refused at once, `required`
 * (an outcome) is tried again without the refusable ones, whose size may have been the reason.
 */
export type OperationKind = 'refusable' | 'required';

interface Pending {
  readonly kind: OperationKind;
  readonly bytes: number;
  readonly operation: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  attempts: number;
  outcome: { readonly ok: boolean; readonly value: unknown } | undefined;
}

/** Bounds of one transaction: its dirty pages stay in memory until it ends, and operations run on the event loop. */
const maxGroup = 512;
const maxGroupBytes = 16 * 2 ** 20;
/** Delays before a required operation is tried again. */
const retryDelaysMs = [0, 20, 100, 500];
/**
 * lmdb-js does not answer at all when a transaction cannot begin (an environment that had a fatal error). Past this
 * time everything waiting is rejected.
 */
const stuckMs = 120_000;

export function groupCommit(databases: SpoolDatabases, space: SpaceGuard): GroupCommit {
  const waiting: Pending[] = [];
  let running: Pending[] = [];
  let busy = false;
  let broken: MailError | undefined;
  let onIdle: (() => void)[] = [];

  const takeGroup = (): Pending[] => {
    let count = 0;
    let bytes = 0;
    while (count < waiting.length && count < maxGroup && (count === 0 || bytes < maxGroupBytes)) {
      bytes += waiting[count]?.bytes ?? 0;
      count++;
    }
    return waiting.splice(0, count);
  };

  // Drained as late as the transaction's start, so what was asked for meanwhile still joins.
  const runGroup = (): void => {
    if (broken !== undefined) return;
    running = takeGroup();
    for (const p of running) {
      try {
        p.outcome = { ok: true, value: p.operation() };
      } catch (error) {
        p.outcome = { ok: false, value: error };
      }
    }
  };

  const committed = (): void => {
    const done = running;
    running = [];
    for (const p of done) {
      if (p.outcome?.ok === true) p.resolve(p.outcome.value);
      else p.reject(p.outcome?.value);
    }
    next();
  };

  const failed = (error: MailError): void => {
    // A transaction that could not even begin fails those who would have been in it.
    const group = running.length > 0 ? running : takeGroup();
    running = [];
    let again: Pending[] = [];
    for (const p of group) {
      if (p.outcome?.ok === false) p.reject(p.outcome.value);
      else if (p.kind === 'required' && p.attempts < retryDelaysMs.length) again.push(p);
      else p.reject(error);
    }
    if (again.length === 0) return next();
    const attempts = Math.max(...again.map((p) => p.attempts));
    for (const p of again) p.attempts++;
    // What waits behind them and may be refused must not fail them once more.
    for (let i = waiting.length - 1; i >= 0; i--) {
      const p = waiting[i];
      if (p?.kind === 'refusable') {
        waiting.splice(i, 1);
        p.reject(error);
      }
    }
    setTimeout(() => {
      waiting.unshift(...again);
      again = [];
      next();
    }, retryDelaysMs[attempts]);
  };

  const next = (): void => {
    busy = waiting.length > 0 || running.length > 0;
    if (waiting.length > 0) begin();
    else if (!busy) {
      for (const resolve of onIdle) resolve();
      onIdle = [];
    }
  };

  const begin = (): void => {
    busy = true;
    let settled = false;
    const watchdog = setTimeout(() => {
      settled = true;
      broken = new MailError('IO', 'the spool database does not answer');
      for (const p of [...running, ...waiting.splice(0)]) p.reject(broken);
      running = [];
      next();
    }, stuckMs);
    watchdog.unref();
    start(databases, runGroup).then(
      () => {
        clearTimeout(watchdog);
        if (!settled) committed();
      },
      async (error: unknown) => {
        clearTimeout(watchdog);
        const cause = await commitError(error);
        if (!settled) failed(toMailError(cause, space));
      },
    );
  };

  return {
    run: <T>(kind: OperationKind, bytes: number, operation: () => T) =>
      new Promise<T>((resolve, reject) => {
        if (broken !== undefined) return reject(broken);
        // The cast undoes the erasure of T in the queue: what the operation returned goes to its own promise.
        const settle = resolve as (value: unknown) => void;
        waiting.push({ kind, bytes, operation, resolve: settle, reject, attempts: 0, outcome: undefined });
        if (!busy) begin();
      }),
    idle: () => (busy ? new Promise((resolve) => onIdle.push(resolve)) : Promise.resolve()),
  };
}

/** Async, so that what lmdb-js throws at once (closed environment) rejects, too. */
async function start(databases: SpoolDatabases, runGroup: () => void): Promise<void> {
  await databases.root.transaction(runGroup);
}

/** lmdb-js rejects with "Commit failed" and tells the reason in a promise of its own, which is rejected, too. */
async function commitError(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  try {
    await error.commitError;
  } catch (cause) {
    return cause;
  }
  return error;
}

/** LMDB reports a short write as EIO, so a full disk is told from a broken one by asking the file system. */
function toMailError(cause: unknown, space: SpaceGuard): MailError {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
  const mapFull = -30792;
  if (code === 28 || code === 122 || code === mapFull || (code === 5 && space.isFull())) {
    return new MailError('NO_SPACE', 'no space left for the spool', { cause });
  }
  return new MailError('IO', 'the spool database could not be written', { cause });
}
