/** What one delivery attempt found for one recipient, before it is recorded. */
import type { ReversePath } from '../mail/address.ts';
import type { RecipientOutcome, Status } from '../mail/outcome.ts';
import type { RecipientState } from '../spool/spool.ts';
import type { EventRecipient } from './events.ts';

export type Attempt =
  | {
      readonly kind: 'delivered';
      readonly who: EventRecipient;
      readonly outcome: Extract<RecipientOutcome, { kind: 'delivered' }>;
      readonly first: boolean;
      readonly sender: ReversePath;
      readonly deliveryMs: number;
    }
  | { readonly kind: 'discarded'; readonly who: EventRecipient }
  | {
      readonly kind: 'failed';
      readonly who: EventRecipient;
      readonly status: Status;
      readonly timedOut: boolean;
      /** `errors_to` of the router; absent: the message's sender. */
      readonly errorsTo?: ReversePath;
    }
  | {
      readonly kind: 'deferred';
      readonly who: EventRecipient;
      readonly status: Status;
      readonly errno: number;
      /** Nothing was tried. */
      readonly skipped: boolean;
      readonly nextAttemptAtMs: number;
      /** The message is to be frozen, for this reason. */
      readonly freeze?: string;
    }
  /** Stopped in the middle: nobody knows. It stays as it was and is tried again. */
  | { readonly kind: 'unknown'; readonly who: EventRecipient };

export type PendingState = Extract<RecipientState, { kind: 'pending' }>;

/** The state after a temporary failure. */
export function deferredState(
  before: PendingState,
  attempt: Extract<Attempt, { kind: 'deferred' }>,
  nowMs: number,
): PendingState {
  const first = before.firstFailureAtMs ?? nowMs;
  const last = attempt.skipped ? before.lastAttemptAtMs : nowMs;
  return {
    kind: 'pending',
    nextAttemptAtMs: attempt.nextAttemptAtMs,
    attempts: before.attempts + (attempt.skipped ? 0 : 1),
    firstFailureAtMs: first,
    ...(last === undefined ? undefined : { lastAttemptAtMs: last }),
    lastStatus: attempt.status,
  };
}
