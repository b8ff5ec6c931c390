/**
 * The grammar of SMTP and LMTP commands (RFC 5321 §4.1, RFC 2033, RFC 3030, RFC 3461). What is wrong with a command is
 * told as a kind, not as a reply: Exim and Dovecot word the same fault differently, and so do the two servers here.
 */
import { parseMailParams, parseRcptParams } from './esmtp-params.ts';
import type { Command, CommandError, Grammar, MailParams, ParamFault } from './grammar.ts';
import { parsePath } from './path.ts';

const noParams: MailParams = {};

/**
 * Reads one command line (octets, no CRLF). Verbs have no regard to case; spaces at the end do not matter.
 * Never throws: a line that is no command gives `error`, whose `of` is the verb as far as it was understood.
 */
export function parseCommand(line: string, grammar: Grammar): Command {
  const text = trimEnd(line);
  const space = text.indexOf(' ');
  const word = space < 0 ? text : text.slice(0, space);
  const verb = word.toUpperCase();
  switch (verb) {
    case 'MAIL':
      return parseMail(text, grammar);
    case 'RCPT':
      return parseRcpt(text, grammar);
    case 'DATA':
    case 'RSET':
    case 'QUIT':
      return space < 0 ? { verb } : { verb: 'error', of: verb, error: { kind: 'unexpected-argument' } };
    case 'HELO':
    case 'EHLO':
    case 'LHLO':
    case 'NOOP':
    case 'HELP':
    case 'VRFY':
    case 'EXPN':
    case 'ETRN':
    case 'STARTTLS':
    case 'AUTH':
    case 'XCLIENT':
      return { verb, argument: space < 0 ? '' : text.slice(space + 1).trim() };
    case 'BDAT':
      return parseBdat(space < 0 ? '' : text.slice(space + 1));
    default:
      return unknown;
  }
}

const unknown: Command = { verb: 'error', of: '', error: { kind: 'unknown-command' } };

function trimEnd(line: string): string {
  let end = line.length;
  while (end > 0 && isSpace(line.charCodeAt(end - 1))) end--;
  return end === line.length ? line : line.slice(0, end);
}

function isSpace(c: number): boolean {
  return c === 0x20 || c === 0x09;
}

/** True where the keyword stands at its place: `MAIL FROM:` with one space, as every client writes it and Exim wants it. */
function hasKeyword(text: string, keyword: string): boolean {
  return text.length >= 5 + keyword.length && text.slice(5, 5 + keyword.length).toUpperCase() === keyword;
}

function parseMail(text: string, grammar: Grammar): Command {
  if (!hasKeyword(text, 'FROM:')) return bad('MAIL', { kind: 'no-keyword', verb: 'MAIL' });
  const operand = text.slice(10);
  const path = parsePath(operand, { ...pathRules(grammar), nullPath: true, postmaster: false });
  if (path.kind === 'fault')
    return bad('MAIL', { kind: 'path', verb: 'MAIL', fault: path.fault, operand: operand.trimStart() });
  if (path.rest === '') return { verb: 'MAIL', sender: path.address, params: noParams };
  const params = parseMailParams(path.rest, grammar);
  if ('error' in params) return bad('MAIL', paramError('MAIL', operand, params));
  return { verb: 'MAIL', sender: path.address, params };
}

function parseRcpt(text: string, grammar: Grammar): Command {
  if (!hasKeyword(text, 'TO:')) return bad('RCPT', { kind: 'no-keyword', verb: 'RCPT' });
  const operand = text.slice(8);
  const path = parsePath(operand, { ...pathRules(grammar), nullPath: false, postmaster: true });
  if (path.kind === 'fault')
    return bad('RCPT', { kind: 'path', verb: 'RCPT', fault: path.fault, operand: operand.trimStart() });
  // parsePath was told to refuse the null path; the check is for the type.
  if (path.address === null)
    return bad('RCPT', { kind: 'path', verb: 'RCPT', fault: { kind: 'null' }, operand });
  if (path.rest === '') return { verb: 'RCPT', recipient: { address: path.address } };
  const params = parseRcptParams(path.rest, grammar);
  if ('error' in params) return bad('RCPT', paramError('RCPT', operand, params));
  return { verb: 'RCPT', recipient: { address: path.address, ...params } };
}

function pathRules(g: Grammar): Pick<Grammar, 'loosePath' | 'unqualified' | 'domainLiterals'> {
  return g;
}

function paramError(verb: 'MAIL' | 'RCPT', operand: string, fault: ParamFault): CommandError {
  if (fault.error !== 'unknown')
    return { kind: 'parameter', verb, name: fault.name, fault: fault.error, parameters: fault.text };
  return { kind: 'unknown-parameter', verb, operand: operand.trimStart(), parameters: fault.text };
}

/** `BDAT size [LAST]` of RFC 3030 §2. Where only the marker is wrong, the size is told so that the chunk can be skipped. */
function parseBdat(argument: string): Command {
  const [size = '', marker, more] = argument.split(' ');
  const octets = /^\d{1,15}$/.test(size) ? Number(size) : undefined;
  if (octets === undefined) return bad('BDAT', { kind: 'chunk-size' });
  if (marker === undefined) return { verb: 'BDAT', octets, last: false };
  if (marker.toUpperCase() !== 'LAST' || more !== undefined)
    return bad('BDAT', { kind: 'chunk-marker', octets, more: more !== undefined });
  return { verb: 'BDAT', octets, last: true };
}

function bad(of: string, error: CommandError): Command {
  return { verb: 'error', of, error };
}

/**
 * The argument of HELO and EHLO as Exim checks it: a domain of letters, digits, dots and hyphens (and what
 * `helo_allow_chars` adds), or an address literal.
 */
export function isHeloName(argument: string, allowChars: string): boolean {
  if (/^[A-Za-z0-9.-]+$/.test(argument)) return true;
  if (argument.startsWith('['))
    return /^\[(?:IPv6:[0-9A-Fa-f:.]+|[0-9.]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]$/i.test(argument);
  if (argument === '') return false;
  for (const c of argument) if (!/[A-Za-z0-9.-]/.test(c) && !allowChars.includes(c)) return false;
  return true;
}
