/** What LDAP lookups give for entries (Exim manual, "Format of data returned by LDAP"). Texts are octet strings. */

export interface LdapEntry {
  readonly name: string;
  /** In the order of the server; without values: left out. */
  readonly attributes: readonly (readonly [name: string, values: readonly string[]])[];
}

/** Names of entries (`ldapdn`), one a line. */
export function namesText(entries: readonly LdapEntry[]): string {
  return entries.map((e) => e.name).join('\n');
}

/**
 * Values of entries, one entry a line; undefined where there is no attribute at all.
 *
 * @param asked attributes that the query named
 */
export function valuesText(entries: readonly LdapEntry[], asked: number): string | undefined {
  if (entries.every((e) => e.attributes.length === 0)) return undefined;
  return entries.map((e) => entryText(e, asked === 1)).join('\n');
}

function entryText(entry: LdapEntry, bare: boolean): string {
  if (bare) return entry.attributes.flatMap(([, values]) => values.map(doubleCommas)).join(',');
  return entry.attributes
    .map(([name, values]) => `${name}="${values.map((v) => doubleCommas(escaped(v))).join(',')}"`)
    .join(' ');
}

function doubleCommas(value: string): string {
  return value.replaceAll(',', ',,');
}

function escaped(value: string): string {
  return value.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n');
}
