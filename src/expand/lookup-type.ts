/** Search types as `${lookup` and list items write them: `partial3-lsearch*@,ret=key` (Exim manual, "File and database lookups"). */
import type { LookupRequest } from './scope.ts';

/** Single-key types look a key up in a file, query types take a query alone. */
export type LookupStyle = 'single-key' | 'query';

/** Every type that Exim 4.96 knows, and whether there is a driver for it here. */
const types: ReadonlyMap<string, { readonly style: LookupStyle; readonly available: boolean }> = new Map(
  (
    [
      ['cdb', 'single-key', true],
      ['dbm', 'single-key', false],
      ['dbmjz', 'single-key', false],
      ['dbmnz', 'single-key', false],
      ['dsearch', 'single-key', true],
      ['iplsearch', 'single-key', true],
      ['json', 'single-key', true],
      ['lmdb', 'single-key', false],
      ['lsearch', 'single-key', true],
      ['nis', 'single-key', false],
      ['nis0', 'single-key', false],
      ['nwildlsearch', 'single-key', true],
      ['spf', 'single-key', false],
      ['wildlsearch', 'single-key', true],
      ['dnsdb', 'query', true],
      ['ibase', 'query', false],
      ['ldap', 'query', true],
      ['ldapdn', 'query', true],
      ['ldapm', 'query', true],
      ['mysql', 'query', true],
      ['nisplus', 'query', false],
      ['oracle', 'query', false],
      ['passwd', 'query', true],
      ['pgsql', 'query', true],
      ['redis', 'query', true],
      ['sqlite', 'query', true],
      ['testdb', 'query', false],
      ['whoson', 'query', false],
    ] as const
  ).map(([name, style, available]) => [name, { style, available }]),
);

/** Every type, for the generated reference. */
export function listLookupTypes(): readonly {
  readonly name: string;
  readonly style: LookupStyle;
  readonly available: boolean;
}[] {
  return [...types].map(([name, { style, available }]) => ({ name, style, available }));
}

export function findLookupType(
  name: string,
): { readonly style: LookupStyle; readonly available: boolean } | undefined {
  return types.get(name);
}

export interface LookupType extends Pick<LookupRequest, 'type' | 'partial' | 'defaultStar' | 'options'> {
  readonly style: LookupStyle;
}

/** Reads a search type with its affixes; a string is what is wrong with it, in Exim's words. */
export function parseLookupType(text: string): LookupType | string {
  const found = /^(?:partial(\d*)(?:-|\(([^)]*)\)))?([A-Za-z0-9_-]+?)(\*@?)?(,.*)?$/.exec(text);
  if (found === null || (text.startsWith('partial') && found[2] === undefined && !/^partial\d*-/.test(text)))
    return text.startsWith('partial')
      ? `format error in lookup type "${text}"`
      : `unknown lookup type "${text}"`;
  const [, minimum, affix, type = '', star, optionText] = found;
  const row = types.get(type);
  if (row === undefined) return `unknown lookup type "${type}"`;
  if (!row.available) return `lookup type "${type}" is not available (there is no driver for it)`;
  const isPartial = minimum !== undefined;
  if (row.style === 'query') {
    if (isPartial) return `"partial" is not permitted for lookup type "${type}"`;
    if (star !== undefined)
      return `defaults using "*" or "*@" are not permitted for lookup type "${text.split(',')[0] ?? ''}"`;
  }
  return {
    type,
    style: row.style,
    options: optionText === undefined ? [] : optionText.slice(1).split(','),
    ...(isPartial
      ? { partial: { minimum: minimum === '' ? 2 : Number(minimum), affix: affix ?? '*.' } }
      : {}),
    ...(star === undefined ? {} : { defaultStar: star as '*' | '*@' }),
  };
}
