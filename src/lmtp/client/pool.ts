/** LMTP sessions kept and used again for the next message or question to the same place. */
import { type ClientPool, createClientPool } from '../../net/client-pool.ts';
import type { PooledOutcome } from '../../net/run-pooled.ts';
import type { PoolOptions } from '../../net/session-pool.ts';
import type { InquiryResult } from '../../protocol/inquiry.ts';
import { poolDialogues } from '../../protocol/pool-dialogues.ts';
import { connectLmtp, type LmtpConnectOptions, type LmtpSession } from './connect.ts';
import type { LmtpMessage, LmtpSendOptions, LmtpTransactionResult } from './transaction.ts';

/** `no-session`: nobody could be asked; else one result per recipient. */
export type LmtpSendResult = PooledOutcome<LmtpTransactionResult>;
/** The same for a question without a message. */
export type LmtpInquiryResult = PooledOutcome<InquiryResult>;
/** For new connections and for the transaction; a kept connection stays as it was greeted. */
export type LmtpPoolOptions = LmtpSendOptions & Omit<LmtpConnectOptions, 'signal'>;
/** What {@link createLmtpPool} makes. */
export type LmtpPool = ClientPool<LmtpMessage, LmtpPoolOptions, LmtpTransactionResult, InquiryResult>;

/** Makes a pool: by default at most 16 connections to an endpoint, each kept idle for 5 s and used for 500 messages. */
export function createLmtpPool(options: Partial<PoolOptions> = {}): LmtpPool {
  return createClientPool<LmtpSession, LmtpMessage, LmtpPoolOptions, LmtpTransactionResult, InquiryResult>(
    {
      open: (endpoint, o, signal) => connectLmtp(endpoint, signal === undefined ? o : { ...o, signal }),
      ...poolDialogues('lmtp'),
      variant: ({ tls }) =>
        tls === undefined ? '' : ` ${tls.mode} ${tls.verify ? 'verified' : ''} ${tls.peerName}`,
      defaults: {},
    },
    options,
  );
}
