/** Rewrites the addresses of one header line; the rest of it stays as it is (Exim manual, "Address rewriting"). */
import type { HeaderField } from '../mail/headers.ts';
import { addressEnd, extractAddress, type GroupState } from '../mail/extract-address.ts';
import { rewriteAddress, type RewriteContext } from './rewrite.ts';
import type { RewritePlace } from './rules.ts';

const places: ReadonlyMap<string, RewritePlace> = new Map([
  ['sender', 'sender'],
  ['from', 'from'],
  ['to', 'to'],
  ['cc', 'cc'],
  ['bcc', 'bcc'],
  ['reply-to', 'reply-to'],
]);

/** The place that rules know a header line by; undefined for lines that are never rewritten. */
export function placeOf(field: HeaderField): RewritePlace | undefined {
  return places.get(field.name.toLowerCase().replace(/^resent-/, ''));
}

/** A line longer than this, in octets, is folded after an address that became longer. */
const foldAfter = 40;

/**
 * The field with its addresses rewritten, CRLF kept; undefined where nothing changes. Items that are no address, or have
 * no domain, stay; `problem` is told of the former.
 */
export async function rewriteHeader(
  field: HeaderField,
  context: RewriteContext,
): Promise<HeaderField | undefined> {
  const place = placeOf(field);
  if (place === undefined || !context.rules.some((r) => r.places.has(place))) return undefined;
  const text = field.raw.replaceAll('\r\n', '\n');
  const group: GroupState = { allowed: true, open: false };
  let out = text.slice(0, afterSpace(text, text.indexOf(':') + 1));
  let changed = false;
  // A line break that was put in belongs to the next item: replacing that whole drops it.
  let fold = '';
  for (let at = out.length; at < text.length; ) {
    const end = addressEnd(text, at);
    const item = text.slice(at, end);
    const next = afterSpace(text, end + (end < text.length ? 1 : 0));
    const rest = text.slice(end, next);
    at = next;
    const found = extractAddress(item, { group });
    if ('error' in found) {
      if (found.error !== 'empty address') context.problem(`rewrite: ${found.error}`);
      out += fold + item + rest;
      fold = '';
      continue;
    }
    const made = found.hasDomain ? await rewriteAddress(found.address, place, context) : undefined;
    if (made === undefined || !made.changed) {
      out += fold + item + rest;
      fold = '';
      continue;
    }
    changed = true;
    const replaced = made.item === undefined ? found.end - found.start : item.length;
    out += (made.item ?? fold + item.slice(0, found.start) + made.address + item.slice(found.end)) + rest;
    const line = out.length - (out.lastIndexOf('\n') + 1);
    const longer = (made.item ?? made.address).length > replaced;
    fold = longer && at < text.length && line > foldAfter ? '\n\t' : '';
  }
  if (!changed) return undefined;
  if (!out.endsWith('\n')) out += '\n';
  return { name: field.name, raw: out.replaceAll('\n', '\r\n') };
}

function afterSpace(text: string, from: number): number {
  let at = from;
  while (/\s/.test(text.charAt(at))) at++;
  return at;
}
