/** What a caller may say about a transaction, with the defaults of RFC 5321 §4.5.3.2 as Exim rounds them. */
import type { Envelope } from '../mail/envelope.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { Capabilities } from './capabilities.ts';
import type { Dialogue } from './flight.ts';
import type { ClientProtocol } from './opening.ts';
import { type TransactionResult, transactionDialogue } from './transaction.ts';

export const defaultCommandTimeoutMs = 300_000;
export const defaultFinalTimeoutMs = 600_000;
export const defaultFirstFlightOctets = 65_536;

export interface OutgoingMessage {
  readonly envelope: Envelope;
  /** The content, lines ending in CRLF, without dot-stuffing. */
  readonly content: MessageSource;
}

export interface SendOptions {
  /** Longest wait for each reply to MAIL, RCPT and DATA; 5 minutes by default. */
  readonly commandTimeoutMs?: number;
  /** Longest wait for the server to take each block of a streamed message; 5 minutes by default. */
  readonly dataTimeoutMs?: number;
  /** Longest wait for each reply after the content; 10 minutes by default. */
  readonly finalTimeoutMs?: number;
  /** One command at a time whatever the server offers (Exim: `hosts_avoid_pipelining`). */
  readonly avoidPipelining?: boolean;
  /** Octets added to the size for `MAIL SIZE=`, which is left out when negative. Default 0. */
  readonly sizeAddition?: number;
  /** For inquiries: the size that the message will have, given with `MAIL SIZE=` where the server takes it. */
  readonly inquirySizeOctets?: number;
  /** Adds IGNOREQUOTA to RCPT where the server offers it. */
  readonly ignoreQuota?: boolean;
  /**
   * Content up to this many octets is sent together with MAIL and RCPT where the server has CHUNKING; a larger one
   * would be sent for nothing if all recipients are refused. Default 65536.
   */
  readonly firstFlightOctets?: number;
}

export function sendDialogue(
  protocol: ClientProtocol,
  capabilities: Capabilities,
  message: OutgoingMessage,
  options: SendOptions,
): Dialogue<TransactionResult> {
  return transactionDialogue({
    protocol,
    capabilities: options.avoidPipelining === true ? { ...capabilities, pipelining: false } : capabilities,
    envelope: message.envelope,
    content: message.content,
    timeouts: {
      commandMs: options.commandTimeoutMs ?? defaultCommandTimeoutMs,
      dataMs: options.dataTimeoutMs ?? defaultCommandTimeoutMs,
      finalMs: options.finalTimeoutMs ?? defaultFinalTimeoutMs,
    },
    sizeAddition: options.sizeAddition ?? 0,
    ignoreQuota: options.ignoreQuota ?? false,
    firstFlightOctets: options.firstFlightOctets ?? defaultFirstFlightOctets,
  });
}
