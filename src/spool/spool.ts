/**
 * The spool port: durable storage for accepted messages, with leases instead of file locks and no paths, so that a
 * driver may keep it in lmdb or in PostgreSQL (DESIGN §4). `contract.ts` is the suite every driver must pass.
 */
import type { Address, ReversePath } from '../mail/address.ts';
import type { Envelope, Reception } from '../mail/envelope.ts';
import type { HeaderEdit } from '../mail/headers.ts';
import type { QueueId } from '../mail/message-id.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { Status } from '../mail/outcome.ts';

/** All that is fixed when a message is accepted. */
export interface Submission {
  readonly envelope: Envelope;
  readonly reception: Reception;
  /** Edits asked for at reception (Received, headers added by ACLs), applied when the message is handed on. */
  readonly headerEdits: readonly HeaderEdit[];
  /** `acl_m` variables by name, for expansions at delivery. */
  readonly variables: Readonly<Record<string, string>>;
}

/** Something that is to be tried, and how it went so far. */
export interface Trying {
  readonly kind: 'pending';
  /** Not before this time, milliseconds since 1970. */
  readonly nextAttemptAtMs: number;
  readonly attempts: number;
  /** When the current run of failures began; absent before the first failure. */
  readonly firstFailureAtMs?: number;
  /** The last attempt that failed: growing retry intervals are computed from it. */
  readonly lastAttemptAtMs?: number;
  readonly lastStatus?: Status;
}

export interface Finished {
  readonly kind: 'done';
  readonly how: 'delivered' | 'failed' | 'discarded';
}

/** Where one of the addresses stands that a recipient was redirected to. */
export type ChildState = Trying | Finished;

/** An address of a `one_time` list. */
export interface ListedAddress {
  readonly address: Address;
  /** Where its errors go; absent: to the sender. */
  readonly errorsTo?: ReversePath;
}

/**
 * Where one recipient stands. Recipients are known by their position in the envelope. One that was redirected is done
 * when all of its children are.
 */
export type RecipientState =
  | (Trying & {
      /** By unique name (src/router/route.ts): what became of them is remembered while others are not done. */
      readonly children?: Readonly<Record<string, ChildState>>;
      /** By unique name of an address: what it was turned into for good. */
      readonly expanded?: Readonly<Record<string, readonly ListedAddress[]>>;
    })
  | (Finished & {
      /** Names of the children, for which nothing is to be done again on account of another recipient. */
      readonly children?: readonly string[];
    });

/** A message in the spool, as last recorded. */
export interface SpoolEntry extends Submission {
  readonly id: QueueId;
  /** Content length in octets, header section included. */
  readonly size: number;
  /** Length of the header section with its blank line. */
  readonly headerSize: number;
  /** One per recipient of the envelope, in its order. */
  readonly states: readonly RecipientState[];
  /** Set while the message is frozen (Exim manual, "Freezing"): never claimed until thawed. */
  readonly frozenAtMs?: number;
}

/** The right to deliver a message until the lease ends. */
export interface Claim {
  readonly entry: SpoolEntry;
  readonly content: MessageSource;
  /** Fencing token: a driver refuses a record whose token is not the latest. */
  readonly token: string;
}

/** One recipient's new state. */
export interface OutcomeRecord {
  /** Position in the envelope. */
  readonly recipient: number;
  readonly state: RecipientState;
}

/** A message made here (a bounce, a delay warning) that must appear together with the record that caused it. */
export interface GeneratedMessage extends Submission {
  readonly id: QueueId;
  readonly content: Uint8Array;
}

export interface SpoolUpdate {
  readonly outcomes: readonly OutcomeRecord[];
  /** Stored in the same transaction as the outcomes, so a crash neither loses nor doubles a bounce. */
  readonly generated?: readonly GeneratedMessage[];
  /** Freezes or thaws the message. */
  readonly frozenAtMs?: number | null;
  /** Gives the lease back, so that the message can be claimed again when it is due. */
  readonly release: boolean;
}

/** What a new message waits for, in place of being delivered at once. */
export interface Hold {
  /** Its recipients are due at this time, milliseconds since 1970. */
  readonly nextAttemptAtMs: number;
  /** The message is born frozen. */
  readonly frozenAtMs?: number;
  /** Stored in the same transaction: who is to be told that the message was frozen. */
  readonly generated?: readonly GeneratedMessage[];
}

/** Content of a message that is not in the spool yet. */
export interface WrittenContent {
  readonly source: MessageSource;
  /** Length of the header section with its blank line. */
  readonly headerSize: number;
}

export interface SpoolWriter {
  /** Known from the start, for log lines and the Received field. */
  readonly id: QueueId;
  /**
   * Takes the next part of the content. A returned promise means: wait before writing more.
   * Storage faults are reported by commit, never lost.
   */
  write(chunk: Uint8Array): void | Promise<void>;
  /**
   * Makes the message durable and resolves only then. The submission may differ from the one given to `create`
   * (recipients dropped or headers added by the DATA ACL).
   * With a lease (`after` in milliseconds, above 0) the message is born claimed by this process and the claim is returned. With a {@link Hold} it is
   * not claimed but waits, from the same transaction on.
   * Throws MailError: NO_SPACE when the disk or the map is full, IO for other faults; the message then does not exist.
   * @param states of recipients of whom something is known already, by position; the others have not been tried and are
   *   due. Not all may be done.
   */
  commit(
    submission: Submission,
    after: number | Hold,
    nowMs: number,
    states?: readonly (RecipientState | undefined)[],
  ): Promise<Claim | undefined>;
  /**
   * All that was written, nothing of it durable: for a delivery before the message is in the spool. To be read until the
   * next write, commit or abort. Throws MailError NO_SPACE or IO where it could not be kept.
   */
  content(): Promise<WrittenContent>;
  /** Forgets everything written. Safe at any time before commit; does nothing afterwards. */
  abort(): Promise<void>;
}

export interface SpoolQuery {
  readonly id?: QueueId;
  readonly frozen?: boolean;
}

export interface ClaimOptions {
  readonly max: number;
  readonly leaseMs: number;
  readonly nowMs: number;
  /** Only this message. */
  readonly id?: QueueId;
  /** `due`: also before its time (Exim's -qf). `frozen`: also frozen ones (-qff). Never one leased to a live process. */
  readonly force?: 'due' | 'frozen';
}

export interface Spool {
  /**
   * A queue id no other message of this spool has or had, also after a crash and a restart within one second: for
   * generated messages and for {@link create}. Do not make ids for the spool in any other way.
   */
  newId(): QueueId;
  /** @param id one of {@link newId} that was needed before; each for one message only */
  create(signal: AbortSignal, id?: QueueId): Promise<SpoolWriter>;
  /**
   * Claims messages that have a recipient due at `nowMs`, are not frozen and not leased to a live process; the one due
   * longest first, so new mail in the order in which it came. May give fewer than `max` although more are due (content
   * held in memory is bounded); `nextDueAtMs` is in the past then.
   */
  claim(options: ClaimOptions): Promise<readonly Claim[]>;
  /** Extends a lease. `lost`: somebody else holds or removed the message; stop working on it. */
  renew(claim: Claim, leaseMs: number, nowMs: number): Promise<'renewed' | 'lost'>;
  /**
   * Writes outcomes durably, resolving after the fsync; the message disappears when every recipient is done.
   * `lost`: the claim's token is stale and nothing was written.
   */
  record(claim: Claim, update: SpoolUpdate): Promise<'recorded' | 'lost'>;
  /** Reads without claiming, oldest first. */
  inspect(query: SpoolQuery): AsyncIterable<SpoolEntry>;
  /**
   * When the next unfrozen message falls due, milliseconds since 1970; undefined for none. One claimed by a live process
   * counts from the end of its lease.
   */
  nextDueAtMs(): number | undefined;
  /** Waits for what is under way and closes. */
  close(): Promise<void>;
}
