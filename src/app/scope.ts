/** What expansions see before there is a connection or a message, and the services behind lookups and lists. */
import { lookup as lookupName, reverse } from 'node:dns/promises';
import type { ConfigModel } from '../config/model.ts';
import { expandText } from '../expand/expand.ts';
import { compileRegex } from '../expand/regex.ts';
import type { ExpandScope, ExpandServices, MainFacts } from '../expand/scope.ts';
import { createLists, thisMachine, type Lists } from '../list/match.ts';
import type { HostFact } from '../list/model.ts';
import { createDsearch } from '../lookup/drivers/dsearch.ts';
import { createJson } from '../lookup/drivers/json.ts';
import { createLsearch } from '../lookup/drivers/lsearch.ts';
import { createPasswd } from '../lookup/drivers/passwd.ts';
import { createIplsearch, createNwildlsearch, createWildlsearch } from '../lookup/drivers/wildlsearch.ts';
import { createLookups } from '../lookup/lookup.ts';

export interface ScopeParts {
  readonly main: MainFacts;
  readonly services: ExpandServices;
  readonly lists: Lists;
}

/** Longest wait for the DNS where a host list needs a name. */
const dnsTimeoutMs = 10_000;

/** @param hostname this machine's, where `primary_hostname` is unset */
export function makeScopeParts(model: ConfigModel, hostname: string): ScopeParts {
  const { main: options } = model;
  const primaryHostname = options.primary_hostname ?? hostname;
  const qualifyDomain = options.qualify_domain ?? primaryHostname;
  const lists = createLists(
    { get: (kind, name) => model.lists[kind].get(name)?.text.text },
    { ...thisMachine, addressesOf, namesOf },
  );
  const facts: MainFacts = {
    primaryHostname,
    qualifyDomain,
    qualifyRecipient: options.qualify_recipient ?? qualifyDomain,
    spoolDirectory: '',
    configFile: model.file,
    headersCharset: options.headers_charset,
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
  const lookup = createLookups([
    createLsearch(),
    createWildlsearch(wild),
    createNwildlsearch(wild),
    createIplsearch(),
    createDsearch(),
    createPasswd(),
    createJson(),
  ]);
  const services: ExpandServices = {
    lookup,
    matchList: lists.matchList,
    namedList(kind, name) {
      const kinds = kind === undefined ? (['domain', 'host', 'address', 'local_part'] as const) : [kind];
      return kinds.map((k) => model.lists[k].get(name)?.text.text).find((text) => text !== undefined);
    },
  };
  const spoolDirectory = expandAtStart(options.spool_directory, { main: facts, services });
  return { main: { ...facts, spoolDirectory }, services, lists };
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

async function addressesOf(name: string): Promise<HostFact> {
  return withDeadline(
    lookupName(name, { all: true }).then((found) => found.map((entry) => entry.address)),
    name,
  );
}

/** Names that the DNS gives for an address and that lead back to it (Exim manual, "Host names in host lists"). */
async function namesOf(address: string): Promise<HostFact> {
  const names = await withDeadline(reverse(address), address);
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
