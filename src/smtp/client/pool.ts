/** SMTP sessions kept and used again for the next message or question to the same place. */
import { type ClientPool, createClientPool } from '../../net/client-pool.ts';
import type { PoolOptions } from '../../net/session-pool.ts';
import type { InquiryResult } from '../../protocol/inquiry.ts';
import { poolDialogues } from '../../protocol/pool-dialogues.ts';
import type { OutgoingMessage, SendOptions } from '../../protocol/send-options.ts';
import type { TransactionResult } from '../../protocol/transaction.ts';
import { connectSmtp, type SmtpConnectOptions, type SmtpSession } from './connect.ts';

/** For new connections and for the transaction; a kept connection stays as it was greeted. */
export type SmtpPoolOptions = SendOptions & Omit<SmtpConnectOptions, 'signal'>;
export type SmtpPool = ClientPool<OutgoingMessage, SmtpPoolOptions, TransactionResult, InquiryResult>;

/** Makes a pool: by default at most 16 connections to an endpoint, each kept idle for 5 s and used for 500 messages. */
export function createSmtpPool(options: Partial<PoolOptions> = {}): SmtpPool {
  return createClientPool<SmtpSession, OutgoingMessage, SmtpPoolOptions, TransactionResult, InquiryResult>(
    {
      open: (endpoint, o, signal) => connectSmtp(endpoint, signal === undefined ? o : { ...o, signal }),
      ...poolDialogues('smtp'),
      defaults: {},
    },
    options,
  );
}
