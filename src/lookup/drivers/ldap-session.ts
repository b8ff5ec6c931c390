/** Connections to LDAP servers with the package `ldapts`, for lookups and for `ldapauth`. */
import { readFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { Client, ClientOptions, SearchResult } from 'ldapts';
import { parseLdapServer, type LdapQuery, type LdapServer } from './ldap-query.ts';
import { textOf } from './octets.ts';
import { optionalPackage, type Loaded } from './optional-package.ts';
import type { ServerLimits } from './servers.ts';

export type ClientClass = new (options: ClientOptions) => Client;

export const ldapPackage: () => Promise<Loaded<{ readonly Client: ClientClass }>> = optionalPackage(
  'ldap',
  'ldapts',
  () => import('ldapts'),
);

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

/** The servers to ask: those of the query, those of `ldap_default_servers`, or this machine's. */
export function serversOf(query: LdapQuery, options: LdapOptions): readonly LdapServer[] {
  const configured = options.defaultServers.map(parseLdapServer);
  return query.servers ?? (configured.length > 0 ? configured : [{ host: 'localhost', port: undefined }]);
}

/** How long one server may take, connecting included. */
export function queryTimeoutMs(query: LdapQuery, limits: ServerLimits): number {
  return query.networkTimeoutSeconds > 0
    ? Math.min(query.networkTimeoutSeconds * 1000, limits.queryTimeoutMs)
    : limits.queryTimeoutMs;
}

/** A connection's key: one for each server and each identity. */
export interface Place {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

export function placeOf(query: LdapQuery, server: LdapServer): Place | string {
  const socket = server.host.startsWith('/');
  if (query.scheme === 'ldapi' && !socket)
    return `ldapi requires a socket path, not the host "${server.host}"`;
  const secure = query.scheme === 'ldaps' && !socket;
  const port = server.port ?? (secure ? 636 : 389);
  return { secure, host: server.host, port, user: query.user ?? '', password: query.password ?? '' };
}

export interface Session {
  /** Connects and binds, where that has not happened yet. */
  readonly open: () => Promise<void>;
  search(query: LdapQuery): Promise<SearchResult>;
  /** It has been connected and bound. */
  isOpen(): boolean;
  /** It was, and is no more. */
  isOver(): boolean;
  readonly end: () => void;
}

/** Makes ldapts give the values of every attribute as octets. */
class EveryName extends Array<string> {
  override includes(): boolean {
    return true;
  }
}

export function openSession(
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
  const bound = (): Promise<void> => (ready ??= open().then(() => void (opened = true)));
  return {
    open: bound,
    async search(query) {
      await bound();
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

export class NotText extends Error {}

function utf8(octets: string): string {
  const text = textOf(octets);
  if (text === undefined) throw new NotText('the LDAP query is not UTF-8');
  return text;
}
