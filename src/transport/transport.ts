/** The transport port (Exim manual, "Generic options for transports"): hands one batch to one place. */
import type { ReversePath } from '../mail/address.ts';
import type { Endpoint } from '../mail/endpoint.ts';
import type { Envelope, Recipient } from '../mail/envelope.ts';
import type { QueueId } from '../mail/message-id.ts';
import type { LocalDelivery } from '../mail/local-delivery.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { RecipientOutcome } from '../mail/outcome.ts';
import type { RcptAnswer } from '../mail/rcpt-answer.ts';
import type { RouteHost } from '../mail/route-host.ts';

/** Recipients of one message that go to the same place in one transaction. */
export interface Batch {
  readonly id: QueueId;
  /** The reverse path for this batch (the router's errors_to, or the envelope sender). */
  readonly sender: ReversePath;
  readonly recipients: readonly Recipient[];
  readonly envelope: Omit<Envelope, 'sender' | 'recipients'>;
  /** Hosts in order of preference; empty for transports that know their own destination. */
  readonly hosts: readonly RouteHost[];
  /** The order of the hosts is random already. */
  readonly randomized?: boolean;
  /** The hosts are those to fall back on, which nothing overrides. */
  readonly fallback?: boolean;
  /** The content with all header edits applied. */
  readonly message: MessageSource;
  /** Octets of the longest line as the message came; absent where nobody knows. */
  readonly longestLine?: number;
  /** User, home and direct target, the same for all recipients of the batch; absent where the router settled none. */
  readonly delivery?: LocalDelivery;
  /** Transactions that {@link Transport.hold} began for this message; used where one is just what would be begun now. */
  readonly held?: readonly HeldDelivery[];
}

/** What is known of a message whose transaction is begun before its content has come. */
export interface HoldStart {
  /** As in the batch; `declaredSize` is what the sender announced. */
  readonly envelope: Omit<Envelope, 'recipients'>;
  /** Limits of connecting, and of each reply to MAIL and RCPT. */
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
}

/** A transaction that stays open for the content. */
export interface HeldDelivery {
  /**
   * Whoever comes in one turn of the event loop is asked about in one flight. Never rejects.
   *
   * @param last nobody else is to be asked about, and the content follows
   */
  rcpt(recipient: Recipient, last: boolean): Promise<RcptAnswer>;
  /** Takes back what was not delivered and frees the connection. May be called at any time, also again. */
  end(): void;
}

/** How a callout reaches the place where a transport delivers. */
export interface CalloutTarget {
  readonly protocol: 'lmtp' | 'smtp';
  /** In order of preference. */
  readonly endpoints: readonly Endpoint[];
  /** The HELO, EHLO or LHLO argument. */
  readonly helo: string;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
}

/** `local`: mail goes into a file or a command here, so that who was routed to it exists. */
export interface CalloutImpossible {
  readonly kind: 'impossible';
  readonly reason: string;
  readonly local?: true;
}

export interface Transport {
  readonly name: string;
  /**
   * Delivers, and answers with one outcome per recipient in the batch's order, never keyed by address.
   * Does not throw for faults of the peer; rejects only when aborted, and then the outcome is unknown. Where somebody has
   * been answered before an abort it resolves: a deferral without a reply is unknown then.
   */
  deliver(batch: Batch, signal: AbortSignal): Promise<readonly RecipientOutcome[]>;
  /** Where to ask about recipients; a text says why this transport cannot be asked (Exim: "non-smtp"). */
  calloutTarget(hosts: readonly RouteHost[]): CalloutTarget | CalloutImpossible;
  /**
   * Begins a transaction for a message that is still to come, with the commands that {@link deliver} would send. Undefined
   * where it cannot be told beforehand what those are, or no more transactions may wait. Absent: never.
   *
   * @param target what {@link calloutTarget} gave
   * @param endpoint one of its endpoints
   */
  hold?(target: CalloutTarget, endpoint: Endpoint, start: HoldStart): HeldDelivery | undefined;
  /** At most this many recipients in one batch (`batch_max`, `max_rcpt`); Infinity for no bound. */
  readonly maxRecipients: number;
  close(): Promise<void>;
}
