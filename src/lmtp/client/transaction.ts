/** One LMTP transaction on a session, one result per recipient (RFC 2033 §4.2). */
import { fly } from '../../net/fly.ts';
import { type OutgoingMessage, type SendOptions, sendDialogue } from '../../protocol/send-options.ts';
import type { RecipientResult, TransactionResult, TransactionStage } from '../../protocol/transaction.ts';
import type { LmtpSession } from './connect.ts';

/** What became of one recipient; the results of a transaction stand in the order of its recipients. */
export type LmtpRecipientResult = RecipientResult;
/** One result for each recipient, and how the dialogue ended. */
export type LmtpTransactionResult = TransactionResult;
/** Which command a reply was to; `content` is the wait after the message. */
export type LmtpStage = TransactionStage;
/** An envelope, and the content for all its recipients. */
export type LmtpMessage = OutgoingMessage;
/** Limits of waiting, and what is added to the dialogue. */
export type LmtpSendOptions = SendOptions;

/**
 * Hands one message over. The result has one entry per recipient whatever the server does; its `end` says whether the
 * session can be used again (`clean`). Rejects only with MailError ABORTED, and then what was delivered is unknown.
 */
export function sendLmtp(
  session: LmtpSession,
  message: LmtpMessage,
  options: LmtpSendOptions = {},
  signal?: AbortSignal,
): Promise<LmtpTransactionResult> {
  return fly(session.connection, sendDialogue('lmtp', session.capabilities, message, options), signal);
}
