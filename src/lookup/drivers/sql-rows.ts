/** What SQL lookups give for the rows of an answer (Exim manual, "SQL lookups"). */

/** A field's name and value as octets; what the value of NULL is, the driver says. */
export type Field = readonly [name: string, value: string];

/**
 * One field: its value as it is. More: `name=value` and a space for each, the value in quotes where it is empty, contains
 * white space or begins with a quote. Rows are parted by newlines. Undefined where there is no row.
 */
export function rowsText(rows: readonly (readonly Field[])[]): string | undefined {
  return rows.length === 0 ? undefined : rows.map(rowText).join('\n');
}

function rowText(row: readonly Field[]): string {
  const only = row.length === 1 ? row[0] : undefined;
  if (only !== undefined) return only[1];
  return row.map(([name, value]) => `${name}=${quoteField(value)} `).join('');
}

/** As LDAP answers need it too. */
export function quoteField(value: string): string {
  if (value !== '' && !/[ \t\n\r]/.test(value) && !value.startsWith('"')) return value;
  return `"${value.replace(/["\\]/g, '\\$&')}"`;
}
