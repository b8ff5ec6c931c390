/**
 * `mailchute/lmtp/server`: an LMTP server (RFC 2033) to embed. It speaks the protocol and keeps the bounds; a handler
 * says who exists and stores the message, with one reply per recipient by position. docs/library.md has an example.
 */
import { listen, type ListenAddress, type Listener, type ListenOptions } from '../../net/listen.ts';
import type { LmtpHandler } from './handler.ts';
import type { LmtpServerOptions } from './options.ts';
import { runLmtpSession } from './session.ts';

export type { Address, ReversePath } from '../../mail/address.ts';
export { formatAddress, formatPath } from '../../mail/address.ts';
export type { DsnNotify, Envelope, Recipient } from '../../mail/envelope.ts';
export { MailError } from '../../mail/mail-error.ts';
export type { MessageSource } from '../../mail/message-source.ts';
export type { EnhancedStatus, Reply } from '../../mail/reply.ts';
export { reply, replyFromText } from '../../mail/reply.ts';
export type { ListenAddress, Listener, ListenOptions } from '../../net/listen.ts';
export type { LmtpClientFacts, LmtpHandler, LmtpTransaction } from './handler.ts';
export type { LmtpIncident, LmtpLimits, LmtpServerOptions } from './options.ts';

/** Listens at any number of addresses; all sessions share one handler. */
export interface LmtpServer {
  /** Listens at one more address. Throws MailError('CONNECT') where it cannot be had. */
  listen(at: ListenAddress, options?: ListenOptions): Promise<Listener>;
  /**
   * Stops listening everywhere and ends sessions at their next command; resolves when all have ended.
   * @param graceMs after this, deliveries under way are aborted and connections cut. Default 5000.
   */
  close(graceMs?: number): Promise<void>;
}

/** Makes a server whose transactions `handler` decides. Nothing listens until {@link LmtpServer.listen} is called. */
export function createLmtpServer(options: LmtpServerOptions, handler: LmtpHandler): LmtpServer {
  const listeners: Listener[] = [];
  const giveUp = new AbortController();
  return {
    async listen(at, listenOptions = {}) {
      const busyReply = `421 4.3.2 ${options.hostname} Too many connections\r\n`;
      const onError = (error: unknown): void => options.onIncident?.({ kind: 'fault', client: '', error });
      const listener = await listen(at, { busyReply, onError, ...listenOptions }, (connection) =>
        runLmtpSession(connection, connection.peer, handler, options, giveUp.signal),
      );
      listeners.push(listener);
      return listener;
    },
    async close(graceMs = 5_000) {
      const late = setTimeout(() => giveUp.abort(new Error('the server is closing')), graceMs);
      await Promise.all(listeners.map((l) => l.close(graceMs)));
      clearTimeout(late);
    },
  };
}
