/** IP addresses as texts and octets. */
import { isIPv4, isIPv6 } from 'node:net';

/** 4 or 16 octets; undefined where the text is no address. A scope (`%eth0`) is dropped. */
export function ipOctets(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text)) return undefined;
  const [bare = ''] = text.split('%');
  const [head = '', tail] = bare.split('::');
  const left = groups(head);
  const right = groups(tail ?? '');
  const middle = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => 0);
  const all = [...left, ...middle, ...right];
  const out = new Uint8Array(16);
  all.forEach((g, i) => {
    out[i * 2] = g >> 8;
    out[i * 2 + 1] = g & 0xff;
  });
  return out;
}

function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((g) => {
    if (!g.includes('.')) return [Number.parseInt(g, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = g.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** The 16-bit groups of an IPv6 address; an IPv4 address as IPv4-mapped. */
export function ipv6Groups(octets: Uint8Array): number[] {
  const wide =
    octets.length === 16 ? octets : Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...octets]);
  return Array.from({ length: 8 }, (_, i) => ((wide[i * 2] ?? 0) << 8) | (wide[i * 2 + 1] ?? 0));
}

/** `2001:db8::1`: no leading zeros, the longest run of zero groups, even of one, as `::`; the first of equals. */
export function compressIpv6(all: readonly number[]): string {
  let start = -1;
  let length = 0;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && all[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
  }
  const hex = (part: readonly number[]): string => part.map((g) => g.toString(16)).join(':');
  return start < 0 ? hex(all) : `${hex(all.slice(0, start))}::${hex(all.slice(start + length))}`;
}

/** `2001:0db8:0000:...`, or with another separator. */
export function fullIpv6(all: readonly number[], separator = ':'): string {
  return all.map((g) => g.toString(16).padStart(4, '0')).join(separator);
}

/** Clears all but the first `bits` bits. */
export function maskOctets(octets: Uint8Array, bits: number): Uint8Array {
  return octets.map((o, i) => {
    const keep = Math.min(8, Math.max(0, bits - i * 8));
    return o & (0xff << (8 - keep)) & 0xff;
  });
}
