/** Sender rewriting: `${srs_encode` and `inbound_srs` (Exim manual, "Sender Rewriting Scheme (SRS)"). */
import { createHmac } from 'node:crypto';
import { lowerAscii } from './ascii.ts';

const digits32 = 'abcdefghijklmnopqrstuvwxyz234567';
/** Days a rewritten sender is good for. */
const maxAgeDays = 10;
/** Days are counted in ten bits. */
const turn = 0x400;

function today(): number {
  return Math.floor(Date.now() / 86_400_000) % turn;
}

function checksum(address: string, secret: string): string {
  return createHmac('md5', Buffer.from(secret, 'latin1'))
    .update(Buffer.from(lowerAscii(address), 'latin1'))
    .digest('hex')
    .slice(0, 4);
}

/** `SRS0=hash=day=domain=local@host`; the empty address stays empty. Octet strings. */
export function encodeSrs(secret: string, returnPath: string, host: string): string {
  if (returnPath === '') return '';
  const at = returnPath.lastIndexOf('@');
  const written = at < 0 ? returnPath : returnPath.slice(0, at);
  const domain = at < 0 ? '' : returnPath.slice(at + 1);
  const quoted = written.length > 1 && written.startsWith('"') && written.endsWith('"');
  const local = quoted ? written.slice(1, -1) : written;
  const day = today();
  const stamp = digits32.charAt(day >> 5) + digits32.charAt(day & 31);
  const all = `SRS0=${checksum(returnPath, secret)}=${stamp}=${domain}=${local}`;
  return `${quoted ? `"${all}"` : all}@${host}`;
}

/** `good`: signed by us and not too old; always where the secret is empty. */
export interface DecodedSrs {
  readonly recipient: string;
  readonly good: boolean;
}

/** Reads a local part; undefined where it is none of ours. */
export function decodeSrs(localPart: string, secret: string): DecodedSrs | undefined {
  const found = /^SRS0=([0-9a-z]+)=([a-z2-7]{2})=([^=]*)=(.*)$/is.exec(localPart);
  if (found === null) return undefined;
  const [, hash = '', stamp = '', domain = '', local = ''] = found;
  const recipient = `${local}@${domain}`;
  if (secret === '') return { recipient, good: true };
  const [high = 'a', low = 'a'] = lowerAscii(stamp);
  const day = digits32.indexOf(high) * 32 + digits32.indexOf(low);
  const age = (today() - day + turn) % turn;
  return { recipient, good: age <= maxAgeDays && lowerAscii(hash) === checksum(recipient, secret) };
}
