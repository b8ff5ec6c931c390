/** One SMTP connection: ACLs, verification and the spool behind the verbs (Exim manual, "Access control lists"). */
import { loadavg } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { AclControls } from '../../acl/control.ts';
import { type AclMemory, newAclMemory } from '../../acl/environment.ts';
import { acceptance, type AclResult, mergeHeaderEdits, refusal } from '../../acl/result.ts';
import { leavesMessage } from '../../acl/leaves-message.ts';
import { runAcl } from '../../acl/run.ts';
import type { AclPhase } from '../../acl/tables.ts';
import { expandText } from '../../expand/expand.ts';
import type {
  AddressFacts,
  BodyFacts,
  ConnectionFacts,
  ExpandScope,
  MessageFacts,
} from '../../expand/scope.ts';
import { type Address, type Domain, formatPath } from '../../mail/address.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import type { HeaderEdit, HeaderField } from '../../mail/headers.ts';
import { lowerAscii } from '../../mail/local-part.ts';
import { MailError } from '../../mail/mail-error.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { type Reply, reply, replyFromText } from '../../mail/reply.ts';
import { errorText } from '../../mail/error-text.ts';
import { logText } from '../../observe/log-text.ts';
import { transferName } from '../../queue/transfer.ts';
import type {
  ClientFacts,
  HandlerFactory,
  MailCommand,
  NotQuitReason,
  SessionHandler,
  SessionPolicy,
  Verdict,
} from '../../smtp/server/handler.ts';
import {
  activeHostname,
  admit,
  hostMatcher,
  type OpenConnections,
  type Terms,
  termsOf,
} from './admission.ts';
import { type HeloNamed, heloNamed } from './helo-names.ts';
import { createMessageSink } from './message-sink.ts';
import { createRecipientCheck, recipientNumber } from './recipient-check.ts';
import { hasSmtpRules, rewriteCommand, rewriteMessage } from './rewriting.ts';
import type { EdgeParts } from './parts.ts';
import { createSessionLog } from './session-log.ts';
import { delayOf, type SlowDown } from '../../config/slow-down.ts';

/** The transaction under way. */
interface Transaction {
  readonly command: MailCommand;
  readonly facts: MessageFacts;
  /** Given before there is any content, where servers are told of the message before. */
  id?: QueueId;
  readonly recipients: Recipient[];
  /** Of the recipients; `facts` has the same array. */
  readonly addresses: Address[];
  /** What {@link placeOf} gives for each of them. */
  readonly places: Map<string, Recipient>;
  readonly memory: AclMemory;
  headerEdits: readonly HeaderEdit[];
  controls: AclControls;
  /** For each RCPT that was accepted, which of the recipients it is; undefined where it was discarded. */
  readonly accepted: (Recipient | undefined)[];
}

/** One for all: making an error with its stack for every connection costs more than the session's own work. */
const clientGone = new MailError('ABORTED', 'the client has gone');

/** Longest time that the ACL for sessions without QUIT may take. */
const notQuitMs = 60_000;

export function edgeSessions(parts: EdgeParts): HandlerFactory {
  const open: OpenConnections = { total: 0, byHost: new Map() };
  return (client) => createSession(parts, client, open);
}

function createSession(parts: EdgeParts, client: ClientFacts, open: OpenConnections): SessionHandler {
  const { options, main, services, logs, logItems } = parts;
  const { remoteAddress } = client;
  open.total++;
  open.byHost.set(remoteAddress, (open.byHost.get(remoteAddress) ?? 0) + 1);
  let terms: Terms | undefined;
  let mailCommands = 0;
  /** Commands came without waiting for replies. */
  let pipelined = false;
  /** An ACL said `drop`. */
  let dropped = false;
  const connection: ConnectionFacts = {
    hostAddress: client.remoteAddress,
    hostPort: client.remotePort,
    interfaceAddress: client.localAddress,
    interfacePort: client.localPort,
    protocol: 'smtp',
    variables: new Map(),
    taintedVariables: new Set(),
  };
  /** Aborted when the client goes away, so that nobody is asked for it any more. */
  const gone = new AbortController();
  const { signal } = gone;
  let transaction: Transaction | undefined;
  const connectionMemory = newAclMemory();
  /** The last HELO was refused for its name. */
  let heloRefused = false;
  let named: { readonly helo: string; readonly answer: Promise<HeloNamed> } | undefined;
  /** What ACLs asked for that lasts as long as the connection (Exim manual, "Use of the control modifier"). */
  let lasting: Pick<AclControls, 'enforceSync' | 'noPipelining' | 'noMultilineResponses'> = {};

  const log = createSessionLog(parts, client, connection, () =>
    transaction === undefined
      ? undefined
      : {
          sender: transaction.command.sender,
          recipients: transaction.addresses,
          id: transaction.facts.id,
        },
  );
  let policy: SessionPolicy = {};
  /** Made anew only when something changes, since it is looked at for every command. */
  function setPolicy(): void {
    policy = {
      ...terms,
      enforceSync: lasting.enforceSync,
      pipelining: lasting.noPipelining === true ? false : terms?.pipelining,
    };
  }

  function scopeOf(address?: AddressFacts): ExpandScope {
    return {
      main,
      services,
      connection,
      acl: {},
      ...(transaction === undefined ? {} : { message: transaction.facts }),
      ...(address === undefined ? {} : { address }),
    };
  }

  /** MAIL with the domain that an unqualified sender lacks. */
  function qualified(command: MailCommand): MailCommand {
    const { sender } = command;
    if (sender === null || sender.domain !== '') return command;
    return { ...command, sender: { ...sender, domain: main.qualifyDomain as Domain } };
  }

  function qualifiedRecipient(address: Address): Address {
    return address.domain === '' ? { ...address, domain: main.qualifyRecipient as Domain } : address;
  }

  function shortageOf(declaredOctets: number): string | undefined {
    const octets = options.smtp_check_spool_space ? declaredOctets + 5000 : 0;
    return parts.space.map((check) => check(octets)).find((short) => short !== undefined);
  }

  /** `queue_only_load`: the load, where it is above that. */
  function tooLoaded(): number | undefined {
    const limit = options.queue_only_load;
    const [load = 0] = limit === undefined ? [] : loadavg();
    return limit !== undefined && load > limit ? load : undefined;
  }

  async function slowDown(limit: SlowDown | undefined, count: number): Promise<void> {
    if (limit === undefined || terms?.delays !== true) return;
    const delayMs = delayOf(limit, count);
    if (delayMs > 0) await setTimeout(delayMs, undefined, { signal }).catch(() => undefined);
  }

  /** `host_lookup`: the client's name, where the DNS gives one that leads back to it. */
  async function lookUpClient(): Promise<void> {
    const found = await parts.clientNames(remoteAddress);
    if (found.kind === 'found') connection.hostName = found.values[0] ?? '';
    else connection.hostLookup = found.kind === 'defer' ? 'deferred' : 'failed';
    if (found.kind !== 'found' && logItems.has('host_lookup_failed'))
      logs.main(`no host name found for IP address ${remoteAddress}`);
  }

  /** Found out once for each name; another HELO asks anew. */
  function isNamed(helo: string): Promise<HeloNamed> {
    if (named?.helo !== helo) named = { helo, answer: heloNamed(parts, remoteAddress, helo) };
    return named.answer;
  }

  /** `helo_verify_hosts`, `helo_try_verify_hosts`: undefined where the name is taken. */
  async function refuseHelo(verb: string, helo: string): Promise<Reply | undefined> {
    if (terms?.verifyHelo !== true) {
      if (terms?.tryVerifyHelo === true) await isNamed(helo);
      return undefined;
    }
    const answer = await isNamed(helo);
    if (answer === 'yes') return undefined;
    const temporary = answer === 'defer';
    log.refused(`${temporary ? 'temporarily ' : ''}rejected "${verb} ${logText(helo)}" from ${log.name()}`);
    return reply(temporary ? 451 : 550, undefined, `${verb} argument does not match calling host`);
  }

  const recipientCheck = createRecipientCheck(parts, {
    connection,
    signal,
    transaction: () => transaction,
    scope: scopeOf,
    qualified: qualifiedRecipient,
    direct: () => directTerms() !== undefined,
    envelope: earlyEnvelope,
  });

  /** How this message is delivered while its sender waits; undefined where it is not. */
  function directTerms(): AclControls['direct'] {
    const { direct: asks, queueOnly, freeze } = transaction?.controls ?? {};
    if (queueOnly === true || freeze !== undefined) return undefined;
    return asks ?? (terms?.direct === true ? { defer: options.direct_delivery_defer } : undefined);
  }

  /** What servers are told of a message that is delivered at once, before its content has come. */
  function earlyEnvelope(): Omit<Envelope, 'recipients'> | undefined {
    if (transaction === undefined || options.queue_only) return undefined;
    const { sender, params } = transaction.command;
    const { prdr: _, ...envelope } = params;
    const id = (transaction.id ??= parts.spool.newId());
    return { sender, ...envelope, transfer: transferName(parts.instance, id) };
  }

  /** Runs the ACL of a phase; undefined where the option is not set. */
  function check(
    phase: AclPhase,
    acl: string | undefined,
    scope: ExpandScope,
    until = signal,
  ): Promise<AclResult> | AclResult | undefined {
    if (acl === undefined) return undefined;
    return runAcl(acl, {
      acls: parts.acls,
      lists: parts.lists,
      scope,
      phase,
      verifier: recipientCheck.verifier,
      client: {
        names: () => parts.clientNames(remoteAddress),
        isNamed: async (helo) => (await isNamed(helo)) === 'yes',
      },
      log: log.acl,
      signal: until,
      memory: transaction?.memory ?? connectionMemory,
    });
  }

  /** Runs the ACL for a session that ends without QUIT; gives what it would have the client told. */
  async function notQuit(reason: NotQuitReason, acl: string): Promise<string | undefined> {
    const extra = new Map([['smtp_notquit_reason', { text: reason, tainted: false }]]);
    const result = await check('notquit', acl, { ...scopeOf(), extra }, AbortSignal.timeout(notQuitMs));
    return result?.userMessage;
  }

  /** Keeps what an ACL asked for; a refusal is logged and becomes the verdict. */
  function judge(phase: AclPhase, result: AclResult | undefined, what: string): Verdict | undefined {
    if (result === undefined) return undefined;
    lasting = { ...lasting, ...result.controls };
    setPolicy();
    if (transaction !== undefined) {
      transaction.headerEdits = mergeHeaderEdits(transaction.headerEdits, result.headerEdits);
      transaction.controls = { ...transaction.controls, ...result.controls };
    }
    switch (result.verdict) {
      case 'accept':
      case 'discard':
        return undefined;
      case 'deny':
      case 'defer':
      case 'drop':
        if (result.verdict === 'drop') {
          log.dropped();
          dropped = true;
        }
        log.rejection(what, result);
        return {
          reply: refusal(result, phase, lasting.noMultilineResponses),
          close: result.verdict === 'drop',
        };
      default:
        return assertNever(result.verdict);
    }
  }

  return {
    get policy() {
      return policy;
    },

    async connect() {
      const inHosts = hostMatcher(parts, remoteAddress, scopeOf());
      const connections = open.total;
      log.opened(connections, await inHosts(options.hosts_connection_nolog));
      const hostname = await activeHostname(parts, scopeOf());
      connection.activeHostname = hostname;
      const name = log.name();
      const turned = await admit(parts, open, { address: remoteAddress, name }, hostname, inHosts, scopeOf());
      if (turned !== undefined) {
        log.turnedAway(turned);
        return { reply: turned.reply, close: true };
      }
      if (await inHosts(options.host_lookup)) await lookUpClient();
      terms = await termsOf(parts, hostname, inHosts, scopeOf());
      setPolicy();
      const refused = judge(
        'connect',
        await check('connect', options.acl_smtp_connect, scopeOf()),
        'connection in "connect" ACL',
      );
      if (refused !== undefined) {
        log.refusedAtBegin();
        return { ...refused, close: true };
      }
      const banner = await expandText(options.smtp_banner, scopeOf());
      if (banner.kind !== 'ok') {
        logs.panic(
          `expansion of smtp_banner failed: ${banner.kind === 'forced-fail' ? 'forced failure' : logText(banner.reason)}`,
        );
        return { reply: reply(421, '4.3.0', 'Temporary local problem - please try later'), close: true };
      }
      return { reply: replyFromText(220, undefined, banner.text) };
    },

    ...(hasSmtpRules(parts.rewriteRules)
      ? {
          rewriteLine: (line: string) =>
            rewriteCommand(
              parts.rewriteRules,
              line,
              scopeOf(),
              (text) => logs.main(logText(text)),
              logItems.has('address_rewrite') ? (text) => logs.main(logText(text)) : undefined,
            ),
        }
      : {}),

    async helo(command) {
      transaction = undefined;
      connection.helo = command.argument;
      connection.protocol = command.verb === 'EHLO' ? 'esmtp' : 'smtp';
      const unverified = await refuseHelo(command.verb, command.argument);
      heloRefused = unverified !== undefined;
      if (unverified !== undefined) return { reply: unverified };
      const result = await check('helo', options.acl_smtp_helo, scopeOf());
      const refused = judge('helo', result, `EHLO or HELO ${command.argument}`);
      if (refused !== undefined) {
        // The ACL for sessions without QUIT still knows it.
        if (!dropped) delete connection.helo;
        return refused;
      }
      const name = connection.hostName === undefined ? command.argument : connection.hostName;
      const greeting = `${terms?.hostname ?? main.primaryHostname} Hello ${name} [${client.remoteAddress}]`;
      return {
        reply:
          (result === undefined ? undefined : acceptance(result, 250)) ?? reply(250, undefined, greeting),
      };
    },

    async mail(given) {
      // An earlier name that was good does not count any more.
      if (heloRefused) return { reply: reply(503, '5.5.1', 'HELO or EHLO required') };
      mailCommands++;
      const most = terms?.maxMessages ?? 0;
      if (most > 0 && mailCommands > most) {
        log.refused(`rejected MAIL command ${log.field()}: too many messages in one connection`);
        return { reply: reply(421, undefined, 'too many messages in this connection') };
      }
      const shortage = shortageOf(given.params.declaredSize ?? 0);
      if (shortage !== undefined) {
        logs.main(
          `rejected MAIL FROM:${logText(formatPath(given.sender))} ${log.field()}: space shortage: ${shortage}`,
        );
        return { reply: reply(452, '4.3.1', 'Space shortage, please try later') };
      }
      await slowDown(parts.slowMail, mailCommands);
      const command = qualified(given);
      const addresses: Address[] = [];
      transaction = {
        command,
        facts: {
          sender: command.sender,
          declaredSize: command.params.declaredSize ?? -1,
          size: -1,
          bodyIs8bit: command.params.body === '8BITMIME',
          recipients: addresses,
          rcptCount: 0,
          receivedAtMs: Date.now(),
          variables: new Map(),
          taintedVariables: new Set(),
        },
        recipients: [],
        addresses,
        places: new Map(),
        memory: newAclMemory(),
        headerEdits: [],
        controls: {},
        accepted: [],
      };
      recipientCheck.reset();
      const result = await check('mail', options.acl_smtp_mail, scopeOf());
      const refused = judge('mail', result, `MAIL ${formatPath(command.sender)}`);
      if (refused !== undefined) {
        transaction = undefined;
        return refused;
      }
      return {
        reply: (result === undefined ? undefined : acceptance(result, 250)) ?? reply(250, '2.1.0', 'OK'),
      };
    },

    async rcpt(recipient, following) {
      if (transaction === undefined) return { reply: reply(503, '5.5.1', 'sender not yet given') };
      const { facts, recipients, addresses, places, accepted } = transaction;
      facts.rcptCount++;
      recipientCheck.begin(following);
      await slowDown(parts.slowRcpt, facts.rcptCount);
      const address = qualifiedRecipient(recipient.address);
      const what = `RCPT ${formatPath(address)}`;
      if (options.acl_smtp_rcpt === undefined) {
        // As in Exim: without an ACL nobody may send to anybody.
        log.rejection(what, {
          verdict: 'deny',
          logMessage: 'acl_smtp_rcpt is not set',
          logTargets: ['main', 'reject'],
        });
        return { reply: reply(550, '5.7.1', 'Administrative prohibition') };
      }
      const scope = scopeOf({ local: address.local, domain: address.domain.toLowerCase() });
      const result = await check('rcpt', options.acl_smtp_rcpt, scope);
      const refused = judge('rcpt', result, what);
      if (refused !== undefined) return refused;
      const direct = result?.verdict === 'discard' ? undefined : directTerms();
      const number = direct === undefined ? {} : { transferNumber: recipientNumber(facts.rcptCount) };
      const taken = { ...recipient, address, ...number };
      const unwilling =
        direct === undefined ? undefined : await recipientCheck.askServer(address, direct.defer);
      if (unwilling !== undefined) {
        log.rejection(what, {
          verdict: unwilling.kind === 'fail' ? 'deny' : 'defer',
          logMessage: unwilling.logReason,
          logTargets: ['main', 'reject'],
        });
        return { reply: unwilling.reply };
      }
      const place = placeOf(taken);
      if (result?.verdict !== 'discard' && !places.has(place)) {
        places.set(place, taken);
        recipients.push(taken);
        addresses.push(address);
      }
      accepted.push(places.get(place));
      return {
        reply:
          (result === undefined ? undefined : acceptance(result, 250)) ?? reply(250, '2.1.5', 'Accepted'),
      };
    },

    async data() {
      const t = transaction;
      if (t === undefined) return { reply: reply(503, '5.5.1', 'valid RCPT command must precede DATA') };
      const predata = await check('predata', options.acl_smtp_predata, scopeOf());
      const refused = judge('predata', predata, 'DATA');
      if (refused !== undefined) {
        recipientCheck.reset();
        return refused;
      }
      if (predata?.verdict === 'discard') {
        t.recipients.length = 0;
        t.addresses.length = 0;
        t.accepted.fill(undefined);
      }
      const writer = await parts.spool.create(signal, t.id);
      const held = recipientCheck.held();
      t.facts.id = writer.id;
      const { prdr: _, ...envelopeParams } = t.command.params;
      const { hostName, helo } = connection;
      const asked = t.controls.queueOnly === true || options.queue_only || parts.queueOnlyFile();
      const load = tooLoaded();
      const sink = createMessageSink(
        parts,
        {
          envelope: { sender: t.command.sender, ...envelopeParams },
          recipients: t.recipients,
          reception: {
            protocol: connection.protocol,
            hostAddress: client.remoteAddress,
            hostPort: client.remotePort,
            interfaceAddress: client.localAddress,
            interfacePort: client.localPort,
            receivedAtMs: t.facts.receivedAtMs,
            ...(hostName === undefined ? {} : { hostName }),
            ...(helo === undefined ? {} : { helo }),
          },
          client: log.client(),
          pipelined: connection.protocol === 'esmtp' && lasting.noPipelining !== true ? pipelined : undefined,
          facts: t.facts,
          expand: (text) => expandText(text, { ...scopeOf(), message: t.facts }),
          submission: t.controls.submission,
          headerEdits: t.headerEdits,
          queueOnly: asked || load !== undefined,
          load: asked ? undefined : load,
          freeze: t.controls.freeze,
          ...(directTerms() === undefined ? {} : { direct: directTerms() }),
          held: held?.all,
          streams:
            parts.rewriteRules.length === 0 &&
            (options.acl_smtp_data === undefined || leavesMessage(parts.acls, options.acl_smtp_data)),
          ...(t.command.params.prdr === true ? { accepted: t.accepted } : {}),
          ...(parts.rewriteRules.length === 0
            ? {}
            : {
                rewrite: (headers: readonly HeaderField[], body: () => BodyFacts) =>
                  rewriteMessage(
                    parts.rewriteRules,
                    { sender: t.facts.sender, recipients: t.recipients, fields: headers },
                    (sender) => ({
                      ...scopeOf(),
                      message: { ...t.facts, sender, headers: () => headers, body },
                    }),
                    (text) => logs.main(logText(`${writer.id} ${text}`)),
                    logItems.has('address_rewrite')
                      ? (text) => logs.main(logText(`${writer.id} ${text}`))
                      : undefined,
                  ),
              }),
          checkData: (content) => {
            const result = check('data', options.acl_smtp_data, {
              ...scopeOf(),
              message: { ...t.facts, ...content },
            });
            return result === undefined ? undefined : Promise.resolve(result);
          },
          logRejection: log.rejection,
        },
        writer,
      );
      if (held === undefined) return sink;
      // Whatever becomes of the message, what was not used for it is given back.
      return {
        write: (chunk) => sink.write(chunk),
        end: () => sink.end().finally(() => held.end()),
        abort: (reason, tooBig) => sink.abort(reason, tooBig).finally(() => held.end()),
      };
    },

    command(verb, more) {
      pipelined ||= more;
      log.command(verb);
    },

    reset(why) {
      log.reset(why);
      recipientCheck.reset();
      transaction = undefined;
    },

    async quit() {
      const result = await check('quit', options.acl_smtp_quit, scopeOf());
      const said = result === undefined ? undefined : acceptance(result, 221);
      return {
        reply: said ?? reply(221, '2.0.0', `${terms?.hostname ?? main.primaryHostname} closing connection`),
      };
    },

    async vrfy(argument) {
      const result = await check('vrfy', options.acl_smtp_vrfy, scopeOf());
      // As in Exim: VRFY is refused unless an ACL allows it.
      if (result?.verdict !== 'accept')
        return (
          judge('vrfy', result, `VRFY ${argument}`) ?? {
            reply: reply(252, '2.5.2', 'Administrative prohibition'),
          }
        );
      return { reply: reply(252, '2.5.2', 'Cannot VRFY user, but will accept message and attempt delivery') };
    },

    ...(options.acl_smtp_notquit === undefined
      ? {}
      : { notQuit: (reason: NotQuitReason) => notQuit(reason, options.acl_smtp_notquit ?? '') }),

    protocolError: log.incident,

    closed(how) {
      open.total--;
      const others = (open.byHost.get(remoteAddress) ?? 1) - 1;
      if (others > 0) open.byHost.set(remoteAddress, others);
      else open.byHost.delete(remoteAddress);
      log.closed(how);
      // What the client is told is what the ACL said that dropped it.
      if (dropped && options.acl_smtp_notquit !== undefined)
        notQuit('acl-drop', options.acl_smtp_notquit).catch((error: unknown) =>
          logs.panic(`not-QUIT ACL: ${logText(errorText(error))}`),
        );
      recipientCheck.reset();
      transaction = undefined;
      gone.abort(clientGone);
    },
  };
}

/** The same address twice is delivered once, as in Exim, unless the two want different reports (RFC 3461 §4). */
function placeOf({ address, orcpt, notify }: Recipient): string {
  const place = `${address.local}@${lowerAscii(address.domain)}`;
  return orcpt === undefined && notify === undefined ? place : JSON.stringify([place, orcpt, notify]);
}
