/** Addresses inside header-like text (RFC 5322 §3.4): what `${address:`, `${domain:` and `${addresses:` read. */

export interface AddressText {
  /** As written, quotes kept, comments and white space dropped. */
  readonly local: string;
  /** Empty where there is none. */
  readonly domain: string;
}

/** `$local_part` and the like carry no quoting: `"a b"` and `a\ b` are both `a b`. */
export function unquoteLocalPart(local: string): string {
  if (!local.includes('"') && !local.includes('\\')) return local;
  return local.replace(/\\([\s\S])|"/g, '$1');
}

export function formatAddressText(a: AddressText): string {
  return a.domain === '' ? a.local : `${a.local}@${a.domain}`;
}

/** Reads one address; undefined where there is none, or more. `<>` is an empty local part. */
export function parseAddressText(text: string): AddressText | undefined {
  const r: Reader = { text, at: 0 };
  skipComments(r);
  if (r.text[r.at] === '<') return ended(r, angle(r));
  const start = r.at;
  const plain = addrSpec(r);
  if (plain !== undefined && r.at >= r.text.length) return plain;
  r.at = start;
  return skipPhrase(r) ? ended(r, angle(r)) : undefined;
}

/** Splits a header's list of addresses; groups are dissolved. Items may be malformed. */
export function splitAddresses(text: string): string[] {
  const items: string[] = [];
  let item = '';
  const r: Reader = { text, at: 0 };
  let inAngle = false;
  let inGroup = false;
  while (r.at < text.length) {
    const start = r.at;
    const c = text.charAt(r.at);
    if (c === '"') skipQuoted(r);
    else if (c === '(') skipComment(r);
    else r.at += c === '\\' ? 2 : 1;
    if (c === '<') inAngle = true;
    else if (c === '>') inAngle = false;
    if (!inAngle && (c === ',' || c === ';')) {
      items.push(item);
      item = '';
      if (c === ';') inGroup = false;
    } else if (!inAngle && !inGroup && c === ':') {
      item = '';
      inGroup = true;
    } else item += text.slice(start, r.at);
  }
  items.push(item);
  return items.filter((i) => i.trim() !== '');
}

interface Reader {
  readonly text: string;
  at: number;
}

const atom = /(?:[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff]|\\[^])+/y;
const maxCommentDepth = 32;

function match(r: Reader, pattern: RegExp): string {
  pattern.lastIndex = r.at;
  const found = pattern.exec(r.text)?.[0] ?? '';
  r.at += found.length;
  return found;
}

function skipComment(r: Reader): void {
  let depth = 0;
  for (; r.at < r.text.length; r.at++) {
    const c = r.text[r.at];
    if (c === '\\') r.at++;
    else if (c === '(' && depth < maxCommentDepth) depth++;
    else if (c === ')' && --depth === 0) {
      r.at++;
      return;
    }
  }
}

function skipComments(r: Reader): void {
  for (;;) {
    match(r, /\s+/y);
    if (r.text[r.at] !== '(') return;
    skipComment(r);
  }
}

function skipQuoted(r: Reader): void {
  for (r.at++; r.at < r.text.length; r.at++) {
    const c = r.text[r.at];
    if (c === '\\') r.at++;
    else if (c === '"') {
      r.at++;
      return;
    }
  }
}

function word(r: Reader): string {
  if (r.text[r.at] !== '"') return match(r, atom);
  const start = r.at;
  skipQuoted(r);
  return r.text.slice(start, r.at);
}

function localPart(r: Reader): string {
  let out = '';
  for (;;) {
    const dots = match(r, /\.+/y);
    const part = word(r);
    // Words that are not parted by a dot are a phrase, not a local part.
    if (part !== '' && out !== '' && dots === '' && !out.endsWith('.')) return '';
    if (part === '' && dots === '') return out.endsWith('.') ? '' : out;
    out += dots + part;
    skipComments(r);
  }
}

function domain(r: Reader): string {
  if (r.text[r.at] === '[') return match(r, /\[[^\][\\\s]*\]/y);
  let out = '';
  for (;;) {
    const label = match(r, /[0-9A-Za-z\x80-\xff](?:[0-9A-Za-z\x80-\xff-]*[0-9A-Za-z\x80-\xff])?/y);
    if (label === '') return '';
    out += label;
    skipComments(r);
    if (r.text[r.at] !== '.') return out;
    r.at++;
    out += '.';
    skipComments(r);
  }
}

function addrSpec(r: Reader): AddressText | undefined {
  const local = localPart(r);
  if (local === '') return undefined;
  if (r.text[r.at] !== '@') return { local, domain: '' };
  r.at++;
  skipComments(r);
  const d = domain(r);
  if (d === '') return undefined;
  skipComments(r);
  return { local, domain: d };
}

function angle(r: Reader): AddressText | undefined {
  r.at++;
  skipComments(r);
  if (r.text[r.at] === '>') {
    r.at++;
    return { local: '', domain: '' };
  }
  if (r.text[r.at] === '@') {
    // A source route (RFC 5321 §4.1.1.3) is read over.
    match(r, /[^:>"<]*:/y);
    skipComments(r);
  }
  const address = addrSpec(r);
  if (address === undefined || r.text[r.at] !== '>') return undefined;
  r.at++;
  return address;
}

function skipPhrase(r: Reader): boolean {
  for (;;) {
    skipComments(r);
    if (r.text[r.at] === '<') return true;
    const start = r.at;
    match(r, /\.+/y);
    word(r);
    if (r.at === start) return false;
  }
}

function ended(r: Reader, a: AddressText | undefined): AddressText | undefined {
  skipComments(r);
  return r.at >= r.text.length ? a : undefined;
}
