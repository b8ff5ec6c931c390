/** What expansions see before there is a connection or a message, and the services behind lookups and lists. */
import { lookup as lookupName, lookupService, reverse } from 'node:dns/promises';
import type { ConfigModel } from '../config/model.ts';
import { keptEnvironment } from './environment.ts';
import { expandText } from '../expand/expand.ts';
import { compileRegex } from '../expand/regex.ts';
import type { ExpandScope, ExpandServices, MainFacts } from '../expand/scope.ts';
import { createLists, thisMachine, type Lists } from '../list/match.ts';
import type { HostFact } from '../list/model.ts';
import { createLookups } from '../lookup/lookups.ts';
import { ldapOptions, makeDnsClient, makeLookupDrivers } from './lookup-drivers.ts';
import { mailHosts } from './mail-hosts.ts';
import { makePasswordChecks } from './password-checks.ts';

export interface ScopeParts {
  readonly main: MainFacts;
  readonly services: ExpandServices;
  readonly lists: Lists;
  /** Gives up the connections and files of lookups; they are opened anew where they are needed again. */
  readonly closeLookups: () => Promise<void>;
}

/** Longest wait for the DNS where a host list needs a name. */
const dnsTimeoutMs = 10_000;

/** @param hostname this machine's, where `primary_hostname` is unset */
export function makeScopeParts(model: ConfigModel, hostname: string): ScopeParts {
  const { main: options } = model;
  const primaryHostname = options.primary_hostname ?? hostname;
  const qualifyDomain = options.qualify_domain ?? primaryHostname;
  const dns = makeDnsClient(options);
  const lists = createLists(
    { get: (kind, name) => model.lists[kind].get(name)?.text.text },
    { ...thisMachine, addressesOf, namesOf, mailHostsOf: mailHosts(dns) },
  );
  const facts: MainFacts = {
    primaryHostname,
    qualifyDomain,
    qualifyRecipient: options.qualify_recipient ?? qualifyDomain,
    spoolDirectory: '',
    configFile: model.file,
    headersCharset: options.headers_charset,
    checkRfc2047Length: options.check_rfc2047_length,
    messageBodyVisible: options.message_body_visible,
    messageBodyNewlines: options.message_body_newlines,
    environment: keptEnvironment(options.keep_environment ?? [], options.add_environment ?? [], process.env),
  };
  const wild = {
    matchRegex(pattern: string, subject: string): boolean | string {
      const regex = compileRegex(pattern, { caseless: true });
      if ('reason' in regex) return regex.reason;
      const match = regex.match(subject);
      return match === undefined ? false : 'reason' in match ? match.reason : true;
    },
    async expandKey(key: string): Promise<string | undefined> {
      const result = await expandText(key, { main: facts, services });
      return result.kind === 'ok' ? result.text : undefined;
    },
  };
  const drivers = makeLookupDrivers(options, wild, dns);
  const lookup = createLookups(drivers);
  const services: ExpandServices = {
    lookup,
    matchList: lists.matchList,
    checkPassword: makePasswordChecks(ldapOptions(options), primaryHostname),
    namedList(kind, name) {
      const kinds = kind === undefined ? (['domain', 'host', 'address', 'local_part'] as const) : [kind];
      return kinds.map((k) => model.lists[k].get(name)?.text.text).find((text) => text !== undefined);
    },
  };
  const closeLookups = async (): Promise<void> => {
    await Promise.allSettled(drivers.map(async (d) => d.close?.()));
  };
  const spoolDirectory = expandAtStart(options.spool_directory, { main: facts, services });
  const dsnFrom = expandAtStart(options.dsn_from, { main: { ...facts, spoolDirectory }, services });
  return { main: { ...facts, spoolDirectory, dsnFrom }, services, lists, closeLookups };
}

/**
 * Expands an option that must be known at start-up. The configuration's checks have made sure that it needs no message;
 * what can still fail (a lookup in a file that is missing) ends the start.
 */
export function expandAtStart(text: string, scope: ExpandScope): string {
  const result = expandText(text, scope);
  if (result instanceof Promise)
    throw new Error(`"${text}" must be known at start-up and may not wait for a lookup`);
  if (result.kind === 'ok') return result.text;
  throw new Error(
    `cannot expand "${text}": ${result.kind === 'forced-fail' ? 'forced failure' : result.reason}`,
  );
}

/** Addresses of a name, as the system resolves it. */
export async function addressesOf(name: string): Promise<HostFact> {
  return withDeadline(
    lookupName(name, { all: true }).then((found) => found.map((entry) => entry.address)),
    name,
  );
}

/**
 * Names of a client by `host_lookup_order` (Exim manual, "host_lookup"): `bydns` asks the DNS, `byaddr` the system, which may
 * know more. Only names that lead back to the address count.
 */
export async function clientNames(address: string, order: readonly string[]): Promise<HostFact> {
  let last: HostFact = { kind: 'missing' };
  for (const way of order) {
    const question =
      way === 'byaddr' ? lookupService(address, 0).then((found) => [found.hostname]) : reverse(address);
    last = await confirmed(await withDeadline(question, address), address);
    if (last.kind === 'found') return last;
  }
  return last;
}

/** Names that the DNS gives for an address and that lead back to it (Exim manual, "Host names in host lists"). */
async function namesOf(address: string): Promise<HostFact> {
  return confirmed(await withDeadline(reverse(address), address), address);
}

async function confirmed(names: HostFact, address: string): Promise<HostFact> {
  if (names.kind !== 'found') return names;
  const good: string[] = [];
  for (const name of names.values.slice(0, 8)) {
    const forward = await addressesOf(name);
    if (forward.kind === 'found' && forward.values.includes(address)) good.push(name);
  }
  return good.length > 0 ? { kind: 'found', values: good } : { kind: 'missing' };
}

async function withDeadline(question: Promise<string[]>, what: string): Promise<HostFact> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<HostFact>((resolve) => {
    timer = setTimeout(
      () =>
        resolve({ kind: 'defer', reason: `the DNS did not answer for ${what} in ${dnsTimeoutMs / 1000} s` }),
      dnsTimeoutMs,
    );
  });
  const answer = question.then(
    (values): HostFact => (values.length > 0 ? { kind: 'found', values } : { kind: 'missing' }),
    (error: NodeJS.ErrnoException): HostFact =>
      error.code === 'ENOTFOUND' || error.code === 'ENODATA'
        ? { kind: 'missing' }
        : { kind: 'defer', reason: `the DNS failed for ${what}: ${error.code ?? error.message}` },
  );
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
