/**
 * The text form of lists (Exim manual, "List construction" and "Empty items in lists"): items parted by a colon or by
 * the character that follows a leading `<`, white space around an item dropped, a doubled separator standing for one
 * character of data.
 */

/** C's isspace, which is what Exim skips. */
function isSpace(c: number): boolean {
  return c === 0x20 || (c >= 0x09 && c <= 0x0d);
}

/** Punctuation or a control character may follow `<` (C's ispunct and iscntrl). */
function canSeparate(c: number): boolean {
  return c < 0x20 || c === 0x7f || isPunctuation(c);
}

function isPunctuation(c: number): boolean {
  return (c > 0x20 && c < 0x30) || (c > 0x39 && c < 0x41) || (c > 0x5a && c < 0x61) || (c > 0x7a && c < 0x7f);
}

/** The items of a list and the separator that its text chose. */
export interface ListText {
  readonly separator: string;
  readonly items: string[];
}

/**
 * Reads a list's text. A separator at the very end makes no further item, so `:` is a list of one empty item and
 * `a:` a list of one. A control character as separator is never doubled.
 */
export function readList(text: string): ListText {
  let i = skipSpace(text, 0, -1);
  let separator = 0x3a;
  // To Exim the end of the text is a separator too: there are no items then.
  if (text.charCodeAt(i) === 0x3c && i + 1 === text.length) return { separator: ':', items: [] };
  if (text.charCodeAt(i) === 0x3c && canSeparate(text.charCodeAt(i + 1))) {
    separator = text.charCodeAt(i + 1);
    i += 2;
  }
  const mark = String.fromCharCode(separator);
  const doubles = !(separator < 0x20 || separator === 0x7f);
  const items: string[] = [];
  for (;;) {
    i = skipSpace(text, i, separator);
    if (i >= text.length) return { separator: mark, items };
    let item = '';
    for (;;) {
      let end = text.indexOf(mark, i);
      if (end < 0) end = text.length;
      item += text.slice(i, end);
      i = end + 1;
      if (end === text.length || !doubles || text.charCodeAt(i) !== separator) break;
      item += mark;
      i++;
    }
    items.push(trimEnd(item));
  }
}

/** Only the items of {@link readList}. */
export function splitList(text: string): string[] {
  return readList(text).items;
}

/**
 * The text of a list with these items, which {@link splitList} reads back: separators inside items are doubled, and
 * the separator is named where it is not a colon. Items must not begin or end in white space, nor contain a separator that
 * is a control character.
 *
 * @param separator one punctuation or control character
 */
export function joinList(items: readonly string[], separator = ':'): string {
  let out = separator === ':' ? (items[0]?.startsWith('<') === true ? '<:' : '') : `<${separator}`;
  items.forEach((item, i) => {
    const data = item.replaceAll(separator, separator + separator);
    if (i > 0) out += separator;
    // A separator that follows another one at once would double it.
    if (out !== '' && (data === '' || data.startsWith(separator))) out += ' ';
    out += data;
  });
  return items.at(-1) === '' ? out + separator : out;
}

function skipSpace(text: string, from: number, except: number): number {
  let i = from;
  while (i < text.length) {
    const c = text.charCodeAt(i);
    if (c === except || !isSpace(c)) break;
    i++;
  }
  return i;
}

/** Drops white space at the end, but a character after a backslash stays. */
function trimEnd(item: string): string {
  let end = item.length;
  while (end > 0 && isSpace(item.charCodeAt(end - 1)) && (end === 1 || item.charCodeAt(end - 2) !== 0x5c))
    end--;
  return end === item.length ? item : item.slice(0, end);
}
