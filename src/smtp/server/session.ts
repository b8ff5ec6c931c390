/** One SMTP dialogue, server side (RFC 5321): sequence, limits and wording here, decisions in the handler. */
import { assertNever } from '../../mail/assert-never.ts';
import { isPositive, reply } from '../../mail/reply.ts';
import { parseCommand } from '../../protocol/command.ts';
import {
  runDialogue,
  type DialogueLink,
  type DialogueLogic,
  type LinkEnd,
  type Next,
} from '../../protocol/dialogue.ts';
import type { Command, Grammar } from '../../protocol/grammar.ts';
import { Receiver, type CommandFault } from '../../protocol/receiver.ts';
import { breakSink, content, contentEnd, contentFault, data, dropSink } from './commands/data.ts';
import { helo } from './commands/helo.ts';
import { mail } from './commands/mail.ts';
import { help, notOffered, quit, rset, vrfy } from './commands/other.ts';
import { noteRefusal, rcpt } from './commands/rcpt.ts';
import type { SessionHandler, SessionOptions } from './handler.ts';
import {
  abandonTransaction,
  deliverVerdict,
  enforcesSync,
  hostnameOf,
  localProblem,
  offersPipelining,
  protocolError,
  say,
  sayLast,
  sayText,
  type SessionState,
} from './state.ts';
import { wordCommandError } from './wording.ts';

/**
 * Runs a session from its greeting to its end; never rejects for what a client does. The caller closes the link, which
 * sends the last replies. `handler.closed` has been called when the promise resolves.
 */
export async function runSmtpSession(
  link: DialogueLink,
  handler: SessionHandler,
  options: SessionOptions,
): Promise<void> {
  const s = newState(link, handler, options);
  try {
    if ((await greet(s)) === 'close') return;
    await runDialogue(link, s.receiver, logicOf(s), options.limits.idleTimeoutMs);
  } catch (error) {
    options.onError?.(error);
  } finally {
    if (s.sink !== undefined) await dropSink(s, 'the session ended');
    handler.closed(s.end);
  }
}

function newState(link: DialogueLink, handler: SessionHandler, options: SessionOptions): SessionState {
  return {
    handler,
    options,
    link,
    receiver: new Receiver(options.limits),
    grammar: {
      parameters: false,
      dsn: options.dsn ?? false,
      orcpt: false,
      size: true,
      smtputf8: options.smtputf8 ?? false,
      prdr: options.prdr ?? false,
      loosePath: true,
      unqualified: options.allowUnqualified ?? false,
      domainLiterals: options.allowDomainLiterals ?? false,
      excessBrackets: options.stripExcessBrackets ?? false,
      trailingDot: options.stripTrailingDot ?? false,
    },
    helo: undefined,
    inTransaction: false,
    mailRefused: false,
    lastWasRcpt: false,
    recipients: 0,
    accepted: 0,
    refusal: undefined,
    sink: undefined,
    syntaxErrors: 0,
    unknownCommands: 0,
    nonMailCommands: 0,
    freeRset: true,
    freeHelo: true,
    line: '',
    end: 'dropped',
  };
}

async function greet(s: SessionState): Promise<Next> {
  let verdict;
  try {
    verdict = await s.handler.connect();
  } catch (error) {
    s.options.onError?.(error);
    say(s, { code: 421, lines: [`${hostnameOf(s)} ${localProblem.lines[0]}`] });
    return 'close';
  }
  if (!isPositive(verdict.reply)) {
    deliverVerdict(s, verdict);
    return 'close';
  }
  if (enforcesSync(s)) {
    // What the client sent on connecting is read in the next turn of the event loop, not in this one.
    await new Promise((resolve) => {
      setImmediate(() => setImmediate(resolve));
    });
    if (s.link.hasInput) {
      const without = 'input sent without waiting for greeting';
      s.handler.protocolError({ kind: 'synchronization', command: '', reason: without });
      sayText(s, 554, undefined, syncError);
      return 'close';
    }
  }
  return deliverVerdict(s, verdict);
}

function logicOf(s: SessionState): DialogueLogic {
  return {
    command: (line) =>
      s.handler.rewriteLine !== undefined && /^(?:mail|rcpt) /i.test(line)
        ? s.handler.rewriteLine(line).then((text) => command(s, text))
        : command(s, line),
    commandFault: (fault) => commandFault(s, fault),
    content: (chunk) => content(s, chunk),
    contentFault: (fault) => contentFault(s, fault),
    contentEnd: (fault) => contentEnd(s, fault),
    interrupted: (how, during) => interrupted(s, how, during),
    crashed: (error, during) => crashed(s, error, during),
  };
}

function command(s: SessionState, line: string): Next | Promise<Next> {
  const parsed = parseCommand(line, grammarFor(s, line));
  const verb = parsed.verb === 'error' ? parsed.of : parsed.verb;
  s.line = line;
  s.handler.command?.(isUnknown(parsed) ? '' : verb, s.receiver.hasInput || s.link.hasInput);
  if (mustWait(s, verb) && (s.receiver.hasInput || s.link.hasInput)) {
    const offered = s.helo === 'EHLO' && offersPipelining(s) ? 'advertised' : 'not advertised';
    return outOfSync(s, line, `next input sent too soon: pipelining was ${offered}`);
  }
  if (!isUnknown(parsed) && tooManyNonMail(s, verb)) {
    s.handler.protocolError({ kind: 'limit', reason: 'too many nonmail commands', closing: true });
    return sayLast(s, 'bad-commands', reply(554, '5.7.0', 'Too many nonmail commands'));
  }
  const next = dispatch(s, parsed, line);
  s.lastWasRcpt = verb === 'RCPT';
  return next;
}

/** Who may leave out domains may do so in one of the two commands only. */
function grammarFor(s: SessionState, line: string): Grammar {
  const { unqualifiedSender, unqualifiedRecipient } = s.handler.policy ?? {};
  if (unqualifiedSender !== true && unqualifiedRecipient !== true) return s.grammar;
  const unqualified = /^mail/i.test(line) ? unqualifiedSender : unqualifiedRecipient;
  return { ...s.grammar, unqualified: unqualified === true || s.grammar.unqualified };
}

function dispatch(s: SessionState, c: Command, line: string): Next | Promise<Next> {
  switch (c.verb) {
    case 'MAIL':
      return mail(s, c.sender, c.params);
    case 'RCPT':
      return rcpt(s, c.recipient);
    case 'DATA':
      return data(s);
    case 'HELO':
    case 'EHLO':
      return helo(s, c.verb, c.argument);
    case 'RSET':
      return rset(s);
    case 'QUIT':
      return quit(s);
    case 'NOOP':
      return sayText(s, 250, '2.0.0', 'OK');
    case 'HELP':
      return help(s);
    case 'VRFY':
      return vrfy(s, c.argument);
    case 'EXPN':
      return sayText(s, 550, '5.7.0', 'Administrative prohibition');
    case 'ETRN':
      return sayText(s, 458, undefined, 'Administrative prohibition');
    case 'STARTTLS':
    case 'AUTH':
    case 'BDAT':
      return notOffered(s, c.verb);
    case 'LHLO':
    case 'XCLIENT':
      return unrecognized(s, line);
    case 'error': {
      if (isUnknown(c)) return unrecognized(s, line);
      if (c.of === 'BDAT') return notOffered(s, 'BDAT');
      const { code, status, text } = wordCommandError(c.error);
      if (c.of === 'RCPT') noteRefusal(s, text);
      return protocolError(s, line, code, status, text);
    }
    default:
      return assertNever(c);
  }
}

/** Exim takes a verb without the word that belongs to it for no command. */
function isUnknown(c: Command): boolean {
  return c.verb === 'error' && (c.error.kind === 'unknown-command' || c.error.kind === 'no-keyword');
}

function unrecognized(s: SessionState, line: string): Next | Promise<Next> {
  s.handler.protocolError({ kind: 'syntax', command: line, reason: 'unrecognized command' });
  if (++s.unknownCommands <= s.options.limits.maxUnknownCommands)
    return sayText(s, 500, '5.5.1', 'unrecognized command');
  s.handler.protocolError({ kind: 'limit', reason: 'too many unrecognized commands', closing: true });
  return sayLast(s, 'bad-commands', reply(500, '5.5.1', 'Too many unrecognized commands'));
}

/** The commands that must be the last of a batch: with pipelining those of RFC 2920 §3.1, else all but QUIT and HELP (Exim). */
function mustWait(s: SessionState, verb: string): boolean {
  if (!enforcesSync(s)) return false;
  switch (verb) {
    case 'HELO':
    case 'EHLO':
    case 'DATA':
    case 'VRFY':
    case 'EXPN':
    case 'NOOP':
    case 'ETRN':
    case 'STARTTLS':
    case 'AUTH':
      return true;
    case 'MAIL':
    case 'RCPT':
    case 'RSET':
    case 'BDAT':
      return s.helo !== 'EHLO' || !offersPipelining(s);
    default:
      return false;
  }
}

async function outOfSync(s: SessionState, line: string, reason: string): Promise<Next> {
  s.handler.protocolError({ kind: 'synchronization', command: line, reason });
  const status = s.helo === 'EHLO' ? '5.5.0' : undefined;
  const next = await sayLast(s, 'synchronization-error', reply(554, status, syncError));
  abandonTransaction(s, 'closed');
  return next;
}

const syncError = 'SMTP synchronization error';

/** Exim manual, smtp_accept_max_nonmail. */
function tooManyNonMail(s: SessionState, verb: string): boolean {
  const max = s.options.limits.maxNonMailCommands ?? 0;
  if (s.handler.policy?.limitNonMail === false) return false;
  if (max === 0 || verb === 'MAIL' || verb === 'RCPT' || verb === 'DATA' || verb === 'QUIT') return false;
  if (verb === 'RSET' && s.freeRset) {
    s.freeRset = false;
    return false;
  }
  if ((verb === 'HELO' || verb === 'EHLO') && s.freeHelo) {
    s.freeHelo = false;
    return false;
  }
  return ++s.nonMailCommands > max;
}

function commandFault(s: SessionState, fault: CommandFault): Next {
  switch (fault) {
    case 'bare-lf':
      // Whoever ends lines so may mean other commands than we would read: nothing more is taken from the connection.
      s.handler.protocolError({ kind: 'syntax', command: '', reason: 'bare LF in command' });
      sayText(s, 500, '5.5.2', 'bare LF in command: lines must end in CRLF - closing connection');
      abandonTransaction(s, 'closed');
      return 'close';
    case 'bare-cr':
      return protocolError(s, '', 500, '5.5.2', 'bare CR in command: lines must end in CRLF');
    case 'nul':
      return protocolError(s, '', 501, '5.5.2', 'NUL characters are not allowed in SMTP commands');
    case 'too-long':
      return protocolError(s, '', 500, '5.5.2', 'Line too long');
  }
}

/** The handler broke. The client is asked to come again; what it sent is not kept. */
async function crashed(s: SessionState, error: unknown, during: 'command' | 'content'): Promise<Next> {
  s.options.onError?.(error);
  await breakSink(s);
  return during === 'command' ? say(s, localProblem) : 'command';
}

async function interrupted(s: SessionState, how: LinkEnd, during: 'command' | 'content'): Promise<void> {
  const reading = during === 'command' ? 'command' : 'data';
  const hostname = hostnameOf(s);
  switch (how) {
    case 'timeout':
      s.end = 'timeout';
      s.handler.protocolError({ kind: 'timeout', during: reading });
      await (during === 'command'
        ? sayLast(
            s,
            'command-timeout',
            reply(421, '4.4.2', `${hostname}: SMTP command timeout - closing connection`),
          )
        : sayLast(
            s,
            'data-timeout',
            reply(421, '4.4.2', `${hostname} SMTP incoming data timeout - closing connection.`),
          ));
      break;
    case 'stop':
      await sayLast(
        s,
        'signal-exit',
        reply(421, '4.3.2', `${hostname} Service not available - closing connection`),
      );
      break;
    case 'end':
    case 'lost':
      s.end = 'lost';
      s.handler.protocolError({ kind: 'lost', during: reading });
      await s.handler.notQuit?.('connection-lost');
  }
  if (during === 'content') await dropSink(s, how === 'timeout' ? 'timeout' : 'connection lost');
  else abandonTransaction(s, s.end === 'lost' ? 'connection lost' : 'closed');
}
