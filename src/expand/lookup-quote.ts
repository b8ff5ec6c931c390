/** `${quote_<type>:`: the quoting rules of each lookup type (Exim manual, chapter "File and database lookups"). */

const doubled =
  (c: string) =>
  (s: string): string =>
    s.replaceAll(c, c + c);

const sqlEscapes: ReadonlyMap<string, string> = new Map([
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\b', '\\b'],
]);

function mysql(s: string): string {
  return s.replace(/[\n\r\t\b'"\\]/g, (c) => sqlEscapes.get(c) ?? `\\${c}`);
}

function pgsql(s: string): string {
  return s.replace(/[\n\r\t\b"\\]/g, (c) => sqlEscapes.get(c) ?? `\\${c}`).replaceAll("'", "''");
}

/** RFC 3986: everything but letters, digits and the listed signs as `%XX`. */
function percent(s: string, keep: RegExp): string {
  return s.replace(/[\s\S]/g, (c) =>
    keep.test(c) ? c : `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

/** For filters: RFC 4515 §3, then as part of a URL. */
function ldapFilter(s: string): string {
  const inner = s.replace(/[*()\\]/g, (c) => `\\${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return percent(inner, /[0-9A-Za-z!$'\-._()*+]/);
}

/** For names: RFC 4514 §2.4, then as part of a URL. */
function ldapName(s: string): string {
  const inner = s
    .replace(/[,+"\\<>;]/g, '\\$&')
    .replace(/^[ #]+/, (m) => m.replace(/./g, '\\$&'))
    .replace(/ +$/, (m) => (m.length === s.length ? m : m.replaceAll(' ', '\\ ')));
  return percent(inner, /[0-9A-Za-z!$'\-._()*+]/);
}

function redis(s: string): string {
  return s.replace(/[\s\\]/g, '\\$&');
}

type Quote = (s: string) => string;
const quotes: ReadonlyMap<string, Quote> = new Map<string, Quote>([
  ['mysql', mysql],
  ['pgsql', pgsql],
  ['sqlite', doubled("'")],
  ['redis', redis],
  ['ldap', ldapFilter],
  ['ldapdn', ldapFilter],
  ['ldapm', ldapFilter],
]);

/**
 * Quotes a text for a query of that type; types without a rule leave it as it is.
 *
 * @param option what follows the type's name: `dn` for `${quote_ldap_dn:`
 * @returns undefined where the type has no such option
 */
export function quoteForLookup(type: string, text: string, option: string | undefined): string | undefined {
  if (option === undefined) return quotes.get(type)?.(text) ?? text;
  return type.startsWith('ldap') && option === 'dn' ? ldapName(text) : undefined;
}
