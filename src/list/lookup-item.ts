/** Lookups as list items, `type;file` and `type;query` (Exim manual, "Domain lists", "Address lists"). */
import { parseLookupType, type LookupType } from '../expand/lookup-type.ts';
import { isQuotedFor } from '../expand/quoted.ts';
import type { Awaitable, LookupAnswer, LookupRequest } from '../expand/scope.ts';
import { defer, no, type ItemAnswer, type MatchContext, type Taint } from './model.ts';

/** A search type with its affixes, and the file or query that follows the semicolon. */
export interface LookupItem {
  readonly search: LookupType;
  readonly argument: string;
}

/** Reads a lookup item, which contains a semicolon; a text says what is wrong with it. */
export function parseLookupItem(pattern: string): LookupItem | string {
  const semicolon = pattern.indexOf(';');
  const search = parseLookupType(pattern.slice(0, semicolon));
  return typeof search === 'string' ? search : { search, argument: pattern.slice(semicolon + 1).trimStart() };
}

/** How one kind of item asks: whether partial matching applies, and whether the item came from the wire. */
export interface LookupUse {
  readonly partial: boolean;
  readonly taint: Taint;
}

/** Asks; the value found is the match's data. `key` is what a single-key lookup looks for. */
export function askLookup(
  item: LookupItem,
  key: string,
  use: LookupUse,
  context: MatchContext,
): Awaitable<ItemAnswer> {
  const r = context.scope.services.lookup(lookupRequest(item, key, use));
  return r instanceof Promise ? r.then(answerOf) : answerOf(r);
}

function lookupRequest({ search, argument }: LookupItem, key: string, use: LookupUse): LookupRequest {
  const single = search.style === 'single-key';
  const { tainted, quotedFor } = use.taint;
  const quoted = !single && tainted && quotedFor !== undefined && isQuotedFor(quotedFor, search.type);
  return {
    type: search.type,
    options: search.options,
    key: single ? key : argument,
    keyTainted: single || (tainted && !quoted),
    ...(quoted ? { keyQuoted: true } : {}),
    fileTainted: tainted,
    ...(single ? { file: argument } : {}),
    ...(search.partial !== undefined && use.partial ? { partial: search.partial } : {}),
    ...(search.defaultStar === undefined ? {} : { defaultStar: search.defaultStar }),
  };
}

function answerOf(r: LookupAnswer): ItemAnswer {
  switch (r.kind) {
    case 'found':
      return { kind: 'yes', data: r.value };
    case 'missing':
      return no;
    case 'defer':
      return defer(r.reason);
  }
}
