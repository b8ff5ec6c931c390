/** Turns a temporary failure of an address or a message into its next attempt, or into a final failure. */
import type { ExpandScope } from '../expand/scope.ts';
import { formatAddress, type ReversePath } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';
import type { RetryError } from '../retry/error.ts';
import type { RetryRule } from '../retry/rules.ts';
import { afterFailure, type RetryRecord } from '../retry/schedule.ts';
import { type RetrySubject, selectRetryRule } from '../retry/select.ts';
import type { SpoolEntry } from '../spool/spool.ts';
import type { DeliveryContext } from './context.ts';
import type { EventRecipient } from './events.ts';
import type { Attempt, PendingState } from './outcome.ts';

export interface Failure {
  readonly who: EventRecipient;
  readonly status: Status;
  readonly error: RetryError;
  readonly errno: number;
  /** What the rule is chosen by, and instead where that matches no pattern. */
  readonly key: string;
  readonly alternate?: string;
  readonly errorsTo?: ReversePath;
  readonly freeze?: string;
}

/** The first rule for this failure. What a rule's pattern cannot be matched for goes to the log. */
export function ruleFor(
  context: DeliveryContext,
  entry: SpoolEntry,
  scope: ExpandScope,
  failure: Pick<Failure, 'key' | 'alternate' | 'error'>,
): Promise<RetryRule | undefined> {
  const subject: RetrySubject = {
    key: failure.key,
    ...(failure.alternate === undefined ? undefined : { alternate: failure.alternate }),
    error: failure.error,
    sender: entry.envelope.sender,
  };
  const problem = (text: string): void =>
    context.emit({ kind: 'problem', id: entry.id, atMs: context.nowMs(), text });
  return selectRetryRule(context.retryRules, subject, scope, problem);
}

/** Schedules by the recipient's own history; a message older than its history counts from its arrival. */
export async function decideRetry(
  context: DeliveryContext,
  entry: SpoolEntry,
  scope: ExpandScope,
  before: PendingState,
  failure: Failure,
): Promise<Attempt> {
  const rule = await ruleFor(context, entry, scope, failure);
  const nowMs = context.nowMs();
  const record = afterFailure(rule, historyOf(before), nowMs, {
    ...context.schedule,
    receivedAtMs: entry.reception.receivedAtMs,
  });
  if (record.expired && failure.freeze === undefined) return timedOut(failure);
  return {
    kind: 'deferred',
    who: failure.who,
    status: failure.status,
    errno: failure.errno,
    skipped: false,
    nextAttemptAtMs: record.nextTryAtMs,
    ...(failure.freeze === undefined ? undefined : { freeze: failure.freeze }),
  };
}

/** The failure made final: its retry times are used up. */
export function timedOut(failure: Pick<Failure, 'who' | 'status' | 'errorsTo'>): Attempt {
  return {
    kind: 'failed',
    who: failure.who,
    status: failure.status,
    timedOut: true,
    ...(failure.errorsTo === undefined ? undefined : { errorsTo: failure.errorsTo }),
  };
}

function historyOf(before: PendingState): RetryRecord | undefined {
  if (before.firstFailureAtMs === undefined) return undefined;
  return {
    firstFailedAtMs: before.firstFailureAtMs,
    lastTryAtMs: before.lastAttemptAtMs ?? before.firstFailureAtMs,
    nextTryAtMs: before.nextAttemptAtMs,
    expired: false,
  };
}

/** A key for rules that look at one address. */
export function addressKey(who: EventRecipient): string {
  return formatAddress(who.address);
}
