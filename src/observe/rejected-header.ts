/** What the reject log shows of a message below the line of its rejection (Exim manual, "Reducing or increasing what is logged"). */
import { formatPath, type Address, type ReversePath } from '../mail/address.ts';
import type { HeaderField } from '../mail/headers.ts';
import { logText } from './log-text.ts';

const maxOctets = 8192;
const maxRecipients = 100;

/** Exim marks the fields that it has a use for. */
const marks: Readonly<Record<string, string>> = {
  bcc: 'B',
  cc: 'C',
  from: 'F',
  'message-id': 'I',
  received: 'P',
  'reply-to': 'R',
  sender: 'S',
  to: 'T',
};

/** Envelope and header, line by line, up to 8 KiB. */
export function rejectedHeader(
  sender: ReversePath,
  recipients: readonly Address[],
  fields: readonly HeaderField[],
): string[] {
  const lines = [`Envelope-from: ${logText(formatPath(sender))}`];
  recipients.slice(0, maxRecipients).forEach((r, i) => {
    lines.push(`${i === 0 ? 'Envelope-to: ' : '    '}${logText(formatPath(r))}`);
  });
  if (recipients.length > maxRecipients) lines.push('    ...');
  let left = maxOctets;
  for (const { name, raw } of fields) {
    left -= raw.length;
    if (left < 0) return [...lines, '*** truncated ***'];
    const mark = marks[name.toLowerCase()] ?? ' ';
    const printed = raw
      .replace(/\r?\n$/, '')
      .split(/\r?\n/)
      .map((line) => line.split('\t').map(logText).join('\t'));
    lines.push(`${mark} ${printed.join('\n')}`);
  }
  return lines;
}
