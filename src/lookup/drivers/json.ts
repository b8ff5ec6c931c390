/** json: the key is a list of selectors that lead into the file's structure (Exim manual, "Single-key lookup types"). */
import { splitList } from '../../mail/list-text.ts';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { createFileCache, type FileCacheOptions } from './file-cache.ts';
import { errorText } from '../../mail/error-text.ts';

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
type Parsed =
  | { readonly kind: 'json'; readonly value: Json }
  | { readonly kind: 'malformed'; readonly reason: string };

export function createJson(cacheOptions: FileCacheOptions = {}): LookupDriver {
  const cache = createFileCache('json', 'json search', parse, cacheOptions);
  return {
    type: 'json',
    style: 'single-key',
    find(file, key): DriverAnswer {
      const got = cache.get(file);
      if (got.kind !== 'content') return got;
      if (got.content.kind === 'malformed')
        return { kind: 'defer', reason: `${file}: ${got.content.reason}` };
      const value = select(got.content.value, splitList(key));
      if (value === undefined) return { kind: 'missing' };
      return { kind: 'found', value: octets(typeof value === 'string' ? value : JSON.stringify(value)) };
    },
    close: () => cache.clear(),
  };
}

function octets(s: string): string {
  return Buffer.from(s, 'utf8').toString('latin1');
}

function parse(text: string): Parsed {
  try {
    return { kind: 'json', value: JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as Json };
  } catch (e) {
    return { kind: 'malformed', reason: errorText(e) };
  }
}

/** A number selects in an array (from zero), anything else a member of an object. */
function select(root: Json, selectors: readonly string[]): Json | undefined {
  let at: Json | undefined = root;
  for (const selector of selectors) {
    if (typeof at !== 'object' || at === null) return undefined;
    if (/^\d+$/.test(selector))
      at = Array.isArray(at) ? (at as readonly Json[])[Number(selector)] : undefined;
    else {
      const name = Buffer.from(selector, 'latin1').toString('utf8');
      at =
        !Array.isArray(at) && Object.hasOwn(at, name)
          ? (at as { readonly [n: string]: Json })[name]
          : undefined;
    }
  }
  return at;
}
