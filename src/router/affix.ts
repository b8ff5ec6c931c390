/** `local_part_prefix` and `local_part_suffix` (Exim manual, "Generic options for routers"). */
import { splitList } from '../mail/list-text.ts';
import type { RouterOptions } from './options.ts';

export interface Affixes {
  readonly prefixLength: number;
  /** Octets at the start of the prefix that a `*` took: `$local_part_prefix_v`. */
  readonly prefixWild: number;
  readonly suffixLength: number;
  /** Octets at the end of the suffix that a `*` took: `$local_part_suffix_v`. */
  readonly suffixWild: number;
}

interface Match {
  readonly length: number;
  readonly wild: number;
}

const none: Affixes = { prefixLength: 0, prefixWild: 0, suffixLength: 0, suffixWild: 0 };
const noMatch: Match = { length: 0, wild: 0 };

/**
 * What to take off both ends of a local part, or undefined where a mandatory affix is missing. Letters compare without
 * case; the first item of a list that matches wins; a `*` takes the longest run it can.
 */
export function findAffixes(o: RouterOptions, local: string): Affixes | undefined {
  if (o.localPartPrefix === undefined && o.localPartSuffix === undefined) return none;
  const text = local.toLowerCase();
  let prefix = noMatch;
  if (o.localPartPrefix !== undefined) {
    const found = matchPrefix(o.localPartPrefix, text);
    if (found === undefined && o.localPartPrefixOptional !== true) return undefined;
    prefix = found ?? noMatch;
  }
  let suffix = noMatch;
  if (o.localPartSuffix !== undefined) {
    const found = matchSuffix(o.localPartSuffix, text.slice(prefix.length));
    if (found === undefined && o.localPartSuffixOptional !== true) return undefined;
    suffix = found ?? noMatch;
  }
  return {
    prefixLength: prefix.length,
    prefixWild: prefix.wild,
    suffixLength: suffix.length,
    suffixWild: suffix.wild,
  };
}

/** The first prefix of the list that stands at the start. */
function matchPrefix(list: string, text: string): Match | undefined {
  for (const item of splitList(list)) {
    const prefix = item.toLowerCase();
    if (!prefix.startsWith('*')) {
      if (text.startsWith(prefix)) return { length: prefix.length, wild: 0 };
      continue;
    }
    const at = text.lastIndexOf(prefix.slice(1));
    if (at >= 0) return { length: at + prefix.length - 1, wild: at };
  }
  return undefined;
}

/** The first suffix of the list that stands at the end. */
function matchSuffix(list: string, text: string): Match | undefined {
  for (const item of splitList(list)) {
    const suffix = item.toLowerCase();
    if (!suffix.endsWith('*')) {
      if (text.endsWith(suffix)) return { length: suffix.length, wild: 0 };
      continue;
    }
    const at = text.indexOf(suffix.slice(0, -1));
    if (at >= 0) return { length: text.length - at, wild: text.length - at - (suffix.length - 1) };
  }
  return undefined;
}
