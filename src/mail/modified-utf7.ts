/** Modified UTF-7 (RFC 3501 §5.1.3), as mailbox names lie on the disk. Text in and out holds one octet a character. */

/** Writes UTF-8 octets as modified UTF-7; undefined where they are not UTF-8. */
export function modifiedUtf7(octets: string): string | undefined {
  if (/^[\x20-\x25\x27-\x7e]*$/.test(octets)) return octets;
  let out = '';
  let units: number[] = [];
  const flush = (): void => {
    if (units.length > 0) out += `&${base64(units)}-`;
    units = [];
  };
  for (let at = 0; at < octets.length; ) {
    const point = codePointAt(octets, at);
    if (point === undefined) return undefined;
    at += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x1_0000 ? 3 : 4;
    if (point >= 0x20 && point <= 0x7e) {
      flush();
      out += point === 0x26 ? '&-' : String.fromCharCode(point);
    } else if (point < 0x1_0000) units.push(point);
    else units.push(0xd800 + ((point - 0x1_0000) >> 10), 0xdc00 + ((point - 0x1_0000) & 0x3ff));
  }
  flush();
  return out;
}

/** UTF-16 units, high octet first, in base64 with `,` for `/` and without padding. */
function base64(units: readonly number[]): string {
  const octets = units.map((unit) => String.fromCharCode(unit >> 8, unit & 0xff)).join('');
  return btoa(octets).replaceAll('/', ',').replace(/=+$/, '');
}

/** The code point that begins at `at`; undefined where there is none in its shortest form (RFC 3629 §4). */
function codePointAt(octets: string, at: number): number | undefined {
  const first = octets.charCodeAt(at);
  if (first < 0x80) return first;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || at + length > octets.length) return undefined;
  let point = first & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const next = octets.charCodeAt(at + i);
    if ((next & 0xc0) !== 0x80) return undefined;
    point = (point << 6) | (next & 0x3f);
  }
  const least = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x1_0000;
  return point < least || point > 0x10_ffff || (point >= 0xd800 && point <= 0xdfff) ? undefined : point;
}
