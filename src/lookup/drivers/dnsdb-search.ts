/** The DNS as dnsdb asks it: aliases followed, parents tried (Exim manual, "Pseudo dnsdb record types", "Client SMTP Authorization"). */
import type { DnsAnswer, DnsClient, DnsQuestionOptions } from '../../net/dns/client.ts';
import { dnsTypes, type DnsRecord } from '../../net/dns/message.ts';

export interface SearchLimits {
  /** `dns_cname_loops`: how often to ask for an alias that the server did not follow. */
  readonly cnameLoops: number;
  /** `dns_csa_search_limit`: parents to look at. */
  readonly csaParents: number;
}

export type Found =
  /** `name`: whose records they are, after aliases and the search of parents. */
  | {
      readonly kind: 'found';
      readonly records: readonly DnsRecord[];
      readonly name: string;
      readonly authenticated: boolean;
      readonly keepSeconds: number;
    }
  | Exclude<DnsAnswer, { readonly kind: 'answer' }>;

export interface Search {
  readonly client: DnsClient;
  readonly options: DnsQuestionOptions;
  readonly limits: SearchLimits;
}

/** Records of that type, aliases followed. */
export async function searchName(search: Search, name: string, type: number): Promise<Found> {
  let current = name;
  let keepSeconds = Number.MAX_SAFE_INTEGER;
  for (let i = 0; i <= search.limits.cnameLoops; i++) {
    const answer = await search.client.query(current, type, search.options);
    if (answer.kind !== 'answer') return answer;
    keepSeconds = answer.records.reduce((least, r) => Math.min(least, r.ttlSeconds), keepSeconds);
    const records = answer.records.filter((r) => r.type === type);
    if (records.length > 0)
      return { kind: 'found', records, name, authenticated: answer.authenticated, keepSeconds };
    const alias = lastAlias(answer.records, current);
    if (alias === undefined) return { kind: 'no-data', authenticated: answer.authenticated };
    current = alias;
  }
  return { kind: 'again', reason: `CNAME loop for ${name} encountered` };
}

function lastAlias(records: readonly DnsRecord[], name: string): string | undefined {
  let current = name.toLowerCase();
  for (let i = 0; i <= records.length; i++) {
    const next = records.find((r) => r.type === dnsTypes.CNAME && r.name.toLowerCase() === current);
    if (next?.data.kind !== 'name') return i === 0 ? undefined : current;
    current = next.data.name.toLowerCase();
  }
  // The aliases lead in a circle.
  return current;
}

/** `zns` and `soa`: of the name, else of its parent, and so on; never of the root. */
export async function searchUpwards(search: Search, name: string, type: number): Promise<Found> {
  let current = name;
  for (;;) {
    const found = await searchName(search, current, type);
    if (found.kind !== 'no-name' && found.kind !== 'no-data') return found;
    const dot = current.indexOf('.');
    if (dot < 0) return found;
    current = current.slice(dot + 1);
  }
}

/**
 * `csa`: SRV records of the name, else those of a parent that say that its subdomains need authorization of their own, from
 * the second level downwards.
 */
export async function searchCsa(search: Search, name: string): Promise<Found> {
  const own = await csaRecords(search, name);
  if (own.kind === 'found' || own.kind === 'again') return own;
  const labels = name.split('.');
  const top = /\.(?:in-addr|ip6)\.arpa$/i.test(name) ? 2 : 1;
  // The parents of a name whose top or second level does not exist are not worth asking for.
  if (own.kind === 'no-name' && own.zone !== undefined && own.zone.split('.').length <= top) return own;
  const parents = Math.min(search.limits.csaParents, labels.length - top - 1);
  for (let i = 1; i <= parents; i++) {
    const parent = labels.slice(-(top + i)).join('.');
    const found = await csaRecords(search, parent);
    if (found.kind === 'again') return found;
    if (found.kind === 'found' && found.records.some((r) => r.data.kind === 'srv' && (r.data.port & 1) === 1))
      return found;
  }
  return own;
}

async function csaRecords(search: Search, name: string): Promise<Found> {
  const found = await searchName(search, `_client._smtp.${name}`, dnsTypes.SRV);
  return found.kind === 'found' ? { ...found, name } : found;
}
