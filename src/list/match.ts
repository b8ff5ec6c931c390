/**
 * Matching against domain, host, address and local part lists. A list's text is expanded first, then taken apart; both are
 * done once where the text does not change. Answers come at once where nothing has to be asked.
 */
import { networkInterfaces } from 'node:os';
import { lowerAscii } from '../expand/ascii.ts';
import { constantText, expand, parseTemplate, type Expansion, type Template } from '../expand/expand.ts';
import { ipOctets } from '../expand/ip.ts';
import type { Awaitable, ExpandScope, ExpandServices, ListAnswer, MatchKind } from '../expand/scope.ts';
import { boundedCache } from './bounded-cache.ts';
import { compileList } from './compile.ts';
import { withoutMapping } from './ip.ts';
import {
  defer,
  no,
  type CompiledList,
  type ListEnvironment,
  type MatchContext,
  type NamedLists,
  type Subject,
  type Taint,
} from './model.ts';
import { quotedList } from './quoted-list.ts';
import { runSteps, type NamedRunner } from './run.ts';

export type { ListEnvironment, NamedLists } from './model.ts';

export interface LocalPartOptions {
  /** A router's `caseful_local_part`: letter case counts from the start. */
  readonly caseful?: boolean;
}

/** One method a kind of list. The list is the option's text, not yet expanded; a forced failure means no match. */
export interface Lists {
  readonly matchDomainList: (list: string, domain: string, scope: ExpandScope) => Awaitable<ListAnswer>;
  /** `address` is the host's IP address, or empty where no host is involved. */
  readonly matchHostList: (list: string, address: string, scope: ExpandScope) => Awaitable<ListAnswer>;
  /** `address` is `local@domain`, or empty for the null sender. */
  readonly matchAddressList: (list: string, address: string, scope: ExpandScope) => Awaitable<ListAnswer>;
  readonly matchLocalPartList: (
    list: string,
    localPart: string,
    scope: ExpandScope,
    options?: LocalPartOptions,
  ) => Awaitable<ListAnswer>;
  /** For the expansion conditions `match_domain`, `match_ip` and so on: the list is already expanded. */
  readonly matchList: ExpandServices['matchList'];
}

/** Addresses of this machine's interfaces, asked anew at most once a minute. */
export const thisMachine: ListEnvironment = { localAddresses };

export function createLists(named: NamedLists, environment: ListEnvironment = thisMachine): Lists {
  /** Named lists by name; they do not change, so neither does this. */
  const ready: Readonly<Record<MatchKind, Map<string, Prepared>>> = {
    domain: new Map(),
    host: new Map(),
    address: new Map(),
    local_part: new Map(),
  };

  const runNamed: NamedRunner = (kind, name, subject, context) => {
    let list = ready[kind].get(name);
    if (list === undefined) {
      const text = named.get(kind, name);
      if (text === undefined) return defer(`unknown named ${kindWord(kind)} list "+${name}"`);
      list = prepare(kind, text);
      ready[kind].set(name, list);
    }
    const { scope, run, depth } = context;
    if (depth >= maxDepth)
      return defer(`${kindWord(kind)} list "+${name}" is nested too deeply: does it refer to itself?`);
    return runPrepared(list, subject, { scope, environment, run, depth: depth + 1 }, runNamed);
  };

  const run: MatchContext['run'] = (list, subject, context) => runSteps(list, subject, context, runNamed);
  const context = (scope: ExpandScope): MatchContext => ({ scope, environment, run, depth: 0 });

  const match = (
    kind: MatchKind,
    list: string,
    subject: Subject,
    scope: ExpandScope,
  ): Awaitable<ListAnswer> => runPrepared(prepare(kind, list), subject, context(scope), runNamed);

  return {
    matchDomainList: (list, domain, scope) => match('domain', list, domainSubject(domain), scope),
    matchHostList: (list, address, scope) => match('host', list, hostSubject(address, scope), scope),
    matchAddressList: (list, address, scope) => match('address', list, addressSubject(address), scope),
    matchLocalPartList: (list, localPart, scope, options) =>
      match('local_part', list, localPartSubject(localPart, options?.caseful === true), scope),
    matchList: (kind, list, text, scope, listTainted = false) => {
      if (kind === 'host' && text !== '' && ipOctets(text) === undefined)
        return defer(`"${text}" is not an IP address`);
      const subject = subjectOf(kind, text);
      return runSteps(compileCached(kind, list, { tainted: listTainted }), subject, context(scope), runNamed);
    },
  };
}

/** Named lists within named lists. */
const maxDepth = 40;

/** A list's text made ready: compiled, or to be expanded at each match. */
type Prepared =
  | { readonly kind: 'compiled'; readonly list: CompiledList }
  | {
      readonly kind: 'template';
      readonly listKind: MatchKind;
      /** With `quotedFor`: what is quoted for that type does not taint its value. */
      readonly template: Template;
      readonly quotedFor?: string;
    }
  | { readonly kind: 'broken'; readonly reason: string };

const maxLists = 1000;
const prepared: Readonly<Record<MatchKind, ReturnType<typeof boundedCache<Prepared>>>> = {
  domain: boundedCache(maxLists),
  host: boundedCache(maxLists),
  address: boundedCache(maxLists),
  local_part: boundedCache(maxLists),
};

function prepare(kind: MatchKind, text: string): Prepared {
  const known = prepared[kind].get(text);
  if (known !== undefined) return known;
  const made = prepareNew(kind, text);
  prepared[kind].set(text, made);
  return made;
}

function prepareNew(kind: MatchKind, text: string): Prepared {
  const template = parseTemplate(text);
  if (template.kind !== 'template')
    return { kind: 'broken', reason: `failed to expand "${text}" while checking a list: ${template.reason}` };
  const constant = constantText(template);
  if (constant !== undefined)
    return { kind: 'compiled', list: compileList(kind, constant, { tainted: false }) };
  const quoted = quotedList(template);
  return quoted === undefined
    ? { kind: 'template', listKind: kind, template }
    : { kind: 'template', listKind: kind, template: quoted.template, quotedFor: quoted.type };
}

function runPrepared(
  ready: Prepared,
  subject: Subject,
  context: MatchContext,
  runNamed: NamedRunner,
): Awaitable<ListAnswer> {
  switch (ready.kind) {
    case 'compiled':
      return runSteps(ready.list, subject, context, runNamed);
    case 'broken':
      return defer(ready.reason);
    case 'template': {
      const { quotedFor } = ready;
      const taintOf = (tainted: boolean): Taint =>
        tainted || quotedFor === undefined ? { tainted } : { tainted: true, quotedFor };
      const run = (r: Expansion): Awaitable<ListAnswer> => {
        if (r.kind === 'forced-fail') return no;
        if (r.kind !== 'ok')
          return defer(`failed to expand "${ready.template.source}" while checking a list: ${r.reason}`);
        return runSteps(
          compileCached(ready.listKind, r.text, taintOf(r.tainted)),
          subject,
          context,
          runNamed,
        );
      };
      const r = expand(ready.template, context.scope);
      return r instanceof Promise ? r.then(run) : run(r);
    }
  }
}

/** Lists that came out of an expansion: the same few texts come again and again. */
const expanded = boundedCache<CompiledList>(500);
const maxCachedOctets = 4096;

function compileCached(kind: MatchKind, text: string, taint: Taint): CompiledList {
  if (text.length > maxCachedOctets) return compileList(kind, text, taint);
  const key = `${kind}${taint.tainted ? '!' : ' '}${taint.quotedFor ?? ''} ${text}`;
  const known = expanded.get(key);
  if (known !== undefined) return known;
  const list = compileList(kind, text, taint);
  expanded.set(key, list);
  return list;
}

function kindWord(kind: MatchKind): string {
  return kind === 'local_part' ? 'local part' : kind;
}

function subjectOf(kind: MatchKind, text: string): Subject {
  switch (kind) {
    case 'domain':
      return domainSubject(text);
    case 'local_part':
      return localPartSubject(text, false);
    case 'address':
      return addressSubject(text);
    case 'host':
      return { text: withoutMapping(text), original: text, caseful: false, hostName: null };
  }
}

function domainSubject(domain: string): Subject {
  return { text: lowerAscii(domain), original: domain, caseful: false };
}

function localPartSubject(localPart: string, caseful: boolean): Subject {
  return { text: caseful ? localPart : lowerAscii(localPart), original: localPart, caseful };
}

function addressSubject(address: string): Subject {
  return { text: lowerAscii(address), original: address, caseful: false };
}

function hostSubject(address: string, scope: ExpandScope): Subject {
  const { connection } = scope;
  const text = withoutMapping(address);
  const name =
    connection !== undefined && connection.hostAddress === address ? connection.hostName : undefined;
  return name === undefined
    ? { text, original: address, caseful: false }
    : { text, original: address, caseful: false, hostName: name };
}

let addresses: readonly string[] = [];
let addressesAtMs = Number.NEGATIVE_INFINITY;
const addressesForMs = 60_000;

function localAddresses(): readonly string[] {
  const now = performance.now();
  if (now - addressesAtMs > addressesForMs) {
    addresses = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((a) => a.address));
    addressesAtMs = now;
  }
  return addresses;
}

/**
 * What is wrong with a list option's text that can be seen before any mail comes: malformed expansions and addresses,
 * regular expressions that do not compile, lookup types and items that are not there. Named lists are checked where they
 * are defined.
 */
export function listProblems(kind: MatchKind, text: string): readonly string[] {
  const ready = prepare(kind, text);
  if (ready.kind === 'broken') return [ready.reason];
  return ready.kind === 'compiled' ? ready.list.problems : [];
}
