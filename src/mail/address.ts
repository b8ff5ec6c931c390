/**
 * Mail addresses as octets. A string here holds one octet a character (latin1), as everywhere inside the
 * program, so 8-bit local parts (RFC 6531) pass through unchanged.
 */
declare const brand: unique symbol;

/** The part left of the last `@`, in the form it had on the wire (a quoted local part keeps its quotes). */
export type LocalPart = string & { readonly [brand]: 'LocalPart' };
/** A domain or address literal as it was written; compare with {@link sameDomain}. Empty only in an unqualified address. */
export type Domain = string & { readonly [brand]: 'Domain' };

/** A mailbox: local part and domain as they were written, one octet a character. Made by `parseAddress` only. */
export interface Address {
  readonly local: LocalPart;
  readonly domain: Domain;
}

/** The reverse path of RFC 5321 §4.1.1.2; null is `<>`, the sender of bounces. */
export type ReversePath = Address | null;

/** Why a text is not an address; `text` is for a person. */
export interface AddressSyntaxError {
  readonly kind: 'syntax';
  readonly text: string;
}

/** RFC 5321 §4.5.3.1: a local part has at most 64 octets; Exim and most others allow far more, so only the path is bounded. */
export const maxPathOctets = 1024;

/** `local@domain`, or only `local` for an unqualified address, or the empty string for the null path. */
export function formatAddress(address: ReversePath): string {
  if (address === null) return '';
  return address.domain === '' ? address.local : `${address.local}@${address.domain}`;
}

/** The path form for the wire: `<local@domain>`, `<>` for null. */
export function formatPath(address: ReversePath): string {
  return `<${formatAddress(address)}>`;
}

/** Octet for octet: as a server was told of one, not who it is. */
export function sameAddress(a: Address, b: Address): boolean {
  return a.local === b.local && a.domain === b.domain;
}

/** As {@link sameAddress}; `<>` is the same as itself only. */
export function samePath(a: ReversePath, b: ReversePath): boolean {
  return a === b || (a !== null && b !== null && sameAddress(a, b));
}

/** Domains compare without regard to ASCII case (RFC 5321 §2.4). */
export function sameDomain(a: Domain, b: Domain): boolean {
  return a === b || a.toLowerCase() === b.toLowerCase();
}

/**
 * Reads `local@domain` with no angle brackets (RFC 5321 §4.1.2, with the liberties Exim takes: dots anywhere in an
 * atom local part are refused only where two meet or one stands at an end).
 * Its characters are octets: give an address of RFC 6531 as `Buffer.from(text).toString('latin1')`.
 * An address without `@` is unqualified: its domain is empty, and the caller decides whether that is allowed.
 */
export function parseAddress(text: string): Address | AddressSyntaxError {
  if (text.length > maxPathOctets) return syntax('address is too long');
  if (/[^\x00-\xff]/.test(text)) return syntax('not octets: a character is above 255');
  const end = text.charCodeAt(0) === quote ? quotedEnd(text) : atomEnd(text);
  if (typeof end !== 'number') return end;
  if (end === 0) return syntax('missing local part');
  const local = text.slice(0, end);
  if (end === text.length) return { local: local as LocalPart, domain: '' as Domain };
  if (text[end] !== '@') return syntax('malformed address: unexpected text after the local part');
  const domain = text.slice(end + 1);
  const bad = badDomain(domain);
  return bad ?? { local: local as LocalPart, domain: domain as Domain };
}

/** True for the error branch of {@link parseAddress}. */
export function isSyntaxError(result: Address | AddressSyntaxError): result is AddressSyntaxError {
  return 'kind' in result;
}

const quote = 0x22;
const backslash = 0x5c;
const dot = 0x2e;

function syntax(text: string): AddressSyntaxError {
  return { kind: 'syntax', text };
}

/** RFC 5321 atext, and any octet above 127 (RFC 6531). */
function isAtext(c: number): boolean {
  if (c >= 0x61 && c <= 0x7a) return true;
  if (c >= 0x40 && c <= 0x5a) return c !== 0x40;
  if (c >= 0x30 && c <= 0x39) return true;
  if (c > 0x7f) return true;
  return (
    c === 0x5f ||
    c === 0x2d ||
    c === 0x2b ||
    (c > 0x20 && c < 0x7f && "!#$%&'*/=?^`{|}~".includes(String.fromCharCode(c)))
  );
}

function atomEnd(text: string): number | AddressSyntaxError {
  let i = 0;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x40) break;
    if (c === dot) {
      if (i === 0) return syntax('starting a local part with "." is not allowed');
      if (text.charCodeAt(i - 1) === dot) return syntax('two dots in a row are not allowed in a local part');
    } else if (!isAtext(c)) return syntax('malformed address: illegal character in local part');
  }
  if (i > 0 && text.charCodeAt(i - 1) === dot) return syntax('ending a local part with "." is not allowed');
  return i;
}

function quotedEnd(text: string): number | AddressSyntaxError {
  for (let i = 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20 || c === 0x7f) return syntax('control character in quoted local part');
    if (c === backslash) {
      i++;
      const escaped = text.charCodeAt(i);
      if (!(escaped >= 0x20 && escaped !== 0x7f)) return syntax('control character in quoted local part');
    } else if (c === quote) return i + 1;
  }
  return syntax('unclosed quote in local part');
}

function badDomain(domain: string): AddressSyntaxError | undefined {
  if (domain === '') return syntax('missing or malformed domain after "@"');
  if (domain[0] === '[') {
    return /^\[[!-Z^-~]+\]$/.test(domain) ? undefined : syntax('malformed address literal');
  }
  if (domain.length > 255) return syntax('domain is too long');
  let labelStart = 0;
  for (let i = 0; i <= domain.length; i++) {
    const c = i < domain.length ? domain.charCodeAt(i) : dot;
    if (c === dot) {
      if (i === labelStart) return syntax('domain missing or malformed: empty label');
      labelStart = i + 1;
    } else if (!isLabelOctet(c)) return syntax('domain missing or malformed: illegal character');
  }
  return undefined;
}

function isLabelOctet(c: number): boolean {
  return (
    (c >= 0x61 && c <= 0x7a) ||
    (c >= 0x41 && c <= 0x5a) ||
    (c >= 0x30 && c <= 0x39) ||
    c === 0x2d ||
    c === 0x5f ||
    c > 0x7f
  );
}
