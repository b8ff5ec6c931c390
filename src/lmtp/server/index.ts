/**
 * `mailchute/lmtp/server`: an LMTP server (RFC 2033) to embed. It speaks the protocol and keeps the bounds; a handler
 * says who exists and stores the message, with one reply per recipient by position. docs/library.md has an example.
 */
import { listen, type ListenAddress, type Listener, type ListenOptions } from '../../net/listen.ts';
import type { LmtpHandler } from './handler.ts';
import type { ServerConnection } from '../../net/server-connection.ts';
import type { TlsFacts } from '../../net/tls-accept.ts';
import { openTlsContexts } from '../../net/tls-context.ts';
import type { LmtpListenOptions, LmtpServerOptions, LmtpTlsOptions } from './options.ts';
import { runLmtpSession } from './session.ts';

export type { Address, ReversePath } from '../../mail/address.ts';
export { formatAddress, formatPath } from '../../mail/address.ts';
export type { DsnNotify, Envelope, Recipient } from '../../mail/envelope.ts';
export { MailError } from '../../mail/mail-error.ts';
export type { MessageSource } from '../../mail/message-source.ts';
export type { EnhancedStatus, Reply } from '../../mail/reply.ts';
export { reply, replyFromText } from '../../mail/reply.ts';
export type { ListenAddress, Listener, ListenOptions } from '../../net/listen.ts';
export type { TlsFacts } from '../../net/tls-accept.ts';
export type { LmtpClientFacts, LmtpForwarded, LmtpHandler, LmtpTransaction } from './handler.ts';
export type {
  LmtpIncident,
  LmtpLimits,
  LmtpListenOptions,
  LmtpServerOptions,
  LmtpSessionEnd,
  LmtpTlsOptions,
} from './options.ts';
export {
  type IncomingMessage,
  type MailboxOutcome,
  type MailboxService,
  mailboxHandler,
  type RecipientVerdict,
} from './mailbox-handler.ts';

/** Listens at any number of addresses; all sessions share one handler. */
export interface LmtpServer {
  /** Listens at one more address. Throws MailError('CONNECT') where it cannot be had, or its certificate cannot be used. */
  listen(at: ListenAddress, options?: LmtpListenOptions): Promise<Listener>;
  /**
   * Stops listening everywhere and ends sessions between their transactions; resolves when all have ended.
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
      const { tls, trusts, ...rest } = { busyReply, onError, ...listenOptions };
      const session = sessionOf(handler, options, giveUp.signal, tls, trusts, onError);
      const listener = await listen(at, tls?.onConnect === true ? silent(rest) : rest, session);
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

type Session = (connection: ServerConnection) => Promise<void>;

/** What is to be done with a connection that was let in. Throws where TLS cannot be set up. */
function sessionOf(
  handler: LmtpHandler,
  options: LmtpServerOptions,
  signal: AbortSignal,
  tls: LmtpTlsOptions | undefined,
  trusts: LmtpListenOptions['trusts'],
  onError: (error: unknown) => void,
): Session {
  const contexts = tls === undefined ? undefined : openTlsContexts(tls, onError);
  const handshakeTimeoutMs = tls?.handshakeTimeoutMs ?? 30_000;
  return async (connection) => {
    const { peer } = connection;
    const asked = trusts?.(peer.remoteAddress) ?? false;
    const trusted = asked instanceof Promise ? await asked : asked;
    if (contexts === undefined)
      return runLmtpSession(connection, { peer, trusted }, handler, options, signal);
    const startTls = (): Promise<TlsFacts | string> =>
      connection.startTls(contexts.current(), handshakeTimeoutMs);
    if (tls?.onConnect !== true)
      return runLmtpSession(connection, { peer, trusted, startTls }, handler, options, signal);
    const result = await startTls();
    if (typeof result !== 'string')
      return runLmtpSession(connection, { peer, trusted, tls: result }, handler, options, signal);
    options.onIncident?.({ kind: 'tls', client: peer.remoteAddress, reason: result });
  };
}

/** Before a handshake nothing can be said to the client. */
function silent(options: ListenOptions): ListenOptions {
  const { busyReply: _, refuse, ...rest } = options;
  if (refuse === undefined) return rest;
  const word = (refusal: string | undefined): string | undefined => (refusal === undefined ? refusal : '');
  return {
    ...rest,
    refuse(client) {
      const answer = refuse(client);
      return answer instanceof Promise ? answer.then(word) : word(answer);
    },
  };
}
