/** dnsdb: the DNS as a database (Exim manual, "More about dnsdb" to "Multiple dnsdb lookups"). */
import { isIPv4, isIPv6 } from 'node:net';
import { createDnsClient, type DnsClient } from '../../net/dns/client.ts';
import { addressText } from '../../net/dns/address-text.ts';
import { dnsTypes, type DnsRecord } from '../../net/dns/message.ts';
import type { Authenticated, DriverAnswer, LookupDriver } from '../lookup.ts';
import { parseDnsdbQuery, type DnsdbQuery, type DnsdbType } from './dnsdb-query.ts';
import {
  searchCsa,
  searchName,
  searchUpwards,
  type Found,
  type Search,
  type SearchLimits,
} from './dnsdb-search.ts';

export interface DnsdbOptions extends Partial<SearchLimits> {
  readonly client?: DnsClient;
}

const maxKeepSeconds = 3600;
const maxNames = 200;

export function createDnsdb(options: DnsdbOptions = {}): LookupDriver {
  const client = options.client ?? createDnsClient();
  const limits: SearchLimits = { cnameLoops: options.cnameLoops ?? 1, csaParents: options.csaParents ?? 5 };
  return {
    type: 'dnsdb',
    style: 'query',
    // For questions that are on their way; what is known is kept as long as the DNS says.
    keepMs: () => 1,
    async find(_, key, texts): Promise<DriverAnswer> {
      if (texts[0] !== undefined)
        return { kind: 'unusable', reason: `unknown option "${texts[0]}" for dnsdb lookup` };
      const query = parseDnsdbQuery(key);
      if (typeof query === 'string') return { kind: 'defer', reason: query };
      if (query.names.length > maxNames) return { kind: 'defer', reason: `more than ${maxNames} names` };
      const question = {
        dnssec: query.dnssec !== 'never',
        timeoutMs: query.timeoutMs,
        attempts: query.attempts,
      };
      return find(query, { client, options: question, limits });
    },
  };
}

async function find(query: DnsdbQuery, search: Search): Promise<DriverAnswer> {
  let text = '';
  let deferred: string | undefined;
  let authenticated: Authenticated = '';
  let keepSeconds = maxKeepSeconds;
  const types: readonly DnsdbType[] = query.type === 'a+' ? ['aaaa', 'a'] : [query.type];
  for (const name of query.names)
    for (const type of types) {
      const found = await searchType(search, type, name);
      const reason = faultOf(query, found);
      if (reason !== undefined) {
        if (query.defer === 'strict') return { kind: 'defer', reason };
        if (query.defer === 'lax') deferred ??= reason;
        keepSeconds = 0;
        continue;
      }
      if (found.kind !== 'again' && found.keepSeconds !== undefined)
        keepSeconds = Math.min(keepSeconds, found.keepSeconds);
      else keepSeconds = 0;
      if (found.kind !== 'found') continue;
      if (query.dnssec !== 'never') authenticated = found.authenticated ? 'yes' : 'no';
      for (const record of found.records) {
        const data = recordText(query, type, record, found.name === name || found.name === reversed(name));
        if (data === undefined) continue;
        text += text === '' ? data : query.separator + data;
      }
    }
  const keepMs = keepSeconds * 1000;
  if (text !== '') return { kind: 'found', value: text, keepMs, authenticated };
  return deferred === undefined
    ? { kind: 'missing', keepMs, authenticated }
    : { kind: 'defer', reason: deferred };
}

/** Why this answer counts as none for now. */
function faultOf(query: DnsdbQuery, found: Found): string | undefined {
  if (found.kind === 'again') return found.reason;
  if (found.kind === 'found' && query.dnssec === 'strict' && !found.authenticated)
    return 'the answer is not authenticated by DNSSEC';
  return undefined;
}

function searchType(search: Search, type: DnsdbType, name: string): Promise<Found> {
  switch (type) {
    case 'csa':
      return searchCsa(search, reversed(name));
    case 'ptr':
      return searchName(search, reversed(name), dnsTypes.PTR);
    case 'soa':
      return searchUpwards(search, name, dnsTypes.SOA);
    case 'zns':
      return searchUpwards(search, name, dnsTypes.NS);
    case 'mxh':
      return searchName(search, name, dnsTypes.MX);
    case 'a+':
    case 'a':
      return searchName(search, name, dnsTypes.A);
    case 'aaaa':
    case 'cname':
    case 'mx':
    case 'ns':
    case 'spf':
    case 'srv':
    case 'tlsa':
    case 'txt':
      return searchName(search, name, dnsTypes[type.toUpperCase() as Uppercase<typeof type>]);
  }
}

/** The name of an address in the reverse zones; other names as they are. */
function reversed(name: string): string {
  if (isIPv4(name)) return `${name.split('.').toReversed().join('.')}.in-addr.arpa`;
  if (!isIPv6(name)) return name;
  return `${ipv6Digits(name).split('').toReversed().join('.')}.ip6.arpa`;
}

/** All 32 digits. */
function ipv6Digits(address: string): string {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const pair = (a: string | undefined, b: string | undefined): string =>
    (Number(a) * 256 + Number(b)).toString(16);
  const text =
    dotted === null
      ? address
      : `${dotted[1] ?? ''}${pair(dotted[2], dotted[3])}:${pair(dotted[4], dotted[5])}`;
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...(tail === undefined ? [] : zeros), ...right].map((g) => g.padStart(4, '0')).join('');
}

/** @param own the records are those of the name that was asked for, not of a parent */
function recordText(
  query: DnsdbQuery,
  type: DnsdbType,
  { data }: DnsRecord,
  own: boolean,
): string | undefined {
  const between = query.fieldSeparator ?? ' ';
  switch (data.kind) {
    case 'address':
      return addressText(data.octets);
    case 'name':
      return data.name;
    case 'mx':
      return type === 'mxh' ? data.name : [data.preference, data.name].join(between);
    case 'srv':
      if (type !== 'csa') return [data.priority, data.weight, data.port, data.name].join(between);
      return data.priority === 1 ? `${csaCode(data, own)}${between}${data.name}` : undefined;
    case 'soa':
      return query.fieldSeparator === undefined
        ? data.primary
        : [data.primary, data.mailbox, ...data.numbers].join(between);
    case 'text':
      if (query.fieldSeparator !== undefined) return data.items.join(query.fieldSeparator);
      return type === 'spf' ? data.items.join('') : (data.items[0] ?? '');
    case 'tlsa':
      return [data.usage, data.selector, data.matching, Buffer.from(data.octets).toString('hex')].join(
        between,
      );
    case 'raw':
      return undefined;
  }
}

/** What a CSA record says of the name: its weight about the name itself, its port about subdomains. */
function csaCode(data: { readonly weight: number; readonly port: number }, own: boolean): string {
  if (!own) return (data.port & 1) === 1 ? 'X' : '?';
  return data.weight < 2 ? 'N' : data.weight === 2 ? 'Y' : '?';
}
