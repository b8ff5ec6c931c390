/** Files of `key: data` lines, as lsearch and its kin read them (Exim manual, "Single-key lookup types"). */

export interface Entry {
  readonly key: string;
  readonly data: string;
  /** Key and data as they stand, the key without its quotes: `ret=full`. */
  readonly full: string;
}

const space = (c: number): boolean => c === 0x20 || (c >= 0x09 && c <= 0x0d);

/** Calls `take` for each entry in the order of the file. A line that begins with white space continues the entry before it. */
export function readEntries(text: string, take: (entry: Entry) => void): void {
  let line: string | undefined;
  const emit = (): void => {
    if (line !== undefined) take(parseEntry(line));
  };
  let at = 0;
  while (at < text.length) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    const first = text.charCodeAt(at);
    if (first === 0x23 || end === at) {
      // The manual lets comments and empty lines stand within an entry; to Exim 4.96 they end it.
      emit();
      line = undefined;
    } else if (space(first)) {
      const more = text.slice(at, end).trim();
      if (line !== undefined && more !== '') line = `${line.trimEnd()} ${more}`;
    } else {
      emit();
      line = text.slice(at, end);
    }
    at = end + 1;
  }
  emit();
}

function parseEntry(line: string): Entry {
  if (line.charCodeAt(0) === 0x22) {
    const { key, end } = quotedKey(line);
    return entry(key, line, end);
  }
  let end = 0;
  while (end < line.length) {
    const c = line.charCodeAt(end);
    if (c === 0x3a || space(c)) break;
    end++;
  }
  return entry(line.slice(0, end), line, end);
}

function entry(key: string, line: string, end: number): Entry {
  let at = end;
  while (at < line.length && space(line.charCodeAt(at))) at++;
  if (line.charCodeAt(at) === 0x3a) at++;
  const data = line.slice(at).trim();
  return { key, data, full: line.charCodeAt(0) === 0x22 ? key + line.slice(end) : line };
}

const escapes: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

/** Exim manual, "Quoted strings": backslash escapes inside the quotes. */
function quotedKey(line: string): { readonly key: string; readonly end: number } {
  let key = '';
  for (let i = 1; i < line.length; i++) {
    const c = line.charAt(i);
    if (c === '"') return { key, end: i + 1 };
    if (c !== '\\') {
      key += c;
      continue;
    }
    const number = /^(?:[0-7]{1,3}|x[0-9A-Fa-f]{1,2})/.exec(line.slice(i + 1, i + 4))?.[0];
    if (number === undefined) {
      i++;
      const next = line.charAt(i);
      key += escapes.get(next) ?? next;
    } else {
      i += number.length;
      const code = number.startsWith('x') ? Number.parseInt(number.slice(1), 16) : Number.parseInt(number, 8);
      key += String.fromCharCode(code & 0xff);
    }
  }
  return { key, end: line.length };
}

const plain = /^[\x00-\x7f]*$/;

/** Keys compare without ASCII case. */
export function foldKey(key: string): string {
  return plain.test(key) ? key.toLowerCase() : key.replace(/[A-Z]+/g, (m) => m.toLowerCase());
}
