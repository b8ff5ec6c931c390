/**
 * Header sections as octets. Nothing here decodes or re-encodes: a message's header lines keep every octet
 * (RFC 5322 §2.2), and edits are kept beside the content, never written into it.
 */

/** A change to a message's header section, applied when the message is handed on. */
export type HeaderEdit =
  | { readonly kind: 'add'; readonly where: 'top' | 'bottom' | 'after-received'; readonly text: string }
  | { readonly kind: 'remove'; readonly name: string }
  /** Another text for the field at this place of the section as it came, from 0; stands before edits of other kinds. */
  | { readonly kind: 'replace'; readonly at: number; readonly text: string };

/** One header field: the name as written, and the whole field with its folding and final CRLF. */
export interface HeaderField {
  readonly name: string;
  readonly raw: string;
}

/**
 * Splits a header section into its fields (RFC 5322 §2.2). Lines that are no field (no colon, or text before the first
 * field) are kept as fields with an empty name, so that joining `raw` gives the section back.
 *
 * @param text the section, one octet a character, lines ended by CRLF; the blank line after it may be there
 */
export function parseHeaderFields(text: string): HeaderField[] {
  const fields: HeaderField[] = [];
  let begin = 0;
  while (begin < text.length) {
    let end = lineEnd(text, begin);
    if (end - begin === 2 && text.startsWith('\r\n', begin)) break;
    while (text[end] === ' ' || text[end] === '\t') end = lineEnd(text, end);
    const raw = text.slice(begin, end);
    const colon = raw.indexOf(':');
    const name = colon < 0 ? '' : raw.slice(0, colon).trimEnd();
    fields.push({ name: /^[!-9;-~]+$/.test(name) ? name : '', raw });
    begin = end;
  }
  return fields;
}

/** The first field of that name (case does not count), or undefined. */
export function findHeader(fields: readonly HeaderField[], name: string): HeaderField | undefined {
  const wanted = name.toLowerCase();
  return fields.find((f) => f.name.length === wanted.length && f.name.toLowerCase() === wanted);
}

/** What stands after the colon, unfolded as it is on the wire: line ends and outer white space gone, inner white space kept. */
export function headerBody(field: HeaderField): string {
  return field.raw
    .slice(field.raw.indexOf(':') + 1)
    .replace(/\r?\n/g, '')
    .trim();
}

/**
 * What the first angle brackets of a body hold: the id of a Message-ID field. Found by searches, not by a pattern, which
 * would take the square of the length of a field of `<` alone.
 */
export function inAngleBrackets(body: string): string | undefined {
  const open = body.indexOf('<');
  const close = open < 0 ? -1 : body.indexOf('>', open);
  return close < 0 ? undefined : body.slice(open + 1, close);
}

function lineEnd(text: string, from: number): number {
  const at = text.indexOf('\n', from);
  return at < 0 ? text.length : at + 1;
}
