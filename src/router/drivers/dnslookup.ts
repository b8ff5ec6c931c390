/** The dnslookup router: hosts by MX, SRV and address records (Exim manual, "The dnslookup router"). */
import { isIP } from 'node:net';
import { expandBoolean, expandText } from '../../expand/expand.ts';
import type { RouteHost } from '../../mail/route-host.ts';
import type { RouteOutcome, RouteRequest, RouterDriver } from '../router.ts';
import type { DnsHosts, Exchanger, Families } from './dns-hosts.ts';
import { withoutIgnored } from './ignored-hosts.ts';
import type { IsLocalAddress } from './local-hosts.ts';
import { selfHostText, selfOutcome } from './self.ts';

/** Lists are domain lists, to be expanded. */
export interface DnslookupOptions {
  readonly checkSecondaryMx?: boolean;
  readonly checkSrv?: string;
  readonly dnssecRequestDomains?: string;
  readonly dnssecRequireDomains?: string;
  readonly failDeferDomains?: string;
  readonly ipv4Only?: string;
  readonly ipv4Prefer?: string;
  readonly mxDomains?: string;
  readonly mxFailDomains?: string;
  readonly srvFailDomains?: string;
  /** `allow_mx_to_ip` */
  readonly allowMxToIp?: boolean;
}

export interface DnslookupServices {
  readonly dns: DnsHosts;
  readonly isLocal: IsLocalAddress;
  readonly random: () => number;
}

/** Found hosts, or why there are none. */
type Hosts =
  | {
      readonly kind: 'found';
      readonly hosts: readonly RouteHost[];
      /** Of the lowest preference, where this machine is among those. */
      readonly self?: string;
      /** This machine, and what comes after it, was taken out. */
      readonly secondary: boolean;
    }
  | { readonly kind: 'none'; readonly text?: string }
  | { readonly kind: 'again' }
  | { readonly kind: 'insecure' }
  | { readonly kind: 'problem'; readonly text: string };

interface Asking {
  readonly o: DnslookupOptions;
  readonly services: DnslookupServices;
  readonly request: RouteRequest;
  readonly families: Families;
  readonly dnssec: boolean;
  readonly required: boolean;
}

const noService = 'an MX or SRV record indicated no SMTP service';
const noExchanger = 'all relevant MX records point to non-existent hosts';
const localExchanger = 'lowest numbered MX record points to local host';

export function createDnslookupRouter(o: DnslookupOptions, services: DnslookupServices): RouterDriver {
  return {
    driver: 'dnslookup',
    route: async (request) => {
      try {
        return await lookUp(o, services, request);
      } catch (error) {
        if (error instanceof Deferral) return { kind: 'defer', reason: { text: error.message } };
        throw error;
      }
    },
  };
}

/** A list or condition of the router that cannot be evaluated now. */
class Deferral extends Error {}

async function lookUp(
  o: DnslookupOptions,
  services: DnslookupServices,
  request: RouteRequest,
): Promise<RouteOutcome> {
  const { domain } = request.scope.address;
  if (domain.startsWith('['))
    return { kind: 'decline', text: `mail domain "${domain}" is syntactically invalid` };
  const chosen = await request.transport();
  if (chosen !== undefined && 'problem' in chosen) return { kind: 'defer', reason: chosen.problem };
  const four = await holds(o.ipv4Only, request);
  const required = await matches(o.dnssecRequireDomains, request);
  const asking: Asking = {
    o,
    services,
    request,
    families: four ? 'ipv4-only' : (await holds(o.ipv4Prefer, request)) ? 'ipv4-first' : 'both',
    dnssec: required || (await matches(o.dnssecRequestDomains, request)),
    required,
  };
  const found = await findHosts(asking, domain);
  switch (found.kind) {
    case 'again':
      if (request.passOnTimeout) return { kind: 'pass' };
      return { kind: 'defer', reason: { text: 'host lookup did not complete', code: '4.4.3' } };
    case 'insecure':
      return { kind: 'defer', reason: { text: 'host lookup done insecurely', code: '4.7.0' } };
    case 'problem':
      return { kind: 'defer', reason: { text: found.text } };
    case 'none':
      if (await matches(o.failDeferDomains, request))
        return {
          kind: 'defer',
          reason: {
            text: 'missing MX, or all MXs point to missing A records, and defer requested',
            code: '4.4.4',
          },
        };
      return found.text === undefined ? { kind: 'decline' } : { kind: 'decline', text: found.text };
    case 'found':
      if (found.self !== undefined && request.self.kind !== 'send') return selfOutcome(request, found.self);
      if (o.checkSecondaryMx === true && !found.secondary) return { kind: 'decline' };
      return {
        kind: 'routed',
        ...(chosen === undefined ? undefined : { transport: chosen.name }),
        hosts: found.hosts,
        // Hosts of one preference come in any order: what counts is that the sets are the same.
        unordered: true,
        ...(found.secondary ? { secondary: true } : undefined),
      };
  }
}

async function findHosts(asking: Asking, domain: string): Promise<Hosts> {
  const { o, services, request, dnssec } = asking;
  const { dns } = services;
  const service = await serviceOf(o.checkSrv, request);
  if (service !== undefined) {
    const srv = await dns.services(service, domain, dnssec);
    if (srv.kind === 'again' && !(await matches(o.srvFailDomains, request))) return { kind: 'again' };
    if (srv.kind === 'found') {
      if (asking.required && !srv.secure) return { kind: 'insecure' };
      return hostsOf(asking, byWeight(srv.values, services.random));
    }
  }
  const mx = await dns.exchangers(domain, dnssec);
  if (mx.kind === 'again' && !(await matches(o.mxFailDomains, request))) return { kind: 'again' };
  if (mx.kind === 'found') {
    if (asking.required && !mx.secure) return { kind: 'insecure' };
    return hostsOf(asking, byPreference(mx.values, services.random));
  }
  if (await matches(o.mxDomains, request)) return { kind: 'none' };
  return ownAddresses(asking, domain);
}

/** A domain without exchangers is its own. */
async function ownAddresses(asking: Asking, domain: string): Promise<Hosts> {
  const { services, dnssec, families } = asking;
  const found = await services.dns.addresses(domain, families, dnssec);
  if (found.kind === 'again') return { kind: 'again' };
  if (found.kind === 'missing') return { kind: 'none' };
  if (asking.required && !found.secure) return { kind: 'insecure' };
  const wanted = await withoutIgnored(found.values, asking.request);
  if (typeof wanted === 'string') return { kind: 'problem', text: wanted };
  if (wanted.length === 0) return { kind: 'none' };
  const hosts = shuffled(wanted, families, services.random).map((address) => ({ name: found.name, address }));
  const self = hosts.some((h) => services.isLocal(h.address));
  return { kind: 'found', hosts, secondary: false, ...(self ? { self: selfHostText } : undefined) };
}

/** How many addresses of exchangers are asked for at a time. */
const width = 8;

/** Addresses of exchangers, which stand in the order in which they are to be tried. */
async function hostsOf(asking: Asking, exchangers: readonly Exchanger[]): Promise<Hosts> {
  const { o, services, request, families, dnssec } = asking;
  const [first] = exchangers;
  if (first?.name === '' && exchangers.length === 1) return { kind: 'none', text: noService };
  const hosts: RouteHost[] = [];
  const seen = new Set<string>();
  let again = false;
  let toIp = false;
  let insecure = false;
  const named = exchangers.filter((e) => e.name !== '');
  for (let at = 0; at < named.length; at += width) {
    const part = named.slice(at, at + width);
    const answers = await Promise.all(
      part.map(async ({ name }) =>
        isIP(name) === 0
          ? services.dns.addresses(name, families, dnssec)
          : { kind: 'found' as const, values: [name], name, secure: true, literal: true },
      ),
    );
    for (const [i, { preference, port }] of part.entries()) {
      const answer = answers[i];
      if (answer?.kind === 'again') again = true;
      if (answer?.kind !== 'found') continue;
      if ('literal' in answer && o.allowMxToIp !== true) {
        toIp = true;
        continue;
      }
      if (asking.required && !answer.secure) {
        insecure = true;
        continue;
      }
      const wanted = await withoutIgnored(answer.values, request);
      if (typeof wanted === 'string') return { kind: 'problem', text: wanted };
      for (const address of shuffled(wanted, families, services.random)) {
        if (seen.has(address)) continue;
        seen.add(address);
        hosts.push({
          name: answer.name,
          address,
          ...(port === undefined ? undefined : { port }),
          mx: preference,
        });
      }
    }
  }
  if (hosts.length === 0) {
    if (insecure) return { kind: 'insecure' };
    if (again) return { kind: 'again' };
    return { kind: 'none', text: toIp ? `${noExchanger} or (invalidly) to IP addresses` : noExchanger };
  }
  return withoutSelf(hosts, services.isLocal);
}

/** This machine as an exchanger, and all that are not better than it, are no hosts to send to (RFC 5321 §5.1). */
function withoutSelf(hosts: readonly RouteHost[], isLocal: IsLocalAddress): Hosts {
  const local = hosts.find((h) => h.address !== undefined && isLocal(h.address));
  if (local === undefined) return { kind: 'found', hosts, secondary: false };
  if (local.mx === hosts[0]?.mx) return { kind: 'found', hosts, secondary: false, self: localExchanger };
  return { kind: 'found', hosts: hosts.filter((h) => (h.mx ?? 0) < (local.mx ?? 0)), secondary: true };
}

async function serviceOf(checkSrv: string | undefined, request: RouteRequest): Promise<string | undefined> {
  if (checkSrv === undefined) return undefined;
  const expanded = await expandText(checkSrv, request.scope);
  if (expanded.kind === 'ok') return expanded.text === '' ? undefined : expanded.text;
  if (expanded.kind === 'forced-fail') return undefined;
  throw new Deferral(`${request.router} router: failed to expand check_srv: ${expanded.reason}`);
}

async function matches(list: string | undefined, request: RouteRequest): Promise<boolean> {
  if (list === undefined) return false;
  const answer = await request.inDomains(list);
  if (typeof answer === 'boolean') return answer;
  throw new Deferral(`${request.router} router: "${list}" cannot be matched: ${answer.problem}`);
}

async function holds(condition: string | undefined, request: RouteRequest): Promise<boolean> {
  if (condition === undefined) return false;
  const result = await expandBoolean(condition, request.scope);
  if (result.kind === 'ok') return result.value;
  if (result.kind === 'forced-fail') return false;
  throw new Deferral(`${request.router} router: failed to expand "${condition}": ${result.reason}`);
}

/** Addresses of one family in random order, the families as they stand. */
function shuffled(addresses: readonly string[], families: Families, random: () => number): string[] {
  const six = inRandomOrder(
    addresses.filter((a) => a.includes(':')),
    random,
  );
  const four = inRandomOrder(
    addresses.filter((a) => !a.includes(':')),
    random,
  );
  return families === 'ipv4-first' ? [...four, ...six] : [...six, ...four];
}

function inRandomOrder<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

function byPreference(exchangers: readonly Exchanger[], random: () => number): Exchanger[] {
  return inRandomOrder(exchangers, random).sort((a, b) => a.preference - b.preference);
}

/** RFC 2782: of equal priority, in an order that is random by weight. */
function byWeight(exchangers: readonly Exchanger[], random: () => number): Exchanger[] {
  const out: Exchanger[] = [];
  const priorities = [...new Set(exchangers.map((e) => e.preference))].sort((a, b) => a - b);
  for (const priority of priorities) {
    const left = inRandomOrder(
      exchangers.filter((e) => e.preference === priority),
      random,
    ).sort((a, b) => Math.min(a.weight ?? 0, 1) - Math.min(b.weight ?? 0, 1));
    while (left.length > 0) {
      const sum = left.reduce((total, e) => total + (e.weight ?? 0), 0);
      let wanted = random() * sum;
      const at = left.findIndex((e) => (wanted -= e.weight ?? 0) <= 0);
      out.push(...left.splice(Math.max(0, at), 1));
    }
  }
  return out;
}
