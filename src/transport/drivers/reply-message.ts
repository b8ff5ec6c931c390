/** Composes the message of an autoreply transport (Exim manual, "The autoreply transport"; RFC 3834). */
import { type Address, formatAddress } from '../../mail/address.ts';
import type { QueueId } from '../../mail/message-id.ts';
import { formatDate } from '../../mail/received.ts';

export interface ReplyFacts {
  readonly id: QueueId;
  readonly recipients: readonly [Address, ...Address[]];
  /** Octet strings; a value may be folded. */
  readonly fields: {
    readonly from: string;
    readonly replyTo?: string;
    readonly to?: string;
    readonly cc?: string;
    readonly subject?: string;
    /** Whole lines. */
    readonly more?: string;
  };
  /** The Message-Id of what is answered. */
  readonly inReplyTo?: string;
  /** The References of what is answered. */
  readonly references?: string;
  /** Lines parted by LF. */
  readonly body: string;
  readonly primaryHostname: string;
  readonly nowMs: number;
}

/** Header, blank line and body with CRLF. `undefined`: a header line holds what no header line may. */
export function composeReply(f: ReplyFacts): Buffer | undefined {
  const { fields } = f;
  const all = [fields.from, fields.replyTo, fields.to, fields.cc, fields.subject];
  // Octets above 127 are taken, line breaks only where white space follows.
  if (all.some((text) => text !== undefined && /[\x00-\x08\x0b-\x1f\x7f]|\n(?![ \t])/.test(text)))
    return undefined;
  const date = formatDate(f.nowMs);
  const to = f.recipients.length === 1 ? `\n\tfor ${formatAddress(f.recipients[0])}` : '';
  const line = (name: string, value: string | undefined): string =>
    value === undefined || value === '' ? '' : `${name}: ${value}\n`;
  const references = [f.references, f.inReplyTo]
    .filter((text) => text !== undefined && text !== '')
    .join('\n ');
  const head =
    `Received: by ${f.primaryHostname} with local (Mailchute)\n\tid ${f.id}${to};\n\t${date}\n` +
    line('From', fields.from) +
    line('Reply-To', fields.replyTo) +
    line('To', fields.to) +
    line('Cc', fields.cc) +
    line('Subject', fields.subject) +
    line('In-Reply-To', f.inReplyTo) +
    line('References', references) +
    'Auto-Submitted: auto-replied\n' +
    (fields.more === undefined || fields.more === '' ? '' : `${fields.more.replace(/\n*$/, '')}\n`) +
    `Message-Id: <E${f.id}@${f.primaryHostname}>\n` +
    `Date: ${date}\n`;
  const body = f.body === '' || f.body.endsWith('\n') ? f.body : `${f.body}\n`;
  return Buffer.from(`${head}\n${body}`.replace(/\r?\n/g, '\r\n'), 'latin1');
}
