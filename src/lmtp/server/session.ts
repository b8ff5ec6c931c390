/** One LMTP dialogue, server side (RFC 2033), worded as Dovecot 2.3's lmtp service words it. */
import { randomBytes } from 'node:crypto';
import { assertNever } from '../../mail/assert-never.ts';
import type { Reply } from '../../mail/reply.ts';
import type { TlsFacts } from '../../net/tls-accept.ts';
import {
  runDialogue,
  type DialogueLink,
  type DialogueLogic,
  type LinkEnd,
  type Next,
} from '../../protocol/dialogue.ts';
import type { Command } from '../../protocol/grammar.ts';
import { Receiver, type CommandFault } from '../../protocol/receiver.ts';
import { newClient, type LmtpPeer } from './client.ts';
import { stringFault } from './dovecot-syntax.ts';
import type { LmtpHandler } from './handler.ts';
import { lhlo } from './lhlo.ts';
import { defaultLimits, type LmtpServerOptions } from './options.ts';
import { readCommand } from './read-command.ts';
import { starttls } from './starttls.ts';
import { endTransaction, greeting, report, say, sayBad, type SessionState, stateName } from './state.ts';
import {
  bdat,
  content,
  contentEnd,
  contentFault,
  data,
  mail,
  mailGiven,
  mailNeeded,
  rcpt,
  refuseChunk,
  storageFailed,
} from './transaction.ts';
import { one, wordCommandError } from './wording.ts';
import { xclient } from './xclient.ts';

/** What a session has beside its link. */
export interface LmtpSessionTerms {
  readonly peer: LmtpPeer;
  /** Where TLS came before the session. */
  readonly tls?: TlsFacts;
  /** Makes the link go on over TLS, for STARTTLS; a text says why it cannot. */
  readonly startTls?: () => Promise<TlsFacts | string>;
  /** Whether XCLIENT and XRCPTFORWARD are for this host. */
  readonly trusted?: boolean;
}

/**
 * Runs a session from its greeting to its end; never rejects for what a client or a handler does. The caller closes the
 * link, which sends the last replies.
 * @param signal given to deliveries: abort it to make them stop
 */
export async function runLmtpSession(
  link: DialogueLink,
  terms: LmtpSessionTerms,
  handler: LmtpHandler,
  options: LmtpServerOptions,
  signal: AbortSignal,
): Promise<void> {
  const limits = options.limits === undefined ? defaultLimits : { ...defaultLimits, ...options.limits };
  const s: SessionState = {
    handler,
    options,
    limits,
    link,
    receiver: new Receiver(limits),
    grammar: {
      parameters: true,
      dsn: options.dsn !== undefined && options.dsn !== false,
      orcpt: true,
      forward: true,
      size: limits.maxMessageOctets > 0,
      smtputf8: options.smtputf8 ?? false,
      transfer: options.transfers ?? false,
      loosePath: false,
      unqualified: true,
      domainLiterals: true,
    },
    signal,
    client: newClient(terms.peer, newSessionId(), terms.tls),
    trusted: terms.trusted ?? false,
    startTls: terms.startTls,
    transactions: 0,
    transaction: undefined,
    badCommands: 0,
    endReason: 'Protocol error',
    reading: undefined,
  };
  options.onConnect?.(s.client.remoteAddress);
  say(s, greeting(s));
  try {
    await runDialogue(link, s.receiver, logicOf(s), limits.idleTimeoutMs);
  } catch (error) {
    report(s, { kind: 'fault', client: s.client.remoteAddress, error });
    s.endReason = 'Internal error';
  } finally {
    options.onDisconnect?.({ client: s.client.remoteAddress, reason: s.endReason, state: stateName(s) });
    endTransaction(s);
  }
}

const processPart = randomBytes(10);
let sessions = 0;

/** 22 characters, as Dovecot's, different for every session of every process. */
function newSessionId(): string {
  const id = Buffer.allocUnsafe(16);
  processPart.copy(id, 6);
  id.writeUIntBE(++sessions, 0, 6);
  return id.toString('base64url');
}

function logicOf(s: SessionState): DialogueLogic {
  return {
    // A client in the middle of a transaction would have to begin it anew.
    mayStop: () => s.transaction === undefined,
    command: (line) => command(s, line),
    commandFault: (fault) => commandFault(s, fault),
    content: (chunk) => content(s, chunk),
    contentFault: (fault) => contentFault(s, fault),
    contentEnd: () => contentEnd(s),
    interrupted: (how, during) => interrupted(s, how, during),
    crashed: (error, during) => {
      report(s, { kind: 'fault', client: s.client.remoteAddress, error });
      if (during === 'content') {
        storageFailed(s, error);
        return 'command';
      }
      return say(s, one(451, '4.3.0', 'Temporary internal error'));
    },
  };
}

function command(s: SessionState, line: string): Next | Promise<Next> {
  const read = readCommand(line, s.grammar);
  if (read === undefined) {
    const next = sayBad(s, line, one(500, '5.5.2', 'Invalid command syntax'));
    return /^bdat\b/i.test(line) ? 'close' : next;
  }
  return dispatch(s, read, line);
}

function dispatch(s: SessionState, c: Command, line: string): Next | Promise<Next> {
  switch (c.verb) {
    case 'MAIL':
      return mail(s, c.sender, c.params);
    case 'RCPT':
      return rcpt(s, c.recipient);
    case 'DATA':
      return data(s);
    case 'BDAT':
      return bdat(s, c.octets, c.last);
    case 'LHLO':
      return lhlo(s, c.argument);
    case 'RSET':
      endTransaction(s);
      return say(s, okay);
    case 'NOOP':
      return c.argument === '' ? say(s, okay) : withString(s, line, c.argument, okay);
    case 'VRFY':
      if (c.argument === '') return sayBad(s, line, one(501, '5.5.4', 'Invalid parameters'));
      return withString(s, line, c.argument, one(252, '2.3.3', 'Try RCPT instead'));
    case 'QUIT':
      say(s, one(221, '2.0.0', 'Bye'));
      s.endReason = 'Logged out';
      return 'close';
    case 'STARTTLS':
      return starttls(s, c.argument);
    case 'AUTH':
      return sayBad(s, line, one(502, '5.5.1', 'Unsupported command'));
    case 'XCLIENT':
      return xclient(s, c.argument);
    case 'HELO':
    case 'EHLO':
    case 'HELP':
    case 'EXPN':
    case 'ETRN':
      return sayBad(s, line, wordCommandError({ kind: 'unknown-command' }));
    case 'error': {
      // Dovecot looks at the order of commands before it looks into them.
      if (c.of === 'RCPT' && s.transaction === undefined) return sayBad(s, line, mailNeeded);
      if (c.of === 'MAIL' && s.transaction !== undefined) return sayBad(s, line, mailGiven);
      const reply = wordCommandError(c.error);
      if (c.error.kind === 'chunk-marker') {
        if (s.transaction !== undefined) s.transaction.chunkFailed = true;
        return refuseChunk(s, c.error.octets, reply);
      }
      const next = sayBad(s, line, reply);
      // Content of unknown length follows: to read it as commands would let a message give orders.
      return c.error.kind === 'chunk-size' ? 'close' : next;
    }
    default:
      return assertNever(c);
  }
}

const okay: Reply = one(250, '2.0.0', 'OK');

function withString(s: SessionState, line: string, argument: string, reply: Reply): Next {
  const fault = stringFault(argument);
  return fault === undefined
    ? say(s, reply)
    : sayBad(s, line, one(501, '5.5.4', `Invalid string parameter: ${fault}`));
}

function commandFault(s: SessionState, fault: CommandFault): Next {
  switch (fault) {
    case 'bare-lf':
      // Whoever ends lines so may mean other commands than we would read: nothing more is taken from the connection.
      sayBad(s, '', one(500, '5.5.2', 'bare LF in command: lines must end in CRLF - closing connection'));
      return 'close';
    case 'bare-cr':
    case 'nul':
      return sayBad(s, '', one(500, '5.5.2', 'Invalid command syntax'));
    case 'too-long':
      return sayBad(s, '', one(500, '5.5.2', 'Line too long'));
    default:
      return assertNever(fault);
  }
}

/** Dovecot's words. */
const endReasons: Readonly<Record<LinkEnd, string>> = {
  timeout: 'Disconnected for inactivity',
  stop: 'Shutting down',
  end: 'Connection closed',
  lost: 'Connection lost',
};

function interrupted(s: SessionState, how: LinkEnd, during: 'command' | 'content'): void {
  s.endReason = endReasons[how];
  switch (how) {
    case 'timeout':
      say(s, one(421, '4.4.2', `${s.options.hostname} ${s.endReason}`));
      report(s, { kind: 'timeout', client: s.client.remoteAddress, during });
      break;
    case 'stop':
      say(s, one(421, '4.3.2', `${s.options.hostname} ${s.endReason}`));
      break;
    case 'end':
    case 'lost':
      // Between transactions clients just go; within one it is worth knowing.
      if (s.transaction !== undefined) report(s, { kind: 'lost', client: s.client.remoteAddress, during });
      break;
    default:
      assertNever(how);
  }
}
