/** Mail to those of `freeze_tell` that a message was frozen. */
import { type Address, formatAddress, type ReversePath } from '../mail/address.ts';
import type { QueueId } from '../mail/message-id.ts';
import { formatDate } from '../mail/received.ts';
import { printable } from './failure.ts';

export interface FreezeNotice {
  /** Id of the notice itself. */
  readonly id: QueueId;
  readonly to: readonly Address[];
  /** The message that was frozen. */
  readonly frozen: QueueId;
  readonly sender: ReversePath;
  /** Why, in the words of the log; undefined where an ACL asked for it when the message came. */
  readonly reason: string | undefined;
  /** Who waits for it, with the last error of each where there is one. */
  readonly waiting: readonly { readonly address: Address; readonly error?: string }[];
  readonly primaryHostname: string;
  /** What stands in `From:`. */
  readonly from: string;
  readonly nowMs: number;
}

const maxListed = 100;

/** Header, blank line and body, every line ended by CRLF. */
export function composeFreezeNotice(n: FreezeNotice): Uint8Array {
  const date = formatDate(n.nowMs);
  const arrival = n.reason === undefined;
  const reason = arrival || n.reason === '' ? '' : ` (${printable(n.reason)})`;
  const left = n.waiting.length - maxListed;
  const lines = [
    `Received: by ${n.primaryHostname} with local (Mailchute)`,
    `\tid ${n.id};`,
    `\t${date}`,
    'Auto-Submitted: auto-replied',
    `From: ${n.from}`,
    `To: ${n.to.map((a) => printable(formatAddress(a))).join(',\r\n ')}`,
    `Subject: Message frozen${arrival ? ' on arrival' : ''}`,
    `Message-Id: <E${n.id}@${n.primaryHostname}>`,
    `Date: ${date}`,
    '',
    arrival
      ? `Message ${n.frozen} was frozen on arrival by ACL.`
      : `Message ${n.frozen} has been frozen${reason}.`,
    `The sender is <${printable(formatAddress(n.sender))}>.`,
    '',
    'These addresses wait for it:',
    '',
    ...n.waiting
      .slice(0, maxListed)
      .map(
        ({ address, error }) =>
          `  ${printable(formatAddress(address))}${error === undefined ? '' : `: ${printable(error)}`}`,
      ),
    ...(left > 0 ? [`  and ${left} more`] : []),
    '',
  ];
  return Buffer.from(lines.join('\r\n'), 'latin1');
}
