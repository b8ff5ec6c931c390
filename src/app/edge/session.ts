/** One SMTP connection: ACLs, verification and the spool behind the verbs (Exim manual, "Access control lists"). */
import { setTimeout } from 'node:timers/promises';
import type { AclControls } from '../../acl/control.ts';
import { acceptance } from '../../acl/result.ts';
import { expandText } from '../../expand/expand.ts';
import type { AddressFacts, ConnectionFacts, ExpandScope } from '../../expand/scope.ts';
import { type Address, type Domain, formatPath } from '../../mail/address.ts';
import { MailError } from '../../mail/mail-error.ts';
import { reply, replyFromText } from '../../mail/reply.ts';
import { errorText } from '../../mail/error-text.ts';
import { logText } from '../../observe/log-text.ts';
import type {
  ClientFacts,
  HandlerFactory,
  MailCommand,
  NotQuitReason,
  SessionHandler,
  SessionPolicy,
} from '../../smtp/server/handler.ts';
import {
  activeHostname,
  admit,
  hostMatcher,
  type OpenConnections,
  type Terms,
  termsOf,
} from './admission.ts';
import { directTermsOf, earlyEnvelope } from './direct-terms.ts';
import { createHeloCheck } from './helo-names.ts';
import { lookUpClient } from './host-lookup.ts';
import { incomingMessage } from './incoming.ts';
import { createMessageSink } from './message-sink.ts';
import { createRecipientCheck, recipientNumber } from './recipient-check.ts';
import { hasSmtpRules, rewriteCommand } from './rewriting.ts';
import type { EdgeParts } from './parts.ts';
import { createSessionAcls } from './session-acls.ts';
import { createSessionLog } from './session-log.ts';
import { accept, beginTransaction, type Transaction } from './transaction.ts';
import { delayOf, type SlowDown } from '../../config/slow-down.ts';

/** One for all: making an error with its stack for every connection costs more than the session's own work. */
const clientGone = new MailError('ABORTED', 'the client has gone');

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
  /** The last HELO was refused for its name. */
  let heloRefused = false;

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
    const lasting = acls.lasting();
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

  async function slowDown(limit: SlowDown | undefined, count: number): Promise<void> {
    if (limit === undefined || terms?.delays !== true) return;
    const delayMs = delayOf(limit, count);
    if (delayMs > 0) await setTimeout(delayMs, undefined, { signal }).catch(() => undefined);
  }

  const heloCheck = createHeloCheck(parts, remoteAddress, log);

  const recipientCheck = createRecipientCheck(parts, {
    connection,
    signal,
    transaction: () => transaction,
    scope: scopeOf,
    qualified: qualifiedRecipient,
    direct: () => directTerms() !== undefined,
    envelope: () => (transaction === undefined ? undefined : earlyEnvelope(parts, transaction)),
  });

  function directTerms(): AclControls['direct'] {
    return directTermsOf(options, terms?.direct === true, transaction?.controls);
  }

  const acls = createSessionAcls(parts, {
    signal,
    transaction: () => transaction,
    scope: scopeOf,
    verifier: recipientCheck.verifier,
    client: {
      names: () => parts.clientNames(remoteAddress),
      isNamed: async (helo) => (await heloCheck.isNamed(helo)) === 'yes',
    },
    log,
    changed: setPolicy,
  });
  const { check, judge } = acls;

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
      if (await inHosts(options.host_lookup)) await lookUpClient(parts, remoteAddress, connection);
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
      const unverified = await heloCheck.refuse(terms, command.verb, command.argument);
      heloRefused = unverified !== undefined;
      if (unverified !== undefined) return { reply: unverified };
      const result = await check('helo', options.acl_smtp_helo, scopeOf());
      const refused = judge('helo', result, `EHLO or HELO ${command.argument}`);
      if (refused !== undefined) {
        // The ACL for sessions without QUIT still knows it.
        if (!acls.dropped()) delete connection.helo;
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
      transaction = beginTransaction(command);
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
      const { facts } = transaction;
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
      accept(transaction, taken, result?.verdict === 'discard');
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
      const { noPipelining } = acls.lasting();
      const incoming = incomingMessage(parts, {
        id: writer.id,
        transaction: t,
        connection,
        client,
        pipelined: connection.protocol === 'esmtp' && noPipelining !== true ? pipelined : undefined,
        direct: directTerms(),
        held: held?.all,
        scope: scopeOf,
        check,
        log,
      });
      const sink = createMessageSink(parts, incoming, writer);
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
      : { notQuit: (reason: NotQuitReason) => acls.notQuit(reason, options.acl_smtp_notquit ?? '') }),

    protocolError: log.incident,

    closed(how) {
      open.total--;
      const others = (open.byHost.get(remoteAddress) ?? 1) - 1;
      if (others > 0) open.byHost.set(remoteAddress, others);
      else open.byHost.delete(remoteAddress);
      log.closed(how);
      // What the client is told is what the ACL said that dropped it.
      if (acls.dropped() && options.acl_smtp_notquit !== undefined)
        acls
          .notQuit('acl-drop', options.acl_smtp_notquit)
          .catch((error: unknown) => logs.panic(`not-QUIT ACL: ${logText(errorText(error))}`));
      recipientCheck.reset();
      transaction = undefined;
      gone.abort(clientGone);
    },
  };
}
