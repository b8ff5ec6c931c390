// A store of ours in this process that hands mail on, with a directory and a mailbox in memory.
import { createLmtpServer } from '../../src/lmtp/server/index.ts';
import type { Endpoint } from '../../src/mail/endpoint.ts';
import type { MailUser, ProxyTarget } from '../../src/mail/mail-user.ts';
import type { Directory } from '../../src/directory/directory.ts';
import { formatStoreEvent } from '../../src/store/events.ts';
import { createStoreHandler } from '../../src/store/lmtp-handler.ts';
import type { MailStore } from '../../src/store/mail-store.ts';
import { formatProxyEvent } from '../../src/store/proxy/events.ts';
import { createStoreProxy, type StoreProxyOptions } from '../../src/store/proxy/proxy.ts';
import type { LmtpListenOptions } from '../../src/lmtp/server/options.ts';

export interface Front extends AsyncDisposable {
  readonly endpoint: Extract<Endpoint, { kind: 'tcp' }>;
  /** What was stored here: user, trace and content as text. */
  readonly stored: readonly { readonly user: string; readonly text: string }[];
  readonly log: readonly string[];
}

export interface FrontOptions {
  /** By local part; undefined is held here. */
  readonly users: Readonly<Record<string, ProxyTarget | undefined>>;
  readonly hostname?: string;
  readonly proxy?: Partial<StoreProxyOptions>;
  readonly listen?: LmtpListenOptions;
}

export async function startFront(o: FrontOptions): Promise<Front> {
  const hostname = o.hostname ?? 'front.test';
  const stored: { user: string; text: string }[] = [];
  const log: string[] = [];
  const directory: Directory = {
    find({ local }) {
      if (!Object.hasOwn(o.users, local)) return { kind: 'unknown' };
      const proxy = o.users[local];
      const user: MailUser = { username: local, extra: {}, ...(proxy === undefined ? {} : { proxy }) };
      return { kind: 'found', user };
    },
    list: () => undefined,
    close: () => Promise.resolve(),
  };
  const store: MailStore = {
    async deliver(delivery, signal) {
      const { recipients, content } = delivery;
      const parts: Uint8Array[] = [];
      for await (const chunk of content.open(signal)) parts.push(chunk.slice());
      const text = Buffer.concat(parts).toString('latin1');
      recipients.forEach((r, i) => stored.push({ user: r.user.username, text: delivery.trace(i) + text }));
      return recipients.map(() => ({ kind: 'stored' }));
    },
    close: () => Promise.resolve(),
  };
  const proxy = createStoreProxy({
    hostname,
    onEvent: (e) => void log.push(formatProxyEvent(e, 1)),
    ...o.proxy,
  });
  const server = createLmtpServer(
    { hostname, limits: { maxMessageOctets: 64 << 20 } },
    createStoreHandler({
      directory,
      store,
      hostname,
      proxy,
      onEvent: (e) => void log.push(...formatStoreEvent(e, 1)),
    }),
  );
  const { address } = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 }, o.listen ?? {});
  if (address.kind !== 'tcp') throw new Error('no TCP');
  return {
    endpoint: { kind: 'tcp', host: address.host, port: address.port },
    stored,
    log,
    async [Symbol.asyncDispose]() {
      await server.close(0);
      await proxy.close();
    },
  };
}

/** Where a test's server is. */
export function at(endpoint: Endpoint, more: Partial<ProxyTarget> = {}): ProxyTarget {
  if (endpoint.kind !== 'tcp') throw new Error('a backend listens on TCP');
  return { host: endpoint.host, port: endpoint.port, ...more };
}
