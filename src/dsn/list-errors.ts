/** Mail to the owner of a redirection list about malformed addresses in it (Exim manual, `syntax_errors_to`). */
import { type Address, formatAddress } from '../mail/address.ts';
import type { QueueId } from '../mail/message-id.ts';
import { formatDate } from '../mail/received.ts';
import { printable } from './failure.ts';

export interface ListErrors {
  readonly id: QueueId;
  readonly to: Address;
  readonly router: string;
  /** The administrator's words, in front. */
  readonly text?: string;
  readonly errors: readonly string[];
  /** The list had good addresses too. */
  readonly others: boolean;
  readonly primaryHostname: string;
  /** What stands in `From:`. */
  readonly from: string;
  readonly nowMs: number;
}

/** Header, blank line and body, every line ended by CRLF. */
export function composeListErrors(e: ListErrors): Uint8Array {
  const date = formatDate(e.nowMs);
  const to = printable(formatAddress(e.to));
  const lines = [
    `Received: by ${e.primaryHostname} with local (Mailchute)`,
    `\tid ${e.id}`,
    `\tfor ${to};`,
    `\t${date}`,
    'Auto-Submitted: auto-replied',
    `From: ${e.from}`,
    `To: ${to}`,
    'Subject: error(s) in forwarding or filtering',
    `Message-Id: <E${e.id}@${e.primaryHostname}>`,
    `Date: ${date}`,
    '',
    ...(e.text === undefined ? [] : [...e.text.split(/\r?\n/).map(printable), '']),
    `The ${e.router} router found errors in a list of addresses:`,
    '',
    ...e.errors.map((error) => `  ${printable(error)}`),
    '',
    e.others ? 'The other addresses were used.' : 'There was no valid address.',
    '',
  ];
  return Buffer.from(lines.join('\r\n'), 'latin1');
}
