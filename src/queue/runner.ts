/**
 * The queue runner: takes messages as they are born, wakes for those that fall due, delivers a bounded number at a time,
 * keeps leases alive, and stops without forgetting anything.
 */
import type { QueueId } from '../mail/message-id.ts';
import type { Claim, SpoolEntry } from '../spool/spool.ts';
import type { DeliveryContext } from './context.ts';
import { deliverMessage } from './deliver.ts';
import { createFrozenSweep } from './frozen-sweep.ts';
import { isUntried } from './outcome.ts';
import type { DeliveryResult } from './record.ts';
import { errorText } from '../mail/error-text.ts';

export interface RunnerOptions {
  readonly context: DeliveryContext;
  /** Messages under delivery at a time. */
  readonly maxMessages: number;
  /** Messages that may wait for their turn while claimed; they may hold their content in memory. */
  readonly maxWaiting: number;
  readonly leaseMs: number;
  /** Longest time between looks at the spool, for messages other processes put there. */
  readonly pollMs: number;
  /** `timeout_frozen_after`; 0 for never. */
  readonly timeoutFrozenAfterMs: number;
}

export const runnerDefaults: Omit<RunnerOptions, 'context'> = {
  maxMessages: 64,
  maxWaiting: 256,
  leaseMs: 120_000,
  pollMs: 5000,
  timeoutFrozenAfterMs: 0,
};

export interface QueueRun {
  /** Also what is not due (`-qf`), or frozen too (`-qff`). */
  readonly force?: 'due' | 'frozen';
  /** Also what was held back for a queue run (`queue_only`) and never tried, whenever it is due. Looks at the whole queue. */
  readonly untried?: boolean;
  /** Only this message (`-M`). */
  readonly id?: QueueId;
}

export interface QueueRunner {
  /**
   * Is there room for one more claimed message? Where not, a message is better committed without a lease; the runner
   * finds it when it has room.
   */
  hasRoom(): boolean;
  /** Delivers a message that was born claimed. Without room it is given back to the spool. */
  deliverNow(claim: Claim): void;
  /** Looks for due messages now. */
  wake(): void;
  /** One pass over the queue; resolves with the number of messages tried, when all of them are through. */
  queueRun(run?: QueueRun): Promise<number>;
  /** Messages claimed here at present. */
  readonly active: number;
  /** Starts to look for due messages; before that only `deliverNow` and `queueRun` do anything. */
  start(): void;
  /**
   * Takes nothing new, lets deliveries end for `graceMs`, then aborts the rest; resolves when every outcome that is
   * known is recorded. A second call can only shorten the grace.
   */
  stop(graceMs: number): Promise<void>;
}

interface Active {
  readonly claim: Claim;
  readonly controller: AbortController;
  /** Ends with the delivery. */
  done: Promise<void>;
}

/** What waits for its turn. */
interface Waiting {
  readonly claim: Claim;
  readonly force: boolean;
  readonly queueRun: boolean;
  readonly finished: (() => void) | undefined;
}

/** A queue run looks again for the bounces it made; bounces of bounces do not exist, so this is plenty. */
const maxRounds = 10;
/** Between looks at messages that are due and cannot be claimed. */
const overdueDelayMs = 250;
/** At most this many messages are claimed at once. */
const claimWidth = 32;

export function createQueueRunner(options: RunnerOptions): QueueRunner {
  const { context, maxMessages, maxWaiting, leaseMs } = options;
  const { spool, nowMs } = context;
  const active = new Map<QueueId, Active>();
  const waiting: Waiting[] = [];
  const sweep = createFrozenSweep(context, options.timeoutFrozenAfterMs, leaseMs);
  let started = false;
  let stopping = false;
  let timer: NodeJS.Timeout | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;
  let renewTimer: NodeJS.Timeout | undefined;
  let claiming: Promise<void> | undefined;
  let again = false;
  /** Something was left in the spool for want of room. */
  let leftBehind = false;
  let sweeping: Promise<void> | undefined;

  const problem = (text: string, id?: QueueId): void =>
    context.emit({ kind: 'problem', atMs: nowMs(), text, ...(id === undefined ? undefined : { id }) });

  const begin = ({ claim, force, queueRun, finished }: Waiting): void => {
    const controller = new AbortController();
    const { id } = claim.entry;
    const run: Active = { claim, controller, done: Promise.resolve() };
    active.set(id, run);
    run.done = deliverMessage(context, claim, { force, queueRun, signal: controller.signal }).then(
      (result) => ended(id, run, result, finished),
      (failure: unknown) => {
        problem(`delivery given up: ${errorText(failure)}`, id);
        ended(id, run, 'lost', finished);
      },
    );
  };

  const ended = (
    id: QueueId,
    run: Active,
    result: DeliveryResult,
    finished: (() => void) | undefined,
  ): void => {
    if (active.get(id) === run) active.delete(id);
    finished?.();
    const next = waiting.shift();
    if (next !== undefined && !stopping) begin(next);
    else if (next !== undefined) void giveBack(next.claim, next.finished);
    if (stopping || !started) return;
    // A bounce is due at once. The common case, a message that is through, looks at nothing.
    if ((result !== 'lost' && result.generated > 0) || (leftBehind && waiting.length === 0)) wake();
    else if (result === 'lost' || !result.completed) arm();
  };

  const take = (entry: Waiting): void => {
    if (active.size < maxMessages) begin(entry);
    else waiting.push(entry);
    armRenewal();
  };

  const giveBack = async (claim: Claim, finished?: () => void): Promise<void> => {
    try {
      await spool.record(claim, { outcomes: [], release: true });
    } catch (failure) {
      problem(`message not given back: ${errorText(failure)}`, claim.entry.id);
    }
    finished?.();
  };

  const hasRoom = (): boolean => {
    if (!stopping && active.size + waiting.length < maxMessages + maxWaiting) return true;
    leftBehind = true;
    return false;
  };

  const claimDue = async (): Promise<void> => {
    do {
      again = false;
      const room = maxMessages - active.size - waiting.length;
      leftBehind = room <= 0;
      if (room <= 0 || stopping) return;
      const claims = await spool.claim({ max: Math.min(room, claimWidth), leaseMs, nowMs: nowMs() });
      for (const claim of claims) {
        if (stopping) await giveBack(claim);
        else take({ claim, force: false, queueRun: false, finished: undefined });
      }
      if (claims.length > 0) again = true;
      // The spool gives no more than memory allows: the rest comes when a delivery has ended.
      else if ((spool.nextDueAtMs() ?? Number.POSITIVE_INFINITY) <= nowMs()) leftBehind = true;
    } while (again && !stopping);
  };

  const wake = (): void => {
    if (stopping) return;
    if (claiming !== undefined) {
      again = true;
      return;
    }
    claiming = claimDue()
      .catch((failure: unknown) => problem(`the queue could not be read: ${errorText(failure)}`))
      .finally(() => {
        claiming = undefined;
        if (started && !stopping) arm();
      });
  };

  /** Sets the timer for the next message that falls due. */
  const arm = (): void => {
    if (stopping || claiming !== undefined) return;
    const now = nowMs();
    const room = active.size + waiting.length < maxMessages;
    const due = room ? (spool.nextDueAtMs() ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
    // What is due and was not to be had a moment ago is not asked for at once again.
    const atMs = Math.min(due <= now ? now + overdueDelayMs : due, now + options.pollMs);
    if (timer !== undefined && timerAtMs <= atMs && timerAtMs > now) return;
    clearTimeout(timer);
    timerAtMs = atMs;
    timer = setTimeout(onTimer, Math.max(1, atMs - now));
    timer.unref();
  };

  const onTimer = (): void => {
    timer = undefined;
    timerAtMs = Number.POSITIVE_INFINITY;
    sweeping ??= sweep.run(stopSignal.signal).finally(() => {
      sweeping = undefined;
    });
    wake();
  };

  const stopSignal = new AbortController();

  /** One timer for all leases. */
  const armRenewal = (): void => {
    if (renewTimer !== undefined) return;
    renewTimer = setTimeout(() => {
      renewTimer = undefined;
      if (active.size + waiting.length === 0) return;
      void renewAll().finally(armRenewal);
    }, leaseMs / 3);
    renewTimer.unref();
  };

  const renewAll = async (): Promise<void> => {
    const held = [
      ...[...active.values()].map((a) => ({ claim: a.claim, controller: a.controller })),
      ...waiting.map((w) => ({ claim: w.claim, controller: undefined })),
    ];
    await Promise.all(
      held.map(async ({ claim, controller }) => {
        try {
          if ((await spool.renew(claim, leaseMs, nowMs())) === 'renewed') return;
          controller?.abort();
          const at = waiting.findIndex((w) => w.claim === claim);
          if (at >= 0) waiting.splice(at, 1)[0]?.finished?.();
        } catch (failure) {
          problem(`lease not renewed: ${errorText(failure)}`, claim.entry.id);
        }
      }),
    );
  };

  let stopped: Promise<void> | undefined;
  let cutAtMs = Number.POSITIVE_INFINITY;
  let cutTimer: NodeJS.Timeout | undefined;

  const cutAfter = (graceMs: number): void => {
    const atMs = performance.now() + graceMs;
    if (atMs >= cutAtMs) return;
    cutAtMs = atMs;
    clearTimeout(cutTimer);
    cutTimer = setTimeout(() => {
      for (const run of active.values()) run.controller.abort();
    }, graceMs);
  };

  const stopAll = async (): Promise<void> => {
    stopSignal.abort();
    clearTimeout(timer);
    const unstarted = waiting.splice(0);
    await Promise.all([claiming, sweeping, ...unstarted.map((w) => giveBack(w.claim, w.finished))]);
    await Promise.all([...active.values()].map((a) => a.done));
    clearTimeout(cutTimer);
    clearTimeout(renewTimer);
  };

  return {
    hasRoom,
    get active() {
      return active.size + waiting.length;
    },
    deliverNow(claim) {
      if (!hasRoom()) {
        void giveBack(claim);
        return;
      }
      take({ claim, force: false, queueRun: false, finished: undefined });
    },
    wake,
    queueRun: async (run = {}) => {
      let tried = 0;
      const running: Promise<void>[] = [];
      const seen = new Set<QueueId>();
      const force = run.force !== undefined;
      const ids = force && run.id === undefined ? await listIds(context, run.force === 'frozen') : [run.id];
      const held = new Set(
        run.untried === true ? await listIds(context, false, (entry) => entry.states.some(isUntried)) : [],
      );
      for (let round = 0; round === 0 || (round < maxRounds && tried > 0); round++) {
        const before = tried;
        for (const id of round === 0 ? [...held, ...ids] : ids) {
          for (;;) {
            if (stopping) return tried;
            while (active.size + waiting.length >= maxMessages)
              await Promise.race([...active.values()].map((a) => a.done));
            const claims = await spool.claim({
              max:
                id === undefined
                  ? Math.max(1, Math.min(claimWidth, maxMessages - active.size - waiting.length))
                  : 1,
              leaseMs,
              nowMs: nowMs(),
              ...(id === undefined ? undefined : { id }),
              ...(run.force === undefined ? undefined : { force: run.force }),
              ...(id !== undefined && held.has(id) ? { force: 'due' } : undefined),
            });
            let fresh = 0;
            for (const claim of claims) {
              if (seen.has(claim.entry.id) || stopping) {
                await giveBack(claim);
                continue;
              }
              seen.add(claim.entry.id);
              fresh++;
              tried++;
              running.push(
                new Promise((resolve) => take({ claim, force, queueRun: true, finished: resolve })),
              );
            }
            if (id !== undefined || fresh === 0) break;
          }
        }
        await Promise.all(running.splice(0));
        // Bounces made meanwhile are due; a run over named messages leaves them to the next one.
        if (force || run.id !== undefined || tried === before) break;
      }
      return tried;
    },
    start() {
      started = true;
      wake();
    },
    stop(graceMs) {
      stopping = true;
      cutAfter(graceMs);
      return (stopped ??= stopAll());
    },
  };
}

async function listIds(
  context: DeliveryContext,
  frozenToo: boolean,
  wanted: (entry: SpoolEntry) => boolean = () => true,
): Promise<readonly QueueId[]> {
  const ids: QueueId[] = [];
  for await (const entry of context.spool.inspect({}))
    if ((frozenToo || entry.frozenAtMs === undefined) && wanted(entry)) ids.push(entry.id);
  return ids;
}
