/** Which IP addresses are this machine (Exim manual, "Recognizing the local host"). */
import { networkInterfaces } from 'node:os';
import { asIpAddress } from './host-lookup.ts';

export type IsLocalAddress = (address: string) => boolean;

export interface LocalHostOptions {
  /** `local_interfaces` and `extra_local_interfaces` without ports; `0.0.0.0` and `::0` stand for all interfaces of their family. */
  readonly interfaces: readonly string[];
  readonly nowMs?: () => number;
  /** How long a list of the machine's interfaces is taken for true. */
  readonly maxAgeMs?: number;
}

/** Makes a test of addresses. Exim compares addresses only: a port given with a host makes no difference. */
export function createLocalHosts(options: LocalHostOptions): IsLocalAddress {
  const { nowMs = Date.now, maxAgeMs = 60_000 } = options;
  let known: ReadonlySet<string> = new Set();
  let readAtMs = Number.NEGATIVE_INFINITY;
  return (address) => {
    const now = nowMs();
    if (now - readAtMs > maxAgeMs || now < readAtMs) {
      known = collect(options.interfaces);
      readAtMs = now;
    }
    return known.has(canonical(address));
  };
}

function collect(interfaces: readonly string[]): ReadonlySet<string> {
  const out = new Set<string>();
  let all4 = false;
  let all6 = false;
  for (const text of interfaces) {
    const address = canonical(text);
    out.add(address);
    all4 ||= address === '0.0.0.0';
    all6 ||= address === '::';
  }
  if (!all4 && !all6) return out;
  for (const list of Object.values(networkInterfaces()))
    for (const { address, family } of list ?? [])
      if (family === 'IPv4' ? all4 : all6) out.add(canonical(address));
  return out;
}

/** One form for each address; zone names dropped. */
function canonical(text: string): string {
  const plain = text.replace(/%.*$/, '');
  const address = asIpAddress(plain) ?? plain;
  if (!address.includes(':')) return address;
  try {
    return new URL(`http://[${address}]/`).hostname.slice(1, -1);
  } catch {
    return address;
  }
}
