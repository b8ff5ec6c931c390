/** Makes outcomes durable, and tells of them afterwards. */
import type { Address } from '../mail/address.ts';
import type { QueueId } from '../mail/message-id.ts';
import type { NewMessage } from '../mail/outcome.ts';
import type { Claim, GeneratedMessage, OutcomeRecord, SpoolUpdate } from '../spool/spool.ts';
import { failureFate, type MadeBounce, makeBounces, makeListErrors } from './bounces.ts';
import { madeHere } from './generated.ts';
import type { DeliveryContext } from './context.ts';
import type { DeliveryEvent } from './events.ts';
import { freezeNotices } from './freeze-tell.ts';
import { type Attempt, deferredState, shortStatus } from './outcome.ts';
import { settle, stateOf, type Work } from './work.ts';
import { errorText } from '../mail/error-text.ts';

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
  work: Work,
  tasks: readonly number[],
  signal: AbortSignal,
): Promise<'recorded' | 'lost'> {
  const positions = new Set<number>();
  for (const number of tasks) {
    const task = work.tasks[number];
    if (task === undefined) continue;
    settle(work, task, { kind: 'done', how: 'delivered' });
    positions.add(task.position);
  }
  return persist(context, claim, { outcomes: outcomesOf(work, positions), release: false }, signal);
}

function outcomesOf(work: Work, positions: Iterable<number>): OutcomeRecord[] {
  const outcomes: OutcomeRecord[] = [];
  for (const recipient of positions) {
    const state = stateOf(work, recipient);
    if (state !== undefined) outcomes.push({ recipient, state });
  }
  return outcomes;
}

/**
 * Records everything that is not recorded yet, with the bounces that follow from it, in one transaction, and gives the
 * message back. Tasks without an attempt stay as they are.
 */
export async function recordFinal(
  context: DeliveryContext,
  claim: Claim,
  work: Work,
  signal: AbortSignal,
): Promise<DeliveryResult> {
  const { entry } = claim;
  const { attempts, recorded } = work;
  const nowMs = context.nowMs();
  const reports: { to: Address; failed: Extract<Attempt, { kind: 'failed' }> }[] = [];
  const ignored: DeliveryEvent[] = [];
  let freeze: string | undefined;
  for (const [number, attempt] of attempts) {
    const task = work.tasks[number];
    if (task === undefined) continue;
    const { before } = task;
    switch (attempt.kind) {
      case 'delivered':
      case 'discarded':
        settle(work, task, { kind: 'done', how: attempt.kind });
        break;
      case 'failed': {
        const fate = failureFate(context, claim, attempt);
        if (fate.kind === 'freeze') {
          freeze ??= frozenBounce;
          // Due as soon as it is thawed.
          settle(work, task, {
            kind: 'pending',
            nextAttemptAtMs: nowMs,
            attempts: before.attempts + 1,
            firstFailureAtMs: before.firstFailureAtMs ?? nowMs,
            lastAttemptAtMs: nowMs,
            lastStatus: shortStatus(attempt.status),
          });
          break;
        }
        if (fate.kind === 'report') reports.push({ to: fate.to, failed: attempt });
        else
          ignored.push({
            kind: 'error-ignored',
            id: entry.id,
            atMs: nowMs,
            recipient: attempt.who,
            reason: fate.reason,
          });
        settle(work, task, { kind: 'done', how: fate.kind === 'report' ? 'failed' : 'discarded' });
        break;
      }
      case 'deferred':
        if (attempt.freeze !== undefined) freeze ??= attempt.freeze;
        settle(work, task, deferredState(before, attempt, nowMs));
        break;
      case 'unknown':
        break;
    }
  }
  const outcomes = outcomesOf(work, unrecordedPositions(work, recorded));
  const finished = new Set<number>();
  for (const position of work.plans.keys())
    if (stateOf(work, position)?.kind === 'done') finished.add(position);
  const left = entry.states.reduce((n, s, i) => (s.kind === 'pending' && !finished.has(i) ? n + 1 : n), 0);
  let bounces: readonly MadeBounce[] = [];
  if (reports.length > 0) {
    try {
      bounces = await makeBounces(context, claim, reports, withoutAbort);
    } catch (failure) {
      // The content cannot be read now: keep the failures for later rather than lose the report.
      return postpone(context, claim, work, signal, failure);
    }
  }
  bounces = [...bounces, ...makeListErrors(context, work.reports)];
  const replies = [...attempts].flatMap(([number, a]) =>
    a.kind === 'delivered' && !recorded.has(number) ? (a.outcome.generated ?? []) : [],
  );
  const notices =
    freeze === undefined
      ? []
      : freezeNotices(
          context.freezeTell,
          entry,
          freeze,
          (position) => {
            const state = stateOf(work, position);
            return state?.kind === 'pending' ? state.lastStatus?.text : undefined;
          },
          nowMs,
        );
  const generated = [
    ...bounces.map((b) => b.message),
    ...replies.map((r) => messageOf(r, nowMs)),
    ...notices,
  ];
  const update: SpoolUpdate = {
    outcomes,
    ...(generated.length === 0 ? undefined : { generated }),
    ...(freeze === undefined ? undefined : { frozenAtMs: nowMs }),
    release: true,
  };
  if ((await persist(context, claim, update, signal)) === 'lost') {
    const delivered = [...attempts.values()].filter((a) => a.kind === 'delivered').length;
    context.emit({ kind: 'lease-lost', id: entry.id, atMs: context.nowMs(), delivered });
    return 'lost';
  }
  const news = [...bounces.map((b) => toldOf(b.message)), ...replies.map(told), ...notices.map(toldOf)];
  tell(context, claim, attempts, ignored, news, freeze, left === 0);
  return { completed: left === 0, frozen: freeze !== undefined, generated: generated.length };
}

function messageOf({ id, content, recipients, body }: NewMessage, nowMs: number): GeneratedMessage {
  return {
    id,
    content,
    envelope: { sender: null, recipients, body },
    reception: madeHere(content, nowMs),
    headerEdits: [],
    variables: {},
  };
}

/** A message that appeared, as it is told of. */
interface Told {
  readonly message: Pick<GeneratedMessage, 'id' | 'content'>;
  readonly to: readonly Address[];
}

function told(message: NewMessage): Told {
  return { message, to: message.recipients.map((r) => r.address) };
}

function toldOf(message: GeneratedMessage): Told {
  return { message, to: message.envelope.recipients.map((r) => r.address) };
}

const withoutAbort: AbortSignal = new AbortController().signal;
/** How long a message whose content cannot be read for a bounce is left alone. */
const unreadableDelayMs = 300_000;

async function postpone(
  context: DeliveryContext,
  claim: Claim,
  work: Work,
  signal: AbortSignal,
  failure: unknown,
): Promise<DeliveryResult> {
  const text = `cannot make a bounce: ${errorText(failure)}`;
  context.emit({ kind: 'problem', id: claim.entry.id, atMs: context.nowMs(), text });
  for (const [number, a] of work.attempts) {
    if (a.kind !== 'failed') continue;
    work.attempts.set(number, {
      kind: 'deferred',
      who: a.who,
      status: a.status,
      errno: -1,
      skipped: false,
      nextAttemptAtMs: context.nowMs() + unreadableDelayMs,
    });
  }
  return recordFinal(context, claim, work, signal);
}

/** Recipients of which something is not written down yet. */
function unrecordedPositions({ tasks, attempts, plans }: Work, recorded: ReadonlySet<number>): Set<number> {
  // Where nothing was tried, all may have been done on account of another recipient.
  const positions = new Set(plans.keys());
  const open = new Set<number>();
  for (const [number, task] of tasks.entries())
    if (recorded.has(number)) positions.delete(task.position);
    else if (attempts.has(number)) open.add(task.position);
  for (const position of open) positions.add(position);
  return positions;
}

/** Emits what became of the recipients, each with its facts. */
export function tell(
  context: DeliveryContext,
  claim: Claim,
  attempts: ReadonlyMap<number, Attempt>,
  ignored: readonly DeliveryEvent[],
  bounces: readonly Told[],
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
        const { reply, link, host = a.routedTo } = a.outcome;
        context.emit({
          kind: 'delivered',
          id,
          atMs,
          recipient: a.who,
          first: a.first,
          ...(a.direct === true ? { direct: true } : undefined),
          ...(host === undefined ? undefined : { host }),
          ...(link === undefined ? undefined : { link }),
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
          ...(a.held?.routing === true ? { routing: true } : undefined),
          nextAttemptAtMs: a.nextAttemptAtMs,
        });
        break;
      case 'discarded':
        context.emit({
          kind: 'discarded',
          id,
          atMs,
          recipient: a.who,
          sender: entry.envelope.sender,
          ...(a.bypassed === undefined ? undefined : { bypassed: a.bypassed }),
        });
        break;
      case 'unknown':
        break;
    }
  }
  for (const event of ignored) context.emit(event);
  for (const { message, to } of bounces)
    context.emit({
      kind: 'bounced',
      id: message.id,
      atMs,
      cause: id,
      to,
      messageId: madeMessageId(context, message.id),
      size: message.content.length,
    });
  if (freeze !== undefined) context.emit({ kind: 'frozen', id, atMs, reason: freeze });
  if (completed) context.emit({ kind: 'completed', id, atMs, queuedMs });
}

/** The Message-ID of all that is made here. */
export function madeMessageId({ main }: DeliveryContext, id: QueueId): string {
  return `E${id}@${main.primaryHostname}`;
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
      const reason = errorText(failure);
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
