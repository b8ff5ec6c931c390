import type { Recipient } from '../../../mail/envelope.ts';
import { isPositive } from '../../../mail/reply.ts';
import { parseCommand } from '../../../protocol/command.ts';
import type { Next } from '../../../protocol/dialogue.ts';
import type { Following } from '../handler.ts';
import { deliverVerdict, protocolError, sayText, type SessionState } from '../state.ts';

/** RCPT (RFC 5321 §4.1.1.3). Beyond the bound each further one is put off (Exim: `recipients_max`). */
export async function rcpt(s: SessionState, recipient: Recipient): Promise<Next> {
  if (!s.inTransaction) {
    noteRefusal(s, '503 sender not yet given');
    // Behind a MAIL that was refused a pipelining client cannot have known better.
    if (s.mailRefused && s.helo === 'EHLO') return sayText(s, 503, '5.5.1', 'sender not yet given');
    return protocolError(s, 'RCPT', 503, '5.5.1', 'sender not yet given');
  }
  const max = s.options.limits.maxRecipients;
  if (max > 0 && s.recipients >= max) {
    const all = s.options.rejectTooMany === true;
    if (s.recipients++ === max) {
      s.handler.protocolError({
        kind: 'limit',
        reason: `too many recipients: ${all ? 'message rejected' : 'excess temporarily rejected'}`,
        closing: false,
      });
    }
    noteRefusal(s, 'too many recipients');
    return all
      ? sayText(s, 552, '5.5.3', 'too many recipients')
      : sayText(s, 452, '4.5.3', 'too many recipients');
  }
  s.recipients++;
  const verdict = await s.handler.rcpt(recipient, () => following(s));
  if (isPositive(verdict.reply)) s.accepted++;
  else noteRefusal(s, verdict.reply.lines.join('\n'));
  return deliverVerdict(s, verdict);
}

/** Of a batch, no more are looked ahead at. */
const maxFollowing = 100;

function following(s: SessionState): Following {
  const recipients: Recipient[] = [];
  let data = false;
  // What a line is rewritten to is known when it is its turn.
  if (s.handler.rewriteLine !== undefined) return { recipients, data };
  const max = s.options.limits.maxRecipients;
  const room = max > 0 ? Math.min(maxFollowing, max - s.recipients) : maxFollowing;
  for (const line of s.receiver.following(room + 1)) {
    const command = parseCommand(line, s.grammar);
    data = command.verb === 'DATA';
    if (command.verb !== 'RCPT' || recipients.length === room) break;
    recipients.push(command.recipient);
  }
  return { recipients, data };
}

/** Remembers what refused recipients were told, for the answer to a DATA without any (Exim repeats it there). */
export function noteRefusal(s: SessionState, text: string): void {
  s.refusal = s.refusal === undefined || s.refusal === text ? text : null;
}
