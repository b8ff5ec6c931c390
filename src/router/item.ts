/** What goes through the routers, and what comes out of one step. */
import type { AddressFacts, ExpandScope, ExtraValue } from '../expand/scope.ts';
import type { Address, ReversePath } from '../mail/address.ts';
import type { HeaderEdit } from '../mail/headers.ts';
import type { DirectTarget } from '../mail/local-delivery.ts';
import type { Status } from '../mail/outcome.ts';
import type { Routed } from './environment.ts';
import { type ConfiguredRouter, retryUsesLocalPart } from './options.ts';

export type RouteScope = ExpandScope & {
  readonly address: AddressFacts;
  readonly extra: Map<string, ExtraValue>;
};

/** An address on the way here and the router that replaced it. */
export interface Ancestor {
  readonly address: Address;
  readonly router: string;
}

/** What routers attached to an address goes on to its children. */
export interface Inherited {
  readonly errorsTo?: ReversePath;
  readonly edits: readonly HeaderEdit[];
  readonly addressData?: ExtraValue;
  readonly variables?: ReadonlyMap<string, ExtraValue>;
}

/** An address to be routed. */
export interface Item {
  readonly address: Address;
  /** Oldest first. */
  readonly ancestors: readonly Ancestor[];
  readonly inherited: Inherited;
  /** Name of the router to begin at; absent: the first one. */
  readonly start?: string;
}

export type StepChild =
  | { readonly kind: 'item'; readonly item: Item; readonly oneTime: boolean; readonly hide: boolean }
  | {
      readonly kind: 'direct';
      readonly target: DirectTarget;
      readonly hide: boolean;
      readonly routed: Routed;
    };

/** What became of an address. */
export interface Step {
  /** Of the address itself; absent where it was only redirected. */
  readonly routed?: Routed;
  /** Absent where it was not redirected nor cloned (`unseen`). In the order of the list, a clone first. */
  readonly children?: readonly StepChild[];
  /** The router was `unseen`: `routed` is one of two copies. */
  readonly unseen?: string;
}

export function deferred(
  router: ConfiguredRouter,
  reason: Status,
  facts: AddressFacts,
  freeze = false,
): Step {
  return { routed: putOff(router, reason, facts, freeze) };
}

export function putOff(
  router: ConfiguredRouter,
  reason: Status,
  facts: AddressFacts,
  freeze = false,
): Routed {
  return {
    kind: 'defer',
    reason,
    router: router.options.name,
    freeze,
    retryUseLocalPart: retryUsesLocalPart(router.options),
    facts,
  };
}
