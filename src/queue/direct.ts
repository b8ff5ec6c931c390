/**
 * Delivery before the spool (Exim manual, "cutthrough_delivery"): a message is handed over while its sender waits for the
 * reply, to any number of servers, by the same routing, grouping and retry rules as from the queue. What nobody took over
 * goes to the spool afterwards, with what is known of every recipient.
 */
import type { QueueId } from '../mail/message-id.ts';
import type { Status } from '../mail/outcome.ts';
import type { Claim, RecipientState, Submission, WrittenContent } from '../spool/spool.ts';
import type { DeliveryContext } from './context.ts';
import { attemptDelivery } from './deliver.ts';
import type { Attempt } from './outcome.ts';
import { recordFinal, tell } from './record.ts';
import { noWork, settle, stateOf, type Work } from './work.ts';

/** What became of one recipient of the envelope. */
export type DirectAnswer =
  | { readonly kind: 'stored' }
  | { readonly kind: 'failed' | 'deferred'; readonly status: Status }
  /** Its mail goes nowhere but through the queue, or the time was up: nobody knows. */
  | { readonly kind: 'untried' };

export interface DirectResult {
  /** In the order of the envelope. */
  readonly answers: readonly DirectAnswer[];
  /** For {@link SpoolWriter.commit}: those who have the message are done from its birth on. */
  readonly states: readonly (RecipientState | undefined)[];
  /**
   * Tells what was delivered of a message that never comes into the spool: `arrived` before the last line, as Exim has it.
   * @param size of the content, octets
   */
  tell(size: number, arrived: () => void): void;
  /** Records the other outcomes of a message that was committed with `states`, bounces included, and gives it back. */
  record(claim: Claim): Promise<void>;
}

export interface DirectTerms {
  /** The sender hears of each recipient, so that nobody else needs to be told of failures. */
  readonly told: boolean;
  /** `pass`: the same for those put off. */
  readonly defer: 'spool' | 'pass';
}

export type DirectMessage = Submission & { readonly id: QueueId };

export type DirectDelivery = (
  message: DirectMessage,
  content: WrittenContent & { readonly complete?: Promise<void> },
  terms: DirectTerms,
) => Promise<DirectResult>;

/** @param limitMs most time after the end of the content; what is not answered by then counts as untried */
export function directDelivery(context: DeliveryContext, limitMs: number): DirectDelivery {
  return async (message, { source, headerSize, complete }, { told, defer }) => {
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
    const deadline = deadlineAfter(complete, limitMs);
    const attempted = await attemptDelivery(context, claim, {
      force: false,
      direct: true,
      signal: deadline.signal,
    });
    deadline.stop();
    // Where the owner of a list is to be told of its errors, the record of a queued message does it.
    const work = attempted === 'lost' || attempted.reports.length > 0 ? noWork : marked(attempted);
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
      record: async (committed) => {
        await recordFinal(context, committed, withoutTold(work, toldOf), withoutAbort);
      },
    };
  };
}

/** Aborts when the sender has waited for so long: from when it had said all. */
function deadlineAfter(
  complete: Promise<void> | undefined,
  limitMs: number,
): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const begin = (): void => {
    if (!stopped) timer = setTimeout(() => controller.abort(), limitMs);
  };
  if (complete === undefined) begin();
  else void complete.then(begin);
  return {
    signal: controller.signal,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** Of whom the sender has heard, nothing is left to be recorded. */
function withoutTold(work: Work, toldOf: (position: number) => boolean): Work {
  const attempts = new Map(
    [...work.attempts].filter(([number]) => !toldOf(work.tasks[number]?.position ?? -1)),
  );
  const plans = new Map([...work.plans].filter(([position]) => !toldOf(position)));
  return { ...work, attempts, plans };
}

const withoutAbort: AbortSignal = new AbortController().signal;

function marked(work: Work): Work {
  for (const [number, attempt] of work.attempts)
    if (attempt.kind === 'delivered') work.attempts.set(number, { ...attempt, direct: true });
  return work;
}

/** Of a recipient that was redirected: stored where every address is done, else what stands in the way. */
function answerOf(work: Work, position: number): DirectAnswer {
  if (stateOf(work, position)?.kind === 'done') return { kind: 'stored' };
  const attempts: Attempt[] = [];
  for (const [number, task] of work.tasks.entries()) {
    if (task.position !== position) continue;
    const attempt = work.attempts.get(number);
    if (attempt === undefined || attempt.kind === 'unknown') return { kind: 'untried' };
    attempts.push(attempt);
  }
  const open = attempts.find((a) => a.kind === 'deferred') ?? attempts.find((a) => a.kind === 'failed');
  if (open?.kind === 'deferred' && open.held !== undefined) return { kind: 'untried' };
  if (open === undefined) return { kind: 'untried' };
  // One that was delivered in part may not be refused as a whole.
  const kind = attempts.every((a) => a.kind === 'failed') ? 'failed' : 'deferred';
  return { kind, status: open.status };
}
