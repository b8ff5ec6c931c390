/**
 * wildlsearch, nwildlsearch and iplsearch: files read like lsearch whose keys are patterns, tried in the order of the file
 * (Exim manual, "Single-key lookup types").
 */
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { createFileCache, type FileCacheOptions, type FileContent } from './file-cache.ts';
import { foldKey, readEntries, type Entry } from './line-file.ts';
import { entryText } from './lsearch.ts';

/** What wild keys need from outside this folder. */
export interface WildServices {
  /** Searches a caseless regular expression in a text; a string is what is wrong with the expression. */
  matchRegex(pattern: string, subject: string): boolean | string;
  /** Expands a key of a wildlsearch file; undefined where that fails. */
  expandKey(key: string): string | undefined | Promise<string | undefined>;
}

function readAll(text: string): readonly Entry[] {
  const entries: Entry[] = [];
  readEntries(text, (e) => void entries.push(e));
  return entries;
}

/** A key pattern against a key: `^...`, `*end`, or the text itself. A string is what is wrong with the pattern. */
function matches(pattern: string, key: string, services: WildServices): boolean | string {
  if (pattern.startsWith('^')) return services.matchRegex(pattern, key);
  const folded = foldKey(key);
  if (pattern.startsWith('*')) return folded.endsWith(foldKey(pattern.slice(1)));
  return foldKey(pattern) === folded;
}

function verdict(entry: Entry, hit: boolean | string, options: readonly string[]): DriverAnswer | undefined {
  if (typeof hit === 'string') return { kind: 'defer', reason: hit };
  return hit ? { kind: 'found', value: entryText(entry, options) } : undefined;
}

export function createNwildlsearch(
  services: WildServices,
  cacheOptions: FileCacheOptions = {},
): LookupDriver {
  const cache = createFileCache('nwildlsearch', 'linear search', readAll, cacheOptions);
  return {
    type: 'nwildlsearch',
    style: 'single-key',
    find(file, key, options): DriverAnswer {
      const got = cache.get(file);
      if (got.kind !== 'content') return got;
      for (const entry of got.content) {
        const answer = verdict(entry, matches(entry.key, key, services), options);
        if (answer !== undefined) return answer;
      }
      return { kind: 'missing' };
    },
    close: () => cache.clear(),
  };
}

export function createWildlsearch(services: WildServices, cacheOptions: FileCacheOptions = {}): LookupDriver {
  const cache = createFileCache('wildlsearch', 'linear search', readAll, cacheOptions);
  const from = (
    entries: readonly Entry[],
    start: number,
    key: string,
    options: readonly string[],
  ): DriverAnswer | Promise<DriverAnswer> => {
    for (let i = start; i < entries.length; i++) {
      const entry = entries[i];
      if (entry === undefined) break;
      const test = (pattern: string | undefined): DriverAnswer | undefined =>
        // A key whose expansion fails matches nothing, as in Exim.
        pattern === undefined ? undefined : verdict(entry, matches(pattern, key, services), options);
      const pattern = services.expandKey(entry.key);
      if (pattern instanceof Promise)
        return pattern.then((p) => test(p) ?? from(entries, i + 1, key, options));
      const answer = test(pattern);
      if (answer !== undefined) return answer;
    }
    return { kind: 'missing' };
  };
  return {
    type: 'wildlsearch',
    style: 'single-key',
    find(file, key, options) {
      const got = cache.get(file);
      return got.kind === 'content' ? from(got.content, 0, key, options) : got;
    },
    close: () => cache.clear(),
  };
}

interface Network {
  readonly entry: Entry;
  readonly family: 'ipv4' | 'ipv6';
  readonly block: BlockList;
}

function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  return isIPv4(address) ? 'ipv4' : isIPv6(address) ? 'ipv6' : undefined;
}

/** Keys that are no address or network match nothing. */
function readNetworks(text: string): readonly Network[] {
  const networks: Network[] = [];
  readEntries(text, (entry) => {
    const [address = '', bits] = entry.key.split('/');
    const family = familyOf(address);
    if (family === undefined) return;
    const width = family === 'ipv4' ? 32 : 128;
    const length = bits === undefined ? width : /^\d+$/.test(bits) ? Number(bits) : -1;
    if (length < 0 || length > width) return;
    const block = new BlockList();
    block.addSubnet(address, length, family);
    networks.push({ entry, family, block });
  });
  return networks;
}

export function createIplsearch(cacheOptions: FileCacheOptions = {}): LookupDriver {
  const cache = createFileCache('iplsearch', 'linear search', readNetworks, cacheOptions);
  return {
    type: 'iplsearch',
    style: 'single-key',
    find(file, key, options): DriverAnswer {
      const got: FileContent<readonly Network[]> = cache.get(file);
      if (got.kind !== 'content') return got;
      // An IPv4 address that came in on an IPv6 socket counts as what it is.
      const address = key.replace(/^::ffff:(?=.*\.)/i, '');
      const family = familyOf(address);
      if (family === undefined)
        return {
          kind: 'defer',
          reason: `"${key}" is not a valid iplsearch key (an IP address is wanted): in a host list, use net-iplsearch`,
        };
      const found = got.content.find((n) => n.family === family && n.block.check(address, family));
      return found === undefined
        ? { kind: 'missing' }
        : { kind: 'found', value: entryText(found.entry, options) };
    },
    close: () => cache.clear(),
  };
}
