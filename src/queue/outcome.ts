/** What one delivery attempt found for one recipient, before it is recorded. */
import type { ReversePath } from '../mail/address.ts';
import type { RecipientOutcome, Status } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { RecipientState, Trying } from '../spool/spool.ts';
import type { EventRecipient } from './events.ts';

export type Attempt =
  | {
      readonly kind: 'delivered';
      readonly who: EventRecipient;
      readonly outcome: Extract<RecipientOutcome, { kind: 'delivered' }>;
      /** What a router gave a local transport in place of a host. */
      readonly routedTo?: RouteHost;
      readonly first: boolean;
      /** Before the message was in the spool. */
      readonly direct?: true;
      readonly sender: ReversePath;
      readonly deliveryMs: number;
    }
  | { readonly kind: 'discarded'; readonly who: EventRecipient; readonly bypassed?: string }
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
      /** It waits although nothing failed: its history stays as it was. `routing`: the log says so. */
      readonly held?: { readonly routing: boolean };
      readonly nextAttemptAtMs: number;
      /** The message is to be frozen, for this reason. */
      readonly freeze?: string;
    }
  /** Stopped in the middle: nobody knows. It stays as it was and is tried again. */
  | { readonly kind: 'unknown'; readonly who: EventRecipient };

export type PendingState = Trying;

/** Held back for a queue run: nothing has been tried, nor found not worth trying. */
export function isUntried(state: RecipientState): boolean {
  return state.kind === 'pending' && state.attempts === 0 && state.firstFailureAtMs === undefined;
}

/** The state after a temporary failure. */
export function deferredState(
  before: PendingState,
  attempt: Extract<Attempt, { kind: 'deferred' }>,
  nowMs: number,
): PendingState {
  if (attempt.held !== undefined) return { ...before, nextAttemptAtMs: attempt.nextAttemptAtMs };
  const first = before.firstFailureAtMs ?? nowMs;
  const last = attempt.skipped ? before.lastAttemptAtMs : nowMs;
  return {
    kind: 'pending',
    nextAttemptAtMs: attempt.nextAttemptAtMs,
    attempts: before.attempts + (attempt.skipped ? 0 : 1),
    firstFailureAtMs: first,
    ...(last === undefined ? undefined : { lastAttemptAtMs: last }),
    lastStatus: shortStatus(attempt.status),
  };
}

/** Octets of a status's text, and of its reply, that are kept. */
const keptOctets = 1024;

/** A status, without output, as it is recorded and reported: peers may say much, and a message may have very many recipients. */
export function shortStatus(status: Status): Status {
  const { output, link, ...rest } = status;
  if (output !== undefined || link !== undefined) return shortStatus(rest);
  const { text, reply } = status;
  const long = reply !== undefined && reply.lines.reduce((n, line) => n + line.length, 0) > keptOctets;
  if (text.length <= keptOctets && !long) return status;
  return {
    ...status,
    text: text.slice(0, keptOctets),
    ...(long ? { reply: { ...reply, lines: [reply.lines[0].slice(0, keptOctets)] } } : undefined),
  };
}
