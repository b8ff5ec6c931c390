/** Encoded words of header lines (RFC 2047). Texts are octet strings. */

const encodedWord = /=\?([^?\s]*)\?([QqBb])\?([^?]*)\?=/g;
const maxWordOctets = 75;

/**
 * Decodes encoded words. White space between two of them is dropped, a word that cannot be decoded stays as it is, and
 * zero octets become `?`.
 *
 * @param target charset to translate to; undefined leaves the octets of each word as they are
 * @param checkLength words that are longer than RFC 2047 allows are none (Exim: `check_rfc2047_length`)
 */
export function decodeRfc2047(text: string, target: string | undefined, checkLength = true): string {
  if (!text.includes('=?')) return text;
  let out = '';
  let end = 0;
  let afterWord = false;
  for (const found of text.matchAll(encodedWord)) {
    const [whole, charset = '', encoding = '', data = ''] = found;
    const between = text.slice(end, found.index);
    if (checkLength && whole.length > maxWordOctets) continue;
    const octets = encoding.toLowerCase() === 'q' ? fromQ(data) : fromBase64(data);
    if (octets === undefined) continue;
    if (!(afterWord && /^\s*$/.test(between))) out += between;
    const translated = target === undefined ? octets : (translate(octets, charset, target) ?? octets);
    out += translated.replaceAll('\0', '?');
    end = found.index + whole.length;
    afterWord = true;
  }
  return out + text.slice(end);
}

function fromQ(data: string): string | undefined {
  let bad = false;
  const out = data.replace(/_|=([0-9A-Fa-f]{2})|=/g, (m, hex: string | undefined) => {
    if (m === '_') return ' ';
    if (hex === undefined) {
      bad = true;
      return m;
    }
    return String.fromCharCode(Number.parseInt(hex, 16));
  });
  return bad ? undefined : out;
}

function fromBase64(data: string): string | undefined {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(data) ? Buffer.from(data, 'base64').toString('latin1') : undefined;
}

const utf8 = /^utf-?8$/i;
const latin1 = /^(?:iso-8859-1|latin-?1|us-ascii|ascii)$/i;

/** Translates octets between charsets; undefined where a charset is unknown or a character has no place in the target. */
export function translate(octets: string, from: string, to: string): string | undefined {
  // RFC 2231 §5: a language may follow the charset.
  const [source = ''] = from.split('*');
  if (source.toLowerCase() === to.toLowerCase()) return octets;
  let text = octets;
  if (!latin1.test(source)) {
    try {
      text = new TextDecoder(source, { fatal: true }).decode(Buffer.from(octets, 'latin1'));
    } catch {
      return undefined;
    }
  }
  if (utf8.test(to)) return Buffer.from(text, 'utf8').toString('latin1');
  if (latin1.test(to)) return /^[\x00-\xff]*$/.test(text) ? text : undefined;
  return undefined;
}

/**
 * `${rfc2047:`: encodes where there is anything but printing ASCII or an `=?`-like sign, in words of at most 75 octets.
 *
 * @param charset the charset the text is in
 */
export function encodeRfc2047(text: string, charset: string): string {
  if (!/[^ -~]|[?=()<>@,;:\\".[\]_]/.test(text)) return text;
  const head = `=?${charset}?Q?`;
  let out = head;
  // The first word may be longer than the rest, as Exim has it.
  let length = 0;
  let inPair = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    const piece = c === ' ' ? '_' : /[!-~]/.test(c) && !/[?=()<>@,;:\\".[\]_]/.test(c) ? c : hex(c);
    // Words do not end between the octets of a two-octet character.
    if (length > 67 && !inPair) {
      out += `?= ${head}`;
      length = head.length;
    }
    out += piece;
    length += piece.length;
    inPair = c >= '\x80' && !inPair;
  }
  return `${out}?=`;
}

function hex(c: string): string {
  return `=${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}
