/** What a caller may say about a transaction, with the defaults of RFC 5321 §4.5.3.2 as Exim rounds them. */
import type { Envelope, Recipient } from '../mail/envelope.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { Capabilities } from './capabilities.ts';
import type { RcptAnswer, RcptAnswers } from '../mail/rcpt-answer.ts';
import type { Reply } from '../mail/reply.ts';
import { rcptLine } from './envelope-commands.ts';
import type { Dialogue } from './flight.ts';
import { type HeldAnswer, type HeldRcpts, mailDialogue, rcptDialogue } from './held-transaction.ts';
import type { ClientProtocol } from './opening.ts';
import {
  restDialogue,
  type TransactionInput,
  type TransactionResult,
  transactionDialogue,
} from './transaction.ts';

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
  return transactionDialogue(inputOf(protocol, capabilities, message, options));
}

/**
 * The beginning of a transaction that is kept for its content, with the commands that {@link sendDialogue} would send.
 *
 * @param envelope where MAIL is still to be said; `declaredSize` is what its sender announced
 * @param last nobody else is asked about, and the content follows
 */
export function* askDialogue(
  capabilities: Capabilities,
  envelope: Omit<Envelope, 'recipients'> | undefined,
  recipients: readonly Recipient[],
  last: boolean,
  options: SendOptions,
): Dialogue<RcptAnswers> {
  const c = usable(capabilities, options);
  const rcpts: HeldRcpts = {
    recipients,
    line: (recipient) => rcptLine(recipient, c, options.ignoreQuota ?? false),
    data: last && c.pipelining && !c.chunking,
    timeoutMs: options.commandTimeoutMs ?? defaultCommandTimeoutMs,
  };
  const { answers, data } =
    envelope === undefined
      ? yield* rcptDialogue(rcpts, c)
      : yield* mailDialogue(withSize(envelope, options.sizeAddition ?? 0), c, rcpts);
  const said = answers.map(rcptAnswer);
  return data === undefined ? { answers: said } : { answers: said, data };
}

/**
 * The content of a transaction whose recipients, those of the message, were all taken in {@link askDialogue}.
 *
 * @param data what that gave
 */
export function sendRestDialogue(
  protocol: ClientProtocol,
  capabilities: Capabilities,
  message: OutgoingMessage,
  data: Reply | undefined,
  options: SendOptions,
): Dialogue<TransactionResult> {
  return restDialogue(inputOf(protocol, capabilities, message, options), data);
}

/** Whether {@link sendRestDialogue} ended before the server can have taken anything for a message. */
export function nothingSent({ recipients }: TransactionResult): boolean {
  return recipients.every((r) => r.kind === 'unanswered' && r.stage === 'data');
}

function withSize(
  { declaredSize, ...envelope }: Omit<Envelope, 'recipients'>,
  sizeAddition: number,
): Omit<Envelope, 'recipients'> {
  return declaredSize === undefined || sizeAddition < 0
    ? envelope
    : { ...envelope, declaredSize: declaredSize + sizeAddition };
}

/** What is said before the content can be about nothing else. */
function rcptAnswer(answer: HeldAnswer): RcptAnswer {
  if (answer.kind === 'unsupported') return answer;
  const stage = answer.stage === 'mail' ? 'mail' : 'rcpt';
  return { ...answer, stage };
}

function usable(capabilities: Capabilities, { avoidPipelining }: SendOptions): Capabilities {
  return avoidPipelining === true ? { ...capabilities, pipelining: false } : capabilities;
}

function inputOf(
  protocol: ClientProtocol,
  capabilities: Capabilities,
  message: OutgoingMessage,
  options: SendOptions,
): TransactionInput {
  return {
    protocol,
    capabilities: usable(capabilities, options),
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
  };
}
