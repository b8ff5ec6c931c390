/** MAIL and RCPT as a client writes them, with the parameters the server offers to take. */
import { formatPath } from '../mail/address.ts';
import type { Envelope, Recipient } from '../mail/envelope.ts';
import type { Capabilities } from './capabilities.ts';
import { commandLine } from './flight.ts';

/** Extensions without which the message must not be handed on (RFC 6531 §3.2, RFC 3030 §3). */
export type RequiredExtension = 'SMTPUTF8' | 'BINARYMIME';

/** The first extension the message needs and the server lacks. */
export function missingExtension(
  envelope: Omit<Envelope, 'sender' | 'recipients'>,
  c: Capabilities,
): RequiredExtension | undefined {
  if (envelope.smtputf8 === true && !c.smtputf8) return 'SMTPUTF8';
  if (envelope.body === 'BINARYMIME' && !(c.binaryMime && c.chunking)) return 'BINARYMIME';
  return undefined;
}

/** `MAIL FROM:<...>` with its parameters and CRLF. @param sizeOctets for SIZE=, undefined to leave it out */
export function mailLine(
  envelope: Omit<Envelope, 'recipients'>,
  c: Capabilities,
  sizeOctets: number | undefined,
): string {
  let line = `MAIL FROM:${formatPath(envelope.sender)}`;
  if (sizeOctets !== undefined && c.size !== undefined) line += ` SIZE=${sizeOctets}`;
  if (envelope.body === 'BINARYMIME') line += ' BODY=BINARYMIME';
  else if (envelope.body !== undefined && c.eightBitMime) line += ` BODY=${envelope.body}`;
  if (envelope.smtputf8 === true) line += ' SMTPUTF8';
  if (envelope.transfer !== undefined && c.transfer) line += ` XTRANSFER=${envelope.transfer}`;
  if (c.dsn) {
    if (envelope.ret !== undefined) line += ` RET=${envelope.ret}`;
    if (envelope.envid !== undefined) line += ` ENVID=${envelope.envid}`;
  }
  return commandLine(line);
}

/** `RCPT TO:<...>` with its parameters and CRLF. */
export function rcptLine(recipient: Recipient, c: Capabilities, ignoreQuota: boolean): string {
  let line = `RCPT TO:${formatPath(recipient.address)}`;
  if (recipient.transferNumber !== undefined && c.transfer) line += ` XTRANSFER=${recipient.transferNumber}`;
  if (ignoreQuota && c.ignoreQuota) line += ' IGNOREQUOTA';
  if (c.dsn) {
    const { notify, orcpt } = recipient;
    if (notify !== undefined)
      line += ` NOTIFY=${notify === 'never' ? 'NEVER' : notify.join(',').toUpperCase()}`;
    if (orcpt !== undefined) line += ` ORCPT=${orcpt}`;
  }
  return commandLine(line);
}
