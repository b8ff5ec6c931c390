import { assertNever } from './assert-never.ts';

/** Where a peer is reached: TCP, a UNIX socket, or a command that speaks on its standard input and output. */
export type Endpoint =
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      /** The IP address of this machine to connect from; absent: the system chooses. */
      readonly localAddress?: string;
    }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'pipe'; readonly argv: readonly [string, ...string[]] };

/** A text that is unique to the endpoint: key of pools, caches and hints. `[::1]:2525`, `unix:/run/lmtp`, `pipe:["a","b"]`. */
export function endpointKey(e: Endpoint): string {
  switch (e.kind) {
    case 'tcp': {
      const from = e.localAddress === undefined ? '' : ` from ${e.localAddress}`;
      return (e.host.includes(':') ? `[${e.host}]:${e.port}` : `${e.host}:${e.port}`) + from;
    }
    case 'unix':
      return `unix:${e.path}`;
    case 'pipe':
      return `pipe:${JSON.stringify(e.argv)}`;
    default:
      return assertNever(e);
  }
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a === b || endpointKey(a) === endpointKey(b);
}
