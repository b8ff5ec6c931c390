/** Quoted and bare strings (Exim manual, "String values"). */
import type { SourcePart, SourceText } from '../mail/diagnostic.ts';
import { positionAt } from '../mail/source-text.ts';
import { skipSpace } from './setting.ts';

/** A string with the octet after it in the text it was read from, or what is wrong with it. */
export type StringResult =
  | { readonly value: SourceText; readonly end: number }
  | { readonly wrong: string; readonly at: number };

/** A whole value: bare text as it stands, or one quoted string and nothing after it. `name` is for messages. */
export function readString(source: SourceText, name: string): StringResult {
  if (source.text[0] !== '"') return { value: source, end: source.text.length };
  const quoted = readQuoted(source, 0, name);
  if ('wrong' in quoted) return quoted;
  const rest = skipSpace(source.text, quoted.end);
  return rest < source.text.length
    ? { wrong: `extra characters follow string value for ${name}`, at: rest }
    : quoted;
}

/** The quoted string that begins at `start`, where the quote stands. */
export function readQuoted(source: SourceText, start: number, name: string): StringResult {
  const { text } = source;
  let out = '';
  const parts: SourcePart[] = [];
  let i = start + 1;
  let runs = false;
  while (i < text.length && text[i] !== '"') {
    if (!runs) parts.push({ offset: out.length, position: positionAt(source, i) });
    runs = true;
    if (text[i] !== '\\' || i + 1 === text.length) {
      // Runs of the source that begin inside this one keep their own places.
      const part = source.parts?.find((p) => p.offset === i && i > start + 1);
      if (part !== undefined) parts.push({ ...part, offset: out.length });
      out += text[i];
      i++;
      continue;
    }
    const [character, length] = escape(text, i);
    out += character;
    i += length;
    runs = false;
  }
  if (i >= text.length) return { wrong: `missing quote at end of string value for ${name}`, at: start };
  const position = parts[0]?.position ?? positionAt(source, start + 1);
  return { value: parts.length > 1 ? { text: out, position, parts } : { text: out, position }, end: i + 1 };
}

const letters: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v' };

/** The octet that an escape at `at` stands for, and the length of the escape. */
function escape(text: string, at: number): readonly [character: string, length: number] {
  const c = text[at + 1] ?? '';
  const letter = letters[c];
  if (letter !== undefined) return [letter, 2];
  if (c === 'x') {
    const digits = run(text, at + 2, 2, '0123456789abcdefABCDEF');
    return [String.fromCharCode(Number.parseInt(digits || '0', 16)), 2 + digits.length];
  }
  const digits = run(text, at + 1, 3, '01234567');
  if (digits !== '') return [String.fromCharCode(Number.parseInt(digits, 8) & 0xff), 1 + digits.length];
  return [c, 2];
}

function run(text: string, at: number, max: number, allowed: string): string {
  let end = at;
  while (end < at + max && end < text.length && allowed.includes(text.charAt(end))) end++;
  return text.slice(at, end);
}
