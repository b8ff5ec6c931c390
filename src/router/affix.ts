/** `local_part_prefix` and `local_part_suffix` (Exim manual, "Generic options for routers"). */
import { splitList } from '../mail/list-text.ts';
import type { RouterOptions } from './options.ts';

export interface Affixes {
  readonly prefixLength: number;
  readonly suffixLength: number;
}

const none: Affixes = { prefixLength: 0, suffixLength: 0 };

/**
 * What to take off both ends of a local part, or undefined where a mandatory affix is missing. Letters compare without
 * case; the first item of a list that matches wins; a `*` takes the longest run it can.
 */
export function findAffixes(o: RouterOptions, local: string): Affixes | undefined {
  if (o.localPartPrefix === undefined && o.localPartSuffix === undefined) return none;
  const text = local.toLowerCase();
  let prefixLength = 0;
  if (o.localPartPrefix !== undefined) {
    prefixLength = matchPrefix(o.localPartPrefix, text);
    if (prefixLength < 0) {
      if (o.localPartPrefixOptional !== true) return undefined;
      prefixLength = 0;
    }
  }
  let suffixLength = 0;
  if (o.localPartSuffix !== undefined) {
    suffixLength = matchSuffix(o.localPartSuffix, text.slice(prefixLength));
    if (suffixLength < 0) {
      if (o.localPartSuffixOptional !== true) return undefined;
      suffixLength = 0;
    }
  }
  return { prefixLength, suffixLength };
}

/** Length of the first prefix of the list that stands at the start, or -1. */
function matchPrefix(list: string, text: string): number {
  for (const item of splitList(list)) {
    const prefix = item.toLowerCase();
    if (!prefix.startsWith('*')) {
      if (text.startsWith(prefix)) return prefix.length;
      continue;
    }
    const at = text.lastIndexOf(prefix.slice(1));
    if (at >= 0) return at + prefix.length - 1;
  }
  return -1;
}

/** Length of the first suffix of the list that stands at the end, or -1. */
function matchSuffix(list: string, text: string): number {
  for (const item of splitList(list)) {
    const suffix = item.toLowerCase();
    if (!suffix.endsWith('*')) {
      if (text.endsWith(suffix)) return suffix.length;
      continue;
    }
    const at = text.indexOf(suffix.slice(0, -1));
    if (at >= 0) return text.length - at;
  }
  return -1;
}
