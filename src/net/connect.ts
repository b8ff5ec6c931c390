/** Opens a stream to an endpoint, with a deadline. */
import { connect as connectSocket, type Socket } from 'node:net';
import type { Endpoint } from '../mail/endpoint.ts';
import { MailError } from '../mail/mail-error.ts';
import { timerMs } from '../mail/time-interval.ts';
import { type ByteStream, type ConnectOptions, Inlet } from './byte-stream.ts';
import { secureSocket } from './client-tls.ts';
import { connectPipe } from './pipe-stream.ts';
import { systemErrorText } from './system-error.ts';

/** Replies are short; one read rarely brings more. */
const readOctets = 4096;
/** How long the peer has to close its side after we closed ours. */
const lingerMs = 2000;
/** Where the caller leaves the limit to the system, which has none for a handshake. */
const defaultHandshakeMs = 300_000;

/**
 * Rejects with MailError: CONNECT (message as in Exim's log: `Connection refused`), DEADLINE (`Connection timed out`),
 * ABORTED.
 */
export async function connect(endpoint: Endpoint, options: ConnectOptions): Promise<ByteStream> {
  const { tls, signal, timeoutMs } = options;
  if (signal?.aborted === true) throw new MailError('ABORTED', 'aborted');
  const stream = await (endpoint.kind === 'pipe'
    ? connectPipe(endpoint.argv, options)
    : connectNet(endpoint, options));
  if (tls === undefined) return stream;
  if (stream.secure === undefined) throw new MailError('CONNECT', 'no TLS on a pipe');
  return stream.secure(tls, timeoutMs > 0 ? timeoutMs : defaultHandshakeMs, signal);
}

function connectNet(
  endpoint: Exclude<Endpoint, { kind: 'pipe' }>,
  options: ConnectOptions,
): Promise<ByteStream> {
  const { promise, resolve, reject } = Promise.withResolvers<ByteStream>();
  const inlet = new Inlet();
  const onread = {
    buffer: Buffer.allocUnsafeSlow(readOctets),
    callback(length: number, buffer: Uint8Array): boolean {
      inlet.received(buffer.subarray(0, length));
      return true;
    },
  };
  const socket = connectSocket(
    endpoint.kind === 'unix'
      ? { path: endpoint.path, onread }
      : {
          host: endpoint.host,
          port: endpoint.port,
          noDelay: true,
          onread,
          ...(endpoint.localAddress === undefined ? {} : { localAddress: endpoint.localAddress }),
        },
  );
  let settled = false;
  let failure: string | undefined;
  const settle = (error: MailError | undefined): void => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
    if (error === undefined) resolve(socketStream(socket, inlet));
    else {
      socket.destroy();
      reject(error);
    }
  };
  const onAbort = (): void => settle(new MailError('ABORTED', 'aborted'));
  const timer =
    options.timeoutMs > 0
      ? setTimeout(
          () => settle(new MailError('DEADLINE', 'Connection timed out')),
          timerMs(options.timeoutMs),
        )
      : undefined;
  options.signal?.addEventListener('abort', onAbort, { once: true });
  socket.on('connect', () => settle(undefined));
  socket.on('drain', () => inlet.drained());
  socket.on('error', (error) => {
    failure = systemErrorText(error);
    settle(new MailError('CONNECT', failure, { cause: error }));
  });
  socket.on('close', () => inlet.ended(failure));
  return promise;
}

function socketStream(socket: Socket, inlet: Inlet): ByteStream {
  return {
    write: (octets) => (typeof octets === 'string' ? socket.write(octets, 'latin1') : socket.write(octets)),
    finish(text) {
      socket.end(text, 'latin1');
      const timer = setTimeout(() => socket.destroy(), lingerMs);
      timer.unref();
      socket.once('close', () => clearTimeout(timer));
    },
    destroy: () => void socket.destroy(),
    hold: (alive) => void (alive ? socket.ref() : socket.unref()),
    listen: (listener) => inlet.listen(listener),
    ...(socket.localAddress === undefined
      ? {}
      : { local: { address: socket.localAddress, port: socket.localPort ?? 0 } }),
    async secure(tls, timeoutMs, signal) {
      inlet.listen({ received: () => undefined, drained: () => undefined, ended: () => undefined });
      const secured = await secureSocket(socket, tls, timeoutMs, signal);
      const inside = new Inlet();
      let failure: string | undefined;
      secured.on('data', (octets: Buffer) => inside.received(octets));
      secured.on('drain', () => inside.drained());
      secured.on('error', (error) => (failure = systemErrorText(error)));
      secured.on('close', () => inside.ended(failure));
      return socketStream(secured, inside);
    },
  };
}
