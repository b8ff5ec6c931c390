/** Faults of commands in the words and codes of Dovecot 2.3's lmtp service, as seen from the running program. */
import { assertNever } from '../../mail/assert-never.ts';
import { formatReply, type EnhancedStatus, type Reply } from '../../mail/reply.ts';
import type { ContentFault } from '../../protocol/content-scanner.ts';
import type { CommandError } from '../../protocol/grammar.ts';
import { parameterFault, pathFault } from './dovecot-syntax.ts';
import { maxReplyOctets, type LmtpLimits } from './options.ts';

export function wordCommandError(error: CommandError): Reply {
  switch (error.kind) {
    case 'unknown-command':
      return one(500, '5.5.1', 'Unknown command');
    case 'unexpected-argument':
    case 'no-keyword':
      return one(501, '5.5.4', 'Invalid parameters');
    case 'path':
      return one(501, '5.5.4', `Invalid ${error.verb === 'MAIL' ? 'FROM' : 'TO'}: ${wordPath(error)}`);
    case 'parameter':
    case 'unknown-parameter':
      return wordParameter(error);
    case 'chunk-size':
      return one(501, '5.5.4', 'Invalid chunk size parameter');
    case 'chunk-marker':
      return one(501, '5.5.4', error.more ? 'Invalid parameters' : 'Invalid end marker parameter');
    default:
      return assertNever(error);
  }
}

function wordPath({ verb, fault, operand }: Extract<CommandError, { kind: 'path' }>): string {
  if (fault.kind === 'leading-space') return 'Unexpected whitespace before path';
  return pathFault(verb, operand) ?? (fault.kind === 'address' ? fault.reason : 'Invalid character in path');
}

function wordParameter(error: Extract<CommandError, { kind: 'parameter' | 'unknown-parameter' }>): Reply {
  const [word = ''] = error.parameters.split(' ', 1);
  const form = parameterFault(word);
  if (form !== undefined) return one(501, '5.5.4', `Invalid ${error.verb} parameter: ${form}`);
  if (error.kind === 'unknown-parameter') return one(555, '5.5.4', 'Unsupported parameters');
  const { name, fault } = error;
  if (fault === 'repeated') return one(501, '5.5.4', `Duplicate ${name}= parameter`);
  if (!word.includes('=')) return one(501, '5.5.4', `Missing ${name}= parameter value`);
  if (name === 'BODY') return one(555, '5.5.4', 'Unsupported mail BODY type');
  if (name === 'ORCPT')
    return one(
      501,
      '5.5.4',
      /^ORCPT=[A-Za-z0-9-]+;/i.test(word)
        ? "Invalid ORCPT= parameter: Invalid hexchar after '+' in xtext"
        : 'Invalid addr-type for ORCPT= parameter',
    );
  return one(501, '5.5.4', `Invalid ${name}= parameter value`);
}

export function wordContentFault(fault: ContentFault, limits: LmtpLimits): Reply {
  switch (fault) {
    case 'bare-lf':
    case 'bare-cr': {
      const octet = fault === 'bare-lf' ? 'LF' : 'CR';
      return one(
        550,
        '5.6.11',
        `bare ${octet} in message data: lines must end in CRLF (RFC 5321 section 2.3.8)`,
      );
    }
    case 'line-too-long':
      return one(550, '5.6.0', `Line longer than ${limits.maxDataLineOctets} octets in message data`);
    case 'too-big':
      return one(552, '5.2.3', 'Message size exceeds administrative limit');
    default:
      return assertNever(fault);
  }
}

export function one(code: number, status: EnhancedStatus | undefined, text: string): Reply {
  return status === undefined ? { code, lines: [text] } : { code, status, lines: [text] };
}

/**
 * The wire form, cut so that the whole reply stays within {@link maxReplyOctets}. Whatever a handler put into a line, it
 * stays one line: what is no printable octet becomes `?`.
 */
export function formatBounded(given: Reply): string {
  const reply = given.lines.some((line) => unprintable.test(line)) ? printable(given) : given;
  const text = formatReply(reply);
  if (text.length <= maxReplyOctets) return text;
  const first = `${reply.code} ${reply.status === undefined ? '' : `${reply.status} `}${reply.lines[0]}`;
  return `${first.length <= maxReplyOctets - 2 ? first : `${first.slice(0, maxReplyOctets - 5)}...`}\r\n`;
}

/** A character above 255 would be written as its low octet, which may be a line end. */
const unprintable = /[^\t\x20-\x7e\x80-\xff]/;

function printable(reply: Reply): Reply {
  const [first, ...rest] = reply.lines.map((line) => line.replace(new RegExp(unprintable, 'g'), '?'));
  return { ...reply, lines: [first ?? '', ...rest] };
}
