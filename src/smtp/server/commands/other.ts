/** The commands that carry no mail. */
import type { Next } from '../../../protocol/dialogue.ts';
import {
  abandonTransaction,
  deliverVerdict,
  hostnameOf,
  protocolError,
  say,
  sayText,
  type SessionState,
} from '../state.ts';

/** RSET (RFC 5321 §4.1.1.5). */
export function rset(s: SessionState): Next {
  abandonTransaction(s, 'RSET');
  return sayText(s, 250, '2.0.0', 'Reset OK');
}

/** QUIT (RFC 5321 §4.1.1.10). */
export async function quit(s: SessionState): Promise<Next> {
  abandonTransaction(s, 'QUIT');
  s.end = 'QUIT';
  const verdict = await s.handler.quit?.();
  if (verdict !== undefined && verdict.reply.code === 221) say(s, verdict.reply);
  else sayText(s, 221, '2.0.0', `${hostnameOf(s)} closing connection`);
  return 'close';
}

/** HELP (RFC 5321 §4.1.1.8), whatever its argument, as in Exim. */
export function help(s: SessionState): Next {
  return say(s, {
    code: 214,
    status: '2.0.0',
    lines: ['Commands supported:', 'HELO EHLO MAIL RCPT DATA NOOP QUIT RSET HELP VRFY'],
  });
}

/** VRFY (RFC 5321 §3.5): what it says is the handler's to decide. */
export async function vrfy(s: SessionState, argument: string): Promise<Next> {
  if (argument === '') return protocolError(s, 'VRFY', 501, '5.5.4', 'empty address');
  return deliverVerdict(s, await s.handler.vrfy(argument));
}

/** Commands of extensions that were not offered. */
export function notOffered(s: SessionState, verb: 'STARTTLS' | 'AUTH' | 'BDAT'): Next {
  const text = `${verb} command used when ${verb === 'BDAT' ? 'CHUNKING ' : ''}not advertised`;
  return protocolError(s, verb, 503, '5.5.1', text);
}
