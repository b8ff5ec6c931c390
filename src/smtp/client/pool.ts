/** SMTP sessions kept and used again for the next message or question to the same place. */
import { type ClientPool, createClientPool } from '../../net/client-pool.ts';
import type { PoolOptions } from '../../net/session-pool.ts';
import { type InquiryResult, inquiryDialogue } from '../../protocol/inquiry.ts';
import {
  askDialogue,
  defaultCommandTimeoutMs,
  nothingSent,
  type OutgoingMessage,
  type SendOptions,
  sendDialogue,
  sendRestDialogue,
} from '../../protocol/send-options.ts';
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
      transaction: (session, message, o) => sendDialogue('smtp', session.capabilities, message, o),
      inquiry: (session, sender, recipients, o) =>
        inquiryDialogue(session.capabilities, sender, recipients, {
          timeoutMs: o.commandTimeoutMs ?? defaultCommandTimeoutMs,
          sizeOctets: o.inquirySizeOctets,
        }),
      held: {
        ask: (session, envelope, recipients, last, o) =>
          askDialogue(session.capabilities, envelope, recipients, last, o),
        rest: (session, message, data, o) => sendRestDialogue('smtp', session.capabilities, message, data, o),
        nothingSent,
      },
      resetTimeoutMs: (o) => o.commandTimeoutMs ?? defaultCommandTimeoutMs,
      defaults: {},
    },
    options,
  );
}
