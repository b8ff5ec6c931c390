/** The router port: what a router says of one address (Exim manual, "Generic options for routers"). */
import type { Address } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';

export type RouteOutcome =
  | {
      readonly kind: 'routed';
      /** Absent where the router has none because it only verifies. */
      readonly transport?: string;
      readonly hosts: readonly RouteHost[];
    }
  | { readonly kind: 'rerouted'; readonly children: readonly Address[] }
  | { readonly kind: 'decline' | 'pass' }
  | { readonly kind: 'discard' }
  | { readonly kind: 'fail' | 'defer'; readonly reason: Status };
