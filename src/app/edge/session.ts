/** One SMTP connection: ACLs, verification and the spool behind the verbs (Exim manual, "Access control lists"). */
import type { AclControls } from '../../acl/control.ts';
import { type AclLogEntry, type AclMemory, newAclMemory } from '../../acl/environment.ts';
import { acceptance, type AclResult, mergeHeaderEdits, refusal } from '../../acl/result.ts';
import { runAcl } from '../../acl/run.ts';
import type { AclPhase } from '../../acl/tables.ts';
import { expandText } from '../../expand/expand.ts';
import type { AddressFacts, ConnectionFacts, ExpandScope, MessageFacts } from '../../expand/scope.ts';
import { type Domain, formatPath, sameDomain } from '../../mail/address.ts';
import { assertNever } from '../../mail/assert-never.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { HeaderEdit, HeaderField } from '../../mail/headers.ts';
import { MailError } from '../../mail/mail-error.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { reply, replyFromText } from '../../mail/reply.ts';
import { logText } from '../../observe/log-text.ts';
import { clientField, rejectionLine } from '../../observe/reception-lines.ts';
import { route } from '../../router/route.ts';
import type {
  ClientFacts,
  HandlerFactory,
  MailCommand,
  SessionHandler,
  Verdict,
} from '../../smtp/server/handler.ts';
import type { Verifier } from '../../verify/verifier.ts';
import { createVerifier } from '../../verify/verify.ts';
import { createMessageSink } from './message-sink.ts';
import type { EdgeParts } from './parts.ts';

/** The transaction under way. */
interface Transaction {
  readonly command: MailCommand;
  readonly facts: MessageFacts;
  readonly recipients: Recipient[];
  readonly memory: AclMemory;
  headerEdits: readonly HeaderEdit[];
  controls: AclControls;
}

/** One for all: making an error with its stack for every connection costs more than the session's own work. */
const clientGone = new MailError('ABORTED', 'the client has gone');

export function edgeSessions(parts: EdgeParts): HandlerFactory {
  return (client) => createSession(parts, client);
}

function createSession(parts: EdgeParts, client: ClientFacts): SessionHandler {
  const { options, main, services, logs } = parts;
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
  /** What ACLs asked for that lasts as long as the connection (Exim manual, "Use of the control modifier"). */
  let lasting: Pick<AclControls, 'enforceSync' | 'noPipelining' | 'noMultilineResponses'> = {};

  const logged = (): { hostAddress: string; hostName: string | undefined; helo: string | undefined } => ({
    hostAddress: client.remoteAddress,
    hostName: connection.hostName,
    helo: connection.helo,
  });

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

  function logRejection(
    what: string,
    result: Pick<AclResult, 'verdict' | 'logMessage' | 'logTargets'>,
    id?: QueueId,
  ): void {
    const line = rejectionLine({
      id,
      client: logged(),
      sender: transaction?.command.sender,
      temporary: result.verdict === 'defer',
      what,
      reason: result.logMessage ?? '',
    });
    for (const target of result.logTargets) logs[target](line);
  }

  function aclLog(entry: AclLogEntry): void {
    const line = entry.withHost ? `${clientField(logged())} ${logText(entry.text)}` : logText(entry.text);
    for (const target of entry.logs) logs[target](line);
  }

  /** Made for the transaction at hand, whose sender and variables routers may look at. */
  function verifier(): Verifier {
    return createVerifier({
      route: (address, mode, routeSignal) =>
        route(
          address,
          {
            routers: parts.routers,
            main,
            services,
            mode,
            sender: mode === 'verify-sender' ? null : (transaction?.command.sender ?? null),
            connection,
            ...(transaction === undefined ? {} : { message: transaction.facts }),
            transport: (name) => parts.transports.get(name),
            problem: (text) => logs.panic(logText(text)),
          },
          routeSignal,
        ),
      transport: (name) => parts.transports.get(name)?.transport,
      callouts: parts.callouts,
      cache: parts.calloutCache,
    });
  }

  /** Runs the ACL of a phase; undefined where the option is not set. */
  function check(
    phase: AclPhase,
    acl: string | undefined,
    scope: ExpandScope,
  ): Promise<AclResult> | AclResult | undefined {
    if (acl === undefined) return undefined;
    return runAcl(acl, {
      acls: parts.acls,
      lists: parts.lists,
      scope,
      phase,
      verifier: verifier(),
      log: aclLog,
      signal,
      memory: transaction?.memory ?? connectionMemory,
    });
  }

  /** Keeps what an ACL asked for; a refusal is logged and becomes the verdict. */
  function judge(phase: AclPhase, result: AclResult | undefined, what: string): Verdict | undefined {
    if (result === undefined) return undefined;
    lasting = { ...lasting, ...result.controls };
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
        logRejection(what, result);
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
      return {
        enforceSync: lasting.enforceSync,
        pipelining: lasting.noPipelining === true ? false : undefined,
      };
    },

    async connect() {
      const refused = judge(
        'connect',
        await check('connect', options.acl_smtp_connect, scopeOf()),
        'connection in "connect" ACL',
      );
      if (refused !== undefined) return { ...refused, close: true };
      const banner = await expandText(options.smtp_banner, scopeOf());
      if (banner.kind !== 'ok') {
        logs.panic(
          `expansion of smtp_banner failed: ${banner.kind === 'forced-fail' ? 'forced failure' : logText(banner.reason)}`,
        );
        return { reply: reply(421, '4.3.0', 'Temporary local problem - please try later'), close: true };
      }
      return { reply: replyFromText(220, undefined, banner.text) };
    },

    async helo(command) {
      transaction = undefined;
      connection.helo = command.argument;
      connection.protocol = command.verb === 'EHLO' ? 'esmtp' : 'smtp';
      const result = await check('helo', options.acl_smtp_helo, scopeOf());
      const refused = judge('helo', result, `EHLO or HELO ${command.argument}`);
      if (refused !== undefined) {
        delete connection.helo;
        return refused;
      }
      const name = connection.hostName === undefined ? command.argument : connection.hostName;
      const greeting = `${main.primaryHostname} Hello ${name} [${client.remoteAddress}]`;
      return {
        reply:
          (result === undefined ? undefined : acceptance(result, 250)) ?? reply(250, undefined, greeting),
      };
    },

    async mail(command) {
      transaction = {
        command,
        facts: {
          sender: command.sender,
          declaredSize: command.params.declaredSize ?? -1,
          size: -1,
          bodyIs8bit: command.params.body === '8BITMIME',
          recipients: [],
          rcptCount: 0,
          receivedAtMs: Date.now(),
          variables: new Map(),
          taintedVariables: new Set(),
        },
        recipients: [],
        memory: newAclMemory(),
        headerEdits: [],
        controls: {},
      };
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

    async rcpt(recipient) {
      if (transaction === undefined) return { reply: reply(503, '5.5.1', 'sender not yet given') };
      const { facts, recipients } = transaction;
      facts.rcptCount++;
      const address =
        recipient.address.domain === ''
          ? { ...recipient.address, domain: main.qualifyRecipient as Domain }
          : recipient.address;
      const what = `RCPT ${formatPath(address)}`;
      if (options.acl_smtp_rcpt === undefined) {
        // As in Exim: without an ACL nobody may send to anybody.
        logRejection(what, {
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
      if (result?.verdict !== 'discard' && !recipients.some((r) => samePlace(r, { ...recipient, address }))) {
        recipients.push({ ...recipient, address });
        facts.recipients = recipients.map((r) => r.address);
      }
      return {
        reply:
          (result === undefined ? undefined : acceptance(result, 250)) ?? reply(250, '2.1.5', 'Accepted'),
      };
    },

    async data() {
      const t = transaction;
      if (t === undefined) return { reply: reply(503, '5.5.1', 'valid RCPT command must precede DATA') };
      const writer = await parts.spool.create(signal);
      t.facts.id = writer.id;
      const { hostName, helo } = connection;
      return createMessageSink(
        parts,
        {
          envelope: { sender: t.command.sender, ...t.command.params },
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
          client: logged(),
          facts: t.facts,
          headerEdits: t.headerEdits,
          queueOnly: t.controls.queueOnly === true,
          freeze: t.controls.freeze !== undefined,
          checkData: (headers: () => readonly HeaderField[]) => {
            const result = check('data', options.acl_smtp_data, {
              ...scopeOf(),
              message: { ...t.facts, headers },
            });
            return result === undefined ? undefined : Promise.resolve(result);
          },
          logRejection,
        },
        writer,
      );
    },

    reset() {
      transaction = undefined;
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

    protocolError(what) {
      switch (what.kind) {
        case 'syntax':
          logs.main(
            `SMTP protocol error from ${clientField(logged())}: ${logText(what.reason)}: ${logText(what.command)}`,
          );
          return;
        case 'limit':
          logs.main(`SMTP call from ${clientField(logged())} dropped: ${logText(what.reason)}`);
          return;
        case 'timeout':
          logs.main(
            `SMTP command timeout on connection from ${clientField(logged())} (${logText(what.during)})`,
          );
          return;
        case 'lost':
          logs.main(
            `unexpected disconnection while reading SMTP command from ${clientField(logged())} (${logText(what.during)})`,
          );
          return;
        default:
          assertNever(what);
      }
    },

    closed() {
      transaction = undefined;
      gone.abort(clientGone);
    },
  };
}

/** The same address twice is delivered once, as in Exim, unless the two want different reports (RFC 3461 §4). */
function samePlace(a: Recipient, b: Recipient): boolean {
  return (
    a.address.local === b.address.local &&
    sameDomain(a.address.domain, b.address.domain) &&
    a.orcpt === b.orcpt &&
    JSON.stringify(a.notify) === JSON.stringify(b.notify)
  );
}
