import { chmodSync, chownSync, existsSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Endpoint } from '../mail/endpoint.ts';
import { MailError } from '../mail/mail-error.ts';
import { discardParked, park, type ParkedSocket, takeParked } from './parked-sockets.ts';
import { ServerConnection, type PeerAddress } from './server-connection.ts';
import { systemErrorText } from './system-error.ts';

/** Where a server listens. TCP port 0 takes a free port; host `::` also takes IPv4. */
export type ListenAddress = Extract<Endpoint, { readonly kind: 'tcp' | 'unix' }>;

/** Bounds of one listener, and how its socket is made. */
export interface ListenOptions {
  /** Connections the kernel holds until we take them (Exim: `smtp_connect_backlog`). Default 511. */
  readonly backlog?: number;
  /** Permissions of a UNIX socket. Default 0o600: the owner alone. */
  readonly unixMode?: number;
  /** Numeric owner and group of a UNIX socket. Default: those of the process. */
  readonly unixOwner?: { readonly uid?: number; readonly gid?: number };
  /** Connections at a time (Exim: `smtp_accept_max`); 0 or absent for no bound. */
  readonly maxConnections?: number;
  /** The reply, with CRLF, that a connection beyond the bound gets before it is closed. Without one it is just closed. */
  readonly busyReply?: string;
  /** A connection beyond the bound was turned away. */
  onBusy?(client: { readonly address: string; readonly port: number }): void;
  /**
   * Asked for each connection before a session: a reply, with CRLF, turns it away, an empty one without a word.
   * The address is empty for a UNIX socket. Rejecting is like an empty reply.
   */
  readonly refuse?: (client: PeerAddress) => string | undefined | Promise<string | undefined>;
  /** Stops listening and ends the connections, as {@link Listener.close} does. */
  readonly signal?: AbortSignal;
  /** A fault of one session, or of accepting, that the session itself did not deal with. */
  onError?(error: unknown): void;
}

/** One address that is listened at. */
export interface Listener {
  /** As bound: the port is the real one. */
  readonly address: ListenAddress;
  /** Connections open now. */
  readonly connections: number;
  /**
   * Takes no more connections and asks sessions to stop at their next command; resolves when all have ended.
   * @param graceMs after this the remaining connections are cut, and a session that does not end even then is no longer
   *   waited for. Default 5000. A second call can only shorten it.
   */
  close(graceMs?: number): Promise<void>;
}

/**
 * Listens and runs `session` for each connection; when it settles the connection is closed.
 * Throws MailError('CONNECT') where the address cannot be had. A UNIX socket left behind by a process that is gone is
 * replaced; one on which somebody answers, or a file that is no socket, is not.
 */
export async function listen(
  at: ListenAddress,
  options: ListenOptions,
  session: (connection: ServerConnection) => Promise<void>,
): Promise<Listener> {
  options.signal?.throwIfAborted();
  const place = placeOf(at, options);
  const parked = takenOver(at, place);
  const open = new Set<ServerConnection>();
  const allEnded = Promise.withResolvers<void>();
  let closing: Promise<void> | undefined;
  let cutAtMs = Infinity;
  let cutTimer: NodeJS.Timeout | undefined;
  const max = options.maxConnections ?? 0;

  const serve = async (socket: Socket): Promise<void> => {
    const connection = new ServerConnection(socket);
    open.add(connection);
    if (closing !== undefined) connection.stop();
    try {
      const asked = options.refuse?.(connection.peer);
      const refusal = asked instanceof Promise ? await asked : asked;
      if (refusal === undefined) await session(connection);
      else connection.write(refusal);
    } catch (error) {
      options.onError?.(error);
      connection.destroy();
    }
    await connection.close();
    open.delete(connection);
    if (closing !== undefined && open.size === 0) allEnded.resolve();
  };
  const accept = (socket: Socket): void => {
    if (max > 0 && open.size >= max) {
      options.onBusy?.({ address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 });
      refuse(socket, options.busyReply);
    } else void serve(socket);
  };
  const server = parked?.server ?? createServer({ allowHalfOpen: true, noDelay: true });
  server.on('connection', accept);
  if (parked === undefined) {
    if (at.kind === 'unix') await removeStaleSocket(at.path);
    await bind(server, at, options);
  } else if (at.kind === 'unix') {
    try {
      setOwner(at.path, options);
    } catch (error) {
      discardParked(parked);
      throw error;
    }
  }
  for (const socket of parked?.waiting ?? []) if (!socket.destroyed) accept(socket);
  server.on('error', (error) => options.onError?.(error));

  const cutAfter = (graceMs: number): void => {
    const atMs = performance.now() + graceMs;
    if (atMs >= cutAtMs) return;
    cutAtMs = atMs;
    clearTimeout(cutTimer);
    cutTimer = setTimeout(() => {
      for (const connection of open) connection.destroy();
      cutTimer = setTimeout(() => allEnded.resolve(), 1_000);
    }, graceMs);
  };
  const stopAll = async (): Promise<void> => {
    options.signal?.removeEventListener('abort', onAbort);
    // Port 0 is another one each time.
    const stays = (at.kind === 'unix' || at.port !== 0) && park(place, server);
    const stopped = new Promise<void>((resolve) => {
      if (stays) resolve();
      else server.close(() => resolve());
    });
    for (const connection of open) connection.stop();
    if (open.size === 0) allEnded.resolve();
    await allEnded.promise;
    clearTimeout(cutTimer);
    await stopped;
  };
  const closeOnce = (graceMs = 5_000): Promise<void> => {
    cutAfter(graceMs);
    return (closing ??= stopAll());
  };
  const onAbort = (): void => void closeOnce();
  options.signal?.addEventListener('abort', onAbort, { once: true });

  const bound = server.address();
  const address =
    at.kind === 'tcp' && bound !== null && typeof bound === 'object' ? { ...at, port: bound.port } : at;
  return {
    address,
    get connections() {
      return open.size;
    },
    close: closeOnce,
  };
}

/** Two of one name are the same socket, whatever else is asked of those who serve it. */
function placeOf(at: ListenAddress, { backlog = defaultBacklog }: ListenOptions): string {
  return `${describe(at)} ${backlog}`;
}

/** What the last configuration listened at, where clients still find it there. */
function takenOver(at: ListenAddress, place: string): ParkedSocket | undefined {
  const parked = takeParked(place);
  if (parked === undefined || at.kind === 'tcp') return parked;
  if (lstatSync(at.path, { throwIfNoEntry: false })?.isSocket() === true) return parked;
  discardParked(parked);
  return undefined;
}

const defaultBacklog = 511;

function bind(server: Server, at: ListenAddress, options: ListenOptions): Promise<void> {
  const backlog = options.backlog ?? defaultBacklog;
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const ofRoot = at.kind === 'tcp' && at.port < 1024 && cause.code === 'EACCES';
      const hint = ofRoot ? ' (ports below 1024 need root or CAP_NET_BIND_SERVICE)' : '';
      reject(
        new MailError('CONNECT', `cannot listen on ${describe(at)}: ${cause.message}${hint}`, { cause }),
      );
    });
    if (at.kind === 'tcp') {
      server.listen({ host: at.host, port: at.port, backlog }, () => {
        server.removeAllListeners('error');
        resolve();
      });
      return;
    }
    // The socket file comes into being within listen(): nobody else may connect before its owner and mode are set.
    const umask = process.umask(0o177);
    try {
      server.listen({ path: at.path, backlog }, () => {
        server.removeAllListeners('error');
        resolve();
      });
    } finally {
      process.umask(umask);
    }
    if (!server.listening) return;
    try {
      setOwner(at.path, options);
    } catch (error) {
      server.close();
      reject(error);
    }
  });
}

function setOwner(path: string, { unixMode = 0o600, unixOwner }: ListenOptions): void {
  const { uid = -1, gid = -1 } = unixOwner ?? {};
  try {
    if (uid >= 0 || gid >= 0) chownSync(path, uid, gid);
  } catch (cause) {
    const whom = [uid < 0 ? [] : `user ${uid}`, gid < 0 ? [] : `group ${gid}`].flat().join(' and ');
    throw new MailError(
      'CONNECT',
      `cannot listen on ${path}: it cannot be given to ${whom}: ${systemErrorText(cause)}`,
      { cause },
    );
  }
  chmodSync(path, unixMode);
}

function describe(at: ListenAddress): string {
  return at.kind === 'unix' ? at.path : `[${at.host}]:${at.port}`;
}

/** Beyond the bound: a reply and an end, without a session. */
function refuse(socket: Socket, text: string | undefined): void {
  socket.on('error', () => socket.destroy());
  if (text === undefined) {
    socket.destroy();
    return;
  }
  socket.setTimeout(2_000, () => socket.destroy());
  socket.on('end', () => socket.destroySoon());
  socket.resume();
  socket.end(text, 'latin1');
}

async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    // The system's own word for it, as Node passes it on, is "permission denied".
    if (!existsSync(dirname(path)))
      throw new MailError('CONNECT', `cannot listen on ${path}: there is no folder ${dirname(path)}`);
    return;
  }
  if (!stat.isSocket())
    throw new MailError('CONNECT', `cannot listen on ${path}: it exists and is not a socket`);
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // Only a refusal proves that nobody listens; a full backlog (EAGAIN) or a missing permission does not.
    probe.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
  if (answered)
    throw new MailError('CONNECT', `cannot listen on ${path}: somebody is listening there already`);
  try {
    unlinkSync(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new MailError('CONNECT', `cannot replace the old socket ${path}`, { cause });
    }
  }
}
