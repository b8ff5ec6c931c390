// A set of routers with real lists, lookups and drivers, for tests that route without the whole application.
import { createLists } from '../../src/list/match.ts';
import { createLookups } from '../../src/lookup/lookups.ts';
import { createLsearch } from '../../src/lookup/drivers/lsearch.ts';
import type { ExpandServices, MainFacts, MatchKind } from '../../src/expand/scope.ts';
import { type Address, isSyntaxError, parseAddress, type ReversePath } from '../../src/mail/address.ts';
import { createAcceptRouter } from '../../src/router/drivers/accept.ts';
import type { DnsHosts } from '../../src/router/drivers/dns-hosts.ts';
import { createDnslookupRouter, type DnslookupOptions } from '../../src/router/drivers/dnslookup.ts';
import { createHostLookup, type HostLookup } from '../../src/router/drivers/host-lookup.ts';
import { createIpliteralRouter } from '../../src/router/drivers/ipliteral.ts';
import { createLocalHosts, type IsLocalAddress } from '../../src/router/drivers/local-hosts.ts';
import { createLocalMachine } from '../../src/router/drivers/local-machine.ts';
import { createManualrouteRouter, type ManualrouteOptions } from '../../src/router/drivers/manualroute.ts';
import { createRedirectRouter, type RedirectOptions } from '../../src/router/drivers/redirect.ts';
import type { RouteEnvironment, RouteMode } from '../../src/router/environment.ts';
import type { ConfiguredRouter, RouterOptions } from '../../src/router/options.ts';
import type { LocalMachine, LocalUsers, RouterDriver } from '../../src/router/router.ts';

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
  (
    | { readonly manualroute: ManualrouteOptions }
    | { readonly accept: true }
    | { readonly redirect: RedirectOptions }
    | { readonly dnslookup: DnslookupOptions }
    | { readonly ipliteral: true }
  );

export interface World {
  readonly routers: readonly RouterSpec[];
  /** Name to `local`. */
  readonly transports: Readonly<Record<string, boolean>>;
  readonly lists?: Readonly<Record<string, string>>;
  readonly sender?: ReversePath;
  readonly mode?: RouteMode;
  readonly lookup?: HostLookup;
  readonly problem?: (text: string) => void;
  readonly note?: (text: string) => void;
  readonly dns?: DnsHosts;
  readonly users?: LocalUsers;
  readonly isLocal?: IsLocalAddress;
}

export function configuredRouters(world: World): ConfiguredRouter[] {
  const isLocal = world.isLocal ?? createLocalHosts({ interfaces: ['0.0.0.0', '::0'] });
  const lookup = world.lookup ?? createHostLookup({ timeoutMs: 10_000, maxConcurrent: 4 });
  const machine = createLocalMachine(world.users);
  return world.routers.map((spec) => ({
    options: spec,
    driver: driverOf(spec, world, machine, isLocal, lookup),
    machine,
  }));
}

function driverOf(
  spec: RouterSpec,
  world: World,
  machine: LocalMachine,
  isLocal: IsLocalAddress,
  lookup: HostLookup,
): RouterDriver {
  if ('accept' in spec) return createAcceptRouter();
  if ('ipliteral' in spec) return createIpliteralRouter(isLocal);
  if ('redirect' in spec) return createRedirectRouter(spec.redirect, machine.users);
  if ('dnslookup' in spec) {
    if (world.dns === undefined) throw new Error('this world has no DNS');
    return createDnslookupRouter(spec.dnslookup, { dns: world.dns, isLocal, random: Math.random });
  }
  return createManualrouteRouter(spec.manualroute, {
    isTransport: (name) => name in world.transports,
    lookup,
    isLocal,
    random: Math.random,
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
    ...(world.note === undefined ? {} : { note: world.note }),
  };
}
