/** TLS on a client's connection: from the first octet, or after STARTTLS (RFC 3207). */
import { type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { MailError } from '../mail/mail-error.ts';
import { timerMs } from '../mail/time-interval.ts';
import { systemErrorText } from './system-error.ts';

/** TLS towards a server. */
export interface ClientTls {
  /** Name or IP address that the server's certificate must carry. */
  readonly peerName: string;
  /** False takes any certificate. */
  readonly verify: boolean;
  /** Certificates to trust, PEM; the ones Node brings where absent. */
  readonly ca?: string;
}

/** Rejects with MailError: CONNECT (text says what is wrong with the certificate or the handshake), DEADLINE, ABORTED. */
export function secureSocket(
  socket: Socket,
  tls: ClientTls,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<TLSSocket> {
  if (signal?.aborted === true) return Promise.reject(new MailError('ABORTED', 'aborted'));
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const secured = connectTls({
    socket,
    host: tls.peerName,
    rejectUnauthorized: tls.verify,
    minVersion: 'TLSv1.2',
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
  });
  const settle = (error: MailError | undefined): void => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    if (error === undefined) resolve(secured);
    else {
      secured.destroy();
      socket.destroy();
      reject(error);
    }
  };
  const onAbort = (): void => settle(new MailError('ABORTED', 'aborted'));
  const timer = setTimeout(
    () => settle(new MailError('DEADLINE', 'TLS handshake timed out')),
    timerMs(timeoutMs),
  );
  signal?.addEventListener('abort', onAbort, { once: true });
  secured.once('secureConnect', () => settle(undefined));
  secured.once('error', (error) =>
    settle(new MailError('CONNECT', `TLS: ${tlsErrorText(error)}`, { cause: error })),
  );
  secured.once('close', () => settle(new MailError('CONNECT', 'TLS: the peer closed the connection')));
  return promise;
}

/** OpenSSL's texts carry file names and line numbers; its reason says enough. */
function tlsErrorText(error: Error): string {
  const reason: unknown = 'reason' in error ? error.reason : undefined;
  const text = typeof reason === 'string' && reason !== '' ? reason : systemErrorText(error);
  return text.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}
