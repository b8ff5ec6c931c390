// A TCP proxy whose connections can be cut, as a server that is started again would.
import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';

export interface Proxy {
  readonly port: number;
  /** Ends all connections; resolves when they are closed on this side. */
  cut(): Promise<void>;
  /** From now on: `open` hands on, `closed` ends what comes and what is there, `silent` takes connections and octets and says nothing. */
  become(mode: 'open' | 'closed' | 'silent'): Promise<void>;
  stop(): Promise<void>;
}

export async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  let mode: 'open' | 'closed' | 'silent' = 'open';
  const track = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    if (mode === 'closed') return void client.on('error', () => undefined).destroy();
    if (mode === 'silent') return void track(client).resume();
    const inner = track(connect(target, '127.0.0.1'));
    track(client).pipe(inner).pipe(client);
    client.on('close', () => inner.destroy());
    inner.on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const cut = async (): Promise<void> => {
    const open = [...sockets].filter((s) => !s.closed);
    const closed = open.map((s) => once(s, 'close'));
    for (const socket of open) socket.destroy();
    await Promise.all(closed);
    // One round of the loop, so that the other side hears of it.
    await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut,
    async become(next) {
      mode = next;
      if (next !== 'open') await cut();
    },
    async stop() {
      await cut();
      await new Promise((resolve) => void server.close(resolve));
    },
  };
}
