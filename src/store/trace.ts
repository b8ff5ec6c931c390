/** The trace fields that the store puts in front of a message, as Dovecot's lmtp writes them (RFC 5321 §4.4, seen in its files). */
import { isSyntaxError, parseAddress } from '../mail/address.ts';
import type { Address, ReversePath } from '../mail/address.ts';
import { formatDate } from '../mail/received.ts';
import { quoteLocalPart, unquoteLocalPart } from '../mail/local-part.ts';

export interface TraceFacts {
  readonly sender: ReversePath;
  /** The name in the LHLO argument; empty where there is none. */
  readonly lhlo: string;
  /** The client's IP address, written as it is (Dovecot puts no `IPv6:` before one); absent for a UNIX socket. */
  readonly remoteAddress?: string;
  /** Where the client came over TLS. */
  readonly tls?: { readonly protocol: string; readonly cipher: string; readonly bits: number };
  /** Behind `with` (RFC 3848). Default `LMTP`. */
  readonly protocol?: string;
  /** This store's name. */
  readonly hostname: string;
  /** The session's id with `:T2` for its second transaction and so on. */
  readonly transactionId: string;
  /** The only accepted recipient; absent where there are several, since all of them then share one text. */
  readonly onlyRecipient?: Address;
  /** Its ORCPT parameter in wire form (RFC 3461 §4.2). */
  readonly originalRecipient?: string;
  /**
   * Dovecot's `lmtp_hdr_delivery_address`: the address that Delivered-To and Received name, `final` by default. With
   * `original` that is ORCPT's; without one Received has the final one and there is no Delivered-To.
   */
  readonly deliveryAddress?: DeliveryAddress;
  /** Dovecot's `lmtp_add_received_header`. Default true. */
  readonly addReceived?: boolean;
  readonly receivedAtMs: number;
}

export type DeliveryAddress = 'none' | 'final' | 'original';

/** Return-Path, Delivered-To (one recipient) and Received; every line ends in CRLF. */
export function traceFields(facts: TraceFacts): string {
  const { deliveredTo } = named(facts);
  const delivered = deliveredTo === undefined ? '' : `Delivered-To: ${deliveredTo}\r\n`;
  const received = facts.addReceived === false ? '' : receivedField(facts);
  return `Return-Path: <${mailboxText(facts.sender)}>\r\n${delivered}${received}`;
}

/** Received alone, as a server writes it that hands the message on. */
export function receivedField(facts: TraceFacts): string {
  const { recipient } = named(facts);
  const client = facts.remoteAddress === undefined ? '' : ` ([${facts.remoteAddress}])`;
  const forWhom = recipient === undefined ? '' : `\r\n\tfor <${recipient}>`;
  return (
    `Received: from ${facts.lhlo === '' ? 'unknown' : printable(facts.lhlo)}${client}\r\n${protection(facts)}` +
    `\tby ${facts.hostname} with ${facts.protocol ?? 'LMTP'}\r\n\tid ${facts.transactionId}\r\n` +
    `\t(envelope-from <${mailboxText(facts.sender)}>)${forWhom}; ${formatDate(facts.receivedAtMs)}\r\n`
  );
}

/** The addresses of Delivered-To and of Received's `for`. */
function named(facts: TraceFacts): { readonly deliveredTo?: string; readonly recipient?: string } {
  const { onlyRecipient, originalRecipient, deliveryAddress = 'final' } = facts;
  if (onlyRecipient === undefined || deliveryAddress === 'none') return {};
  const final = mailboxText(onlyRecipient);
  if (deliveryAddress === 'final') return { deliveredTo: final, recipient: final };
  const original = originalRecipient === undefined ? undefined : originalAddress(originalRecipient);
  return original === undefined ? { recipient: final } : { deliveredTo: original, recipient: original };
}

/** What ORCPT names, where it is an address of the Internet. */
function originalAddress(orcpt: string): string | undefined {
  const xtext = /^rfc822;(.+)$/i.exec(orcpt)?.[1];
  if (xtext === undefined) return undefined;
  const text = xtext.replace(/\+([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const address = parseAddress(text.replace(/^<(.*)>$/, '$1'));
  return isSyntaxError(address) ? undefined : mailboxText(address);
}

function protection({ tls }: TraceFacts): string {
  if (tls === undefined) return '';
  const bits = tls.bits === 0 ? '' : ` (${tls.bits}/${tls.bits} bits)`;
  return `\t(using ${tls.protocol} with cipher ${tls.cipher}${bits})\r\n`;
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
