/**
 * Local parts as mailbox names (RFC 5321 §4.1.2): what they mean once the quoting of the wire is taken off, and how
 * they are written again. Text holds one octet a character; only ASCII letters change case, so UTF-8 (RFC 6531) passes.
 */

/** The meaning of a local part: `"a b"` is `a b`, `"us/er"` is `us/er`; an unquoted one is itself. */
export function unquoteLocalPart(local: string): string {
  if (local.charCodeAt(0) !== 0x22) return local;
  const inner = local.endsWith('"') && local.length > 1 ? local.slice(1, -1) : local.slice(1);
  return inner.includes('\\') ? inner.replace(/\\([\s\S])/g, '$1') : inner;
}

const atoms = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+)*$/;

/** Writes a mailbox name as a local part, quoted only where the grammar needs it, as Dovecot writes it into replies and headers. */
export function quoteLocalPart(name: string): string {
  return atoms.test(name) ? name : `"${name.replace(/["\\]/g, '\\$&')}"`;
}

/** Lower case of the ASCII letters alone; every other octet stays as it is. */
export function lowerAscii(text: string): string {
  return /[A-Z]/.test(text) ? text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()) : text;
}
