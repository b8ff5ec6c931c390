/** Letter case of the C locale: only ASCII letters change, and octets above 127 stay. */

const plain = /^[\x00-\x7f]*$/;

export function lowerAscii(s: string): string {
  return plain.test(s) ? s.toLowerCase() : s.replace(/[A-Z]+/g, (m) => m.toLowerCase());
}

export function upperAscii(s: string): string {
  return plain.test(s) ? s.toUpperCase() : s.replace(/[a-z]+/g, (m) => m.toUpperCase());
}

/** True where two texts are equal without regard to ASCII case. */
export function sameText(a: string, b: string): boolean {
  return a.length === b.length && (a === b || lowerAscii(a) === lowerAscii(b));
}

/**
 * Orders two texts without regard to ASCII case as Exim does: a text that the other one begins with is the greater,
 * not the lesser one.
 */
export function orderCaseless(a: string, b: string): number {
  const x = lowerAscii(a);
  const y = lowerAscii(b);
  if (x === y) return 0;
  return x < y && !y.startsWith(x) ? -1 : 1;
}
