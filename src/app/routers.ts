/** Routers of a configuration, ready to run. */
import type { ConfigModel, RouterInstance } from '../config/model.ts';
import { joinList } from '../mail/list-text.ts';
import { createAcceptRouter } from '../router/drivers/accept.ts';
import { createHostLookup, type HostLookup } from '../router/drivers/host-lookup.ts';
import { createLocalHosts, type IsLocalAddress } from '../router/drivers/local-hosts.ts';
import { createManualrouteRouter } from '../router/drivers/manualroute.ts';
import type { ConfiguredRouter, RouterOptions } from '../router/options.ts';
import { parseSelf } from '../router/router.ts';

interface Surroundings {
  readonly lookup: HostLookup;
  readonly isLocal: IsLocalAddress;
  readonly isTransport: (name: string) => boolean;
}

export function makeRouters(model: ConfigModel): readonly ConfiguredRouter[] {
  const names = new Set(model.transports.map((t) => t.name));
  const around: Surroundings = {
    lookup: createHostLookup({ timeoutMs: 30_000, maxConcurrent: 8 }),
    isLocal: createLocalHosts({ interfaces: model.main.local_interfaces }),
    isTransport: (name) => names.has(name),
  };
  return model.routers.map((instance) => ({
    options: genericOptions(instance),
    driver: driverOf(instance, around),
  }));
}

function driverOf(instance: RouterInstance, around: Surroundings): ConfiguredRouter['driver'] {
  if (instance.driver === 'accept') return createAcceptRouter();
  const o = instance.options;
  return createManualrouteRouter(
    {
      ...(o.route_list === undefined ? {} : { routeList: o.route_list }),
      ...(o.route_data === undefined ? {} : { routeData: o.route_data }),
      hostFindFailed: o.host_find_failed,
      hostAllIgnored: o.host_all_ignored,
      hostsRandomize: o.hosts_randomize,
    },
    { ...around, random: Math.random },
  );
}

function genericOptions(instance: RouterInstance): RouterOptions {
  const o = instance.options;
  const self = parseSelf(o.self);
  if (typeof self === 'string') throw new Error(`${instance.name} router: ${self}`);
  return defined<RouterOptions>({
    name: instance.name,
    addressData: o.address_data,
    addressTest: o.address_test,
    cannotRouteMessage: o.cannot_route_message,
    casefulLocalPart: o.caseful_local_part,
    condition: o.condition,
    errorsTo: o.errors_to,
    failVerifyRecipient: o.fail_verify_recipient,
    failVerifySender: o.fail_verify_sender,
    domains: o.domains,
    headersAdd: o.headers_add,
    headersRemove: o.headers_remove,
    localPartPrefix: o.local_part_prefix === undefined ? undefined : joinList(o.local_part_prefix),
    localPartPrefixOptional: o.local_part_prefix_optional,
    localPartSuffix: o.local_part_suffix === undefined ? undefined : joinList(o.local_part_suffix),
    localPartSuffixOptional: o.local_part_suffix_optional,
    localParts: o.local_parts,
    logAsLocal: o.log_as_local,
    more: String(o.more),
    passOnTimeout: o.pass_on_timeout,
    passRouter: o.pass_router,
    retryUseLocalPart: o.retry_use_local_part,
    self,
    senders: o.senders,
    transport: o.transport,
    verifyOnly: o.verify_only,
    verifyRecipient: o.verify_recipient,
    verifySender: o.verify_sender,
  });
}

/** Leaves out what is undefined, as `exactOptionalPropertyTypes` wants it. */
function defined<T>(values: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
