/**
 * `mailchute/lmtp/client`: an LMTP client (RFC 2033) with PIPELINING and CHUNKING, one outcome per recipient by position.
 *
 *     const pool = createLmtpPool();
 *     const sent = await pool.send({ kind: 'unix', path: '/run/lmtp' }, { envelope, content: messageFromBytes(bytes) });
 *     if (sent.kind === 'done') sent.result.recipients.forEach((r, i) => console.log(i, r.kind));
 *     await pool.close();
 */
export {
  type Address,
  formatAddress,
  isSyntaxError,
  parseAddress,
  type ReversePath,
} from '../../mail/address.ts';
export type { DialogueFault } from '../../mail/dialogue-fault.ts';
export { type Endpoint, endpointKey } from '../../mail/endpoint.ts';
export type { DsnNotify, Envelope, Recipient } from '../../mail/envelope.ts';
export { MailError, type MailErrorCode } from '../../mail/mail-error.ts';
export type { MessageSource } from '../../mail/message-source.ts';
export {
  type EnhancedStatus,
  formatReply,
  isPermanent,
  isPositive,
  isTransient,
  type Reply,
} from '../../mail/reply.ts';
export type { ClientTls } from '../../net/client-tls.ts';
export { SessionError, type SessionFailure } from '../../net/open-session.ts';
export type { PoolOptions } from '../../net/session-pool.ts';
export type { Capabilities } from '../../protocol/capabilities.ts';
export { connectLmtp, type LmtpConnectOptions, type LmtpSession } from './connect.ts';
export { messageFromBytes } from './content.ts';
export {
  createLmtpPool,
  type LmtpInquiryResult,
  type LmtpPool,
  type LmtpPoolOptions,
  type LmtpSendResult,
} from './pool.ts';
export {
  type LmtpMessage,
  type LmtpRecipientResult,
  type LmtpSendOptions,
  type LmtpStage,
  type LmtpTransactionResult,
  sendLmtp,
} from './transaction.ts';
