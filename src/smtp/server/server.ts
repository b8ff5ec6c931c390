import { listen, type ListenAddress, type Listener, type ListenOptions } from '../../net/listen.ts';
import type { HandlerFactory, SessionOptions } from './handler.ts';
import { runSmtpSession } from './session.ts';

/**
 * Serves SMTP at one address, one handler per connection. Beyond `maxConnections` a client gets Exim's 421.
 * Throws MailError('CONNECT') where the address cannot be had.
 */
export function listenSmtp(
  at: ListenAddress,
  session: SessionOptions,
  options: ListenOptions,
  handlerFor: HandlerFactory,
): Promise<Listener> {
  const busyReply = '421 Too many concurrent SMTP connections; please try again later.\r\n';
  return listen(at, { busyReply, ...options }, (connection) =>
    runSmtpSession(connection, handlerFor(connection.peer), session),
  );
}
