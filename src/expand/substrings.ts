/** `length`, `substr`, `hash` and `nhash`, shared by the item form (`${substr{1}{2}{...}}`) and the operator form (`${substr_1_2:...}`). */
import { error, type Outcome } from './outcome.ts';

/** The first `n` octets. */
export function lengthOf(text: string, n: number): string {
  return text.slice(0, n);
}

/** Exim manual, `${substr`: a negative start counts from the end; without a length the rest, or what precedes a negative start. */
export function substring(text: string, start: number, length: number | undefined): string {
  if (start >= 0) return length === undefined ? text.slice(start) : text.slice(start, start + length);
  const from = text.length + start;
  if (length === undefined) return text.slice(0, Math.max(0, from));
  return text.slice(Math.max(0, from), Math.max(0, from + length));
}

const hashAlphabet = 'abcdefghijklmnopqrtsuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

/**
 * The textual hash of early Exim versions: a text of at most `n` octets from the first `m` letters of the alphabet. A text
 * that is not longer than `n` is its own hash.
 */
export function textualHash(text: string, n: number, m: number): Outcome<string> {
  if (m > hashAlphabet.length) return error(`hash count "${m}" too big`);
  if (n >= text.length) return text;
  return foldText(text, n, m);
}

/** The octets past the first `n` are rotated by an amount that depends on octet and place, and folded in by exclusive or. */
function foldText(text: string, n: number, m: number): Outcome<string> {
  if (n === 0) return '';
  if (m === 0) return error('hash count must be greater than zero');
  const octets = Buffer.from(text.slice(0, n), 'latin1');
  for (let i = n; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const turn = (c + i) % 8;
    const bucket = (i - n) % n;
    octets[bucket] = (octets[bucket] ?? 0) ^ (((c << turn) | (c >> (8 - turn))) & 0xff);
  }
  return Array.from(octets, (o) => hashAlphabet.charAt(o % m)).join('');
}

const primes = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
  109, 113,
];

/** The numeric hash: a number below `n`, or with `m` two numbers as `a/b`, below `n` and `m`. */
export function numericHash(text: string, n: number, m: number | undefined): Outcome<string> {
  if (n <= 0 || (m !== undefined && m <= 0))
    return error('the limits of a numeric hash must be greater than zero');
  let total = 0n;
  let i = 0;
  for (let at = 0; at < text.length; at++) {
    if (i === 0) i = primes.length;
    i--;
    total += BigInt((primes[i] ?? 3) * text.charCodeAt(at));
  }
  if (m === undefined) return String(total % BigInt(n));
  const both = total % (BigInt(n) * BigInt(m));
  return `${both / BigInt(m)}/${both % BigInt(m)}`;
}
