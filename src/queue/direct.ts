/**
 * Delivery before the spool (Exim manual, "cutthrough_delivery"): a message is handed over while its sender waits for the
 * reply, to any number of servers, by the same routing, grouping and retry rules as from the queue. What nobody took over
 * goes to the spool afterwards, with what is known of every recipient.
 */
import type { QueueId } from '../mail/message-id.ts';
import { timerMs } from '../mail/time-interval.ts';
import type { Status } from '../mail/outcome.ts';
import type { Claim, RecipientState, Submission, WrittenContent } from '../spool/spool.ts';
import type { HeldDelivery } from '../transport/transport.ts';
import type { DeliveryContext } from './context.ts';
import { attemptDelivery } from './deliver.ts';
import type { Attempt } from './outcome.ts';
import { recordFinal, tell } from './record.ts';
import { noWork, settle, stateOf, type Work } from './work.ts';

/** What became of one recipient of the envelope. */
export type DirectAnswer =
  /** `elsewhere`: nothing was to be done, since all it was turned into is another recipient's too. */
  | { readonly kind: 'stored'; readonly elsewhere?: true }
  | { readonly kind: 'failed' | 'deferred'; readonly status: Status }
  /** The queue has to see to it: its mail goes nowhere else, the time was up, or some of what it was redirected to has it. */
  | { readonly kind: 'untried' };

export interface DirectResult {
  /** In the order of the envelope; all `untried` where the hand-over was given up. */
  readonly answers: readonly DirectAnswer[];
  /** For {@link SpoolWriter.commit}: those who have the message are done from its birth on. */
  readonly states: readonly (RecipientState | undefined)[];
  /**
   * Tells what was delivered of a message that never comes into the spool: `arrived` before the last line, as Exim has it.
   * @param size of the content, octets
   */
  tell(size: number, arrived: () => void): void;
  /** Tells who has a message that could neither be delivered to all nor spooled: its sender keeps it. */
  tellStored(): void;
  /** Records the other outcomes of a message that was committed with `states`, bounces included, and gives it back. */
  record(claim: Claim): Promise<void>;
}

export interface DirectTerms {
  /** The sender hears of each recipient, so that nobody else needs to be told of failures. */
  readonly told: boolean;
  /** `pass`: the same for those put off. */
  readonly defer: 'spool' | 'pass';
  /** Transactions that were begun for the message. */
  readonly held?: readonly HeldDelivery[];
}

export type DirectMessage = Submission & { readonly id: QueueId };

export type DirectDelivery = (
  message: DirectMessage,
  /** `complete` where it still arrives: true when all has come, false when nothing more will, which ends the hand-over. */
  content: WrittenContent & { readonly complete?: Promise<boolean> },
  terms: DirectTerms,
) => Promise<DirectResult>;

/**
 * @param limitMs most time after the end of the content, 0 for no limit; what is not answered by then counts as untried
 * @param stopping aborted: the time is up for all
 */
export function directDelivery(
  context: DeliveryContext,
  limitMs: number,
  stopping: AbortSignal,
): DirectDelivery {
  const underWay = new Set<AbortController>();
  const stopAll = (): void => {
    for (const one of underWay) one.abort();
  };
  stopping.addEventListener('abort', stopAll, { once: true });
  return async (message, { source, headerSize, complete }, { told, defer, held }) => {
    const nowMs = context.nowMs();
    const untried: RecipientState = { kind: 'pending', nextAttemptAtMs: nowMs, attempts: 0 };
    const claim: Claim = {
      entry: {
        ...message,
        size: source.size,
        headerSize,
        states: message.envelope.recipients.map(() => untried),
      },
      content: source,
      token: '',
    };
    const deadline = new AbortController();
    underWay.add(deadline);
    const stopClock = abortAfter(deadline, complete, limitMs);
    if (stopping.aborted) deadline.abort();
    let attempted: Work | 'lost';
    try {
      attempted = await attemptDelivery(context, claim, {
        force: false,
        direct: true,
        ...(held === undefined ? undefined : { held }),
        signal: deadline.signal,
      });
    } finally {
      stopClock();
      underWay.delete(deadline);
    }
    const work = attempted === 'lost' ? noWork : marked(attempted);
    for (const [number, { kind }] of work.attempts) {
      const task = work.tasks[number];
      if (task !== undefined && (kind === 'delivered' || kind === 'discarded'))
        settle(work, task, { kind: 'done', how: kind });
    }
    const answers = claim.entry.states.map((_, position) => answerOf(work, position));
    const toldOf = (position: number): boolean => {
      const kind = answers[position]?.kind;
      return told && (kind === 'failed' || (kind === 'deferred' && defer === 'pass'));
    };
    return {
      answers,
      states: answers.map((_, position) =>
        toldOf(position) ? { kind: 'done', how: 'failed' } : stateOf(work, position),
      ),
      tell: (size, arrived) => {
        tell(context, { ...claim, entry: { ...claim.entry, size } }, work.attempts, [], [], undefined, false);
        arrived();
        const atMs = context.nowMs();
        const queuedMs = atMs - message.reception.receivedAtMs;
        context.emit({ kind: 'completed', id: message.id, atMs, queuedMs });
      },
      tellStored: () => {
        const stored = [...work.attempts].filter(([, { kind }]) => kind === 'delivered');
        tell(context, claim, new Map(stored), [], [], undefined, false);
      },
      record: async (committed) => {
        const [left, told] = parted(work, toldOf);
        tell(context, committed, told, [], [], undefined, false);
        // The message is safe. What cannot be written down in that time is found out again by the queue.
        await recordFinal(context, committed, left, AbortSignal.timeout(recordMs));
      },
    };
  };
}

/** Aborts when the sender has waited for so long: from when it had said all. Gives what ends that. */
function abortAfter(
  controller: AbortController,
  complete: Promise<boolean> | undefined,
  limitMs: number,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const begin = (whole: boolean): void => {
    if (!whole) controller.abort();
    else if (!stopped && limitMs > 0) timer = setTimeout(() => controller.abort(), timerMs(limitMs));
  };
  if (complete === undefined) begin(true);
  else void complete.then(begin);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** What is to be recorded; and the attempts of those of whom the sender has heard, which need no record. */
function parted(
  work: Work,
  toldOf: (position: number) => boolean,
): readonly [Work, ReadonlyMap<number, Attempt>] {
  const heard = ([number]: [number, Attempt]): boolean => toldOf(work.tasks[number]?.position ?? -1);
  const all = [...work.attempts];
  const plans = new Map([...work.plans].filter(([position]) => !toldOf(position)));
  return [{ ...work, attempts: new Map(all.filter((a) => !heard(a))), plans }, new Map(all.filter(heard))];
}

/** Most time for the record of a message that is in the spool already: its sender waits. */
const recordMs = 20_000;

function marked(work: Work): Work {
  for (const [number, attempt] of work.attempts)
    if (attempt.kind === 'delivered') work.attempts.set(number, { ...attempt, direct: true });
  return work;
}

/** Of a recipient that was redirected: stored where every address is done, else what stands in the way. */
function answerOf(work: Work, position: number): DirectAnswer {
  if (stateOf(work, position)?.kind === 'done') {
    const plan = work.plans.get(position);
    const elsewhere = plan !== undefined && plan.leaves.length > 0 && plan.states.size === 0;
    return elsewhere ? { kind: 'stored', elsewhere } : { kind: 'stored' };
  }
  let open: Extract<Attempt, { kind: 'failed' | 'deferred' }> | undefined;
  for (const [number, task] of work.tasks.entries()) {
    if (task.position !== position) continue;
    const attempt = work.attempts.get(number);
    // One that was delivered in part may not be refused as a whole: its sender would send again.
    if (attempt?.kind !== 'failed' && attempt?.kind !== 'deferred') return { kind: 'untried' };
    if (attempt.kind === 'deferred' && (attempt.held !== undefined || attempt.freeze !== undefined))
      return { kind: 'untried' };
    // Somebody else is to hear of it, or nobody.
    if (attempt.kind === 'failed' && attempt.errorsTo !== undefined) return { kind: 'untried' };
    if (open === undefined || attempt.kind === 'deferred') open = attempt;
  }
  if (open === undefined) return { kind: 'untried' };
  const expired = open.kind === 'failed' && open.timedOut;
  return { kind: open.kind, status: expired ? { text: 'retry timeout exceeded' } : open.status };
}
