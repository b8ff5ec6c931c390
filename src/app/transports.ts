/** Transports of a configuration, ready to run. */
import type { ConfigModel, TransportInstance } from '../config/model.ts';
import { expandText } from '../expand/expand.ts';
import type { ExpandScope } from '../expand/scope.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { ConfiguredTransport } from '../queue/context.ts';
import { parseHostList } from '../router/drivers/route-rule.ts';
import { createLmtpTransport } from '../transport/drivers/lmtp.ts';
import { createSmtpTransport } from '../transport/drivers/smtp.ts';
import { expandAtStart } from './scope.ts';
import { type LocalSurroundings, makeLocal, withGeneric } from './transport/local-transports.ts';

export function makeTransports(
  model: ConfigModel,
  scope: ExpandScope,
  around: LocalSurroundings,
): ReadonlyMap<string, ConfiguredTransport> {
  return new Map(model.transports.map((t) => [t.name, make(t, scope, around)]));
}

function make(t: TransportInstance, scope: ExpandScope, around: LocalSurroundings): ConfiguredTransport {
  switch (t.driver) {
    case 'lmtp':
      return withGeneric(t, { local: true, transport: makeLmtp(t, scope) });
    case 'smtp':
      return withGeneric(t, { local: false, transport: makeSmtp(t, scope) });
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
    ...(o.hosts === undefined ? {} : { hosts: hostsOf(expandAtStart(o.hosts, scope)) }),
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
    hostsMaxTry: o.hosts_max_try,
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

function hostsOf(text: string): RouteHost[] {
  return parseHostList(text).flatMap((item) =>
    item.kind === 'host'
      ? [{ name: item.name, ...(item.port === undefined ? {} : { port: item.port }) }]
      : [],
  );
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
  const address = {
    local: '',
    domain: '',
    host: host.name,
    ...(host.address === undefined ? {} : { hostAddress: host.address }),
  };
  const result = expandText(text, { ...scope, address });
  if (result instanceof Promise) return { problem: 'helo_data may not wait for a lookup' };
  if (result.kind === 'ok') return result.text;
  return {
    problem: result.kind === 'forced-fail' ? 'helo_data: forced failure' : `helo_data: ${result.reason}`,
  };
}
