/** From a command line to a command, as Dovecot 2.3 would read it. */
import { isUtf8 } from 'node:buffer';
import { parseCommand } from '../../protocol/command.ts';
import type { Command, Grammar } from '../../protocol/grammar.ts';
import { isLiteral, readLiberally, withoutSender } from './dovecot-syntax.ts';

/** Control characters, octets above 127, and anything but one space behind the verb. */
const unusual = /[\x00-\x08\x0a-\x1f\x7f-\xff]|^[^ \t]*(?: {2}|\t)/;

/** What Dovecot's command parser lets through of that: UTF-8, and white space that nothing follows. */
function isTakenAllTheSame(line: string): boolean {
  return (
    !/[\x00-\x08\x0a-\x1f\x7f]/.test(line) &&
    !/^[^ \t]*(?: {2}|\t)[ \t]*[^ \t]/.test(line) &&
    isUtf8(Buffer.from(line, 'latin1'))
  );
}

/** Undefined for a line that is no command whatever its verb. */
export function readCommand(line: string, grammar: Grammar): Command | undefined {
  const odd = unusual.test(line);
  if (odd && !isTakenAllTheSame(line)) return undefined;
  const parsed = parseCommand(line, grammar);
  const verb = parsed.verb === 'error' ? parsed.of : parsed.verb;
  if (verb !== 'MAIL' && verb !== 'RCPT') return parsed;
  if (odd && !grammar.smtputf8 && foreignPath.test(line)) return refusePath(verb, line, grammar);
  const command =
    parsed.verb === 'error' && parsed.error.kind === 'path' && parsed.error.fault.kind !== 'leading-space'
      ? (readLiberally(verb, parsed.error.operand, grammar) ?? parsed)
      : parsed;
  const domain = command.verb === 'error' ? literalOf.exec(line)?.[1] : domainOf(command);
  if (domain?.charCodeAt(0) === 0x5b && !isLiteral(domain)) return refusePath(verb, line, grammar);
  // A sender without a domain is as broken to Dovecot as the others.
  return command.verb === 'MAIL' && domain === '' ? { ...command, sender: null } : command;
}

/** The address literal of a path that may have faulty parameters behind it. */
const literalOf = /^(?:MAIL FROM|RCPT TO):<[^>]*@(\[[^\]]*\])>/i;

/** UTF-8 within the path of MAIL or RCPT. */
const foreignPath = /^(?:MAIL FROM|RCPT TO):<[^>]*[\x80-\xff]/i;

function domainOf(c: Command): string | undefined {
  if (c.verb === 'MAIL') return c.sender?.domain;
  return c.verb === 'RCPT' ? c.recipient.address.domain : undefined;
}

/** What the grammar takes and Dovecot does not: UTF-8 where SMTPUTF8 is not offered, address literals that hold no address. */
function refusePath(verb: 'MAIL' | 'RCPT', line: string, grammar: Grammar): Command {
  const operand = line.slice(verb === 'MAIL' ? 10 : 8);
  const fault = { kind: 'address', reason: 'Invalid character in localpart' } as const;
  return (
    (verb === 'MAIL' ? withoutSender(operand, grammar) : undefined) ?? {
      verb: 'error',
      of: verb,
      error: { kind: 'path', verb, fault, operand },
    }
  );
}
