/** The router port: what a router says of one address (Exim manual, "Generic options for routers"). */
import type { AddressFacts, Awaitable, ExpandScope } from '../expand/scope.ts';
import type { Address } from '../mail/address.ts';
import type { DirectTarget } from '../mail/local-delivery.ts';
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
      /** This machine is one of the exchangers: the hosts are those before it, and nothing falls back on others. */
      readonly secondary?: boolean;
    }
  /** The address becomes another one, which goes through the routers from the top. */
  | { readonly kind: 'rerouted'; readonly address: Address }
  | Redirected
  /** `text`: why, which is what a failure says where no later router takes the address. */
  | { readonly kind: 'decline' | 'pass'; readonly text?: string }
  | { readonly kind: 'discard' }
  | { readonly kind: 'fail'; readonly reason: Status }
  /** `freeze`: the message is frozen too (`self = freeze`, `host_find_failed = freeze`). */
  | { readonly kind: 'defer'; readonly reason: Status; readonly freeze?: boolean };

/** The address becomes any number of others, files, directories and commands. */
export interface Redirected {
  readonly kind: 'redirected';
  /** In the order of the list. */
  readonly children: readonly Child[];
  /** `:fail:` or `:defer:` in the list: what becomes of the address itself, beside the children that stood before it. */
  readonly verdict?: { readonly kind: 'fail' | 'defer'; readonly reason: Status };
  /** `one_time`: the children take the place of the address for good. */
  readonly oneTime: boolean;
  /** `hide_child_in_errmsg` */
  readonly hideChild: boolean;
  /** `no_rewrite`: the rewriting rules do not concern the children. */
  readonly rewrite?: false;
}

export type Child =
  | { readonly kind: 'address'; readonly address: Address }
  /**
   * A file, directory or command, for the transport of that kind. Without a transport (`/dev/null`) nothing is delivered;
   * with a problem it is put off.
   */
  | {
      readonly kind: 'direct';
      readonly target: DirectTarget;
      readonly transport?: string;
      readonly problem?: Status;
    };

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
  /** The address and those it came from, nearest first. */
  readonly ancestors: readonly Address[];
  /** Who owns the files of this address: `check_local_user`. */
  readonly localUser?: LocalUser;
  /** `ignore_target_hosts`: is this IP address as if it did not exist? Absent where the option is unset. */
  readonly ignoreHost?: (address: string) => Awaitable<boolean | { readonly problem: string }>;
  /** Is the domain of the address in this list, which is expanded first? */
  inDomains(list: string): Awaitable<boolean | { readonly problem: string }>;
  /** Told what Exim would put on the main log: an address of a list that was skipped. */
  note(text: string): void;
  /** `syntax_errors_to`; absent where nobody is told (address tests, verification). */
  readonly report?: (report: SyntaxReport) => void;
  /**
   * The transport by that name, or, without a name, what the generic option `transport` expands to. Undefined: none is
   * set. A status says why there is none now.
   */
  transport(name?: string): Awaitable<ChosenTransport | { readonly problem: Status } | undefined>;
  readonly signal: AbortSignal;
}

/** Malformed addresses of a list, of which somebody is to be told by mail. */
export interface SyntaxReport {
  readonly router: string;
  readonly to: Address;
  /** `syntax_errors_text` */
  readonly text?: string;
  readonly errors: readonly string[];
  /** The list had good addresses too. */
  readonly others: boolean;
}

/** An account of this machine. */
export interface LocalUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** Accounts and groups, as the machine's files have them. */
export interface LocalUsers {
  /** Exim's `getpwnam`. Throws where the accounts cannot be read. */
  byName(name: string): LocalUser | undefined;
  byUid(uid: number): LocalUser | undefined;
  /** The number of a group, by name or number; undefined for an unknown name. */
  groupNumber(nameOrNumber: string): number | undefined;
}

export type FileState =
  | { readonly kind: 'found'; readonly uid: number; readonly gid: number; readonly mode: number }
  /** `denied`: EACCES. */
  | { readonly kind: 'missing' | 'denied' }
  | { readonly kind: 'unknown'; readonly reason: string };

/** What routers look at outside of messages, lookups and the DNS. */
export interface LocalMachine {
  readonly users: LocalUsers;
  readonly fileState: (path: string) => FileState;
}

/** One router's own part; generic preconditions have been met when it runs. */
export interface RouterDriver {
  readonly driver: string;
  /** `repeat_use = false`: not run for an address that has been through this router before. */
  readonly once?: boolean;
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
