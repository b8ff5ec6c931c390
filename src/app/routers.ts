/** Routers of a configuration, ready to run. */
import type { ConfigModel, MainOptions, RouterInstance } from '../config/model.ts';
import { compileRegex } from '../expand/regex.ts';
import type { ExpandScope } from '../expand/scope.ts';
import { assertNever } from '../mail/assert-never.ts';
import { joinList } from '../mail/list-text.ts';
import { createAcceptRouter } from '../router/drivers/accept.ts';
import { createDnsHosts, type DnsHosts } from '../router/drivers/dns-hosts.ts';
import { createDnslookupRouter, type DnslookupOptions } from '../router/drivers/dnslookup.ts';
import { createHostLookup, type HostLookup } from '../router/drivers/host-lookup.ts';
import { createIpliteralRouter } from '../router/drivers/ipliteral.ts';
import { createLocalHosts, type IsLocalAddress } from '../router/drivers/local-hosts.ts';
import { createLocalMachine } from '../router/drivers/local-machine.ts';
import { createManualrouteRouter, type ManualrouteOptions } from '../router/drivers/manualroute.ts';
import { createRedirectRouter, type RedirectOptions } from '../router/drivers/redirect.ts';
import { hostsOf, parseHostList } from '../router/drivers/route-rule.ts';
import type { ConfiguredRouter, RouterOptions } from '../router/options.ts';
import { inList } from '../router/preconditions.ts';
import { type LocalMachine, parseSelf } from '../router/router.ts';
import { makeDnsClient } from './lookup-drivers.ts';

interface Surroundings {
  readonly model: ConfigModel;
  readonly lookup: HostLookup;
  readonly dns: DnsHosts;
  readonly machine: LocalMachine;
  readonly isLocal: IsLocalAddress;
  readonly isTransport: (name: string) => boolean;
}

/** @param scope for the lists of domains that the DNS options hold */
export function makeRouters(model: ConfigModel, scope: ExpandScope): readonly ConfiguredRouter[] {
  const names = new Set(model.transports.map((t) => t.name));
  const around: Surroundings = {
    model,
    lookup: createHostLookup({ timeoutMs: 30_000, maxConcurrent: 8 }),
    dns: makeDnsHosts(model.main, scope),
    machine: createLocalMachine(),
    isLocal: createLocalHosts({
      interfaces: [...model.main.local_interfaces, ...(model.main.extra_local_interfaces ?? [])],
    }),
    isTransport: (name) => names.has(name),
  };
  return model.routers.map((instance) => ({
    options: genericOptions(instance),
    driver: driverOf(instance, around),
    machine: around.machine,
  }));
}

function makeDnsHosts(main: MainOptions, scope: ExpandScope): DnsHosts {
  const { dns_again_means_nonexist, dns_ipv4_lookup, dns_check_names_pattern } = main;
  const inDomains = async (list: string, name: string): Promise<boolean> =>
    (await inList('domain', list, name.toLowerCase(), scope, {})).kind === 'yes';
  const pattern = dns_check_names_pattern === '' ? undefined : compileRegex(dns_check_names_pattern);
  if (pattern !== undefined && 'reason' in pattern)
    throw new Error(`dns_check_names_pattern: ${pattern.reason}`);
  return createDnsHosts({
    client: makeDnsClient(main),
    cnameLoops: main.dns_cname_loops,
    ...(pattern === undefined ? undefined : { isName: (name) => pattern.match(name) !== undefined }),
    ...(dns_again_means_nonexist === undefined
      ? undefined
      : { againMeansMissing: (name) => inDomains(dns_again_means_nonexist, name) }),
    ...(dns_ipv4_lookup === undefined ? undefined : { ipv4Only: (name) => inDomains(dns_ipv4_lookup, name) }),
  });
}

function driverOf(instance: RouterInstance, around: Surroundings): ConfiguredRouter['driver'] {
  switch (instance.driver) {
    case 'accept':
      return createAcceptRouter();
    case 'ipliteral':
      return createIpliteralRouter(around.isLocal);
    case 'dnslookup':
      return createDnslookupRouter(dnslookupOptions(instance, around.model.main), {
        dns: around.dns,
        isLocal: around.isLocal,
        random: Math.random,
      });
    case 'redirect':
      return createRedirectRouter(redirectOptions(instance), around.machine.users);
    case 'manualroute':
      return createManualrouteRouter(
        defined<ManualrouteOptions>({
          routeList: instance.options.route_list,
          routeData: instance.options.route_data,
          hostFindFailed: instance.options.host_find_failed,
          hostAllIgnored: instance.options.host_all_ignored,
          hostsRandomize: instance.options.hosts_randomize,
        }),
        { ...around, random: Math.random },
      );
    default:
      return assertNever(instance);
  }
}

function dnslookupOptions(
  { options: o }: Extract<RouterInstance, { driver: 'dnslookup' }>,
  main: MainOptions,
): DnslookupOptions {
  return defined<DnslookupOptions>({
    allowMxToIp: main.allow_mx_to_ip,
    checkSecondaryMx: o.check_secondary_mx,
    checkSrv: o.check_srv,
    dnssecRequestDomains: o.dnssec_request_domains,
    dnssecRequireDomains: o.dnssec_require_domains,
    failDeferDomains: o.fail_defer_domains,
    ipv4Only: o.ipv4_only,
    ipv4Prefer: o.ipv4_prefer,
    mxDomains: o.mx_domains,
    mxFailDomains: o.mx_fail_domains,
    srvFailDomains: o.srv_fail_domains,
  });
}

function redirectOptions({
  options: o,
  given,
}: Extract<RouterInstance, { driver: 'redirect' }>): RedirectOptions {
  const oneTime = o.one_time;
  return defined<RedirectOptions>({
    data: o.data,
    file: o.file,
    allowDefer: o.allow_defer,
    allowFail: o.allow_fail,
    allowFilter: o.allow_filter,
    checkAncestor: o.check_ancestor,
    // Unset, these follow from other options.
    checkGroup: given.has('check_group') ? o.check_group : undefined,
    checkOwner: given.has('check_owner') ? o.check_owner : undefined,
    owners: o.owners,
    owngroups: o.owngroups,
    modemask: o.modemask,
    directoryTransport: o.directory_transport,
    fileTransport: o.file_transport,
    pipeTransport: o.pipe_transport,
    forbidBlackhole: o.forbid_blackhole,
    forbidFile: o.forbid_file || oneTime,
    forbidInclude: o.forbid_include,
    forbidPipe: o.forbid_pipe || oneTime,
    forbidSmtpCode: o.forbid_smtp_code,
    hideChildInErrmsg: o.hide_child_in_errmsg,
    rewrite: o.rewrite,
    ignoreEacces: o.ignore_eacces,
    ignoreEnotdir: o.ignore_enotdir,
    includeDirectory: o.include_directory,
    oneTime,
    qualifyDomain: o.qualify_domain,
    qualifyPreserveDomain: o.qualify_preserve_domain,
    repeatUse: o.repeat_use,
    skipSyntaxErrors: o.skip_syntax_errors,
    syntaxErrorsTo: o.syntax_errors_to,
    syntaxErrorsText: o.syntax_errors_text,
  });
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
    checkLocalUser: o.check_local_user,
    condition: o.condition,
    errorsTo: o.errors_to,
    fallbackHosts:
      o.fallback_hosts === undefined ? undefined : hostsOf(parseHostList(joinList(o.fallback_hosts))),
    failVerifyRecipient: o.fail_verify_recipient,
    failVerifySender: o.fail_verify_sender,
    domains: o.domains,
    group: o.group,
    headersAdd: o.headers_add,
    headersRemove: o.headers_remove,
    ignoreTargetHosts: o.ignore_target_hosts,
    initgroups: o.initgroups,
    localPartPrefix: o.local_part_prefix === undefined ? undefined : joinList(o.local_part_prefix),
    localPartPrefixOptional: o.local_part_prefix_optional,
    localPartSuffix: o.local_part_suffix === undefined ? undefined : joinList(o.local_part_suffix),
    localPartSuffixOptional: o.local_part_suffix_optional,
    localParts: o.local_parts,
    logAsLocal: o.log_as_local,
    more: String(o.more),
    passOnTimeout: o.pass_on_timeout,
    passRouter: o.pass_router,
    redirectRouter: o.redirect_router,
    requireFiles: o.require_files,
    retryUseLocalPart: o.retry_use_local_part,
    routerHomeDirectory: o.router_home_directory,
    self,
    senders: o.senders,
    set: o.set,
    transport: o.transport,
    transportCurrentDirectory: o.transport_current_directory,
    transportHomeDirectory: o.transport_home_directory,
    unseen: o.unseen === false ? undefined : String(o.unseen),
    user: o.user,
    verifyOnly: o.verify_only,
    verifyRecipient: o.verify_recipient,
    verifySender: o.verify_sender,
  });
}

/** Leaves out what is undefined, as `exactOptionalPropertyTypes` wants it. */
function defined<T>(values: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
