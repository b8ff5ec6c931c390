import { isPositive, type Reply } from '../../../mail/reply.ts';
import { isHeloName } from '../../../protocol/command.ts';
import type { Next } from '../../../protocol/dialogue.ts';
import {
  abandonTransaction,
  deliverVerdict,
  offersPipelining,
  protocolError,
  say,
  type SessionState,
} from '../state.ts';

/** HELO and EHLO (RFC 5321 §4.1.1.1). Either ends a transaction that is under way. */
export async function helo(s: SessionState, verb: 'HELO' | 'EHLO', argument: string): Promise<Next> {
  const junk = s.handler.policy?.acceptJunkHelo === true && argument !== '';
  if (!junk && !isHeloName(argument, s.options.heloAllowChars ?? '')) {
    return protocolError(s, verb, 501, undefined, `Syntactically invalid ${verb} argument(s)`);
  }
  abandonTransaction(s, verb);
  const verdict = await s.handler.helo({ verb, argument });
  if (!isPositive(verdict.reply) || verdict.close === true) return deliverVerdict(s, verdict);
  s.helo = verb;
  s.grammar = { ...s.grammar, parameters: verb === 'EHLO' };
  return say(s, verb === 'EHLO' ? withExtensions(s, verdict.reply) : verdict.reply);
}

/** The extension lines in Exim's order. RFC 2034 §4 keeps enhanced statuses out of this reply. */
function withExtensions(s: SessionState, greeting: Reply): Reply {
  const { limits, dsn, prdr, smtputf8 } = s.options;
  const extensions = [limits.maxMessageOctets > 0 ? `SIZE ${limits.maxMessageOctets}` : 'SIZE', '8BITMIME'];
  if (dsn === true) extensions.push('DSN');
  if (offersPipelining(s)) extensions.push('PIPELINING');
  extensions.push('ENHANCEDSTATUSCODES');
  if (prdr === true) extensions.push('PRDR');
  if (smtputf8 === true) extensions.push('SMTPUTF8');
  extensions.push('HELP');
  return { code: greeting.code, lines: [...greeting.lines, ...extensions] };
}
