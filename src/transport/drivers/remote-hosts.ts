/** Host names to addresses for the smtp transport's own `hosts` option (Exim: with `gethostbyname`). */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { RouteHost } from '../../mail/route-host.ts';

/** A host that can be connected to. */
export interface ResolvedHost {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** Gives the addresses of a name, in order of preference; rejects where it has none. */
export type ResolveName = (name: string) => Promise<readonly string[]>;

/** The system's resolver (`getaddrinfo`), which reads /etc/hosts too. */
export const systemResolve: ResolveName = async (name) => {
  const found = await lookup(name, { all: true, order: 'verbatim' });
  return found.map((entry) => entry.address);
};

/** Hosts with their addresses; a text says why one has none. Awaits nothing where all are addresses already. */
export function resolveHosts(
  hosts: readonly RouteHost[],
  defaultPort: number,
  resolve: ResolveName,
): readonly ResolvedHost[] | Promise<readonly ResolvedHost[] | string> {
  const known: ResolvedHost[] = [];
  for (const host of hosts) {
    const address = host.address ?? (isIP(host.name) === 0 ? undefined : host.name);
    if (address === undefined) return resolveAll(hosts, defaultPort, resolve);
    known.push({ name: host.name, address, port: host.port ?? defaultPort });
  }
  return known;
}

async function resolveAll(
  hosts: readonly RouteHost[],
  defaultPort: number,
  resolve: ResolveName,
): Promise<readonly ResolvedHost[] | string> {
  const out: ResolvedHost[] = [];
  const missing: string[] = [];
  for (const { name, address, port = defaultPort } of hosts) {
    const known = address ?? (isIP(name) === 0 ? undefined : name);
    try {
      const addresses = known === undefined ? await resolve(name) : [known];
      for (const found of addresses) out.push({ name, address: found, port });
    } catch {
      missing.push(name);
    }
  }
  return out.length > 0 || missing.length === 0 ? out : `no IP address found for host ${missing.join(', ')}`;
}

/** True for loopback and for the addresses of this machine's interfaces. */
export function isLocalAddress(address: string): boolean {
  if (address === '::1' || address.startsWith('127.')) return true;
  return Object.values(networkInterfaces()).some((list) => list?.some((entry) => entry.address === address));
}
