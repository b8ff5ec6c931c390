/** The mail store port: mailboxes into which the LMTP server delivers. `contract.ts` is the suite every driver must pass. */
import type { ReversePath, Address } from '../mail/address.ts';
import type { Awaitable } from '../mail/awaitable.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { MailUser } from '../mail/mail-user.ts';

/** One recipient of a transaction as the store sees it. */
export interface StoreRecipient {
  /** As given on RCPT: for the Delivered-To field. */
  readonly address: Address;
  readonly user: MailUser;
  /** The `+detail` part, or undefined. */
  readonly detail?: string;
  /** The mailbox below the user's INBOX, with `/` between levels whatever the driver writes on the disk, UTF-8 octets as latin1; absent for INBOX. */
  readonly folder?: string;
  /**
   * What is done where the folder does not exist (Dovecot's `lda_mailbox_autocreate` and `lda_mailbox_autosubscribe`).
   * Default `refuse`: the outcome is `no-folder`.
   */
  readonly missingFolder?: 'refuse' | 'create' | 'create-and-subscribe';
  /**
   * Told, before the message becomes visible, where it will be; it does not before this has resolved. Rejecting keeps it from being
   * stored. A driver that cannot say so beforehand does not call it.
   */
  readonly announce?: (token: string) => Promise<void>;
}

export interface StoreDelivery {
  readonly sender: ReversePath;
  readonly recipients: readonly StoreRecipient[];
  /** Content as received; the driver puts `trace` in front of it. */
  readonly content: MessageSource;
  /** Return-Path, Delivered-To and Received for the recipient at this position, each line ended by CRLF. */
  trace(position: number): string;
}

export type StoreOutcome =
  /** With the octets that were written, where the store says so, and the same with CRLF at the end of every line: for quotas. */
  | { readonly kind: 'stored'; readonly storedBytes?: number; readonly virtualBytes?: number }
  /** Only where a folder was asked for: it does not exist, or its name cannot be one here. Nothing was stored; the caller tries the INBOX. */
  | { readonly kind: 'no-folder'; readonly reason: string }
  | { readonly kind: 'over-quota'; readonly text: string }
  /** Larger than any message may be for this user. */
  | { readonly kind: 'too-big'; readonly text: string }
  | { readonly kind: 'refused'; readonly text: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Why a user can take no message now. */
export type NoRoom = Extract<StoreOutcome, { kind: 'over-quota' | 'too-big' | 'unavailable' }>;

export interface MailStore {
  /** Delivers to every recipient and answers in their order; `stored` only after the message is durable. Never throws for one user's fault. */
  deliver(delivery: StoreDelivery, signal: AbortSignal): Promise<readonly StoreOutcome[]>;
  /**
   * Asked at RCPT, before anything is stored: whether this user could take a message, of the size that the sender declared
   * where he did (octets with CRLF). Undefined where nothing speaks against it; absent where no store would say otherwise.
   */
  check?(
    user: MailUser,
    folder: string | undefined,
    declaredBytes: number | undefined,
  ): Awaitable<NoRoom | undefined>;
  /** Is a message where a token of {@link StoreRecipient.announce} says? Absent where no driver gives tokens. */
  holds?(token: string): boolean | Promise<boolean>;
  close(): Promise<void>;
}
