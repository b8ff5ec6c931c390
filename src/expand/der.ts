/** A reader of DER (ITU-T X.690), as far as certificates need it. Malformed octets throw {@link DerError}. */

export class DerError extends Error {}

export interface DerItem {
  /** The identifier octet. */
  readonly tag: number;
  readonly content: Buffer;
}

/** The items that follow each other in `octets`. */
export function readItems(octets: Buffer): DerItem[] {
  const items: DerItem[] = [];
  for (let at = 0; at < octets.length; ) {
    const tag = octets[at] ?? 0;
    let length = octets[at + 1] ?? 0;
    at += 2;
    if (length >= 0x80) {
      const size = length & 0x7f;
      if (size === 0 || size > 4 || at + size > octets.length) throw new DerError('bad length');
      length = octets.readUIntBE(at, size);
      at += size;
    }
    if (at + length > octets.length) throw new DerError('item is cut short');
    items.push({ tag, content: octets.subarray(at, at + length) });
    at += length;
  }
  return items;
}

/** The items inside a constructed item. */
export function inside(item: DerItem | undefined): DerItem[] {
  return item === undefined ? [] : readItems(item.content);
}

/** An object identifier as dotted numbers. */
export function objectId(item: DerItem | undefined): string {
  const numbers: number[] = [];
  let value = 0;
  for (const octet of item?.content ?? []) {
    value = value * 128 + (octet & 0x7f);
    if ((octet & 0x80) !== 0) continue;
    if (numbers.length > 0) numbers.push(value);
    else numbers.push(Math.min(2, Math.floor(value / 40)), value - 40 * Math.min(2, Math.floor(value / 40)));
    value = 0;
  }
  return numbers.join('.');
}

/** UTCTime and GeneralizedTime (RFC 5280 §4.1.2.5) as milliseconds since 1970. */
export function timeMs(item: DerItem | undefined): number {
  const text = item?.content.toString('latin1') ?? '';
  const found = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (found === null) throw new DerError('bad time');
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1).map(Number);
  const full = text.length === 15 ? year : year + (year < 50 ? 2000 : 1900);
  return Date.UTC(full, month - 1, day, hour, minute, second);
}

/** A character string as octets of UTF-8. */
export function characters({ tag, content }: DerItem): string {
  if (tag !== 0x1e) return content.toString('latin1');
  return Buffer.from(Buffer.from(content).swap16().toString('utf16le'), 'utf8').toString('latin1');
}
