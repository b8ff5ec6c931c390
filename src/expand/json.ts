/**
 * JSON as Exim's `${extract json` and `forany_json` see it: the text of an element is given as it stands, so that numbers and
 * spacing stay.
 */
import { error, type Failure } from './outcome.ts';

const maxDepth = 200;

/**
 * The texts of an array's elements, leading white space gone; `unwrap` takes the quotes of strings off, and complains of
 * what is no string.
 */
export function jsonElements(text: string, unwrap: boolean): readonly string[] | Failure {
  const inner = wrapped(text, '[', ']', 'array');
  if (typeof inner !== 'string') return inner;
  const items = splitTop(inner, ',').map((i) => i.trimStart());
  const elements = items.length === 1 && items[0] === '' ? [] : items;
  if (!unwrap) return elements;
  const out: string[] = [];
  for (const e of elements) {
    const s = unwrapString(e);
    if (typeof s !== 'string') return s;
    out.push(s);
  }
  return out;
}

/** The text of an object's member; undefined where there is none. Names compare with case. */
export function jsonMember(text: string, name: string): string | undefined | Failure {
  const inner = wrapped(text, '{', '}', 'object');
  if (typeof inner !== 'string') return inner;
  if (inner.trim() === '') return undefined;
  for (const member of splitTop(inner, ',')) {
    const at = closingQuote(member);
    if (at === undefined) return error("missing '\"' wrapping string key for extract json");
    if (member.slice(member.indexOf('"') + 1, at) !== name) continue;
    const found = /^\s*:\s*([^]*)$/.exec(member.slice(at + 1));
    return found?.[1] ?? error('missing object value-separator for extract json');
  }
  return undefined;
}

/** Where the string that a text begins with ends; undefined where it begins with none. */
function closingQuote(text: string): number | undefined {
  const found = /^\s*"(?:[^"\\]|\\[^])*"/.exec(text);
  return found === null ? undefined : found[0].length - 1;
}

/** Takes the quotes off a JSON string; escapes stay as they are, and what follows the string counts for nothing. */
export function unwrapString(text: string): string | Failure {
  const at = closingQuote(text);
  return at === undefined
    ? error("missing '\"' wrapping string result for extract jsons")
    : text.slice(text.indexOf('"') + 1, at);
}

/** What stands between the first bracket and the one that closes it. */
function wrapped(text: string, open: string, close: string, what: string): string | Failure {
  const start = text.search(/\S/) + 1;
  if (text.charAt(start - 1) !== open) return error(`missing '${open}' wrapping ${what} for extract json`);
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === '\\') i++;
    else if (c === open) depth++;
    else if (c === close && depth-- === 0) return text.slice(start, i);
  }
  return error(`missing '${close}' wrapping ${what} for extract json`);
}

/** Splits at a sign that stands outside strings, objects and arrays. */
function splitTop(text: string, sign: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quoted = false;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (quoted) {
      if (c === '\\') i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === '{' || c === '[') depth = Math.min(maxDepth, depth + 1);
    else if (c === '}' || c === ']') depth--;
    else if (c === sign && depth === 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
