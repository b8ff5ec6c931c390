/** The edge: SMTP listeners, the spool, the queue and everything they need, from start to orderly stop. */
import path from 'node:path';
import { defaultCalloutLimits, createCallouts } from '../../verify/callout.ts';
import { createCalloutCache } from '../../verify/cache.ts';
import { selectedLogItems } from '../../config/log-selector.ts';
import { systemSender } from '../../dsn/from.ts';
import type { Listener } from '../../net/listen.ts';
import { deliveryLine } from '../../observe/delivery-lines.ts';
import { logText } from '../../observe/log-text.ts';
import { logPath, type Logs } from '../../observe/logs.ts';
import type { ConfigModel } from '../../config/model.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import type { EventRecipient } from '../../queue/events.ts';
import type { DeliveryContext } from '../../queue/context.ts';
import type { FreezeTell } from '../../queue/freeze-tell.ts';
import { createHostGate } from '../../queue/host-gate.ts';
import { directDelivery } from '../../queue/direct.ts';
import { createQueueRunner, type QueueRun, type QueueRunner, runnerDefaults } from '../../queue/runner.ts';
import type { SessionOptions } from '../../smtp/server/handler.ts';
import { listenSmtp } from '../../smtp/server/server.ts';
import { calloutExpiry } from '../callout-expiry.ts';
import type { Program } from '../program.ts';
import { addressesOf, clientNames, expandAtStart } from '../scope.ts';
import { makeRouters } from '../routers.ts';
import { makeTransports } from '../transports.ts';
import { withAclCalls } from './acl-calls.ts';
import { errorsCopy } from './errors-copy.ts';
import { mailboxes } from './mailboxes.ts';
import type { EdgeParts } from './parts.ts';
import { edgeSessions } from './session.ts';
import { parseSlowDown } from '../../config/slow-down.ts';
import { childRewriter } from './rewriting.ts';
import { queueControl, queueOnlyFile } from './queue-control.ts';
import { spaceCheck } from './space.ts';
import { streaming } from './streaming.ts';
import type { OpenStorage } from './storage.ts';
import { type SmtpAddress, smtpAddresses } from './smtp-addresses.ts';
import { errorText } from '../../mail/error-text.ts';

export interface Edge {
  /** Where SMTP is taken. */
  readonly addresses: readonly SmtpAddress[];
  queueRun(run: QueueRun): Promise<number>;
  /**
   * Takes no more connections and begins no more deliveries. Sessions end at their next command and deliveries when
   * they are through; what is left after `graceMs` is cut. A second call can only shorten the grace.
   */
  stop(graceMs: number): Promise<void>;
}

export interface EdgeOptions {
  readonly openStorage: OpenStorage;
  readonly program: Program;
  readonly logs: Logs;
  /** -q<time>; undefined for no queue runs by the clock. */
  readonly queueIntervalMs: number | undefined;
  /** -oX. */
  readonly listen: string | undefined;
  /** False for a queue run from the command line: nothing listens and nothing is delivered unasked. */
  readonly serve: boolean;
}

/** `queue_only` mail waits this long where no interval is given. */
const defaultQueueIntervalMs = 30 * 60_000;

export async function startEdge({
  openStorage,
  program,
  logs,
  queueIntervalMs,
  listen,
  serve,
}: EdgeOptions): Promise<Edge> {
  const { model, main, lists, acls, retryRules } = program;
  const options = model.main;
  const logItems = selectedLogItems(options.log_selector ?? '');
  const stopping = new AbortController();
  /** Nobody waits for stores any more: what they have not taken is spooled. */
  const spooling = new AbortController();
  const services = withAclCalls(program.services, { acls, lists, signal: stopping.signal }, logs, logItems);
  const scope = { main, services };
  const addresses = serve ? smtpAddresses(options, listen) : [];
  const directory = main.spoolDirectory;
  const problem = (text: string): void => logs.panic(text);
  const storage = openStorage(directory, problem);
  const { spool, hints } = storage;
  const transports = makeTransports(model, scope, {
    newId: () => spool.newId(),
    returnSizeLimitBytes: options.bounce_return_size_limit,
    nowMs: Date.now,
    primaryHostname: main.primaryHostname,
    qualifyDomain: main.qualifyDomain,
    neverUsers: options.never_users ?? [],
    log: (text) => logs.main(text),
  });
  const routers = makeRouters(model, scope);
  const schedule = {
    maxIntervalMs: options.retry_interval_max,
    dataExpireMs: options.retry_data_expire,
    random: Math.random,
  };
  const told = mailboxes(options.freeze_tell ?? '', main.qualifyRecipient);
  const freezeTell: FreezeTell | undefined =
    told.length === 0
      ? undefined
      : {
          to: told,
          primaryHostname: main.primaryHostname,
          from: systemSender(main),
          newId: () => spool.newId(),
        };
  const rewriteChild = childRewriter(
    program.rewriteRules,
    (text) => logs.main(logText(text)),
    logItems.has('address_rewrite') ? (text) => logs.main(logText(text)) : undefined,
  );
  const silent = withoutLog(model);
  const copies = errorsCopy(options.errors_copy, scope, main.qualifyRecipient, problem);
  const control = queueControl(options, queueIntervalMs ?? defaultQueueIntervalMs);
  const context: DeliveryContext = {
    spool,
    ...(control === undefined ? {} : { control }),
    gate: createHostGate(hints, schedule, problem, retriedByName(model, scope)),
    routers,
    ...(rewriteChild === undefined ? {} : { rewriteChild }),
    transports,
    main,
    services,
    retryRules,
    schedule,
    bounce: {
      returnBody: options.bounce_return_message && options.bounce_return_body,
      returnSizeLimitBytes: options.bounce_return_size_limit,
      returnLineLimit: options.bounce_return_linesize_limit,
      ignoreErrorsAfterMs: options.ignore_bounce_errors_after,
      ...(copies === undefined ? {} : { copies }),
      ...(options.errors_reply_to === undefined ? {} : { replyTo: options.errors_reply_to }),
      ...(options.bounce_message_text === undefined ? {} : { extraText: options.bounce_message_text }),
    },
    ...(freezeTell === undefined ? {} : { freezeTell }),
    instance: storage.instance,
    maxParallelBatches: options.remote_max_parallel,
    emit(event) {
      if ('recipient' in event && silent(event.recipient)) return;
      const line = deliveryLine(event, logItems);
      if (line !== undefined) logs[line.log](line.text);
    },
    nowMs: Date.now,
  };
  const queue = createQueueRunner({
    context,
    ...runnerDefaults,
    pollMs: Math.min(queueIntervalMs ?? runnerDefaults.pollMs, runnerDefaults.pollMs),
    timeoutFrozenAfterMs: options.timeout_frozen_after,
  });
  const callouts = createCallouts(defaultCalloutLimits, (text) => logs.main(text));
  const parts: EdgeParts = {
    options,
    main,
    services,
    lists,
    acls,
    rewriteRules: program.rewriteRules,
    rewriteChild,
    routers,
    transports,
    callouts,
    calloutCache: createCalloutCache(hints, calloutExpiry(options), problem),
    unasked: onceForEach((transport, reason) =>
      logs.main(`${reason}: addresses that go to ${transport} are verified by routing alone`),
    ),
    spool,
    instance: storage.instance,
    queue,
    direct: directDelivery(context, options.direct_delivery_timeout, spooling.signal),
    streaming: streaming(model),
    logs,
    logItems,
    receivedHeaderText: model.mainGiven.has('received_header_text')
      ? options.received_header_text
      : undefined,
    space: [
      spaceCheck({
        folder: directory,
        kilobytes: options.check_spool_space,
        inodes: options.check_spool_inodes,
      }),
      spaceCheck({
        folder: path.dirname(
          logPath(
            { logFilePath: expandAtStart(options.log_file_path, scope), spoolDirectory: directory },
            'main',
            Date.now(),
          ),
        ),
        kilobytes: options.check_log_space,
        inodes: options.check_log_inodes,
      }),
    ],
    freezeTell,
    slowMail: parseSlowDown(options.smtp_ratelimit_mail ?? ''),
    slowRcpt: parseSlowDown(options.smtp_ratelimit_rcpt ?? ''),
    queueOnlyFile: queueOnlyFile(options),
    clientNames: (address) => clientNames(address, options.host_lookup_order),
    addressesOf,
    queueIntervalMs: queueIntervalMs ?? defaultQueueIntervalMs,
    leaseMs: runnerDefaults.leaseMs,
  };
  const listeners: Listener[] = [];
  let closed: Promise<void> | undefined;
  const closeAll = (graceMs: number): Promise<void> => {
    // Mail that sessions still bring in is committed without a lease and left to who comes next.
    const ended = [...listeners.map((l) => l.close(graceMs)), queue.stop(graceMs)];
    const timer = setTimeout(() => spooling.abort(), Math.max(0, graceMs - spoolingMs));
    return (closed ??= closeParts(ended).finally(() => clearTimeout(timer)));
  };
  const closeParts = async (ended: readonly Promise<void>[]): Promise<void> => {
    await Promise.all(ended);
    stopping.abort();
    await callouts.close();
    await Promise.all([...transports.values()].map((t) => t.transport.close()));
    await storage.close();
  };
  const sessions = edgeSessions(parts);
  try {
    for (const address of addresses)
      listeners.push(
        await listenSmtp(
          { kind: 'tcp', ...address },
          sessionOptions(program, logs),
          {
            backlog: Math.max(options.smtp_connect_backlog, 511),
            maxConnections: options.smtp_accept_max,
            onError: (error) => problem(`SMTP listener: ${errorText(error)}`),
            onBusy({ address }) {
              if (logItems.has('connection_reject'))
                logs.main(`Connection from [${address}] refused: too many connections`);
            },
          },
          sessions,
        ),
      );
  } catch (error) {
    await closeAll(0);
    throw error;
  }
  if (serve) queue.start();
  const timer =
    serve && queueIntervalMs !== undefined ? startQueueRuns(queue, queueIntervalMs, problem) : undefined;
  return {
    addresses: listeners.flatMap((l) =>
      l.address.kind === 'tcp' ? [{ host: l.address.host, port: l.address.port }] : [],
    ),
    queueRun: (run) => queue.queueRun(run),
    stop(graceMs) {
      clearInterval(timer);
      return closeAll(graceMs);
    },
  };
}

/** Before the grace of a shutdown is over, hand-overs under way are given up, so that their senders still hear of the spool. */
const spoolingMs = 4000;

/** The first time for each name. */
function onceForEach(tell: (name: string, reason: string) => void): (name: string, reason: string) => void {
  const told = new Set<string>();
  return (name, reason) => {
    if (told.has(name)) return;
    told.add(name);
    tell(name, reason);
  };
}

function startQueueRuns(
  queue: QueueRunner,
  intervalMs: number,
  problem: (text: string) => void,
): NodeJS.Timeout {
  let running = false;
  // What an earlier daemon held back for its own next run is not due by the times of this one.
  let untried = true;
  const timer = setInterval(() => {
    if (running) return;
    running = true;
    queue
      .queueRun({ untried })
      .catch((error: unknown) => problem(`queue run: ${errorText(error)}`))
      .finally(() => {
        running = false;
        untried = false;
      });
  }, intervalMs);
  return timer;
}

function sessionOptions({ model, main }: Program, logs: Logs): SessionOptions {
  const options = model.main;
  return {
    hostname: main.primaryHostname,
    enforceSync: options.smtp_enforce_sync,
    allowDomainLiterals: options.allow_domain_literals,
    stripExcessBrackets: options.strip_excess_angle_brackets,
    stripTrailingDot: options.strip_trailing_dot,
    rejectTooMany: options.recipients_max_reject,
    prdr: options.prdr_enable,
    ...(options.helo_allow_chars === undefined ? {} : { heloAllowChars: options.helo_allow_chars }),
    limits: {
      maxCommandOctets: 4096,
      maxDataLineOctets: 0,
      maxMessageOctets: options.message_size_limit,
      maxRecipients: options.recipients_max,
      maxSyntaxErrors: options.smtp_max_synprot_errors,
      maxNonMailCommands: options.smtp_accept_max_nonmail,
      maxUnknownCommands: options.smtp_max_unknown_commands,
      idleTimeoutMs:
        typeof options.smtp_receive_timeout === 'number' ? options.smtp_receive_timeout : 300_000,
    },
    onError: (error) => logs.panic(`SMTP session: ${errorText(error)}`),
  };
}

/** `disable_logging`: recipients of which nothing is logged. */
function withoutLog({ routers, transports }: ConfigModel): (recipient: EventRecipient) => boolean {
  const names = (drivers: ConfigModel['routers'] | ConfigModel['transports']): ReadonlySet<string> =>
    new Set(drivers.filter((d) => d.options.disable_logging).map((d) => d.name));
  const [quietRouters, quietTransports] = [names(routers), names(transports)];
  // A router's is about what is not routed.
  return ({ router = '', transport }) =>
    transport === undefined ? quietRouters.has(router) : quietTransports.has(transport);
}

/** `retry_include_ip_address` false. */
function retriedByName({ transports }: ConfigModel, scope: ExpandScope): (transport: string) => boolean {
  const names = new Set<string>();
  for (const t of transports) {
    if (t.driver !== 'smtp') continue;
    const wanted = expandAtStart(String(t.options.retry_include_ip_address), scope).trim().toLowerCase();
    if (['false', 'no', '0', ''].includes(wanted)) names.add(t.name);
  }
  return (transport) => names.has(transport);
}
