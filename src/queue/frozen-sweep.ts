/** Ends frozen messages whose time is up: `timeout_frozen_after`, and bounces older than `ignore_bounce_errors_after`. */
import type { QueueId } from '../mail/message-id.ts';
import type { Claim, OutcomeRecord } from '../spool/spool.ts';
import { makeBounces } from './bounces.ts';
import type { DeliveryContext } from './context.ts';
import type { DeliveryEvent } from './events.ts';
import { errorText } from '../mail/error-text.ts';
import { madeMessageId } from './record.ts';

export interface FrozenSweep {
  /** Looks at frozen messages where it has not done so for a while. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

const sweepEveryMs = 600_000;
const cancelled = 'cancelled by timeout_frozen_after';

/** @param timeoutFrozenAfterMs 0 for never */
export function createFrozenSweep(
  context: DeliveryContext,
  timeoutFrozenAfterMs: number,
  leaseMs: number,
): FrozenSweep {
  let lastMs = context.nowMs();
  let running = false;
  return {
    async run(signal) {
      const nowMs = context.nowMs();
      if (running || nowMs - lastMs < sweepEveryMs) return;
      running = true;
      lastMs = nowMs;
      try {
        await sweepFrozen(context, timeoutFrozenAfterMs, leaseMs, signal);
      } catch (failure) {
        const text = `frozen messages could not be looked through: ${errorText(failure)}`;
        context.emit({ kind: 'problem', atMs: context.nowMs(), text });
      } finally {
        running = false;
      }
    },
  };
}

/** Looks at every frozen message once. Gives the number of those that were ended. */
export async function sweepFrozen(
  context: DeliveryContext,
  timeoutFrozenAfterMs: number,
  leaseMs: number,
  signal: AbortSignal,
): Promise<number> {
  const ended: QueueId[] = [];
  for await (const entry of context.spool.inspect({ frozen: true })) {
    if (signal.aborted) return 0;
    const nowMs = context.nowMs();
    const frozenAtMs = entry.frozenAtMs ?? nowMs;
    const tooLong = timeoutFrozenAfterMs > 0 && nowMs - frozenAtMs > timeoutFrozenAfterMs;
    const tooOld =
      entry.envelope.sender === null &&
      nowMs - entry.reception.receivedAtMs > context.bounce.ignoreErrorsAfterMs;
    if (tooLong || tooOld) ended.push(entry.id);
  }
  let count = 0;
  for (const id of ended) {
    const [claim] = await context.spool.claim({
      max: 1,
      leaseMs,
      nowMs: context.nowMs(),
      id,
      force: 'frozen',
    });
    if (claim === undefined) continue;
    await end(context, claim, signal);
    count++;
  }
  return count;
}

/** Fails what is left of a message. Its sender is told, where it has one. */
async function end(context: DeliveryContext, claim: Claim, signal: AbortSignal): Promise<void> {
  const { entry } = claim;
  const atMs = context.nowMs();
  const { sender } = entry.envelope;
  const outcomes: OutcomeRecord[] = [];
  const events: DeliveryEvent[] = [];
  const reports: Parameters<typeof makeBounces>[2][number][] = [];
  for (const [position, state] of entry.states.entries()) {
    if (state.kind !== 'pending') continue;
    const address = entry.envelope.recipients[position]?.address;
    if (address === undefined) continue;
    const who = { position, address, logAsLocal: false };
    const notify = entry.envelope.recipients[position]?.notify;
    const silent =
      sender === null || (notify !== undefined && (notify === 'never' || !notify.includes('failure')));
    outcomes.push({ recipient: position, state: { kind: 'done', how: silent ? 'discarded' : 'failed' } });
    const status = { text: cancelled };
    const queuedMs = atMs - entry.reception.receivedAtMs;
    events.push({
      kind: 'failed',
      id: entry.id,
      atMs,
      recipient: who,
      status,
      timedOut: false,
      sender,
      queuedMs,
    });
    if (silent || sender === null)
      events.push({
        kind: 'error-ignored',
        id: entry.id,
        atMs,
        recipient: who,
        reason: sender === null ? 'bounce is too old' : 'NOTIFY',
      });
    else reports.push({ to: sender, failed: { kind: 'failed', who, status, timedOut: false } });
  }
  const bounces = reports.length === 0 ? [] : await makeBounces(context, claim, reports, signal);
  const recorded = await context.spool.record(claim, {
    outcomes,
    ...(bounces.length === 0 ? undefined : { generated: bounces.map((b) => b.message) }),
    frozenAtMs: null,
    release: true,
  });
  if (recorded === 'lost') return;
  for (const event of events) context.emit(event);
  for (const { message } of bounces)
    context.emit({
      kind: 'bounced',
      id: message.id,
      atMs,
      cause: entry.id,
      to: message.envelope.recipients.map((r) => r.address),
      messageId: madeMessageId(context, message.id),
      size: message.content.length,
    });
  context.emit({ kind: 'completed', id: entry.id, atMs, queuedMs: atMs - entry.reception.receivedAtMs });
}
