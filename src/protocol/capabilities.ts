/** What a server offers in its EHLO or LHLO reply (RFC 5321 §4.1.1.1, RFC 2033 §4.1). */
import type { Reply } from '../mail/reply.ts';

/** What a server offered in its EHLO or LHLO reply. */
export interface Capabilities {
  readonly pipelining: boolean;
  /** BDAT of RFC 3030. */
  readonly chunking: boolean;
  readonly eightBitMime: boolean;
  readonly binaryMime: boolean;
  readonly smtputf8: boolean;
  readonly dsn: boolean;
  /** Cyrus's `RCPT TO:<...> IGNOREQUOTA`. */
  readonly ignoreQuota: boolean;
  /** Mailchute's own XTRANSFER. */
  readonly transfer: boolean;
  /** Octets of RFC 1870; 0 says no fixed limit; absent where SIZE was not offered. */
  readonly size?: number;
  /** Every keyword in upper case with its parameters as they stood. */
  readonly keywords: ReadonlyMap<string, string>;
}

const maxSizeDigits = 20;

/** Reads the lines after the first; what is not a keyword is passed over, since some servers write prose there. */
export function parseCapabilities(reply: Reply): Capabilities {
  const keywords = new Map<string, string>();
  for (let i = 1; i < reply.lines.length; i++) {
    const match = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:[ =](.*))?$/.exec(reply.lines[i] ?? '');
    if (match?.[1] !== undefined) keywords.set(match[1].toUpperCase(), (match[2] ?? '').trim());
  }
  const size = keywords.get('SIZE');
  return {
    pipelining: keywords.has('PIPELINING'),
    chunking: keywords.has('CHUNKING'),
    eightBitMime: keywords.has('8BITMIME'),
    binaryMime: keywords.has('BINARYMIME'),
    smtputf8: keywords.has('SMTPUTF8'),
    dsn: keywords.has('DSN'),
    ignoreQuota: keywords.has('IGNOREQUOTA'),
    transfer: keywords.has('XTRANSFER'),
    ...(size === undefined ? {} : { size: sizeLimit(size) }),
    keywords,
  };
}

/** A server known only by HELO offers nothing. */
export const noCapabilities: Capabilities = parseCapabilities({ code: 250, lines: [''] });

function sizeLimit(text: string): number {
  return /^\d+$/.test(text) && text.length <= maxSizeDigits ? Number(text) : 0;
}
