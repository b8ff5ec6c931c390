/** LHLO (RFC 2033 §4.1): who the client is, and what is offered to it. */
import type { Reply } from '../../mail/reply.ts';
import type { Next } from '../../protocol/dialogue.ts';
import { heloName } from './client.ts';
import { maxReplyOctets } from './options.ts';
import { endTransaction, say, sayBad, type SessionState } from './state.ts';
import { one } from './wording.ts';
import { xclientMore, xclientOffer } from './xclient.ts';

export function lhlo(s: SessionState, argument: string): Next {
  if (argument === '') return sayBad(s, 'LHLO', one(501, undefined, 'Missing hostname'));
  endTransaction(s);
  s.client.lhlo = heloName(argument);
  s.client.greeted = true;
  return say(s, lhloReply(s));
}

function lhloReply(s: SessionState): Reply {
  const extensions = ['8BITMIME', 'CHUNKING'];
  if (s.options.dsn === true) extensions.push('DSN');
  extensions.push('ENHANCEDSTATUSCODES', 'PIPELINING');
  if (s.limits.maxMessageOctets > 0) extensions.push(`SIZE ${s.limits.maxMessageOctets}`);
  if (s.options.smtputf8 === true) extensions.push('SMTPUTF8');
  if (s.startTls !== undefined && s.client.tls === undefined) extensions.push('STARTTLS');
  if (s.options.transfers === true) extensions.push('XTRANSFER');
  const room = maxReplyOctets - 6 - extensions.reduce((octets, line) => octets + line.length + 6, 0);
  let name = s.options.hostname.slice(0, room);
  if (s.trusted) {
    const trusted = [xclientOffer, 'XRCPTFORWARD'];
    const left = room - xclientOffer.length - 'XRCPTFORWARD'.length - 12;
    if (name.length + xclientMore.length <= left) trusted[0] += xclientMore;
    name = name.slice(0, left);
    extensions.push(...trusted);
  }
  return { code: 250, lines: [name, ...extensions] };
}
