/** The store's replies, worded as Dovecot's lmtp words them, each within what Exim reads of one reply. */
import type { EnhancedStatus, Reply } from '../mail/reply.ts';

/** Exim's lmtp transport keeps a whole reply in 256 octets (DESIGN §8); with code, status and CRLF a reply stays below this. */
export const maxReplyOctets = 239;

export const recipientOk: Reply = { code: 250, status: '2.1.5', lines: ['OK'] };

export function unknownUser(recipient: string, username: string): Reply {
  return about(550, '5.1.1', recipient, `User doesn't exist: ${cut(oneLine(username), 80)}`);
}

export function temporaryError(recipient: string): Reply {
  return about(451, '4.3.0', recipient, 'Temporary internal error');
}

export function tooManyDeliveries(recipient: string): Reply {
  return about(451, '4.3.0', recipient, 'Too many concurrent deliveries for user');
}

export function saved(recipient: string, session: string): Reply {
  return about(250, '2.0.0', recipient, `${session} Saved`);
}

/** The time lets an administrator find the log line that has the reason. */
export function storageError(recipient: string, nowMs: number): Reply {
  const text = 'Internal error occurred. Refer to server log for more information.';
  return about(451, '4.2.0', recipient, `${text} [${localTime(nowMs)}]`);
}

/** @param temporary Dovecot's `quota_full_tempfail`: the sender keeps trying instead of bouncing */
export function overQuota(recipient: string, text: string, temporary: boolean): Reply {
  const words = cut(oneLine(text), 120);
  return temporary ? about(452, '4.2.2', recipient, words) : about(552, '5.2.2', recipient, words);
}

/** RFC 3463: 5.2.3, larger than the mailbox takes; Dovecot asks to try again, which cannot help. */
export function tooBig(recipient: string, text: string): Reply {
  return about(552, '5.2.3', recipient, cut(oneLine(text), 120));
}

export function refused(recipient: string, text: string): Reply {
  return about(550, '5.2.0', recipient, cut(oneLine(text), 120));
}

export function putOff(recipient: string, text: string): Reply {
  return about(451, '4.2.0', recipient, cut(oneLine(text), 120));
}

/** A reply that another server made. @param recipient to be put in front of the text */
export function passedOn(
  code: number,
  status: EnhancedStatus,
  recipient: string | undefined,
  text: string,
): Reply {
  if (recipient !== undefined) return about(code, status, recipient, cut(oneLine(text), 120));
  return { code, status, lines: [cut(oneLine(text), maxReplyOctets - `${code} ${status} \r\n`.length)] };
}

/** `code status <recipient> text` with as much of the recipient as there is room for. */
function about(code: number, status: EnhancedStatus, recipient: string, text: string): Reply {
  const room = maxReplyOctets - `${code} ${status} <> \r\n`.length - text.length;
  return { code, status, lines: [`<${cut(oneLine(recipient), room)}> ${text}`] };
}

/** Too long a text loses its middle, so that the beginning and a domain at the end stay legible. */
function cut(text: string, maxOctets: number): string {
  if (text.length <= maxOctets) return text;
  const head = Math.ceil((maxOctets - 3) / 2);
  return `${text.slice(0, head)}...${text.slice(text.length - (maxOctets - 3 - head))}`;
}

function oneLine(text: string): string {
  return text.replace(/[\x00-\x1f\x7f]/g, '?');
}

function localTime(ms: number): string {
  const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString();
  return `${d.slice(0, 10)} ${d.slice(11, 19)}`;
}
