/** lsearch: a text file of `key: data` lines, keys compared without case, the first one counts (Exim manual, "Single-key lookup types"). */
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { createFileCache, type FileCacheOptions } from './file-cache.ts';
import { foldKey, readEntries, type Entry } from './line-file.ts';

/** Options of one lookup: `ret=full` gives the whole line. Anything else has no meaning to lsearch, as in Exim. */
export function entryText(entry: Entry, options: readonly string[]): string {
  return options.includes('ret=full') ? entry.full : entry.data;
}

export function createLsearch(cacheOptions: FileCacheOptions = {}): LookupDriver {
  const cache = createFileCache('lsearch', 'linear search', parse, cacheOptions);
  return {
    type: 'lsearch',
    style: 'single-key',
    find(file, key, options): DriverAnswer {
      const got = cache.get(file);
      if (got.kind !== 'content') return got;
      const entry = got.content.get(foldKey(key));
      return entry === undefined ? missing : { kind: 'found', value: entryText(entry, options) };
    },
    close: () => cache.clear(),
  };
}

const missing: DriverAnswer = { kind: 'missing' };

function parse(text: string): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  readEntries(text, (entry) => {
    const key = foldKey(entry.key);
    if (!entries.has(key)) entries.set(key, entry);
  });
  return entries;
}
