/** The router port: what a router says of one address (Exim manual, "Generic options for routers"). */
import type { AddressFacts, Awaitable, ExpandScope } from '../expand/scope.ts';
import type { Address } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';

export type RouteOutcome =
  | {
      readonly kind: 'routed';
      /** Absent where the router has none because it only verifies. */
      readonly transport?: string;
      readonly hosts: readonly RouteHost[];
      /** The order is random: equal sets of hosts count as the same destination (`hosts_randomize`). */
      readonly unordered?: boolean;
    }
  /** The address becomes another one, which goes through the routers from the top. */
  | { readonly kind: 'rerouted'; readonly address: Address }
  | { readonly kind: 'decline' | 'pass' }
  | { readonly kind: 'discard' }
  | { readonly kind: 'fail'; readonly reason: Status }
  /** `freeze`: the message is frozen too (`self = freeze`, `host_find_failed = freeze`). */
  | { readonly kind: 'defer'; readonly reason: Status; readonly freeze?: boolean };

/** What a router may know of a transport: a local one takes hosts as a text, without any look-up (Exim: lmtp, pipe, appendfile). */
export interface TransportTraits {
  readonly local: boolean;
}

export interface ChosenTransport extends TransportTraits {
  readonly name: string;
}

/** What route() hands to a driver for one address. */
export interface RouteRequest {
  /** Name of the router instance, for messages. */
  readonly router: string;
  /** As it is routed, affixes included. */
  readonly address: Address;
  /** For expansions; `scope.address` holds the local part without affixes. */
  readonly scope: ExpandScope & { readonly address: AddressFacts };
  readonly verifying: boolean;
  readonly self: SelfAction;
  readonly passOnTimeout: boolean;
  /**
   * The transport by that name, or, without a name, what the generic option `transport` expands to. Undefined: none is
   * set. A status says why there is none now.
   */
  transport(name?: string): Awaitable<ChosenTransport | { readonly problem: Status } | undefined>;
  readonly signal: AbortSignal;
}

/** One router's own part; generic preconditions have been met when it runs. */
export interface RouterDriver {
  readonly driver: string;
  /** Never throws for what configuration, DNS or lookups do; that is `defer`. */
  route(request: RouteRequest): Awaitable<RouteOutcome>;
}

/** `self`: what to do where the first host is this machine. */
export type SelfAction =
  | { readonly kind: 'freeze' | 'defer' | 'fail' | 'send' | 'pass' }
  | { readonly kind: 'reroute'; readonly domain: string };

/** Reads the option `self`; a text says what is wrong with it. */
export function parseSelf(text: string): SelfAction | string {
  const value = text.trim();
  switch (value) {
    case 'freeze':
    case 'defer':
    case 'fail':
    case 'send':
    case 'pass':
      return { kind: value };
    default: {
      const found = /^reroute:\s*(rewrite:\s*)?(\S+)$/.exec(value);
      if (found === null) return `"${text}" is not a valid value for self`;
      if (found[1] !== undefined)
        return 'self = reroute: rewrite: is not supported, because headers are not rewritten';
      return { kind: 'reroute', domain: found[2] ?? '' };
    }
  }
}
