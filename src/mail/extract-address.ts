/**
 * Finds the working part of one address as header lines and lists write it (RFC 5322 §3.4, with Exim's liberties): what rewriting
 * replaces and redirection goes to, and where it stands. Errors have the words that Exim's log has. Texts are octet strings.
 */

export interface ExtractedAddress {
  /** `local@domain` without comments, or only the local part; `<>` gives the empty string where that is allowed. */
  readonly address: string;
  readonly hasDomain: boolean;
  /** Where the working part stands in the text. */
  readonly start: number;
  readonly end: number;
}

/** Groups go over several addresses of one header line: `list: a@x, b@x;`. */
export interface GroupState {
  /** A group's name may come. */
  allowed: boolean;
  /** A group is open, and `;` closes it. */
  open: boolean;
}

const emptyAddress = 'empty address';

/** Exim's bound on one address. */
const maxOctets = 4096;

/** A failed parse; thrown and caught in this file only. */
class Malformed {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/**
 * Reads one address. `error` is Exim's wording, `empty address` among it.
 *
 * @param allowNull takes `<>`
 */
export function extractAddress(
  text: string,
  options: { readonly allowNull?: boolean; readonly group?: GroupState } = {},
): ExtractedAddress | { readonly error: string } {
  try {
    return read(
      new Cursor(text),
      options.allowNull === true,
      options.group ?? { allowed: false, open: false },
    );
  } catch (failure) {
    if (failure instanceof Malformed) return { error: failure.text };
    throw failure;
  }
}

export type Extracted =
  /** `domain` is empty in an unqualified address. Comments and white space are gone, quotes kept. */
  | { readonly local: string; readonly domain: string }
  | { readonly error: string }
  /** Nothing but comments. */
  | { readonly empty: true };

/** Reads one address and nothing else, in two parts. */
export function extractParts(text: string): Extracted {
  const found = extractAddress(text);
  if ('error' in found) return found.error === emptyAddress ? { empty: true } : found;
  const at = found.hasDomain ? found.address.lastIndexOf('@') : found.address.length;
  return { local: found.address.slice(0, at), domain: found.address.slice(at + 1) };
}

/** Where the address that begins at `from` ends: its comma, or the end of the text. */
export function addressEnd(text: string, from: number): number {
  const cursor = new Cursor(text);
  cursor.at = from;
  let routing = false;
  while (!cursor.atEnd() && (cursor.peek() !== ',' || routing)) {
    const c = cursor.peek();
    if (c === '"') cursor.quoted();
    else if (c === '(') cursor.comment();
    else if (c === '\\') cursor.at += 2;
    else {
      cursor.at++;
      if (c === ':') routing = false;
      else if (c === '<') {
        while (isSpace(cursor.peek())) cursor.at++;
        routing = cursor.peek() === '@';
      }
    }
  }
  return Math.min(cursor.at, text.length);
}

function read(c: Cursor, allowNull: boolean, group: GroupState): ExtractedAddress {
  for (;;) {
    c.skipComments();
    let start = c.at;
    let local = localPart(c, true);
    if (c.peek() !== '@' && c.peek() !== '<') {
      if (c.atEnd() || c.peek() === ';') {
        if (local === '') throw new Malformed(emptyAddress);
        return finish(c, group, { address: local, hasDomain: false, start, end: c.beforeComments });
      }
      while (c.peek() !== '<' && !(group.allowed && c.peek() === ':')) phraseWord(c);
      if (c.peek() === ':') {
        group.open = true;
        group.allowed = false;
        c.at++;
        continue;
      }
    }
    if (c.peek() === '<') return finish(c, group, inBrackets(c, allowNull));
    if (local === '') {
      // A source route without brackets.
      start = c.at;
      skipRoute(c);
      local = localPart(c, false);
      if (c.peek() !== '@') throw new Malformed(c.atEnd() ? routeWithoutDomain : noDomainAfter(local));
    }
    c.at++;
    local += `@${domain(c)}`;
    return finish(c, group, { address: local, hasDomain: true, start, end: c.beforeComments });
  }
}

function phraseWord(c: Cursor): void {
  try {
    localPart(c, false);
  } catch (failure) {
    throw failure instanceof Malformed ? new Malformed(`${failure.text} (expected word or "<")`) : failure;
  }
}

function inBrackets(c: Cursor, allowNull: boolean): ExtractedAddress {
  c.at++;
  const start = c.at;
  c.skipComments();
  const routed = c.peek() === '@';
  if (routed) skipRoute(c);
  let address = '';
  let hasDomain = false;
  if (!(allowNull && !routed && c.peek() === '>')) {
    address = localPart(c, false);
    if (c.peek() === '@') {
      c.at++;
      address += `@${domain(c)}`;
      hasDomain = true;
    } else if (c.peek() !== '>') throw new Malformed(noDomainAfter(address));
    else if (routed) throw new Malformed(routeWithoutDomain);
  }
  const end = c.at;
  if (c.peek() !== '>') throw new Malformed(c.atEnd() ? `'>' missing at end of address` : c.mayNotFollow());
  c.at++;
  c.skipComments();
  return { address, hasDomain, start, end };
}

const routeWithoutDomain = 'domain missing in source-routed address';

function noDomainAfter(local: string): string {
  return `"@" or "." expected after "${local}"`;
}

/** `@one,@two:` is read over (RFC 5321 §4.1.1.3). */
function skipRoute(c: Cursor): void {
  for (;;) {
    if (c.peek() !== '@') throw new Malformed('colon expected after route list');
    c.at++;
    domain(c);
    if (c.peek() === ':') break;
    if (c.peek() !== ',') throw new Malformed('no local part');
    c.at++;
    c.skipComments();
  }
  c.at++;
  c.skipComments();
}

function finish(c: Cursor, group: GroupState, found: ExtractedAddress): ExtractedAddress {
  if (!c.atEnd()) {
    if (!group.open || c.peek() !== ';') throw new Malformed(c.mayNotFollow());
    group.open = false;
    group.allowed = true;
  }
  let { end } = found;
  while (end > found.start && isSpace(c.text[end - 1] ?? '')) end--;
  if (end - found.start > maxOctets)
    throw new Malformed(`address is ridiculously long: ${found.address.slice(0, 64)}...`);
  return { ...found, end };
}

/** Words parted by dots; several dots in a row and dots at the ends are taken as they are. */
function localPart(c: Cursor, allowNull: boolean): string {
  let out = '';
  for (;;) {
    c.skipComments();
    const start = c.at;
    if (c.peek() !== '"') c.take(atom);
    else if (!c.quoted()) throw new Malformed('unmatched doublequote in local part');
    const word = c.text.slice(start, c.at);
    c.skipComments();
    if (word === '' && c.peek() !== '.') {
      if (out === '' && !allowNull) throw new Malformed('missing or malformed local part');
      return out;
    }
    out += word;
    if (c.peek() !== '.') return out;
    out += c.take(/\.+/y);
  }
}

const atom = /(?:[^\x00-\x20\x7f()<>@,;:\\".[\]]|\\[^])+/y;

function domain(c: Cursor): string {
  c.skipComments();
  if (c.peek() === '[') {
    const literal = c.take(/\[[^\][\\\s]*\]/y);
    if (literal === '') throw new Malformed('malformed domain literal');
    c.skipComments();
    return literal;
  }
  let out = '';
  for (;;) {
    const label = c.take(/[0-9A-Za-z\x80-\xff][0-9A-Za-z\x80-\xff-]*/y);
    if (label === '') throw new Malformed('domain missing or malformed');
    out += label;
    c.skipComments();
    if (c.peek() !== '.') return out;
    c.at++;
    out += '.';
    c.skipComments();
  }
}

function isSpace(c: string): boolean {
  return c === ' ' || (c >= '\t' && c <= '\r');
}

class Cursor {
  at = 0;
  /** Where the last run of white space and comments began. */
  beforeComments = 0;
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  atEnd(): boolean {
    return this.at >= this.text.length;
  }

  peek(): string {
    return this.text.charAt(this.at);
  }

  /** @param pattern sticky */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? '';
    this.at += found.length;
    return found;
  }

  skipComments(): void {
    this.beforeComments = this.at;
    for (;;) {
      this.take(/\s+/y);
      if (this.peek() !== '(') return;
      this.comment();
    }
  }

  comment(): void {
    for (let depth = 0; this.at < this.text.length; this.at++) {
      const c = this.peek();
      if (c === '\\') this.at++;
      else if (c === '(') depth++;
      else if (c === ')' && --depth === 0) {
        this.at++;
        return;
      }
    }
    this.at = Math.min(this.at, this.text.length);
  }

  /** False where the closing quote is missing. */
  quoted(): boolean {
    for (this.at++; this.at < this.text.length; this.at++) {
      const c = this.peek();
      if (c === '\\') this.at++;
      else if (c === '"') {
        this.at++;
        return true;
      }
    }
    this.at = Math.min(this.at, this.text.length);
    return false;
  }

  mayNotFollow(): string {
    return `malformed address: ${this.text.slice(this.at, this.at + 32)} may not follow ${this.text.slice(0, this.at)}`;
  }
}
