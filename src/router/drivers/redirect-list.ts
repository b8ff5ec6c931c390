/** The items of a redirection list (Exim manual, "Items in a non-filter redirection list", "Special items in redirection lists"). */
import { type Extracted, extractParts } from '../../mail/extract-address.ts';

export type ListItem =
  /** `backslash`: an unqualified address that stood after a `\`. */
  | { readonly kind: 'address'; readonly local: string; readonly domain: string; readonly backslash: boolean }
  | { readonly kind: 'file' | 'directory' | 'pipe'; readonly text: string }
  | { readonly kind: 'include'; readonly file: string }
  /** Ends the list. `text` is the message of `fail` and `defer`. */
  | {
      readonly kind: 'fail' | 'defer' | 'blackhole' | 'unknown';
      readonly text: string;
      readonly rest: string;
    }
  | { readonly kind: 'error'; readonly text: string };

const specials = ['fail', 'defer', 'blackhole', 'unknown'] as const;

/** Reads the items one after the other; an endless list costs no memory. Never throws. */
export function* redirectItems(text: string): Generator<ListItem> {
  for (let at = skipToItem(text, 0); at < text.length; at = skipToItem(text, at)) {
    if (text[at] === ':') {
      const special = specials.find((name) => text.startsWith(`:${name}:`, at));
      if (special !== undefined) {
        const rest = text.slice(at);
        const [message = ''] = rest.slice(special.length + 2).split('\n', 1);
        yield { kind: special, text: message.trim(), rest };
        return;
      }
    }
    const end = itemEnd(text, at);
    const found = readItem(unquoted(text.slice(at, end).trimEnd()));
    at = end;
    if (found !== undefined) yield found;
  }
}

function skipToItem(text: string, from: number): number {
  let at = from;
  for (;;) {
    while (at < text.length && /[\s,]/.test(text[at] ?? '')) at++;
    if (text[at] !== '#') return at;
    const end = text.indexOf('\n', at);
    at = end < 0 ? text.length : end;
  }
}

/** A comma or newline ends an item, unless it stands in quotes, a comment or a source route. */
function itemEnd(text: string, from: number): number {
  let route = text[from] === '@';
  let at = from;
  for (; at < text.length; at++) {
    const c = text[at];
    if (c === '\n' || (c === ',' && !route)) return at;
    if (c === '\\') at++;
    else if (c === '"') {
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++;
    } else if (c === '(') at = commentEnd(text, at);
    else if (c === '<') route = text[at + 1] === '@';
    else if (c === '>' || c === ':') route = false;
  }
  return Math.min(at, text.length);
}

function commentEnd(text: string, from: number): number {
  let depth = 0;
  let at = from;
  for (; at < text.length; at++) {
    const c = text[at];
    if (c === '\\') at++;
    else if (c === '(') depth++;
    else if (c === ')' && --depth === 0) return at;
  }
  return at;
}

/** An item that is entirely in double quotes loses them. */
function unquoted(item: string): string {
  return /^"(?:[^"\\]|\\[^])*"$/.test(item) ? item.slice(1, -1).trim() : item;
}

function readItem(item: string): ListItem | undefined {
  if (item.startsWith(':include:')) {
    const file = item.slice(':include:'.length).trim();
    return file === ''
      ? { kind: 'error', text: 'file name missing after :include:' }
      : { kind: 'include', file };
  }
  const backslash = item.startsWith('\\') ? extractParts(item.slice(1)) : undefined;
  if (backslash !== undefined && 'local' in backslash && backslash.domain === '')
    return { kind: 'address', local: backslash.local, domain: '', backslash: true };
  const found: Extracted = extractParts(item);
  if (/^[/|]/.test(item) && !('local' in found && found.domain !== '')) {
    const kind = item.startsWith('|') ? 'pipe' : item.endsWith('/') ? 'directory' : 'file';
    return { kind, text: item };
  }
  if ('empty' in found) return undefined;
  if ('error' in found) return { kind: 'error', text: `${found.error} in "${item}"` };
  return { kind: 'address', local: found.local, domain: found.domain, backslash: false };
}
