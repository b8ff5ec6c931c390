/** Bounce messages: multipart/report with a text, a delivery-status part (RFC 3464) and the message or its headers. */
import { type Address, formatAddress, type ReversePath } from '../mail/address.ts';
import { findHeader, headerBody, type HeaderField } from '../mail/headers.ts';
import type { QueueId } from '../mail/message-id.ts';
import { formatDate } from '../mail/received.ts';
import { replySummary } from '../mail/reply.ts';
import { type FailedRecipient, printable } from './failure.ts';
import { failureParagraph, outputParagraph, wrapped } from './text-part.ts';

export interface BounceFacts {
  /** Id of the bounce itself. */
  readonly id: QueueId;
  /** Who gets it. */
  readonly to: Address;
  readonly failures: readonly FailedRecipient[];
  readonly primaryHostname: string;
  /** What stands in `From:`. */
  readonly from: string;
  /** What stands in `Reply-To:`, if anything (Exim: `errors_reply_to`). */
  readonly replyTo?: string;
  readonly nowMs: number;
  /** The message that failed. */
  readonly original: {
    readonly sender: ReversePath;
    readonly receivedAtMs: number;
    /** ENVID of RFC 3461, in xtext. */
    readonly envid?: string;
    readonly headers: readonly HeaderField[];
    /** The header section with its blank line, as it would be handed on. */
    readonly headerSection: Uint8Array;
    /** As much of the body as is returned; absent: headers only (RET=HDRS, or `bounce_return_body` off). */
    readonly body?: Uint8Array;
    /** Size of the whole message where `body` is not all of it. */
    readonly truncatedFrom?: number;
  };
  /** `bounce_message_text`: a line of the administrator's after the first one. */
  readonly extraText?: string;
}

export interface Bounce {
  /** Header, blank line and body, every line ended by CRLF. */
  readonly content: Uint8Array;
  /** Octets above 127 are in it; only the returned message can hold any. */
  readonly eightBit: boolean;
}

/** Composes a bounce. */
export function composeBounce(facts: BounceFacts): Bounce {
  const { original } = facts;
  const boundary = chooseBoundary(facts);
  const eightBit =
    hasHighOctets(original.headerSection) || (original.body !== undefined && hasHighOctets(original.body));
  const returned = original.body === undefined ? 'text/rfc822-headers' : 'message/rfc822';
  const head =
    `${header(facts, boundary, eightBit)}\r\n` +
    `--${boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n${textPart(facts)}\r\n` +
    `--${boundary}\r\nContent-Type: message/delivery-status\r\n\r\n${statusPart(facts)}\r\n` +
    `--${boundary}\r\nContent-Type: ${returned}\r\n${eightBit ? 'Content-Transfer-Encoding: 8bit\r\n' : ''}\r\n`;
  const tail = `\r\n--${boundary}--\r\n`;
  const returnPath = `Return-path: <${printable(formatAddress(original.sender))}>\r\n`;
  const content = Buffer.concat([
    Buffer.from(head + returnPath, 'latin1'),
    original.headerSection,
    ...(original.body === undefined ? [] : [original.body]),
    Buffer.from(tail, 'latin1'),
  ]);
  return { content, eightBit };
}

function header(facts: BounceFacts, boundary: string, eightBit: boolean): string {
  const { id, to, primaryHostname: host } = facts;
  const date = formatDate(facts.nowMs);
  const messageId = findHeader(facts.original.headers, 'message-id');
  const inReplyTo = messageId === undefined ? '' : oneId(headerBody(messageId));
  const failed = facts.failures.map((f) => printable(formatAddress(f.original ?? f.address)));
  return (
    `Received: by ${host} with local (Mailchute)\r\n\tid ${id}\r\n\tfor ${printable(formatAddress(to))};\r\n\t${date}\r\n` +
    `X-Failed-Recipients: ${failed.join(',\r\n  ')}\r\n` +
    'Auto-Submitted: auto-replied\r\n' +
    (facts.replyTo === undefined ? '' : `Reply-To: ${facts.replyTo}\r\n`) +
    `From: ${facts.from}\r\n` +
    `To: ${printable(formatAddress(to))}\r\n` +
    (inReplyTo === '' ? '' : `In-Reply-To: ${inReplyTo}\r\nReferences: ${inReplyTo}\r\n`) +
    `Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="${boundary}"\r\n` +
    'MIME-Version: 1.0\r\n' +
    (eightBit ? 'Content-Transfer-Encoding: 8bit\r\n' : '') +
    `Subject: Mail delivery failed: returning message to sender\r\n` +
    `Message-Id: <E${id}@${host}>\r\n` +
    `Date: ${date}\r\n`
  );
}

function textPart(facts: BounceFacts): string {
  const { original } = facts;
  const sentBy =
    original.sender !== null && formatAddress(original.sender) === formatAddress(facts.to)
      ? 'A message that you sent'
      : `A message sent by <${printable(formatAddress(original.sender))}>`;
  const intro = `${sentBy} could not be delivered to all of its recipients. The error is permanent, and no further attempt will be made. These addresses failed:`;
  let out = `The mail system at ${facts.primaryHostname} wrote this message by itself.\r\n`;
  if (facts.extraText !== undefined) out += `${printable(facts.extraText)}\r\n`;
  out += `\r\n${wrapped(intro, '')}`;
  for (const failure of facts.failures) out += failureParagraph(failure);
  const spoke = facts.failures.filter((f) => f.status.output !== undefined);
  if (spoke.length > 0) out += '\r\nThe following text was generated during the delivery attempts:\r\n';
  for (const failure of spoke) out += outputParagraph(failure);
  if (original.body === undefined)
    out += '\r\nThe header lines of the message follow; its body is not returned.\r\n';
  else if (original.truncatedFrom !== undefined)
    out += `\r\n${wrapped(`The message is ${original.truncatedFrom} octets long; only the beginning of it follows.`, '')}`;
  return out;
}

function statusPart(facts: BounceFacts): string {
  let out =
    facts.original.envid === undefined
      ? ''
      : `Original-Envelope-Id: ${printable(decodeXtext(facts.original.envid))}\r\n`;
  out += `Reporting-MTA: dns; ${facts.primaryHostname}\r\nArrival-Date: ${formatDate(facts.original.receivedAtMs)}\r\n`;
  for (const f of facts.failures) {
    out += '\r\n';
    if (f.orcpt !== undefined) out += `Original-Recipient: ${printable(f.orcpt)}\r\n`;
    else if (f.original !== undefined)
      out += `Original-Recipient: rfc822;${printable(formatAddress(f.original))}\r\n`;
    out += `Final-Recipient: rfc822;${printable(formatAddress(f.hidden === true ? (f.original ?? f.address) : f.address))}\r\nAction: failed\r\nStatus: ${statusCode(f)}\r\n`;
    if (f.status.peer !== undefined) out += `Remote-MTA: ${remoteMta(f.status.peer)}\r\n`;
    const { reply } = f.status;
    if (reply !== undefined)
      out += `Diagnostic-Code: smtp; ${replySummary(reply).split('\\n').map(printable).join('\r\n ')}\r\n`;
    else out += `Diagnostic-Code: X-Mailchute; ${printable(f.status.text)}\r\n`;
  }
  return out;
}

/** A bounce reports a failure, so a temporary code becomes the permanent one of the same kind (RFC 3464 §2.3.4). */
function statusCode(f: FailedRecipient): string {
  const code = f.status.reply?.status ?? f.status.code;
  if (code !== undefined) return code.startsWith('5.') ? code : `5.${code.slice(2)}`;
  return f.timedOut ? '5.4.7' : '5.0.0';
}

/** A name for a TCP peer, of type `dns`; a socket's path is of our own type. */
function remoteMta(peer: string): string {
  const name = peer.replace(/ \[.*$/s, '');
  return name.startsWith('/') || name.includes(' ')
    ? `x-local; ${printable(peer)}`
    : `dns; ${printable(name)}`;
}

/** RFC 3461 §4: `+41` is `A`. */
function decodeXtext(text: string): string {
  return text.replace(/\+([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** One message id; whatever else a broken field has would break ours. */
function oneId(body: string): string {
  return /<[!-;=?-~]+>/.exec(body)?.[0] ?? '';
}

function chooseBoundary(facts: BounceFacts): string {
  const { headerSection, body } = facts.original;
  for (let n = 0; ; n++) {
    const boundary = `${facts.id}-report-${n}`;
    const inside = (part: Uint8Array): boolean =>
      Buffer.from(part.buffer, part.byteOffset, part.byteLength).includes(`--${boundary}`, 0, 'latin1');
    const spoken = facts.failures.some((f) => f.status.output?.includes(`--${boundary}`) === true);
    if (!spoken && !inside(headerSection) && (body === undefined || !inside(body))) return boundary;
  }
}

function hasHighOctets(bytes: Uint8Array): boolean {
  return /[\x80-\xff]/.test(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'));
}
