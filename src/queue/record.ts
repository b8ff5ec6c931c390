/** Makes outcomes durable, and tells of them afterwards. */
import type { Address } from '../mail/address.ts';
import type { Claim, OutcomeRecord, SpoolUpdate } from '../spool/spool.ts';
import { failureFate, type MadeBounce, makeBounces } from './bounces.ts';
import type { DeliveryContext } from './context.ts';
import type { DeliveryEvent } from './events.ts';
import { type Attempt, deferredState, type PendingState } from './outcome.ts';

/**
 * `completed`: the message is gone. `waiting`: some recipients are left for later. `generated`: bounces are in the queue
 * and due now.
 */
export type DeliveryResult =
  | 'lost'
  | { readonly completed: boolean; readonly frozen: boolean; readonly generated: number };

const frozenBounce = 'delivery error message';

/** Records deliveries while the rest of the message is still under way. */
export function recordDelivered(
  context: DeliveryContext,
  claim: Claim,
  positions: readonly number[],
  signal: AbortSignal,
): Promise<'recorded' | 'lost'> {
  const outcomes = positions.map(
    (recipient): OutcomeRecord => ({ recipient, state: { kind: 'done', how: 'delivered' } }),
  );
  return persist(context, claim, { outcomes, release: false }, signal);
}

/**
 * Records everything that is not recorded yet, with the bounces that follow from it, in one transaction, and gives the
 * message back. Positions without an attempt stay as they are.
 */
export async function recordFinal(
  context: DeliveryContext,
  claim: Claim,
  attempts: ReadonlyMap<number, Attempt>,
  recorded: ReadonlySet<number>,
  signal: AbortSignal,
): Promise<DeliveryResult> {
  const { entry } = claim;
  const nowMs = context.nowMs();
  const outcomes: OutcomeRecord[] = [];
  const reports: { to: Address; failed: Extract<Attempt, { kind: 'failed' }> }[] = [];
  const ignored: DeliveryEvent[] = [];
  let freeze: string | undefined;
  let left = entry.states.reduce((n, s) => (s.kind === 'pending' ? n + 1 : n), 0);
  for (const [recipient, attempt] of attempts) {
    const before = pendingBefore(claim, recipient);
    switch (attempt.kind) {
      case 'delivered':
        left--;
        if (!recorded.has(recipient)) outcomes.push({ recipient, state: { kind: 'done', how: 'delivered' } });
        break;
      case 'discarded':
        left--;
        outcomes.push({ recipient, state: { kind: 'done', how: 'discarded' } });
        break;
      case 'failed': {
        const fate = failureFate(context, claim, attempt);
        if (fate.kind === 'freeze') {
          freeze ??= frozenBounce;
          // Due as soon as it is thawed.
          outcomes.push({
            recipient,
            state: {
              kind: 'pending',
              nextAttemptAtMs: nowMs,
              attempts: before.attempts + 1,
              firstFailureAtMs: before.firstFailureAtMs ?? nowMs,
              lastAttemptAtMs: nowMs,
              lastStatus: attempt.status,
            },
          });
          break;
        }
        left--;
        if (fate.kind === 'report') reports.push({ to: fate.to, failed: attempt });
        else
          ignored.push({
            kind: 'error-ignored',
            id: entry.id,
            atMs: nowMs,
            recipient: attempt.who,
            reason: fate.reason,
          });
        outcomes.push({
          recipient,
          state: { kind: 'done', how: fate.kind === 'report' ? 'failed' : 'discarded' },
        });
        break;
      }
      case 'deferred':
        if (attempt.freeze !== undefined) freeze ??= attempt.freeze;
        outcomes.push({ recipient, state: deferredState(before, attempt, nowMs) });
        break;
      case 'unknown':
        break;
    }
  }
  let bounces: readonly MadeBounce[] = [];
  if (reports.length > 0) {
    try {
      bounces = await makeBounces(context, claim, reports, withoutAbort);
    } catch (failure) {
      // The content cannot be read now: keep the failures for later rather than lose the report.
      return postpone(context, claim, attempts, recorded, signal, failure);
    }
  }
  const update: SpoolUpdate = {
    outcomes,
    ...(bounces.length === 0 ? undefined : { generated: bounces.map((b) => b.message) }),
    ...(freeze === undefined ? undefined : { frozenAtMs: nowMs }),
    release: true,
  };
  if ((await persist(context, claim, update, signal)) === 'lost') {
    const delivered = [...attempts.values()].filter((a) => a.kind === 'delivered').length;
    context.emit({ kind: 'lease-lost', id: entry.id, atMs: context.nowMs(), delivered });
    return 'lost';
  }
  tell(context, claim, attempts, ignored, bounces, freeze, left === 0);
  return { completed: left === 0, frozen: freeze !== undefined, generated: bounces.length };
}

const withoutAbort: AbortSignal = new AbortController().signal;
/** How long a message whose content cannot be read for a bounce is left alone. */
const unreadableDelayMs = 300_000;

async function postpone(
  context: DeliveryContext,
  claim: Claim,
  attempts: ReadonlyMap<number, Attempt>,
  recorded: ReadonlySet<number>,
  signal: AbortSignal,
  failure: unknown,
): Promise<DeliveryResult> {
  const text = `cannot make a bounce: ${failure instanceof Error ? failure.message : String(failure)}`;
  context.emit({ kind: 'problem', id: claim.entry.id, atMs: context.nowMs(), text });
  const later = new Map<number, Attempt>();
  for (const [position, a] of attempts)
    later.set(
      position,
      a.kind !== 'failed'
        ? a
        : {
            kind: 'deferred',
            who: a.who,
            status: a.status,
            errno: -1,
            skipped: false,
            nextAttemptAtMs: context.nowMs() + unreadableDelayMs,
          },
    );
  return recordFinal(context, claim, later, recorded, signal);
}

function pendingBefore(claim: Claim, position: number): PendingState {
  const state = claim.entry.states[position];
  return state?.kind === 'pending' ? state : { kind: 'pending', nextAttemptAtMs: 0, attempts: 0 };
}

function tell(
  context: DeliveryContext,
  claim: Claim,
  attempts: ReadonlyMap<number, Attempt>,
  ignored: readonly DeliveryEvent[],
  bounces: readonly MadeBounce[],
  freeze: string | undefined,
  completed: boolean,
): void {
  const { entry } = claim;
  const { id } = entry;
  const atMs = context.nowMs();
  const queuedMs = atMs - entry.reception.receivedAtMs;
  for (const a of attempts.values()) {
    switch (a.kind) {
      case 'delivered': {
        const { reply, host } = a.outcome;
        context.emit({
          kind: 'delivered',
          id,
          atMs,
          recipient: a.who,
          first: a.first,
          ...(host === undefined ? undefined : { host }),
          ...(reply === undefined ? undefined : { reply }),
          sender: a.sender,
          size: entry.size,
          queuedMs,
          deliveryMs: a.deliveryMs,
        });
        break;
      }
      case 'failed':
        context.emit({
          kind: 'failed',
          id,
          atMs,
          recipient: a.who,
          status: a.status,
          timedOut: a.timedOut,
          sender: a.errorsTo === undefined ? entry.envelope.sender : a.errorsTo,
          queuedMs,
        });
        break;
      case 'deferred':
        context.emit({
          kind: 'deferred',
          id,
          atMs,
          recipient: a.who,
          status: a.status,
          errno: a.errno,
          skipped: a.skipped,
          nextAttemptAtMs: a.nextAttemptAtMs,
        });
        break;
      case 'discarded':
        context.emit({ kind: 'discarded', id, atMs, recipient: a.who });
        break;
      case 'unknown':
        break;
    }
  }
  for (const event of ignored) context.emit(event);
  for (const { message, to } of bounces)
    context.emit({ kind: 'bounced', id: message.id, atMs, cause: id, to, size: message.content.length });
  if (freeze !== undefined) context.emit({ kind: 'frozen', id, atMs, reason: freeze });
  if (completed) context.emit({ kind: 'completed', id, atMs, queuedMs });
}

const firstDelayMs = 250;
const longestDelayMs = 30_000;
/** After an abort the process wants to end: this many tries more, quickly. */
const triesAfterAbort = 3;

/**
 * Records, again and again while storage refuses: forgetting what was delivered would deliver it twice. Rejects only
 * when aborted and storage still refuses.
 */
async function persist(
  context: DeliveryContext,
  claim: Claim,
  update: SpoolUpdate,
  signal: AbortSignal,
): Promise<'recorded' | 'lost'> {
  let afterAbort = 0;
  for (let attempt = 1; ; attempt++) {
    try {
      return await context.spool.record(claim, update);
    } catch (failure) {
      const reason = failure instanceof Error ? failure.message : String(failure);
      context.emit({ kind: 'record-failed', id: claim.entry.id, atMs: context.nowMs(), reason, attempt });
      if (signal.aborted && ++afterAbort >= triesAfterAbort) throw failure;
      await pause(Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(attempt - 1, 10)), signal);
    }
  }
}

/** Waits, or a short while once the signal is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, signal.aborted ? Math.min(ms, firstDelayMs) : ms);
    if (!signal.aborted) signal.addEventListener('abort', done, { once: true });
  });
}
