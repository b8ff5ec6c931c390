/** The mail store port: mailboxes into which the LMTP server delivers. `contract.ts` is the suite every driver must pass. */
import type { ReversePath, Address } from '../mail/address.ts';
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
  | { readonly kind: 'stored' }
  | { readonly kind: 'over-quota'; readonly text: string }
  | { readonly kind: 'refused'; readonly text: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface MailStore {
  /** Delivers to every recipient and answers in their order; `stored` only after the message is durable. Never throws for one user's fault. */
  deliver(delivery: StoreDelivery, signal: AbortSignal): Promise<readonly StoreOutcome[]>;
  close(): Promise<void>;
}
