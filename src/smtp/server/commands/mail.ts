import type { ReversePath } from '../../../mail/address.ts';
import { isPositive } from '../../../mail/reply.ts';
import type { Next } from '../../../protocol/dialogue.ts';
import type { MailParams } from '../../../protocol/grammar.ts';
import { deliverVerdict, endTransaction, protocolError, sayText, type SessionState } from '../state.ts';

/** MAIL (RFC 5321 §4.1.1.2); a declared size above the bound is refused at once (RFC 1870 §6.1). */
export async function mail(s: SessionState, sender: ReversePath, params: MailParams): Promise<Next> {
  if (s.helo === undefined && s.handler.policy?.requireHelo !== false)
    return protocolError(s, 'MAIL', 503, '5.5.1', 'HELO or EHLO required');
  if (s.inTransaction) return protocolError(s, 'MAIL', 503, '5.5.1', 'sender already given');
  endTransaction(s);
  const max = s.options.limits.maxMessageOctets;
  if (max > 0 && params.declaredSize !== undefined && params.declaredSize > max) {
    s.mailRefused = true;
    s.handler.protocolError({
      kind: 'size',
      sender,
      declared: params.declaredSize,
      max,
    });
    return sayText(s, 552, '5.3.4', 'Message size exceeds maximum permitted');
  }
  s.mailRefused = true;
  const verdict = await s.handler.mail({ sender, params });
  s.inTransaction = isPositive(verdict.reply);
  s.mailRefused = !s.inTransaction;
  return deliverVerdict(s, verdict);
}
