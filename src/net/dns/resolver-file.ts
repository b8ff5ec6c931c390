/** The machine's resolvers, from `/etc/resolv.conf` (resolv.conf(5)). */
import { readFileSync, statSync } from 'node:fs';

export interface DnsServer {
  readonly address: string;
  readonly port: number;
}

export interface ResolverSettings {
  readonly servers: readonly DnsServer[];
  /** For one attempt at one server. */
  readonly timeoutMs: number;
  /** Rounds over the servers. */
  readonly attempts: number;
}

const maxServers = 3;

export function parseResolverFile(text: string): ResolverSettings {
  const servers: DnsServer[] = [];
  let timeoutMs = 5000;
  let attempts = 2;
  for (const line of text.split('\n')) {
    const [word = '', ...rest] = line.trim().split(/\s+/);
    if (word === 'nameserver' && rest[0] !== undefined && servers.length < maxServers)
      servers.push({ address: rest[0], port: 53 });
    if (word !== 'options') continue;
    for (const option of rest) {
      const [name, value = ''] = option.split(':');
      const number = Number(value);
      if (!/^\d+$/.test(value)) continue;
      if (name === 'timeout') timeoutMs = Math.min(Math.max(number, 1), 30) * 1000;
      if (name === 'attempts') attempts = Math.min(Math.max(number, 1), 5);
    }
  }
  if (servers.length === 0) servers.push({ address: '127.0.0.1', port: 53 });
  return { servers, timeoutMs, attempts };
}

/** Gives the settings of a file, read anew when it changes. A file that is not there counts as empty. */
export function resolverFile(file = '/etc/resolv.conf'): () => ResolverSettings {
  let stamp = '';
  let settings = parseResolverFile('');
  let checkedAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - checkedAtMs < 1000) return settings;
    checkedAtMs = now;
    const s = statSync(file, { throwIfNoEntry: false });
    const seen = s === undefined ? 'none' : `${s.ino}:${s.size}:${s.mtimeMs}`;
    if (seen === stamp) return settings;
    stamp = seen;
    settings = parseResolverFile(s === undefined ? '' : readFileSync(file, 'latin1'));
    return settings;
  };
}
