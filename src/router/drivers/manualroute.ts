/** The manualroute router: hosts by domain, from rules in the configuration or from data (Exim manual, "The manualroute router"). */
import { expandText } from '../../expand/expand.ts';
import type { Awaitable, ExpandScope, ExtraValue } from '../../expand/scope.ts';
import type { RouteHost } from '../../mail/route-host.ts';
import type { RouteOutcome, RouteRequest, RouterDriver } from '../router.ts';
import type { HostLookup } from './host-lookup.ts';
import { asIpAddress } from './host-lookup.ts';
import type { IsLocalAddress } from './local-hosts.ts';
import { compileRoutePattern, type PatternAnswer, type PatternTest } from './route-pattern.ts';
import {
  parseHostList,
  parseRouteData,
  parseRouteList,
  parseRuleOptions,
  randomizeHosts,
  type RuleOptions,
} from './route-rule.ts';
import { withoutIgnored } from './ignored-hosts.ts';
import { selfHostText, selfOutcome } from './self.ts';

export type HostFailure = 'decline' | 'defer' | 'fail' | 'freeze' | 'pass';

export interface ManualrouteOptions {
  /** Exactly one of the two is set. */
  readonly routeList?: string;
  readonly routeData?: string;
  /** Default freeze. */
  readonly hostFindFailed?: HostFailure | 'ignore';
  /** Default defer. */
  readonly hostAllIgnored?: HostFailure;
  readonly hostsRandomize?: boolean;
}

export interface ManualrouteServices {
  /** Names of the configured transports, which a rule may use as an option. */
  isTransport(name: string): boolean;
  readonly lookup: HostLookup;
  readonly isLocal: IsLocalAddress;
  readonly random: () => number;
}

interface CompiledRule {
  readonly matches: PatternTest;
  readonly hosts: string;
  readonly options: string;
}

interface Context {
  readonly options: ManualrouteOptions;
  readonly services: ManualrouteServices;
  readonly rules: readonly CompiledRule[];
}

const decline: RouteOutcome = { kind: 'decline' };

/** Makes the driver. Rules are taken apart once; a malformed one shows when it is used, as in Exim. */
export function createManualrouteRouter(
  options: ManualrouteOptions,
  services: ManualrouteServices,
): RouterDriver {
  const rules = parseRouteList(options.routeList ?? '').map((rule) => ({
    matches: compileRoutePattern(rule.pattern),
    hosts: rule.hosts,
    options: rule.options,
  }));
  const context: Context = { options, services, rules };
  return { driver: 'manualroute', route: (request) => byRule(context, request, 0) };
}

/** Tries the rules from `from` on; asynchronous only where a rule's pattern is. */
function byRule(context: Context, request: RouteRequest, from: number): Awaitable<RouteOutcome> {
  if (context.options.routeList === undefined) return byData(context, request);
  const domain = request.scope.address.domain;
  for (let i = from; i < context.rules.length; i++) {
    const rule = context.rules[i];
    if (rule === undefined) break;
    const answer = rule.matches(domain, request.scope);
    if (answer instanceof Promise)
      return answer.then((a) => matched(context, request, rule, a) ?? byRule(context, request, i + 1));
    const outcome = matched(context, request, rule, answer);
    if (outcome !== undefined) return outcome;
  }
  return decline;
}

function matched(
  context: Context,
  request: RouteRequest,
  rule: CompiledRule,
  answer: PatternAnswer,
): Awaitable<RouteOutcome> | undefined {
  if (answer.kind === 'no') return undefined;
  if (answer.kind === 'defer')
    return {
      kind: 'defer',
      reason: { text: `lookup defer in route_list of ${request.router} router: ${answer.reason}` },
    };
  return useRule(context, request, rule.hosts, rule.options, answer);
}

async function byData(context: Context, request: RouteRequest): Promise<RouteOutcome> {
  const data = context.options.routeData ?? '';
  const expanded = await expandText(data, request.scope);
  if (expanded.kind === 'forced-fail') return decline;
  if (expanded.kind !== 'ok')
    return { kind: 'defer', reason: { text: `failed to expand "${data}": ${expanded.reason}` } };
  if (expanded.text.trim() === '') return decline;
  const { hosts, options } = parseRouteData(expanded.text);
  return useRule(context, request, hosts, options, undefined);
}

function useRule(
  context: Context,
  request: RouteRequest,
  hosts: string,
  optionText: string,
  match: Extract<PatternAnswer, { kind: 'yes' }> | undefined,
): Awaitable<RouteOutcome> {
  if (!hosts.includes('$') && !hosts.includes('\\')) return withHosts(context, request, hosts, optionText);
  const use = (e: Awaited<ReturnType<typeof expandText>>): Awaitable<RouteOutcome> => {
    if (e.kind === 'forced-fail') return decline;
    if (e.kind !== 'ok')
      return {
        kind: 'defer',
        reason: { text: `${request.router} router: failed to expand "${hosts}": ${e.reason}` },
      };
    return withHosts(context, request, e.text, optionText);
  };
  const expanded = expandText(hosts, match === undefined ? request.scope : ruleScope(request.scope, match));
  return expanded instanceof Promise ? expanded.then(use) : use(expanded);
}

/** `$0`, `$1`... and `$value` while the host list of a rule is expanded. */
function ruleScope(scope: ExpandScope, match: Extract<PatternAnswer, { kind: 'yes' }>): ExpandScope {
  if (match.value === undefined) return { ...scope, captures: match.captures };
  const extra = new Map<string, ExtraValue>(scope.extra);
  extra.set('value', { text: match.value, tainted: false });
  return { ...scope, captures: match.captures, extra };
}

function withHosts(
  context: Context,
  request: RouteRequest,
  hosts: string,
  optionText: string,
): Awaitable<RouteOutcome> {
  const options = parseRuleOptions(optionText, (name) => context.services.isTransport(name));
  if (typeof options === 'string') return { kind: 'defer', reason: { text: `error in router: ${options}` } };
  const chosen = request.transport(options.transport);
  return chosen instanceof Promise
    ? chosen.then((c) => withTransport(context, request, hosts, options, c))
    : withTransport(context, request, hosts, options, chosen);
}

function withTransport(
  context: Context,
  request: RouteRequest,
  hosts: string,
  options: RuleOptions,
  chosen: Awaited<ReturnType<RouteRequest['transport']>>,
): Awaitable<RouteOutcome> {
  if (chosen !== undefined && 'problem' in chosen) return { kind: 'defer', reason: chosen.problem };
  const transport = chosen === undefined ? {} : { transport: chosen.name };
  // A local transport gets the list as one text (`$host`) and nothing is looked up.
  if (chosen?.local === true)
    return { kind: 'routed', ...transport, hosts: hosts === '' ? [] : [{ name: hosts }] };
  if (hosts.trim() === '') {
    if (request.verifying) return { kind: 'routed', ...transport, hosts: [] };
    const text = `error in ${request.router} router: no host(s) specified for domain ${request.scope.address.domain}`;
    return { kind: 'defer', reason: { text } };
  }
  const unordered = options.randomize ?? context.options.hostsRandomize ?? false;
  let items = parseHostList(hosts);
  if (unordered) items = randomizeHosts(items, context.services.random);
  const rest: Rest = unordered ? { ...transport, unordered } : transport;
  const found: RouteHost[] = [];
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (item === undefined || item.kind === 'boundary') continue;
    const address = item.mx ? undefined : asIpAddress(item.name);
    // Names are looked up in the order of the list; from the first one on, or where addresses may have to be ignored, all
    // the rest goes the slow way.
    if (address === undefined || request.ignoreHost !== undefined)
      return findHosts(context, request, items.slice(i), options, found, rest);
    if (add(found, item.name, [address], item.port, context, request)) break;
  }
  return finish(context, request, found, rest);
}

/** What goes with the hosts into the outcome. */
interface Rest {
  readonly transport?: string;
  readonly unordered?: boolean;
}

/** Adds a host with its addresses. True: the local host was met further down, so that it and all after it are left out. */
function add(
  found: RouteHost[],
  name: string,
  addresses: readonly string[],
  port: number | undefined,
  context: Context,
  request: RouteRequest,
): boolean {
  for (const address of addresses) {
    if (found.length > 0 && request.self.kind !== 'send' && context.services.isLocal(address)) return true;
    found.push(port === undefined ? { name, address } : { name, address, port });
  }
  return false;
}

async function findHosts(
  context: Context,
  request: RouteRequest,
  items: ReturnType<typeof parseHostList>,
  options: RuleOptions,
  found: RouteHost[],
  rest: Rest,
): Promise<RouteOutcome> {
  const failed = context.options.hostFindFailed ?? 'freeze';
  for (const item of items) {
    if (item.kind === 'boundary') continue;
    if (item.mx)
      return {
        kind: 'defer',
        reason: {
          text: `${item.name}/MX in ${request.router} router: sublists from MX records are not supported`,
        },
      };
    const literal = asIpAddress(item.name);
    const answer =
      literal === undefined
        ? await context.services.lookup(
            {
              name: item.name,
              how: options.lookup === 'bydns' ? 'bydns' : 'byname',
              ...(options.ipv4 === undefined ? {} : { ipv4: options.ipv4 }),
            },
            request.signal,
          )
        : ({ kind: 'found', addresses: [literal] } as const);
    if (answer.kind === 'found') {
      const wanted = await withoutIgnored(answer.addresses, request);
      if (typeof wanted === 'string') return { kind: 'defer', reason: { text: wanted } };
      if (add(found, item.name, wanted, item.port, context, request)) break;
      continue;
    }
    if (answer.kind === 'defer') {
      if (request.passOnTimeout) return { kind: 'pass' };
      return {
        kind: 'defer',
        reason: { text: `host lookup for ${item.name} did not complete (${answer.reason})`, code: '4.4.3' },
      };
    }
    if (failed !== 'ignore')
      return hostFailure(failed, `lookup of host "${item.name}" failed in ${request.router} router`);
  }
  return finish(context, request, found, rest);
}

function hostFailure(what: HostFailure, text: string): RouteOutcome {
  switch (what) {
    case 'decline':
    case 'pass':
      return { kind: what };
    case 'fail':
      return { kind: 'fail', reason: { text, code: '5.4.4' } };
    case 'defer':
    case 'freeze':
      return { kind: 'defer', reason: { text, code: '4.4.4' }, freeze: what === 'freeze' };
  }
}

function finish(
  context: Context,
  request: RouteRequest,
  hosts: readonly RouteHost[],
  rest: Rest,
): RouteOutcome {
  const first = hosts[0];
  if (first === undefined) {
    const what = context.options.hostAllIgnored ?? 'defer';
    return hostFailure(
      what,
      `lookup failed for all hosts in ${request.router} router: host_find_failed=ignore host_all_ignored=${what}`,
    );
  }
  if (request.self.kind !== 'send' && first.address !== undefined && context.services.isLocal(first.address))
    return selfOutcome(request, selfHostText);
  return { kind: 'routed', ...rest, hosts };
}
