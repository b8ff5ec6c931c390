/** What route() needs to know beside the address, and what it gives. */
import type {
  AddressFacts,
  ConnectionFacts,
  ExpandScope,
  ExpandServices,
  MainFacts,
  MessageFacts,
} from '../expand/scope.ts';
import type { Address, ReversePath } from '../mail/address.ts';
import type { HeaderEdit } from '../mail/headers.ts';
import type { LocalDelivery } from '../mail/local-delivery.ts';
import type { Status } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { ConfiguredRouter } from './options.ts';
import type { SyntaxReport, TransportTraits } from './router.ts';

/** Why an address is routed: preconditions ask (`verify_only`, `address_test`, ...). */
export type RouteMode = 'deliver' | 'address-test' | 'verify-recipient' | 'verify-sender';

export interface RouteEnvironment {
  readonly routers: readonly ConfiguredRouter[];
  readonly main: MainFacts;
  readonly services: ExpandServices;
  readonly mode: RouteMode;
  /** The envelope sender; null for `<>` and while a sender is verified. */
  readonly sender: ReversePath;
  readonly connection?: ConnectionFacts;
  readonly message?: MessageFacts;
  /** Undefined for a name that is no transport. */
  transport(name: string): TransportTraits | undefined;
  /** Applies the rewriting rules to an address that another was redirected to; absent: there are none. */
  readonly rewriteChild?: (address: Address, scope: ExpandScope) => Promise<Address>;
  /** Asked before an address, or one that it was redirected to, is routed: what is held is put off. */
  readonly held?: (address: Address) => Promise<Held | undefined>;
  /** Told what Exim would put on the main log: addresses of lists that were skipped. */
  note?(text: string): void;
  /** Told of lists with malformed addresses whose owner is to get mail. */
  readonly report?: (report: SyntaxReport) => void;
  /** Told what Exim would put on the panic log: a configuration that does not work. */
  problem?(text: string): void;
}

/** Why an address waits although nothing failed. */
export interface Held {
  readonly text: string;
  /** What the log has in `defer (N)`. */
  readonly errno: number;
  /** When it is looked at again, milliseconds since 1970. */
  readonly untilMs: number;
  /** The log calls it `routing defer`. */
  readonly routing?: boolean;
}

/** An address with a place to go. */
export interface RoutedTo {
  readonly kind: 'routed';
  readonly router: string;
  /** Absent only when verifying. */
  readonly transport?: string;
  /** Exim's local transports: lmtp, pipe, appendfile. */
  readonly local: boolean;
  readonly hosts: readonly RouteHost[];
  /** The order of the hosts is random. */
  readonly unordered: boolean;
  /** Hosts to try where these defer, not looked up yet; absent: what the transport says; empty: none. */
  readonly fallback?: readonly RouteHost[];
  /** What goes into RCPT: affixes taken off, case as given. Differs from the routed address also after `self = reroute`. */
  readonly address: Address;
  /** Where bounces go and the reverse path for this delivery; absent: the message's sender. */
  readonly errorsTo?: ReversePath;
  readonly headerEdits: readonly HeaderEdit[];
  readonly logAsLocal: boolean;
  /** Home, user and direct target; absent where there is none of them. */
  readonly delivery?: LocalDelivery;
  /** `$local_part`, `$domain_data`, `$address_data` and the like as they were in the router: for the transport's options. */
  readonly facts: AddressFacts;
}

export type Routed =
  | RoutedTo
  /** `bypassed`: what took it without a delivery, `/dev/null`; absent for `:blackhole:`. */
  | {
      readonly kind: 'discard';
      readonly router: string;
      readonly bypassed?: string;
      readonly facts: AddressFacts;
    }
  /** `router` is absent where no router took the address. */
  | { readonly kind: 'fail'; readonly reason: Status; readonly router?: string; readonly facts: AddressFacts }
  | {
      readonly kind: 'defer';
      readonly reason: Status;
      readonly router: string;
      readonly freeze: boolean;
      /** `retry_use_local_part`: whether the retry rule is chosen by the whole address or by the domain. */
      readonly retryUseLocalPart: boolean;
      /** Nothing was tried. */
      readonly held?: Held;
      readonly facts: AddressFacts;
    };

/**
 * What verification gets beside an end: several addresses, or a file or command, which are not looked into further. `key` is
 * Exim's unique name of what a recipient was redirected to, see Leaf; absent where it was not.
 */
export type VerifiedRoute =
  | (Routed & { readonly key?: string })
  | { readonly kind: 'redirected'; readonly facts: AddressFacts };
