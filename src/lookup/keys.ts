/** Every key that a lookup tries (Exim manual, "Partial matching in single-key lookups", "Default values in single-key lookups"). */
import type { LookupRequest } from './lookup.ts';

export interface Candidate {
  readonly key: string;
  /** The wild and the fixed part of the original key, for `$1` and `$2`. */
  readonly parts?: readonly [string, string];
}

/** In the order in which they are tried; never empty. */
export function candidates(request: LookupRequest): readonly Candidate[] {
  const { key, partial, defaultStar } = request;
  const all: Candidate[] = [partial === undefined ? { key } : { key, parts: ['', key] }];
  if (partial !== undefined) {
    const { affix, minimum } = partial;
    if (affix !== '') all.push({ key: affix + key, parts: ['', key] });
    const labels = key.split('.');
    for (let i = 1; i < labels.length && labels.length - i >= Math.max(1, minimum); i++) {
      const fixed = labels.slice(i).join('.');
      all.push({ key: affix + fixed, parts: [labels.slice(0, i).join('.'), fixed] });
    }
    if (minimum === 0 && affix !== '') {
      const last = affix.length > 1 && affix.endsWith('.') ? affix.slice(0, -1) : affix;
      all.push({ key: last, parts: [key, ''] });
    }
  }
  if (defaultStar === '*@') {
    const at = key.lastIndexOf('@');
    if (at > 0) all.push({ key: `*${key.slice(at)}`, parts: [key.slice(0, at), ''] });
  }
  if (defaultStar !== undefined && !all.some((c) => c.key === '*')) all.push({ key: '*', parts: [key, ''] });
  return all;
}
