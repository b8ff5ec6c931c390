/** What route() needs to know beside the address, and what it gives. */
import type {
  AddressFacts,
  ConnectionFacts,
  ExpandServices,
  MainFacts,
  MessageFacts,
} from '../expand/scope.ts';
import type { Address, ReversePath } from '../mail/address.ts';
import type { HeaderEdit } from '../mail/headers.ts';
import type { Status } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { ConfiguredRouter } from './options.ts';
import type { TransportTraits } from './router.ts';

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
  /** Told what Exim would put on the panic log: a configuration that does not work. */
  problem?(text: string): void;
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
  /** What goes into RCPT: affixes taken off, case as given. Differs from the routed address also after `self = reroute`. */
  readonly address: Address;
  /** Where bounces go and the reverse path for this delivery; absent: the message's sender. */
  readonly errorsTo?: ReversePath;
  readonly headerEdits: readonly HeaderEdit[];
  readonly logAsLocal: boolean;
  /** `$local_part`, `$domain_data`, `$address_data` and the like as they were in the router: for the transport's options. */
  readonly facts: AddressFacts;
}

export type Routed =
  | RoutedTo
  | { readonly kind: 'discard'; readonly router: string; readonly facts: AddressFacts }
  /** `router` is absent where no router took the address. */
  | { readonly kind: 'fail'; readonly reason: Status; readonly router?: string; readonly facts: AddressFacts }
  | {
      readonly kind: 'defer';
      readonly reason: Status;
      readonly router: string;
      readonly freeze: boolean;
      /** `retry_use_local_part`: whether the retry rule is chosen by the whole address or by the domain. */
      readonly retryUseLocalPart: boolean;
      readonly facts: AddressFacts;
    };
