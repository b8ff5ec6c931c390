/** ldap, ldapdn and ldapm (Exim manual, "More about LDAP"), with the package `ldapts`. */
import type { Entry, SearchResult } from 'ldapts';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { parseLdapQuery, type LdapQuery, type LdapServer } from './ldap-query.ts';
import { namesText, valuesText, type LdapEntry } from './ldap-result.ts';
import {
  ldapPackage,
  NotText,
  openSession,
  placeOf,
  queryTimeoutMs,
  serversOf,
  type ClientClass,
  type LdapOptions,
  type Place,
  type Session,
} from './ldap-session.ts';
import { messageOf, octetsOf } from './octets.ts';
import {
  askServers,
  LateAnswer,
  perServer,
  serverLimits,
  withDeadline,
  type ServerAnswer,
  type ServerLimits,
} from './servers.ts';

type Type = 'ldap' | 'ldapdn' | 'ldapm';

/** The three types share connections. */
export function createLdap(
  options: LdapOptions,
  limits: ServerLimits = serverLimits,
): readonly LookupDriver[] {
  let ClientOf: ClientClass | undefined;
  let waiting = 0;
  const sessions = perServer<Session>(
    (text) => openSession(JSON.parse(text) as Place, options, limits, ClientOf),
    (session) => session.end(),
  );

  const ask = async (type: Type, query: LdapQuery, server: LdapServer): Promise<ServerAnswer> => {
    const place = placeOf(query, server);
    if (typeof place === 'string') return { kind: 'next', reason: place };
    const key = JSON.stringify(place);
    const timeoutMs = queryTimeoutMs(query, limits);
    let session: Session | undefined;
    let used = false;
    try {
      const old = sessions.get(key);
      if (old.isOver()) sessions.drop(key, old);
      const current = sessions.get(key);
      session = current;
      used = current.isOpen();
      const found = await withDeadline(current.search(query), timeoutMs, () => sessions.drop(key, current));
      return resultAnswer(type, query, found);
    } catch (e) {
      const answer = faultAnswer(e);
      if (answer.kind !== 'next') return answer;
      if (session !== undefined) sessions.drop(key, session);
      return { ...answer, broken: used && !(e instanceof LateAnswer) };
    }
  };

  const driver = (type: Type): LookupDriver => ({
    type,
    style: 'query',
    quotes: true,
    keepMs: () => 1000,
    async find(_, key, texts): Promise<DriverAnswer> {
      if (texts[0] !== undefined)
        return { kind: 'unusable', reason: `unknown option "${texts[0]}" for ${type} lookup` };
      const query = parseLdapQuery(key);
      if (typeof query === 'string') return { kind: 'defer', reason: query };
      const loaded = await ldapPackage();
      if (loaded.kind !== 'loaded') return loaded;
      ClientOf = loaded.module.Client;
      const servers = serversOf(query, options);
      if (waiting >= limits.maxWaiting) return { kind: 'defer', reason: 'too many LDAP queries are waiting' };
      waiting++;
      try {
        return await askServers(servers, (server) => ask(type, query, server));
      } finally {
        waiting--;
      }
    },
    close: () => sessions.clear(),
  });
  return [driver('ldap'), driver('ldapdn'), driver('ldapm')];
}

/** Result codes of RFC 4511 §4.1.9. */
const noSuchObject = 32;
const invalidDn = 34;
const serverTrouble = new Set([1, 3, 8, 7, 49, 48, 50, 51, 52, 80]);

function faultAnswer(e: unknown): ServerAnswer {
  const code = e instanceof Error ? (e as Error & { code?: unknown }).code : undefined;
  if (code === noSuchObject || code === invalidDn) return { kind: 'missing' };
  const reason = `LDAP: ${messageOf(e)}`;
  if (e instanceof NotText || (typeof code === 'number' && !serverTrouble.has(code)))
    return { kind: 'defer', reason };
  // A filter that does not parse throws here, before anything is sent.
  if (e instanceof Error && /filter|parens/i.test(e.message)) return { kind: 'defer', reason };
  return { kind: 'next', reason };
}

function resultAnswer(type: Type, query: LdapQuery, found: SearchResult): DriverAnswer {
  if (found.searchReferences.length > 0 && !query.ignoreReferrals)
    return {
      kind: 'defer',
      reason: `the LDAP server refers to ${found.searchReferences[0] ?? ''}: referrals are not followed, write referrals=nofollow before the URL`,
    };
  const entries = found.searchEntries.map(entryOf);
  if (entries.length === 0) return { kind: 'missing' };
  if (type !== 'ldapm' && entries.length > 1)
    return {
      kind: 'defer',
      reason: `LDAP search: more than one entry (${entries.length}) was returned (filter not specific enough?)`,
    };
  if (type === 'ldapdn') return { kind: 'found', value: namesText(entries) };
  const value = valuesText(entries, query.attributes.length);
  return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
}

export function entryOf({ dn, ...attributes }: Entry): LdapEntry {
  return {
    name: octetsOf(dn),
    attributes: Object.entries(attributes)
      .map(([name, values]) => [octetsOf(name), [values].flat().map(valueOctets)] as const)
      .filter(([, values]) => values.length > 0),
  };
}

function valueOctets(value: Buffer | string): string {
  return typeof value === 'string' ? octetsOf(value) : value.toString('latin1');
}
