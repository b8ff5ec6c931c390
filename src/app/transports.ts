/** Transports of a configuration, ready to run. */
import { isIP } from 'node:net';
import type { ConfigModel, TransportInstance } from '../config/model.ts';
import { expandText } from '../expand/expand.ts';
import type { ExpandScope } from '../expand/scope.ts';
import type { RouteHost } from '../mail/route-host.ts';
import { joinList, splitList } from '../mail/list-text.ts';
import type { ConfiguredTransport } from '../queue/context.ts';
import { hostsOf, parseHostList, randomizeHosts, shuffled } from '../router/drivers/route-rule.ts';
import { inList } from '../router/preconditions.ts';
import { createLmtpTransport } from '../transport/drivers/lmtp.ts';
import { findHosts, systemResolve } from '../transport/drivers/remote-hosts.ts';
import { createSmtpTransport } from '../transport/drivers/smtp.ts';
import { expandAtStart } from './scope.ts';
import { type LocalSurroundings, makeLocal, withGeneric } from './transport/local-transports.ts';

export function makeTransports(
  model: ConfigModel,
  scope: ExpandScope,
  around: LocalSurroundings,
): ReadonlyMap<string, ConfiguredTransport> {
  return new Map(
    model.transports.map((t) => {
      const made = make(t, scope, around);
      const byDomain = made.local && t.options.retry_use_local_part === false;
      return [t.name, byDomain ? { ...made, retryByDomain: true } : made];
    }),
  );
}

function make(t: TransportInstance, scope: ExpandScope, around: LocalSurroundings): ConfiguredTransport {
  switch (t.driver) {
    case 'lmtp':
      return withGeneric(t, { local: true, transport: makeLmtp(t, scope) }, around.neverUsers ?? []);
    case 'smtp':
      return withGeneric(
        t,
        {
          local: false,
          transport: makeSmtp(t, scope),
          fallback: fallbackOf(t),
          delayAfterCutoff: t.options.delay_after_cutoff,
        },
        around.neverUsers ?? [],
      );
    case 'appendfile':
    case 'pipe':
    case 'autoreply':
      return makeLocal(t, around);
  }
}

function makeLmtp(
  t: Extract<TransportInstance, { driver: 'lmtp' }>,
  scope: ExpandScope,
): ConfiguredTransport['transport'] {
  const o = t.options;
  return createLmtpTransport(t.name, {
    destination:
      o.socket === undefined
        ? { kind: 'command', argv: commandWords(expandAtStart(o.command ?? '', scope)) }
        : { kind: 'socket', path: expandAtStart(o.socket, scope) },
    helo: scope.main.primaryHostname,
    batchMax: o.batch_max,
    timeoutMs: o.timeout,
    ignoreQuota: o.ignore_quota,
  });
}

/** The words of a command: parted by white space, double quotes keep it (Exim manual, "How the command is run"). */
function commandWords(text: string): readonly [string, ...string[]] {
  const words = [...text.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g)].map(
    (m) => m[1]?.replace(/\\(.)/g, '$1') ?? m[2] ?? m[3] ?? '',
  );
  const [first, ...rest] = words;
  if (first === undefined) throw new Error('command of an lmtp transport is empty');
  return [first, ...rest];
}

function makeSmtp(
  t: Extract<TransportInstance, { driver: 'smtp' }>,
  scope: ExpandScope,
): ConfiguredTransport['transport'] {
  const o = t.options;
  return createSmtpTransport(t.name, {
    protocol: o.protocol,
    ...(o.port === undefined ? {} : { port: portNumber(expandAtStart(o.port, scope), t.name) }),
    ...(o.hosts === undefined ? {} : { hosts: ownHosts(expandAtStart(o.hosts, scope), o.hosts_randomize) }),
    ...(o.hosts_randomize ? { randomize: (hosts) => shuffled(hosts, Math.random) } : {}),
    ...(o.interface === undefined
      ? {}
      : { interface: (host) => interfaceFor(t.name, o.interface ?? '', host, scope) }),
    ...hostTest('avoidEsmtp', o.hosts_avoid_esmtp, scope),
    ...hostTest('avoidPipelining', o.hosts_avoid_pipelining, scope),
    hostsOverride: o.hosts_override,
    allowLocalhost: o.allow_localhost,
    connectTimeoutMs: o.connect_timeout,
    commandTimeoutMs: o.command_timeout,
    dataTimeoutMs: o.data_timeout,
    finalTimeoutMs: o.final_timeout,
    heloData: (host) => heloFor(o.helo_data, host, scope),
    ...(o.hosts_try_auth === undefined && o.hosts_require_auth === undefined
      ? {}
      : { unusable: (host) => authenticationProblem([o.hosts_require_auth, o.hosts_try_auth], host, scope) }),
    maxRcpt: o.max_rcpt,
    connectionMaxMessages: o.connection_max_messages,
    multiDomain: o.multi_domain !== false && o.multi_domain !== 'false',
    messageLinelengthLimit: o.message_linelength_limit,
    hostsMaxTry: o.hosts_max_try,
    hostsMaxTryHardlimit: o.hosts_max_try_hardlimit,
    sizeAddition: o.size_addition,
    ignoreQuota: o.lmtp_ignore_quota && o.protocol === 'lmtp',
  });
}

const services: ReadonlyMap<string, number> = new Map([
  ['smtp', 25],
  ['lmtp', 24],
  ['smtps', 465],
  ['submissions', 465],
  ['submission', 587],
]);

/** A port as number or service name. */
export function portNumber(text: string, owner: string): number {
  const port = services.get(text.trim()) ?? Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`${owner}: "${text}" is not a port`);
  return port;
}

/** The hosts of `hosts`; in random order, within the groups that `+` parts, each time they are asked for. */
function ownHosts(text: string, random: boolean): readonly RouteHost[] | (() => readonly RouteHost[]) {
  const items = parseHostList(text);
  return random ? () => hostsOf(randomizeHosts(items, Math.random)) : hostsOf(items);
}

/** A test whether a host is in the list of an option; nothing where that is unset. A list that cannot be asked does not match. */
function hostTest<K extends string>(
  name: K,
  list: string | undefined,
  scope: ExpandScope,
): { readonly [P in K]?: (host: RouteHost) => Promise<boolean> } {
  if (list === undefined) return {};
  const test = async (host: RouteHost): Promise<boolean> => {
    const here = { ...scope, address: hostFacts(host) };
    return (await inList('host', list, host.address ?? host.name, here, {})).kind === 'yes';
  };
  return { [name]: test } as { readonly [P in K]?: (host: RouteHost) => Promise<boolean> };
}

function hostFacts({ name, address }: RouteHost): NonNullable<ExpandScope['address']> {
  return {
    local: '',
    domain: '',
    host: name,
    ...(address === undefined ? {} : { hostAddress: address }),
  };
}

/** Hosts that want authentication get no mail without it, which they would refuse for good. */
async function authenticationProblem(
  lists: readonly (string | undefined)[],
  host: RouteHost,
  scope: ExpandScope,
): Promise<string | undefined> {
  const { name, address } = host;
  const facts = {
    local: '',
    domain: '',
    host: name,
    ...(address === undefined ? {} : { hostAddress: address }),
  };
  const here = { ...scope, address: facts };
  for (const list of lists) {
    if (list === undefined) continue;
    const text = await expandText(list, here);
    if (text.kind === 'forced-fail') continue;
    if (text.kind !== 'ok') return `list of hosts to authenticate with: ${text.reason}`;
    const answer = await scope.services.matchList('host', text.text, address ?? name, here);
    if (answer.kind === 'yes') return 'authentication is wanted for this host, and not implemented yet';
    if (answer.kind === 'defer') return `list of hosts to authenticate with: ${answer.reason}`;
  }
  return undefined;
}

function heloFor(text: string, host: RouteHost, scope: ExpandScope): string | { readonly problem: string } {
  const result = expandText(text, { ...scope, address: hostFacts(host) });
  if (result instanceof Promise) return { problem: 'helo_data may not wait for a lookup' };
  if (result.kind === 'ok') return result.text;
  return {
    problem: result.kind === 'forced-fail' ? 'helo_data: forced failure' : `helo_data: ${result.reason}`,
  };
}

/** The first address of `interface` that is of the host's kind. */
function interfaceFor(
  transport: string,
  text: string,
  host: RouteHost,
  scope: ExpandScope,
): string | undefined | { readonly problem: string } {
  const result = expandText(text, { ...scope, address: hostFacts(host) });
  if (result instanceof Promise) return { problem: 'interface may not wait for a lookup' };
  if (result.kind === 'forced-fail') return undefined;
  if (result.kind !== 'ok')
    return {
      problem: `failed to expand "interface" option for ${transport} transport: ${result.reason}`,
    };
  const family = isIP(host.address ?? host.name);
  for (const address of splitList(result.text)) {
    if (address === '') continue;
    if (isIP(address) === 0)
      return {
        problem: `"${address}" is not a valid IP address for the "interface" option for ${transport} transport`,
      };
    if (isIP(address) === family) return address;
  }
  return undefined;
}

/** Looks the hosts of `fallback_hosts` up; the router's go before the transport's. */
function fallbackOf(
  t: Extract<TransportInstance, { driver: 'smtp' }>,
): NonNullable<ConfiguredTransport['fallback']> {
  const o = t.options;
  const listed = hostsOf(parseHostList(joinList(o.fallback_hosts ?? [])));
  return async (own) => {
    const hosts = own ?? listed;
    if (hosts.length === 0) return hosts;
    const found = await findHosts(hosts, systemResolve);
    return typeof found === 'string' || !o.hosts_randomize ? found : shuffled(found, Math.random);
  };
}
