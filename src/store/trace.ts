/** The trace fields that the store puts in front of a message, as Dovecot's lmtp writes them (RFC 5321 §4.4, seen in its files). */
import type { Address, ReversePath } from '../mail/address.ts';
import { formatDate } from '../mail/received.ts';
import { quoteLocalPart, unquoteLocalPart } from '../mail/local-part.ts';

export interface TraceFacts {
  readonly sender: ReversePath;
  /** The LHLO argument. */
  readonly lhlo: string;
  /** The client's IP address, written as it is (Dovecot puts no `IPv6:` before one); absent for a UNIX socket. */
  readonly remoteAddress?: string;
  /** This store's name. */
  readonly hostname: string;
  /** The session's id with `:T2` for its second transaction and so on. */
  readonly transactionId: string;
  /** The only accepted recipient; absent where there are several, since all of them then share one text. */
  readonly onlyRecipient?: Address;
  readonly receivedAtMs: number;
}

/** Return-Path, Delivered-To (one recipient) and Received; every line ends in CRLF. */
export function traceFields(facts: TraceFacts): string {
  const sender = mailboxText(facts.sender);
  const recipient = facts.onlyRecipient === undefined ? undefined : mailboxText(facts.onlyRecipient);
  const deliveredTo = recipient === undefined ? '' : `Delivered-To: ${recipient}\r\n`;
  const client = facts.remoteAddress === undefined ? '' : ` ([${facts.remoteAddress}])`;
  const forWhom = recipient === undefined ? '' : `\r\n\tfor <${recipient}>`;
  return (
    `Return-Path: <${sender}>\r\n${deliveredTo}` +
    `Received: from ${printable(facts.lhlo)}${client}\r\n\tby ${facts.hostname} with LMTP\r\n\tid ${facts.transactionId}\r\n` +
    `\t(envelope-from <${sender}>)${forWhom}; ${formatDate(facts.receivedAtMs)}\r\n`
  );
}

/** An address with its local part quoted only where it must be; the null path is empty. */
export function mailboxText(address: ReversePath): string {
  if (address === null) return '';
  const local = quoteLocalPart(unquoteLocalPart(address.local));
  return address.domain === '' ? local : `${local}@${address.domain}`;
}

/** Control octets would end the field; a name of endless length would break its line. */
function printable(text: string): string {
  return text.slice(0, 255).replace(/[\x00-\x1f\x7f]/g, '?');
}
