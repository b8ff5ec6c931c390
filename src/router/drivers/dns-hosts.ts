/** What routers ask the DNS: mail exchangers, services and addresses of a name, aliases followed. */
import { addressText } from '../../net/dns/address-text.ts';
import type { DnsAnswer, DnsClient } from '../../net/dns/client.ts';
import { dnsTypes, type DnsRecord } from '../../net/dns/message.ts';

/** A host that mail of a domain may go to. */
export interface Exchanger {
  /** Empty for the root, which says that there is no service. */
  readonly name: string;
  /** MX preference or SRV priority. */
  readonly preference: number;
  /** Of SRV only. */
  readonly weight?: number;
  readonly port?: number;
}

export type DnsFound<T> =
  /** `secure`: DNSSEC has checked it. */
  | { readonly kind: 'found'; readonly values: readonly T[]; readonly name: string; readonly secure: boolean }
  /** There is no such name, or it has no such records. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'again'; readonly reason: string };

export interface DnsHosts {
  exchangers(domain: string, dnssec: boolean): Promise<DnsFound<Exchanger>>;
  /** Of `_service._tcp.domain`. */
  services(service: string, domain: string, dnssec: boolean): Promise<DnsFound<Exchanger>>;
  /** `name` of the answer is the one that the aliases lead to. */
  addresses(name: string, families: Families, dnssec: boolean): Promise<DnsFound<string>>;
}

/** Which addresses, in which order. */
export type Families = 'both' | 'ipv4-only' | 'ipv4-first';

export interface DnsHostsOptions {
  readonly client: DnsClient;
  readonly nowMs?: () => number;
  /** `dns_check_names_pattern`: a name that does not match is not asked for. */
  readonly isName?: (name: string) => boolean;
  /** `dns_again_means_nonexist` */
  readonly againMeansMissing?: (name: string) => Promise<boolean>;
  /** `dns_ipv4_lookup`: only A records are looked for. */
  readonly ipv4Only?: (name: string) => Promise<boolean>;
  /** `dns_cname_loops` */
  readonly cnameLoops: number;
}

const maxKept = 5000;
const maxKeepSeconds = 300;
const maxValues = 200;

interface Kept {
  readonly untilMs: number;
  readonly answer: DnsFound<DnsRecord>;
}

/** Equal questions share an answer while one is under way, and as long as its records live, five minutes at most. */
export function createDnsHosts(options: DnsHostsOptions): DnsHosts {
  const { client, nowMs = Date.now } = options;
  const kept = new Map<string, Kept>();
  const underWay = new Map<string, Promise<DnsFound<DnsRecord>>>();

  const ask = (name: string, type: number, dnssec: boolean): Promise<DnsFound<DnsRecord>> => {
    const key = `${type} ${dnssec ? 1 : 0} ${name.toLowerCase()}`;
    const known = kept.get(key);
    if (known !== undefined && known.untilMs > nowMs()) return Promise.resolve(known.answer);
    let answer = underWay.get(key);
    if (answer !== undefined) return answer;
    answer = search(name, type, dnssec)
      .then(({ found, keepSeconds }) => {
        kept.delete(key);
        if (keepSeconds > 0) {
          if (kept.size >= maxKept) kept.delete(kept.keys().next().value ?? '');
          kept.set(key, { untilMs: nowMs() + Math.min(keepSeconds, maxKeepSeconds) * 1000, answer: found });
        }
        return found;
      })
      .finally(() => underWay.delete(key));
    underWay.set(key, answer);
    return answer;
  };

  const search = async (
    asked: string,
    type: number,
    dnssec: boolean,
  ): Promise<{ found: DnsFound<DnsRecord>; keepSeconds: number }> => {
    let name = asked;
    let keepSeconds = maxKeepSeconds;
    const isService = type === dnsTypes.SRV;
    for (let i = 0; i <= options.cnameLoops; i++) {
      if (!isService && options.isName?.(name) === false)
        return { found: { kind: 'missing' }, keepSeconds: 0 };
      const answer = await client.query(name, type, { dnssec });
      if (answer.kind !== 'answer')
        return { found: await negative(name, answer), keepSeconds: keepOf(answer) };
      keepSeconds = answer.records.reduce((least, r) => Math.min(least, r.ttlSeconds), keepSeconds);
      const end = aliasEnd(answer.records, name);
      const values = answer.records.filter((r) => r.type === type).slice(0, maxValues);
      if (values.length > 0)
        return { found: { kind: 'found', values, name: end, secure: answer.authenticated }, keepSeconds };
      if (!isAliased(answer.records, name)) return { found: { kind: 'missing' }, keepSeconds };
      name = end;
    }
    return { found: { kind: 'again', reason: `CNAME loop for ${asked} encountered` }, keepSeconds: 0 };
  };

  const negative = async (
    name: string,
    answer: Exclude<DnsAnswer, { kind: 'answer' }>,
  ): Promise<DnsFound<DnsRecord>> => {
    if (answer.kind !== 'again') return { kind: 'missing' };
    if ((await options.againMeansMissing?.(name)) === true) return { kind: 'missing' };
    return { kind: 'again', reason: answer.reason };
  };

  return {
    async exchangers(domain, dnssec) {
      return mapped(await ask(domain, dnsTypes.MX, dnssec), ({ data }) =>
        data.kind === 'mx' ? { name: data.name, preference: data.preference } : undefined,
      );
    },
    async services(service, domain, dnssec) {
      return mapped(await ask(`_${service}._tcp.${domain}`, dnsTypes.SRV, dnssec), ({ data }) =>
        data.kind === 'srv'
          ? { name: data.name, preference: data.priority, weight: data.weight, port: data.port }
          : undefined,
      );
    },
    async addresses(name, families, dnssec) {
      const four = families === 'ipv4-only' || (await options.ipv4Only?.(name)) === true;
      const answers = await Promise.all([
        ask(name, dnsTypes.A, dnssec),
        ...(four ? [] : [ask(name, dnsTypes.AAAA, dnssec)]),
      ]);
      if (families !== 'ipv4-first') answers.reverse();
      const found = answers.filter((a) => a.kind === 'found');
      const [first] = found;
      if (first === undefined) return answers.find((a) => a.kind === 'again') ?? { kind: 'missing' };
      return {
        kind: 'found',
        name: first.name,
        secure: found.every((a) => a.secure),
        values: found.flatMap((a) =>
          a.values.flatMap(({ data }) => (data.kind === 'address' ? [addressText(data.octets)] : [])),
        ),
      };
    },
  };
}

function keepOf(answer: Exclude<DnsAnswer, { kind: 'answer' }>): number {
  return answer.kind === 'again' ? 0 : (answer.keepSeconds ?? 0);
}

function mapped<T>(found: DnsFound<DnsRecord>, read: (r: DnsRecord) => T | undefined): DnsFound<T> {
  if (found.kind !== 'found') return found;
  return { ...found, values: found.values.map(read).filter((v) => v !== undefined) };
}

function isAliased(records: readonly DnsRecord[], name: string): boolean {
  return records.some((r) => r.type === dnsTypes.CNAME && r.name.toLowerCase() === name.toLowerCase());
}

/** The name that the aliases of an answer lead to. */
function aliasEnd(records: readonly DnsRecord[], name: string): string {
  let current = name;
  for (let i = 0; i <= records.length; i++) {
    const next = records.find(
      (r) => r.type === dnsTypes.CNAME && r.name.toLowerCase() === current.toLowerCase(),
    );
    if (next?.data.kind !== 'name') return current;
    current = next.data.name;
  }
  return current;
}
