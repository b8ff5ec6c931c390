/**
 * Who may connect, and what is offered to whom: the main options that choose by host (Exim manual, "Main configuration",
 * SMTP reception). Lists are asked once, when the connection comes.
 */
import { loadavg } from 'node:os';
import { expandText } from '../../expand/expand.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import { reply, type Reply } from '../../mail/reply.ts';
import type { EdgeParts } from './parts.ts';

/** Connections open now, over all listeners. */
export interface OpenConnections {
  total: number;
  readonly byHost: Map<string, number>;
}

export interface Refused {
  readonly reply: Reply;
  /** For the main log, where `connection_reject` is selected. */
  readonly line: string;
  /** Also for the reject log. */
  readonly rejected?: true;
}

/** What holds for a connection as long as it lasts. */
export interface Terms {
  readonly hostname: string;
  readonly log: boolean;
  readonly pipelining: boolean;
  readonly requireHelo: boolean;
  /** `helo_verify_hosts`, which also makes HELO a must, and `helo_try_verify_hosts`. */
  readonly verifyHelo: boolean;
  readonly tryVerifyHelo: boolean;
  readonly acceptJunkHelo: boolean;
  readonly unqualifiedSender: boolean;
  readonly unqualifiedRecipient: boolean;
  readonly limitNonMail: boolean;
  /** MAIL commands; 0 for no bound. */
  readonly maxMessages: number;
  readonly delays: boolean;
  /** `direct_delivery_hosts`. */
  readonly direct: boolean;
}

/** Is the client in the list? A list that cannot be decided does not match. */
export type InHosts = (list: string | undefined) => boolean | Promise<boolean>;

export function hostMatcher(parts: EdgeParts, address: string, scope: ExpandScope): InHosts {
  return (list) => {
    if (list === undefined || list === '') return false;
    if (list === '*') return true;
    const answer = parts.lists.matchHostList(list, address, scope);
    return answer instanceof Promise ? answer.then((a) => a.kind === 'yes') : answer.kind === 'yes';
  };
}

/**
 * Decides on a connection that has come; it is counted already.
 *
 * @param client `[address]`, as log lines have it
 */
export async function admit(
  parts: EdgeParts,
  open: OpenConnections,
  client: { readonly address: string; readonly name: string },
  hostname: string,
  inHosts: InHosts,
  scope: ExpandScope,
): Promise<Refused | undefined> {
  const { options } = parts;
  const max = options.smtp_accept_max;
  // Each listener holds its own connections to this bound; here all of them are.
  if (max > 0 && open.total > max)
    return {
      reply: reply(421, undefined, 'Too many concurrent SMTP connections; please try again later.'),
      line: `Connection from ${client.name} refused: too many connections`,
    };
  const ofHost = await numberFrom(parts, 'smtp_accept_max_per_host', options.smtp_accept_max_per_host, scope);
  if (ofHost > 0 && (open.byHost.get(client.address) ?? 0) > ofHost)
    return {
      reply: reply(
        421,
        undefined,
        'Too many concurrent SMTP connections from this IP address; please try again later.',
      ),
      line: `Connection from [${client.address}] refused: too many connections from that IP address`,
    };
  if (await inHosts(options.host_reject_connection))
    return {
      reply: reply(554, undefined, 'SMTP service not available'),
      line: `refused connection from ${client.name} (host_reject_connection)`,
      rejected: true,
    };
  const reserve = options.smtp_accept_reserve;
  if (max > 0 && reserve > 0 && open.total > max - reserve && !(await inHosts(options.smtp_reserve_hosts)))
    return {
      reply: reply(
        421,
        undefined,
        `${hostname}: Too many concurrent SMTP connections; please try again later`,
      ),
      line: `temporarily refused connection from ${client.name}: not in reserve list: connected=${open.total - 1} max=${max} reserve=${reserve}`,
    };
  const loadLimit = options.smtp_load_reserve;
  const [load = 0] = loadLimit === undefined ? [] : loadavg();
  if (loadLimit !== undefined && load > loadLimit && options.smtp_reserve_hosts === undefined)
    return {
      reply: reply(421, undefined, 'Too much load; please try again later.'),
      line: `Connection from [${client.address}] refused: load average = ${load.toFixed(2)}`,
    };
  if (loadLimit !== undefined && load > loadLimit && !(await inHosts(options.smtp_reserve_hosts)))
    return {
      reply: reply(421, undefined, `${hostname}: Too much load; please try again later`),
      line: `temporarily refused connection from ${client.name}: not in reserve list and load average = ${load.toFixed(2)}`,
    };
  return undefined;
}

/** What is offered to a client that was let in. */
export async function termsOf(
  parts: EdgeParts,
  hostname: string,
  inHosts: InHosts,
  scope: ExpandScope,
): Promise<Terms> {
  const { options } = parts;
  const verifyHelo = await inHosts(options.helo_verify_hosts);
  return {
    hostname,
    log: !(await inHosts(options.hosts_connection_nolog)),
    pipelining: await inHosts(options.pipelining_advertise_hosts),
    requireHelo: verifyHelo || (await inHosts(options.hosts_require_helo)),
    verifyHelo,
    tryVerifyHelo: await inHosts(options.helo_try_verify_hosts),
    acceptJunkHelo: await inHosts(options.helo_accept_junk_hosts),
    unqualifiedSender: await inHosts(options.sender_unqualified_hosts),
    unqualifiedRecipient: await inHosts(options.recipient_unqualified_hosts),
    limitNonMail: await inHosts(options.smtp_accept_max_nonmail_hosts),
    maxMessages: await numberFrom(
      parts,
      'smtp_accept_max_per_connection',
      String(options.smtp_accept_max_per_connection),
      scope,
    ),
    delays: await inHosts(options.smtp_ratelimit_hosts),
    direct: await inHosts(options.direct_delivery_hosts),
  };
}

/** `smtp_active_hostname`, where it is set and gives anything. */
export async function activeHostname(parts: EdgeParts, scope: ExpandScope): Promise<string> {
  const text = parts.options.smtp_active_hostname;
  const primary = parts.main.primaryHostname;
  if (text === undefined) return primary;
  const result = await expandText(text, scope);
  if (result.kind === 'ok') return /^[\w.:[\]-]{1,255}$/.test(result.text) ? result.text : primary;
  if (result.kind !== 'forced-fail')
    parts.logs.panic(`failed to expand "${text}" (smtp_active_hostname): ${result.reason}`);
  return primary;
}

/** A number that may be an expansion; 0 where it is unset, fails or is none. */
async function numberFrom(
  parts: EdgeParts,
  option: string,
  text: string | undefined,
  scope: ExpandScope,
): Promise<number> {
  if (text === undefined || text === '') return 0;
  if (/^\d+$/.test(text)) return Number(text);
  const result = await expandText(text, scope);
  if (result.kind === 'forced-fail') return 0;
  const value = result.kind === 'ok' ? result.text.trim() : '';
  if (/^\d{1,9}$/.test(value)) return Number(value);
  parts.logs.panic(
    result.kind === 'ok'
      ? `expansion of ${option} contains non-digit: ${value}`
      : `expansion of ${option} failed: ${result.reason}`,
  );
  return 0;
}
