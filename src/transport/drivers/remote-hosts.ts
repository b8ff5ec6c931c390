/** Host names to addresses for the smtp transport's own `hosts` option (Exim: with `gethostbyname`). */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { RouteHost } from '../../mail/route-host.ts';

/** A host with its address. */
export interface FoundHost extends RouteHost {
  readonly address: string;
}

/** A host that can be connected to. */
export interface ResolvedHost extends FoundHost {
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
export function findHosts(
  hosts: readonly RouteHost[],
  resolve: ResolveName,
): readonly FoundHost[] | Promise<readonly FoundHost[] | string> {
  const known: FoundHost[] = [];
  for (const host of hosts) {
    const address = host.address ?? (isIP(host.name) === 0 ? undefined : host.name);
    if (address === undefined) return findAll(hosts, resolve);
    known.push({ ...host, address });
  }
  return known;
}

async function findAll(
  hosts: readonly RouteHost[],
  resolve: ResolveName,
): Promise<readonly FoundHost[] | string> {
  const out: FoundHost[] = [];
  const missing: string[] = [];
  for (const host of hosts) {
    const { name, address } = host;
    const known = address ?? (isIP(name) === 0 ? undefined : name);
    try {
      const addresses = known === undefined ? await resolve(name) : [known];
      for (const found of addresses) out.push({ ...host, address: found });
    } catch {
      missing.push(name);
    }
  }
  return out.length > 0 || missing.length === 0 ? out : `no IP address found for host ${missing.join(', ')}`;
}

/**
 * The hosts of a list that one delivery tries (Exim manual, "How the limits for the number of hosts to try are used"):
 * where `max` is met, one more for each further MX preference.
 */
export function* worthTrying(
  hosts: readonly ResolvedHost[],
  max: number,
  hardLimit: number,
): Generator<ResolvedHost> {
  let counted = 0;
  let tried = 0;
  for (let i = 0; i < hosts.length && counted < max && tried < hardLimit; ) {
    const host = hosts[i];
    if (host === undefined) return;
    tried++;
    counted++;
    let next = i + 1;
    if (counted === max) {
      const other = hosts.findIndex((h, j) => j > i && h.mx !== host.mx);
      if (other >= 0) {
        next = other;
        counted--;
      }
    }
    yield host;
    i = next;
  }
}

/** True for loopback and for the addresses of this machine's interfaces. */
export function isLocalAddress(address: string): boolean {
  if (address === '::1' || address.startsWith('127.')) return true;
  return Object.values(networkInterfaces()).some((list) => list?.some((entry) => entry.address === address));
}
