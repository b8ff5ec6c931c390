/** Where a store listens, by its options. */
import { parseListenAddress } from '../../config/listen-address.ts';
import type { StoreInstance } from '../../config/model.ts';
import type { LmtpServer } from '../../lmtp/server/index.ts';

/** Adds to `listening` what was got, also when a later one cannot be. */
export async function listenEverywhere(
  server: LmtpServer,
  instance: StoreInstance,
  listening: string[],
): Promise<void> {
  const o = instance.options;
  const options = { backlog: 1024, unixMode: o.socket_mode, maxConnections: o.max_connections };
  for (const path of o.sockets ?? []) {
    await server.listen({ kind: 'unix', path }, options);
    listening.push(path);
  }
  for (const text of o.listen ?? []) {
    const address = parseListenAddress(text);
    if (address === undefined)
      throw new Error(`${instance.name} store: "${text}" is not an address with a port`);
    const { address: bound } = await server.listen({ kind: 'tcp', ...address }, options);
    if (bound.kind === 'tcp') listening.push(`${bound.host}:${bound.port}`);
  }
}
