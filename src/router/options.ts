/** The generic options of one router (Exim manual, "Generic options for routers"), as the application maps them from a configuration. */
import type { RouteHost } from '../mail/route-host.ts';
import type { LocalMachine, RouterDriver, SelfAction } from './router.ts';

/**
 * Texts are unexpanded. An absent option is unset. Lists keep Exim's text form. Options of Exim that are not here
 * must be refused by whoever makes this.
 */
export interface RouterOptions {
  readonly name: string;
  readonly addressData?: string;
  /** Default true. */
  readonly addressTest?: boolean;
  readonly cannotRouteMessage?: string;
  readonly casefulLocalPart?: boolean;
  readonly checkLocalUser?: boolean;
  /** Every one must hold. */
  readonly condition?: readonly string[];
  /** An empty string is `<>`: no bounces. */
  readonly errorsTo?: string;
  /** `fallback_hosts`. */
  readonly fallbackHosts?: readonly RouteHost[];
  readonly failVerifyRecipient?: boolean;
  readonly failVerifySender?: boolean;
  readonly domains?: string;
  /** A user or group by name or number. */
  readonly group?: string;
  /** One entry for each time the option was given; each a list parted by newlines. */
  readonly headersAdd?: readonly string[];
  /** One entry for each time the option was given; each a list parted by colons. */
  readonly headersRemove?: readonly string[];
  readonly ignoreTargetHosts?: string;
  readonly initgroups?: boolean;
  readonly localPartPrefix?: string;
  readonly localPartPrefixOptional?: boolean;
  readonly localPartSuffix?: string;
  readonly localPartSuffixOptional?: boolean;
  readonly localParts?: string;
  /** Default: true for the accept router, else false. */
  readonly logAsLocal?: boolean;
  /** Default `true`. */
  readonly more?: string;
  readonly passOnTimeout?: boolean;
  /** Name of a router further down. */
  readonly passRouter?: string;
  /** Name of the router at which children begin; absent: the first one. */
  readonly redirectRouter?: string;
  readonly requireFiles?: string;
  /** Default: true where a precondition looks at more than the domain. */
  readonly retryUseLocalPart?: boolean;
  readonly routerHomeDirectory?: string;
  readonly self?: SelfAction;
  readonly senders?: string;
  /** One entry for each time the option was given; each a list of `r_name = value` parted by semicolons. */
  readonly set?: readonly string[];
  readonly transport?: string;
  readonly transportCurrentDirectory?: string;
  readonly transportHomeDirectory?: string;
  /** `true`, `false` or what expands to one of them. */
  readonly unseen?: string;
  readonly user?: string;
  readonly verifyOnly?: boolean;
  /** Default true. */
  readonly verifyRecipient?: boolean;
  /** Default true. */
  readonly verifySender?: boolean;
}

/** A router ready to run. */
export interface ConfiguredRouter {
  readonly options: RouterOptions;
  readonly driver: RouterDriver;
  /** For `check_local_user`, `require_files`, `user` and `group`. */
  readonly machine: LocalMachine;
}

/** `retry_use_local_part` with its default. */
export function retryUsesLocalPart(o: RouterOptions): boolean {
  return (
    o.retryUseLocalPart ??
    (o.localParts !== undefined ||
      o.checkLocalUser === true ||
      o.condition !== undefined ||
      o.localPartPrefix !== undefined ||
      o.localPartSuffix !== undefined ||
      o.senders !== undefined ||
      o.requireFiles !== undefined)
  );
}
