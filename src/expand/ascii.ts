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
