/** Where a store listens and to whom, by its options. */
import { parseListenAddress } from '../../config/listen-address.ts';
import type { StoreInstance } from '../../config/model.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import type { LmtpListenOptions, LmtpServer, LmtpTlsOptions } from '../../lmtp/server/index.ts';
import type { Lists } from '../../list/match.ts';
import { logText } from '../../observe/log-text.ts';
import type { Program } from '../program.ts';
import { groupNumber, userNumber } from '../user-numbers.ts';
import { known, required } from './required.ts';

/** What listeners need of the program. */
type Parts = Pick<Program, 'main' | 'services' | 'lists'>;

type Log = (line: string) => void;

/** Adds to `listening` what was got, also when a later one cannot be. */
export async function listenEverywhere(
  server: LmtpServer,
  instance: StoreInstance,
  parts: Parts,
  hostname: string,
  listening: string[],
  log: Log,
): Promise<void> {
  const { name, options: o } = instance;
  const common = {
    backlog: 1024,
    maxConnections: o.max_connections,
    ...(o.trusted_hosts === undefined ? {} : { trusts: inHosts(o.trusted_hosts, parts, log) }),
  };
  const unix = { ...common, unixMode: o.socket_mode, unixOwner: socketOwner(instance) };
  for (const path of o.sockets ?? []) {
    await server.listen({ kind: 'unix', path }, unix);
    listening.push(path);
  }
  const tls = tlsOptions(instance);
  const tcp: LmtpListenOptions = {
    ...common,
    ...(o.allowed_hosts === undefined ? {} : { refuse: refusing(o.allowed_hosts, hostname, parts, log) }),
  };
  const listen = async (text: string, options: LmtpListenOptions, what: string): Promise<void> => {
    const address = parseListenAddress(text);
    if (address === undefined) throw new Error(`${name} store: "${text}" is not an address with a port`);
    const { address: bound } = await server.listen({ kind: 'tcp', ...address }, options);
    if (bound.kind === 'tcp') listening.push(`${bound.host}:${bound.port}${what}`);
  };
  for (const text of o.listen ?? []) await listen(text, tls === undefined ? tcp : { ...tcp, tls }, '');
  for (const text of o.tls_listen ?? [])
    await listen(
      text,
      { ...tcp, tls: { ...required(tls, `${name} store`, 'tls_certificate'), onConnect: true } },
      ' (TLS)',
    );
}

function socketOwner({ name, options: o }: StoreInstance): NonNullable<LmtpListenOptions['unixOwner']> {
  const { socket_user: user, socket_group: group } = o;
  return {
    ...(user === undefined ? {} : { uid: known(userNumber(user), `${name} store`, `socket_user "${user}"`) }),
    ...(group === undefined
      ? {}
      : { gid: known(groupNumber(group), `${name} store`, `socket_group "${group}"`) }),
  };
}

function tlsOptions({ options: o }: StoreInstance): LmtpTlsOptions | undefined {
  if (o.tls_certificate === undefined) return undefined;
  return {
    certificateFile: o.tls_certificate,
    ...(o.tls_privatekey === undefined ? {} : { privateKeyFile: o.tls_privatekey }),
    ...(o.tls_require_ciphers === undefined ? {} : { ciphers: o.tls_require_ciphers }),
    minVersion: o.tls_min_protocol,
    handshakeTimeoutMs: o.tls_handshake_timeout,
  };
}

/** Whether a host is in a list; one that cannot be decided does not hold, and the log says why. */
function inHosts(list: string, parts: Parts, log: Log): NonNullable<LmtpListenOptions['trusts']> {
  return (address) => {
    const judge = (answer: Awaited<ReturnType<Lists['matchHostList']>>): boolean => {
      if (answer.kind === 'defer') log(undecided(address, 'trusted_hosts', answer.reason));
      return answer.kind === 'yes';
    };
    const answer = parts.lists.matchHostList(list, address, scopeOf(parts, address));
    return answer instanceof Promise ? answer.then(judge) : judge(answer);
  };
}

/** Turns away who is not in the list: for good, or for now where the list cannot be decided. */
function refusing(
  list: string,
  hostname: string,
  parts: Parts,
  log: Log,
): NonNullable<LmtpListenOptions['refuse']> {
  return ({ remoteAddress: address }) => {
    const judge = (answer: Awaited<ReturnType<Lists['matchHostList']>>): string | undefined => {
      if (answer.kind === 'yes') return undefined;
      if (answer.kind === 'defer') {
        log(undecided(address, 'allowed_hosts', answer.reason));
        return `421 4.3.2 ${hostname} Try again later\r\n`;
      }
      log(`refused connection from [${address}] (allowed_hosts)`);
      return `554 5.7.1 ${hostname} Access denied\r\n`;
    };
    const answer = parts.lists.matchHostList(list, address, scopeOf(parts, address));
    return answer instanceof Promise ? answer.then(judge) : judge(answer);
  };
}

function undecided(address: string, option: string, reason: string): string {
  return `[${address}]: ${option} cannot be decided: ${logText(reason)}`;
}

/** Lists may look up `$sender_host_address`. */
function scopeOf({ main, services }: Parts, hostAddress: string): ExpandScope {
  if (hostAddress === '') return { main, services };
  return {
    main,
    services,
    connection: {
      hostAddress,
      hostPort: 0,
      interfaceAddress: '',
      interfacePort: 0,
      protocol: 'lmtp',
      variables: new Map(),
    },
  };
}
