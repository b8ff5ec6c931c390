/** Items of host lists (Exim manual, "Special host list patterns" to "Host list patterns for query-style lookups"). */
import { ipOctets } from '../expand/ip.ts';
import type { Awaitable } from '../expand/scope.ts';
import { inNetwork, ipKey, parseNetwork } from './ip.ts';
import { askLookup, parseLookupItem, type LookupItem } from './lookup-item.ts';
import { broken, compilePattern } from './pattern.ts';
import {
  defer,
  no,
  plainYes,
  type HostFact,
  type ItemAnswer,
  type ItemTest,
  type MatchContext,
  type Subject,
  type CompiledItem,
  type Taint,
} from './model.ts';

/** The subject's text is its IP address without mapping, or empty where no host is involved. */
export function compileHostItem(pattern: string, taint: Taint): CompiledItem {
  if (pattern === '*') return { test: () => plainYes };
  if (pattern === '') return { test: (subject) => (subject.text === '' ? plainYes : no) };
  const inner = compileForHost(pattern, taint);
  // Without a host only `*` and the empty item match.
  return { ...inner, test: (subject, context) => (subject.text === '' ? no : inner.test(subject, context)) };
}

function compileForHost(pattern: string, taint: Taint): CompiledItem {
  if (pattern === '@')
    return { test: (subject, context) => byAddressOf(context.scope.main.primaryHostname, subject, context) };
  if (pattern === '@[]')
    return {
      test: (subject, context) =>
        context.environment.localAddresses().includes(subject.text) ? plainYes : no,
    };
  const network = parseNetwork(pattern);
  if (network !== undefined)
    return {
      test: (subject) => {
        const octets = octetsOf(subject);
        return octets !== null && inNetwork(octets, network) ? plainYes : no;
      },
    };
  if (/^(?:[\d.]+\/|[\d.]*$)/.test(pattern)) {
    const problem = `malformed IPv4 address or address mask "${pattern}"`;
    return { test: () => ({ kind: 'unknown', reason: problem }), problem };
  }
  if (pattern.includes(';')) return lookupItem(pattern, taint);
  if (/^[\w.-]+$/.test(pattern))
    return { test: (subject, context) => byAddressOf(pattern, subject, context) };
  return byName(pattern, taint);
}

function octetsOf(subject: Subject): Uint8Array | null {
  if (subject.octets === undefined) subject.octets = ipOctets(subject.text) ?? null;
  return subject.octets;
}

const namesNotAllowed: ItemAnswer = { kind: 'unknown', reason: 'cannot match host name in match_ip list' };

/** A complete host name: its addresses are compared, not the client's name. */
function byAddressOf(name: string, subject: Subject, context: MatchContext): Awaitable<ItemAnswer> {
  if (subject.hostName === null) return namesNotAllowed;
  const { environment } = context;
  if (environment.addressesOf === undefined)
    return defer(`no way to find the IP address of ${name}: host names are not looked up yet`);
  const found = (fact: HostFact): ItemAnswer => {
    if (fact.kind === 'defer') return defer(fact.reason);
    if (fact.kind === 'missing') return { kind: 'unknown', reason: `failed to find IP address for ${name}` };
    return fact.values.includes(subject.text) ? plainYes : no;
  };
  const fact = environment.addressesOf(name);
  return fact instanceof Promise ? fact.then(found) : found(fact);
}

/** Wildcards and regular expressions: compared with every verified name of the host. */
function byName(pattern: string, taint: Taint): CompiledItem {
  const compiled = compilePattern(pattern, { atSpecial: true, partial: true, taint });
  return { ...compiled, test: namedTest(compiled.test) };
}

function namedTest(test: ItemTest): ItemTest {
  return (subject, context) => {
    if (subject.hostName === null) return namesNotAllowed;
    if (subject.hostName !== undefined) return test(nameSubject(subject.hostName), context);
    const { environment } = context;
    if (environment.namesOf === undefined)
      return defer(`no way to find the name of ${subject.text}: host names are not looked up yet`);
    const found = (fact: HostFact): Awaitable<ItemAnswer> => {
      if (fact.kind === 'defer') return defer(fact.reason);
      if (fact.kind === 'missing')
        return { kind: 'unknown', reason: `failed to find host name for ${subject.text}` };
      return anyName(fact.values, 0, test, context);
    };
    const fact = environment.namesOf(subject.text);
    return fact instanceof Promise ? fact.then(found) : found(fact);
  };
}

function anyName(
  names: readonly string[],
  from: number,
  test: ItemTest,
  context: MatchContext,
): Awaitable<ItemAnswer> {
  for (let i = from; i < names.length; i++) {
    const r = test(nameSubject(names[i] ?? ''), context);
    if (r instanceof Promise)
      return r.then((a) => (a.kind === 'no' ? anyName(names, i + 1, test, context) : a));
    if (r.kind !== 'no') return r;
  }
  return no;
}

function nameSubject(name: string): Subject {
  return { text: name, original: name, caseful: false };
}

const netPrefix = /^net(\d*)-/;

/** `net-type;file` and `net24-type;file` look for the address, other single-key lookups for the name. */
function lookupItem(pattern: string, taint: Taint): CompiledItem {
  const net = netPrefix.exec(pattern);
  const lookup = parseLookupItem(net === null ? pattern : pattern.slice(net[0].length));
  if (typeof lookup === 'string') return broken(lookup);
  const bits = net?.[1] === undefined || net[1] === '' ? undefined : Number(net[1]);
  const use = { partial: false, taint };
  const byAddress: ItemTest = (subject, context) =>
    askLookup(lookup, addressKey(lookup, subject, bits), use, context);
  if (net !== null) return { test: byAddress };
  if (lookup.search.style === 'query') return { test: (_, context) => askLookup(lookup, '', use, context) };
  const named = namedTest((subject, context) =>
    askLookup(lookup, subject.text, { partial: true, taint }, context),
  );
  return {
    test: (subject, context) =>
      subject.hostName === null ? byAddress(subject, context) : named(subject, context),
  };
}

function addressKey(lookup: LookupItem, subject: Subject, bits: number | undefined): string {
  const octets = octetsOf(subject);
  return octets === null ? subject.text : ipKey(octets, bits, lookup.search.type === 'iplsearch' ? ':' : '.');
}
