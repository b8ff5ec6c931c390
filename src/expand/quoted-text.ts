/** Texts in double quotes inside values: `${extract{key}{key="a b"}}`, words of commands. */

/** What a letter behind a backslash stands for. */
export const escapes: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['b', '\b'],
  ['v', '\v'],
  ['f', '\f'],
]);

/** Takes the quotes off and reads the escapes of quoted option values; the closing quote may be missing. */
export function unquoteText(text: string): string {
  const inner = text.endsWith('"') && text.length > 1 ? text.slice(1, -1) : text.slice(1);
  return inner.replace(
    /\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|([^]))/g,
    (_, octal?: string, hex?: string, c = '') => {
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      return escapes.get(c) ?? c;
    },
  );
}
