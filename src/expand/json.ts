/**
 * JSON as Exim's `${extract json` and `forany_json` see it: the text of an element is given as it stands, so that numbers and
 * spacing stay.
 */
import { error, type Failure } from './outcome.ts';

const maxDepth = 200;

/** The texts of an array's elements; `unwrap` takes the quotes of strings off, and complains of what is no string. */
export function jsonElements(text: string, unwrap: boolean): readonly string[] | Failure {
  const inner = wrapped(text, '[', ']');
  if (inner === undefined) return error("missing '[' wrapping array for extract json");
  const items = splitTop(inner, ',').map((i) => i.trim());
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
  const inner = wrapped(text, '{', '}');
  if (inner === undefined) return error("missing '{' wrapping object for extract json");
  for (const member of splitTop(inner, ',')) {
    const [key = '', ...rest] = splitTop(member, ':');
    const s = unwrapString(key.trim());
    if (typeof s !== 'string') return error("missing '\"' wrapping string key for extract json");
    if (rest.length === 0) return error('missing object value-separator for extract json');
    if (s === name) return rest.join(':').trimStart();
  }
  return undefined;
}

/** Takes the quotes off a JSON string; escapes stay as they are. */
export function unwrapString(text: string): string | Failure {
  const found = /^\s*"([^]*)"\s*$/.exec(text);
  return found?.[1] ?? error("missing '\"' wrapping string result for extract jsons");
}

function wrapped(text: string, open: string, close: string): string | undefined {
  const t = text.trim();
  return t.startsWith(open) && t.endsWith(close) && t.length >= 2 ? t.slice(1, -1) : undefined;
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
