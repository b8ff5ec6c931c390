// A set of routers with real lists, lookups and drivers, for tests that route without the whole application.
import { createLists } from '../../src/list/match.ts';
import { createLookups } from '../../src/lookup/lookup.ts';
import { createLsearch } from '../../src/lookup/drivers/lsearch.ts';
import type { ExpandServices, MainFacts, MatchKind } from '../../src/expand/scope.ts';
import { type Address, isSyntaxError, parseAddress, type ReversePath } from '../../src/mail/address.ts';
import { createAcceptRouter } from '../../src/router/drivers/accept.ts';
import { createHostLookup, type HostLookup } from '../../src/router/drivers/host-lookup.ts';
import { createLocalHosts } from '../../src/router/drivers/local-hosts.ts';
import { createManualrouteRouter, type ManualrouteOptions } from '../../src/router/drivers/manualroute.ts';
import type { RouteEnvironment, RouteMode } from '../../src/router/environment.ts';
import type { ConfiguredRouter, RouterOptions } from '../../src/router/options.ts';

export const mainFacts: MainFacts = {
  primaryHostname: 'hub.example.test',
  qualifyDomain: 'example.test',
  qualifyRecipient: 'example.test',
  spoolDirectory: '/var/spool/none',
  configFile: '/dev/null',
};

export function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (isSyntaxError(address)) throw new Error(`${text}: ${address.text}`);
  return address;
}

/** @param lists named lists by kind and name: `domain:local_domains` */
export function expandServices(lists: Readonly<Record<string, string>> = {}): ExpandServices {
  const { matchList } = createLists({ get: (kind: MatchKind, name: string) => lists[`${kind}:${name}`] });
  return { matchList, lookup: createLookups([createLsearch()]) };
}

/** Options of a router: generic ones, and private ones under the driver's name. */
export type RouterSpec = RouterOptions &
  ({ readonly manualroute: ManualrouteOptions } | { readonly accept: true });

export interface World {
  readonly routers: readonly RouterSpec[];
  /** Name to `local`. */
  readonly transports: Readonly<Record<string, boolean>>;
  readonly lists?: Readonly<Record<string, string>>;
  readonly sender?: ReversePath;
  readonly mode?: RouteMode;
  readonly lookup?: HostLookup;
  readonly problem?: (text: string) => void;
}

export function configuredRouters(world: World): ConfiguredRouter[] {
  const isLocal = createLocalHosts({ interfaces: ['0.0.0.0', '::0'] });
  const lookup = world.lookup ?? createHostLookup({ timeoutMs: 10_000, maxConcurrent: 4 });
  return world.routers.map((spec) => {
    const driver =
      'accept' in spec
        ? createAcceptRouter()
        : createManualrouteRouter(spec.manualroute, {
            isTransport: (name) => name in world.transports,
            lookup,
            isLocal,
            random: Math.random,
          });
    return { options: spec, driver };
  });
}

export function routeEnvironment(world: World): RouteEnvironment {
  return {
    routers: configuredRouters(world),
    main: mainFacts,
    services: expandServices(world.lists),
    mode: world.mode ?? 'deliver',
    sender: world.sender ?? null,
    transport: (name) => {
      const local = world.transports[name];
      return local === undefined ? undefined : { local };
    },
    ...(world.problem === undefined ? {} : { problem: world.problem }),
  };
}
