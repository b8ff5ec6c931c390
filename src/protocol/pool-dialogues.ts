/** What a pool of sessions says to a server, in SMTP and in LMTP: they differ in the replies to the content only. */
import type { Address, ReversePath } from '../mail/address.ts';
import type { Envelope, Recipient } from '../mail/envelope.ts';
import type { RcptAnswers } from '../mail/rcpt-answer.ts';
import type { Reply } from '../mail/reply.ts';
import type { Capabilities } from './capabilities.ts';
import type { Dialogue } from './flight.ts';
import { inquiryDialogue, type InquiryResult } from './inquiry.ts';
import type { ClientProtocol } from './opening.ts';
import {
  askDialogue,
  defaultCommandTimeoutMs,
  nothingSent,
  type OutgoingMessage,
  type SendOptions,
  sendDialogue,
  sendRestDialogue,
} from './send-options.ts';
import type { TransactionResult } from './transaction.ts';

/** A session that the server has greeted. */
interface Greeted {
  readonly capabilities: Capabilities;
}

export interface PoolDialogues {
  transaction(session: Greeted, message: OutgoingMessage, options: SendOptions): Dialogue<TransactionResult>;
  inquiry(
    session: Greeted,
    sender: ReversePath,
    recipients: readonly Address[],
    options: SendOptions,
  ): Dialogue<InquiryResult>;
  /** See `net/held-send.ts`. */
  readonly held: {
    ask(
      session: Greeted,
      envelope: Omit<Envelope, 'recipients'> | undefined,
      recipients: readonly Recipient[],
      last: boolean,
      options: SendOptions,
    ): Dialogue<RcptAnswers>;
    rest(
      session: Greeted,
      message: OutgoingMessage,
      data: Reply | undefined,
      options: SendOptions,
    ): Dialogue<TransactionResult>;
    nothingSent(result: TransactionResult): boolean;
  };
  resetTimeoutMs(options: SendOptions): number;
}

export function poolDialogues(protocol: ClientProtocol): PoolDialogues {
  return {
    transaction: ({ capabilities }, message, o) => sendDialogue(protocol, capabilities, message, o),
    inquiry: ({ capabilities }, sender, recipients, o) =>
      inquiryDialogue(capabilities, sender, recipients, {
        timeoutMs: o.commandTimeoutMs ?? defaultCommandTimeoutMs,
        sizeOctets: o.inquirySizeOctets,
      }),
    held: {
      ask: ({ capabilities }, envelope, recipients, last, o) =>
        askDialogue(capabilities, envelope, recipients, last, o),
      rest: ({ capabilities }, message, data, o) =>
        sendRestDialogue(protocol, capabilities, message, data, o),
      nothingSent,
    },
    resetTimeoutMs: (o) => o.commandTimeoutMs ?? defaultCommandTimeoutMs,
  };
}
