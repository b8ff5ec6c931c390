/** IP addresses and networks as octets (Exim manual, "Host list patterns that match by IP address"). */
import { fullIpv6, ipOctets, ipv6Groups, maskOctets } from '../expand/ip.ts';

/** A network: octets beyond the prefix are zero. */
export interface IpNetwork {
  readonly octets: Uint8Array;
  readonly prefix: number;
}

const mask = /^\d{1,3}$/;

/** Reads `address` or `address/bits`; undefined where it is neither. */
export function parseNetwork(text: string): IpNetwork | undefined {
  const slash = text.indexOf('/');
  const octets = ipOctets(slash < 0 ? text : text.slice(0, slash));
  if (octets === undefined) return undefined;
  const width = octets.length * 8;
  if (slash < 0) return { octets, prefix: width };
  const bits = text.slice(slash + 1);
  if (!mask.test(bits)) return undefined;
  const prefix = Math.min(Number(bits), width);
  return { octets: maskOctets(octets, prefix), prefix };
}

/** True where the first bits of the address are the network's; addresses of different families never match. */
export function inNetwork(address: Uint8Array, network: IpNetwork): boolean {
  const { octets, prefix } = network;
  if (address.length !== octets.length) return false;
  const whole = prefix >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== octets[i]) return false;
  const rest = prefix & 7;
  if (rest === 0) return true;
  return (((address[whole] ?? 0) ^ (octets[whole] ?? 0)) & (0xff00 >> rest) & 0xff) === 0;
}

/**
 * An address as a lookup key (Exim manual, "Host list patterns for single-key lookups by host address"): dotted quad, or
 * eight groups of four hex digits parted by `separator`; with a prefix, masked and followed by `/prefix`.
 */
export function ipKey(address: Uint8Array, prefix: number | undefined, separator: '.' | ':'): string {
  const octets = prefix === undefined ? address : maskOctets(address, prefix);
  const text = octets.length === 4 ? octets.join('.') : fullIpv6(ipv6Groups(octets), separator);
  return prefix === undefined ? text : `${text}/${prefix}`;
}

/** An IPv4 address that came in on an IPv6 socket, in its own form; other texts unchanged. */
export function withoutMapping(text: string): string {
  return text.startsWith('::ffff:') && text.includes('.') ? text.slice(7) : text;
}
