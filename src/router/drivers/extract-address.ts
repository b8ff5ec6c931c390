/**
 * One address out of the text of a list item (RFC 5322 §3.4, with comments, phrases and source routes), and what is wrong
 * with a text that holds none, in the words that Exim's log has for it.
 */

export type Extracted =
  /** `domain` is empty in an unqualified address. Comments and white space are gone, quotes kept. */
  | { readonly local: string; readonly domain: string }
  | { readonly error: string }
  /** Nothing but comments. */
  | { readonly empty: true };

interface Reader {
  readonly text: string;
  at: number;
}

const missingLocal = 'missing or malformed local part (expected word or "<")';
const badDomain = 'domain missing or malformed';

/** Reads one address and nothing else. */
export function extractAddress(text: string): Extracted {
  const r: Reader = { text, at: 0 };
  skipComment(r);
  // A source route may stand there without brackets.
  if (text[r.at] === '@') {
    const wrong = skipRoute(r);
    if (wrong !== undefined) return wrong;
  }
  if (text[r.at] !== '<') {
    const local = localPart(r);
    if (typeof local !== 'string') return local;
    const next = text[r.at];
    if (next === '@') {
      if (local === '') return { error: 'no local part' };
      return ended(r, withDomain(r, local));
    }
    if (next === undefined && local === '') return { empty: true };
    if (next === undefined || (next === ';' && local !== '')) return ended(r, { local, domain: '' });
    const phrase = skipPhrase(r);
    if (phrase !== undefined) return phrase;
  }
  return ended(r, angle(r));
}

function ended(r: Reader, found: Extracted): Extracted {
  if (!('local' in found) || r.at >= r.text.length) return found;
  return mayNotFollow(r);
}

function mayNotFollow({ text, at }: Reader): Extracted {
  return {
    error: `malformed address: ${text.slice(at, at + 32)} may not follow ${text.slice(0, at)}`,
  };
}

function skipPhrase(r: Reader): Extracted | undefined {
  while (r.text[r.at] !== '<') {
    const start = r.at;
    const word = localPart(r);
    if (typeof word !== 'string') return word;
    if (r.at === start) return { error: missingLocal };
  }
  return undefined;
}

/** A source route (RFC 5321 §4.1.1.3) is read over. */
function skipRoute(r: Reader): Extracted | undefined {
  while (r.text[r.at] === '@') {
    r.at++;
    if (domain(r) === undefined) return { error: badDomain };
    const next = r.text[r.at];
    if (next !== ',' && next !== ':') return { error: 'no local part' };
    r.at++;
    skipComment(r);
    if (next === ':') break;
  }
  return undefined;
}

function angle(r: Reader): Extracted {
  r.at++;
  skipComment(r);
  const wrong = skipRoute(r);
  if (wrong !== undefined) return wrong;
  const local = localPart(r);
  if (typeof local !== 'string') return local;
  if (local === '') return { error: 'missing or malformed local part' };
  let found: Extracted = { local, domain: '' };
  if (r.text[r.at] === '@') found = withDomain(r, local);
  else if (r.text[r.at] !== '>') return { error: `"@" or "." expected after "${local}"` };
  if (!('local' in found)) return found;
  if (r.text[r.at] === undefined) return { error: "'>' missing at end of address" };
  if (r.text[r.at] !== '>') return mayNotFollow(r);
  r.at++;
  skipComment(r);
  return found;
}

function withDomain(r: Reader, local: string): Extracted {
  r.at++;
  skipComment(r);
  if (r.text[r.at] === '[') {
    const literal = match(r, /\[[^\][\\\s]*\]/y);
    if (literal === '') return { error: 'malformed domain literal' };
    skipComment(r);
    return { local, domain: literal };
  }
  const name = domain(r);
  return name === undefined ? { error: badDomain } : { local, domain: name };
}

/** Labels and dots; undefined where one is missing. */
function domain(r: Reader): string | undefined {
  let out = '';
  for (;;) {
    skipComment(r);
    const label = match(r, /[0-9A-Za-z\x80-\xff](?:[0-9A-Za-z\x80-\xff-]*[0-9A-Za-z\x80-\xff])?/y);
    if (label === '') return undefined;
    out += label;
    skipComment(r);
    if (r.text[r.at] !== '.') return out;
    r.at++;
    out += '.';
  }
}

/** Words parted by dots, which may be missing or too many; empty where there is none. */
function localPart(r: Reader): string | Extracted {
  let out = '';
  for (;;) {
    skipComment(r);
    if (r.text[r.at] === '"') {
      const quoted = match(r, /"(?:[^"\\]|\\[^])*"/y);
      if (quoted === '') return { error: 'unmatched doublequote in local part' };
      out += quoted;
    } else out += match(r, /(?:[^\x00-\x20()<>@,;:\\".[\]\x7f]|\\[^])+/y);
    skipComment(r);
    const dots = match(r, /\.+/y);
    if (dots === '') return out;
    out += dots;
  }
}

function match(r: Reader, pattern: RegExp): string {
  pattern.lastIndex = r.at;
  const found = pattern.exec(r.text)?.[0] ?? '';
  r.at += found.length;
  return found;
}

/** White space and comments, which may be nested and unclosed. */
function skipComment(r: Reader): void {
  for (;;) {
    match(r, /\s+/y);
    if (r.text[r.at] !== '(') return;
    let depth = 0;
    for (; r.at < r.text.length; r.at++) {
      const c = r.text[r.at];
      if (c === '\\') r.at++;
      else if (c === '(') depth++;
      else if (c === ')' && --depth === 0) {
        r.at++;
        break;
      }
    }
    r.at = Math.min(r.at, r.text.length);
  }
}
