/** The smtp transport: SMTP or LMTP over TCP/IP (Exim manual, "The smtp transport"). */
import { isIP } from 'node:net';
import { createLmtpPool } from '../../lmtp/client/pool.ts';
import type { Endpoint } from '../../mail/endpoint.ts';
import type { Envelope } from '../../mail/envelope.ts';
import type { RecipientOutcome } from '../../mail/outcome.ts';
import type { Awaitable } from '../../mail/awaitable.ts';
import type { RouteHost } from '../../mail/route-host.ts';
import { createSmtpPool } from '../../smtp/client/pool.ts';
import type { Batch, CalloutTarget, Transport } from '../transport.ts';
import { holdingPool } from './held.ts';
import { failureOutcome, outcomeOf, type Sent, type Voice } from './wording.ts';
import {
  findHosts,
  type FoundHost,
  isLocalAddress,
  type ResolvedHost,
  type ResolveName,
  systemResolve,
  worthTrying,
} from './remote-hosts.ts';
import { among, splitBatch } from './split-batch.ts';

/** Private options, named as Exim's, with its defaults where one is optional. */
export interface SmtpTransportOptions {
  readonly protocol?: 'smtp' | 'lmtp';
  /** Default 25, or 24 for LMTP. */
  readonly port?: number;
  /** Used where the router gives no hosts, or always with hostsOverride; a function gives them for each delivery. */
  readonly hosts?: readonly RouteHost[] | (() => readonly RouteHost[]);
  /** Puts hosts of a router that come in no order of preference into another order for each delivery. */
  readonly randomize?: (hosts: readonly RouteHost[]) => readonly RouteHost[];
  readonly hostsOverride?: boolean;
  /** Whether hosts of `hosts` may be this machine. */
  readonly allowLocalhost?: boolean;
  /** 5 minutes each by default; connectTimeoutMs 0 leaves it to the system. */
  readonly connectTimeoutMs?: number;
  readonly commandTimeoutMs?: number;
  readonly dataTimeoutMs?: number;
  /** 10 minutes by default. */
  readonly finalTimeoutMs?: number;
  /** The HELO, EHLO or LHLO argument for a host; a problem defers delivery to that host. */
  readonly heloData: (host: RouteHost) => string | { readonly problem: string };
  /** The IP address to connect from; undefined leaves it to the system. A problem defers delivery to that host. */
  readonly interface?: (host: RouteHost) => string | undefined | { readonly problem: string };
  /** Hosts that are greeted with HELO, and hosts that get one command at a time. */
  readonly avoidEsmtp?: (host: RouteHost) => Awaitable<boolean>;
  readonly avoidPipelining?: (host: RouteHost) => Awaitable<boolean>;
  /** Why a host cannot be used, where it cannot: deliveries to it are put off. */
  readonly unusable?: (host: RouteHost) => Awaitable<string | undefined>;
  /** Recipients of one transaction; 0 for no bound. Default 100. */
  readonly maxRcpt?: number;
  /** Messages over one connection; 0 for no bound. Default 500. */
  readonly connectionMaxMessages?: number;
  /** Whether one transaction may have recipients in several domains. Default true. */
  readonly multiDomain?: boolean;
  /** Added to SIZE=; negative leaves SIZE= out. Default 1024. */
  readonly sizeAddition?: number;
  /** IGNOREQUOTA at RCPT where an LMTP server offers it. */
  readonly ignoreQuota?: boolean;
  /** Messages with longer lines are not sent, octets; 0 for no limit. Default 998. */
  readonly messageLinelengthLimit?: number;
  /** Hosts to try for one batch, where there are no others with another MX preference. Default 5. */
  readonly hostsMaxTry?: number;
  /** Hosts to try in any case. Default 50. */
  readonly hostsMaxTryHardlimit?: number;
  /** Connections to one host at a time. Default 16 (ours: Exim counts processes instead). */
  readonly maxConnections?: number;
  /** How long an unused connection is kept. Default 5 s (ours). */
  readonly idleTimeoutMs?: number;
  readonly resolve?: ResolveName;
}

const fiveMinutesMs = 300_000;

/** @param name of the transport instance */
export function createSmtpTransport(name: string, options: SmtpTransportOptions): Transport {
  const o = { ...defaults(options), ...options };
  const { protocol } = o;
  const poolOptions = {
    maxPerEndpoint: o.maxConnections,
    idleTimeoutMs: o.idleTimeoutMs,
    maxUses: o.connectionMaxMessages,
  };
  const pool = protocol === 'lmtp' ? createLmtpPool(poolOptions) : createSmtpPool(poolOptions);
  const holding = holdingPool(pool);
  const maxRecipients = o.maxRcpt === 0 ? Number.POSITIVE_INFINITY : o.maxRcpt;

  /** The transport's own hosts come in only where the router gave none, unless they override. */
  const ownHosts = (batchHosts: readonly RouteHost[]): readonly RouteHost[] | undefined => {
    const { hosts } = options;
    if (hosts === undefined || !(o.hostsOverride || batchHosts.length === 0)) return undefined;
    return typeof hosts === 'function' ? hosts() : hosts;
  };

  const routedHosts = ({ hosts, randomized }: Batch): readonly RouteHost[] =>
    options.randomize === undefined || randomized === true || hosts.some((h) => h.mx !== undefined)
      ? hosts
      : options.randomize(hosts);

  async function chooseHosts(batch: Batch): Promise<readonly ResolvedHost[] | string> {
    const own = batch.fallback === true ? batch.hosts : ownHosts(batch.hosts);
    const looked = findHosts(own ?? routedHosts(batch), o.resolve);
    const found = looked instanceof Promise ? await looked : looked;
    if (typeof found === 'string') return found;
    const hosts = found.map((host) => withPort(host, o.port));
    if (hosts.length === 0) return `${name} transport called with no hosts set`;
    const local =
      own === undefined || o.allowLocalhost ? undefined : hosts.find((host) => isLocalAddress(host.address));
    return local === undefined
      ? hosts
      : `${local.name} [${local.address}] is the local host, and allow_localhost is not set`;
  }

  const endpointOf = (
    host: FoundHost,
    from: string | undefined | { readonly problem: string },
  ): Endpoint => ({
    kind: 'tcp',
    host: host.address,
    port: host.port ?? o.port,
    ...(typeof from === 'string' ? { localAddress: from } : {}),
  });

  /** Tries one host for some recipients of a batch; outcomes go to their places. */
  async function tryHost(
    batch: Batch,
    positions: readonly number[],
    host: ResolvedHost,
    outcomes: Outcomes,
    signal: AbortSignal,
  ): Promise<void> {
    const silent: Voice = {
      driver: 'smtp',
      protocol,
      peer: `${host.name} [${host.address}]`,
      connectPrefix: '',
      host,
      link: { port: host.port },
    };
    const problem = options.unusable === undefined ? undefined : await options.unusable(host);
    const helo = problem === undefined ? o.heloData(host) : { problem };
    const from = options.interface?.(host);
    const wrong = typeof helo !== 'string' ? helo : typeof from === 'object' ? from : undefined;
    if (wrong !== undefined || typeof helo !== 'string') {
      const peer = typeof helo === 'string' ? {} : { peer: silent.peer };
      const status = { text: wrong?.problem ?? '', ...peer };
      for (const p of positions) outcomes[p] = { kind: 'deferred', status, scope: 'host' };
      return;
    }
    const whole = positions.length === batch.recipients.length;
    const recipients = whole ? batch.recipients : batch.recipients.filter(among(positions));
    const envelope: Envelope = { ...batch.envelope, sender: batch.sender, recipients };
    const sent = await holding.send(
      batch.held,
      endpointOf(host, from),
      { envelope, content: batch.message },
      {
        ...o.timeouts,
        helo,
        sizeAddition: o.sizeAddition,
        ignoreQuota: o.ignoreQuota,
        ...(options.avoidEsmtp === undefined ? {} : { avoidEsmtp: await options.avoidEsmtp(host) }),
        ...(options.avoidPipelining === undefined
          ? {}
          : { avoidPipelining: await options.avoidPipelining(host) }),
      },
      signal,
    );
    if (sent.kind === 'no-session') {
      const outcome = failureOutcome(sent.failure, silent);
      for (const p of positions) outcomes[p] = outcome;
      return;
    }
    const { local } = sent;
    const voice: Voice = {
      ...silent,
      link: {
        port: host.port,
        pipelined: sent.result.pipelined,
        ...(local === undefined ? {} : { local }),
      },
    };
    const facts: Sent = {
      sender: batch.sender,
      recipients,
      pipelined: sent.result.pipelined,
      contentOctets: batch.message.size,
    };
    sent.result.recipients.forEach((result, i) => {
      const p = positions[i];
      if (p !== undefined) outcomes[p] = outcomeOf(result, i, facts, voice);
    });
  }

  // What has to be found out about a host, or may be different for each, is not guessed.
  const foreseeable =
    options.avoidEsmtp === undefined &&
    options.avoidPipelining === undefined &&
    options.unusable === undefined &&
    o.multiDomain;
  const hold: NonNullable<Transport['hold']> = ({ helo }, endpoint, { envelope, ...limits }) => {
    // Which of its addresses a host is delivered to at is found out then.
    if (endpoint.kind === 'tcp' && isIP(endpoint.host) === 0) return undefined;
    const { sizeAddition, ignoreQuota } = o;
    return holding.hold(endpoint, envelope, { ...o.timeouts, helo, sizeAddition, ignoreQuota, ...limits });
  };

  return {
    name,
    maxRecipients,
    async deliver(batch, signal) {
      if (o.messageLinelengthLimit > 0 && (batch.longestLine ?? 0) > o.messageLinelengthLimit)
        return batch.recipients.map(() => linesTooLong);
      const hosts = await chooseHosts(batch);
      if (typeof hosts === 'string') {
        return batch.recipients.map(() => ({ kind: 'deferred', status: { text: hosts }, scope: 'host' }));
      }
      const outcomes: Outcomes = batch.recipients.map((): undefined => undefined);
      for (const group of splitBatch(batch, maxRecipients, o.multiDomain)) {
        let left = group;
        for (const host of worthTrying(hosts, o.hostsMaxTry, o.hostsMaxTryHardlimit)) {
          try {
            await tryHost(batch, left, host, outcomes, signal);
          } catch (error) {
            // What was said to earlier ones is known.
            if (outcomes.every((o) => o === undefined)) throw error;
          }
          // As Exim does: whoever was put off, for whatever reason, is tried at the next host.
          left = left.filter((p) => outcomes[p]?.kind === 'deferred');
          if (left.length === 0 || signal.aborted) break;
        }
        if (signal.aborted) break;
      }
      return outcomes.map(
        (outcome): RecipientOutcome =>
          outcome ?? { kind: 'deferred', status: { text: 'no host was tried' }, scope: 'host' },
      );
    },
    calloutTarget(batchHosts) {
      const hosts = ownHosts(batchHosts) ?? options.randomize?.(batchHosts) ?? batchHosts;
      const [first] = hosts;
      if (first === undefined)
        return { kind: 'impossible', reason: 'neither router nor transport provided a host list' };
      const helo = o.heloData(first);
      if (typeof helo !== 'string') return { kind: 'impossible', reason: helo.problem };
      const target: CalloutTarget = {
        protocol,
        endpoints: hosts.map((h) =>
          endpointOf({ ...h, address: h.address ?? h.name }, options.interface?.(h)),
        ),
        helo,
        connectTimeoutMs: o.timeouts.connectTimeoutMs,
        commandTimeoutMs: o.timeouts.commandTimeoutMs,
      };
      return target;
    },
    ...(foreseeable ? { hold } : {}),
    close: () => pool.close(),
  };
}

function withPort(host: FoundHost, port: number): ResolvedHost {
  return { ...host, port: host.port ?? port };
}

const linesTooLong: RecipientOutcome = {
  kind: 'failed',
  status: { text: 'message has lines too long for transport' },
};

type Outcomes = (RecipientOutcome | undefined)[];

function defaults(o: SmtpTransportOptions) {
  const protocol = o.protocol ?? 'smtp';
  return {
    protocol,
    port: protocol === 'lmtp' ? 24 : 25,
    hostsOverride: false,
    allowLocalhost: false,
    maxRcpt: 100,
    connectionMaxMessages: 500,
    multiDomain: true,
    sizeAddition: 1024,
    ignoreQuota: false,
    messageLinelengthLimit: 998,
    hostsMaxTry: 5,
    hostsMaxTryHardlimit: 50,
    maxConnections: 16,
    idleTimeoutMs: 5000,
    resolve: systemResolve,
    timeouts: {
      connectTimeoutMs: o.connectTimeoutMs ?? fiveMinutesMs,
      commandTimeoutMs: o.commandTimeoutMs ?? fiveMinutesMs,
      dataTimeoutMs: o.dataTimeoutMs ?? fiveMinutesMs,
      finalTimeoutMs: o.finalTimeoutMs ?? 2 * fiveMinutesMs,
    },
  } as const;
}
