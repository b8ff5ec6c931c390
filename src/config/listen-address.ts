/** Where a store listens: an address with its port. */

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads `127.0.0.1:24` or `[::1]:24`; undefined for anything else. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const colon = text.lastIndexOf(':');
  const digits = text.slice(colon + 1);
  const port = Number(digits);
  if (colon < 1 || !/^\d{1,5}$/.test(digits) || port > 65_535) return undefined;
  const host = text.slice(0, colon);
  if (host.startsWith('[') && host.endsWith(']')) {
    const inner = host.slice(1, -1);
    return /^[0-9A-Fa-f:.]+$/.test(inner) && inner.includes(':') ? { host: inner, port } : undefined;
  }
  const octets = host.split('.');
  const isIpv4 = octets.length === 4 && octets.every((o) => /^\d{1,3}$/.test(o) && Number(o) < 256);
  return isIpv4 ? { host, port } : undefined;
}
