/** ldap, ldapdn and ldapm (Exim manual, "More about LDAP"), with the package `ldapts`. */
import { readFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { Client, ClientOptions, Entry, SearchResult } from 'ldapts';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { parseLdapQuery, parseLdapServer, type LdapQuery, type LdapServer } from './ldap-query.ts';
import { namesText, valuesText, type LdapEntry } from './ldap-result.ts';
import { messageOf, octetsOf, textOf } from './octets.ts';
import { optionalPackage } from './optional-package.ts';
import {
  askServers,
  LateAnswer,
  perServer,
  serverLimits,
  withDeadline,
  type ServerAnswer,
  type ServerLimits,
} from './servers.ts';

const ldap = optionalPackage('ldap', 'ldapts', () => import('ldapts'));

/** Main options of the same names, with `ldap_` before. */
export interface LdapOptions {
  readonly defaultServers: readonly string[];
  readonly caCertFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly certKey?: string | undefined;
  /** `never`, `hard`, `demand`, `allow`, `try`; absent: `demand`. */
  readonly requireCert?: string | undefined;
  readonly startTls?: boolean;
}

type Type = 'ldap' | 'ldapdn' | 'ldapm';
type ClientClass = new (options: ClientOptions) => Client;

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
    const timeoutMs =
      query.networkTimeoutSeconds > 0
        ? Math.min(query.networkTimeoutSeconds * 1000, limits.queryTimeoutMs)
        : limits.queryTimeoutMs;
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
      const loaded = await ldap();
      if (loaded.kind !== 'loaded') return loaded;
      ClientOf = loaded.module.Client;
      const configured = options.defaultServers.map(parseLdapServer);
      const servers =
        query.servers ?? (configured.length > 0 ? configured : [{ host: 'localhost', port: undefined }]);
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

/** A connection's key: one for each server and each identity. */
interface Place {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

function placeOf(query: LdapQuery, server: LdapServer): Place | string {
  const socket = server.host.startsWith('/');
  if (query.scheme === 'ldapi' && !socket)
    return `ldapi requires a socket path, not the host "${server.host}"`;
  const secure = query.scheme === 'ldaps' && !socket;
  const port = server.port ?? (secure ? 636 : 389);
  return { secure, host: server.host, port, user: query.user, password: query.password };
}

interface Session {
  search(query: LdapQuery): Promise<SearchResult>;
  /** It has been connected and bound. */
  isOpen(): boolean;
  /** It was, and is no more. */
  isOver(): boolean;
  end(): void;
}

/** Makes ldapts give the values of every attribute as octets. */
class EveryName extends Array<string> {
  override includes(): boolean {
    return true;
  }
}

function openSession(
  place: Place,
  options: LdapOptions,
  limits: ServerLimits,
  ClientOf: ClientClass | undefined,
): Session {
  if (ClientOf === undefined) throw new Error('ldapts is not loaded');
  const socket = place.host.startsWith('/');
  const host = place.host.includes(':') && !socket ? `[${place.host}]` : place.host;
  const client = new ClientOf({
    url: socket ? 'ldap://localhost' : `${place.secure ? 'ldaps' : 'ldap'}://${host}:${place.port}`,
    timeout: limits.queryTimeoutMs,
    connectTimeout: limits.connectTimeoutMs,
    strictDN: false,
    ...(place.secure ? { tlsOptions: tlsOptions(options) } : {}),
    ...(socket ? { createConnection: () => connectSocket(place.host) } : {}),
  });
  const open = async (): Promise<void> => {
    if (options.startTls === true && !place.secure && !socket) await client.startTLS(tlsOptions(options));
    // An anonymous bind, too, shows that the server is there.
    await client.bind(utf8(place.user), utf8(place.password));
  };
  let ready: Promise<void> | undefined;
  let opened = false;
  return {
    async search(query) {
      ready ??= open().then(() => void (opened = true));
      await ready;
      return client.search(utf8(query.base), {
        scope: query.scope,
        filter: utf8(query.filter),
        attributes: query.attributes.map(utf8),
        sizeLimit: query.sizeLimit,
        timeLimit: query.timeLimitSeconds,
        derefAliases: query.dereference,
        explicitBufferAttributes: new EveryName(),
      });
    },
    isOpen: () => opened,
    isOver: () => opened && !client.isConnected,
    end: () => void client.unbind().catch(() => undefined),
  };
}

function tlsOptions(options: LdapOptions): ConnectionOptions {
  const file = (name: string | undefined): Buffer | undefined =>
    name === undefined ? undefined : readFileSync(name);
  const [ca, cert, key] = [file(options.caCertFile), file(options.certFile), file(options.certKey)];
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    rejectUnauthorized: !/^(?:never|allow|try)$/i.test(options.requireCert ?? 'demand'),
  };
}

class NotText extends Error {}

function utf8(octets: string): string {
  const text = textOf(octets);
  if (text === undefined) throw new NotText('the LDAP query is not UTF-8');
  return text;
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

function entryOf({ dn, ...attributes }: Entry): LdapEntry {
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
