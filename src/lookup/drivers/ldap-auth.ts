/** `${if ldapauth`: a name and a password are right where a server lets them bind (Exim manual, condition "ldapauth"). */
import type { PasswordAnswer } from '../../mail/password-check.ts';
import { parseLdapQuery, type LdapQuery, type LdapServer } from './ldap-query.ts';
import {
  ldapPackage,
  openSession,
  placeOf,
  queryTimeoutMs,
  serversOf,
  type LdapOptions,
  type Session,
} from './ldap-session.ts';
import { messageOf } from './octets.ts';
import { serverLimits, withDeadline, type ServerLimits } from './servers.ts';

/** RFC 4511 §4.1.9. */
const invalidCredentials = 49;

/**
 * Every question has a connection of its own, which ends with it. A server that rejects the password ends the search; one that
 * cannot say is followed by the next.
 *
 * @returns takes a query as `ldap` lookups have it, with `user=` and `pass=`
 */
export function createLdapAuth(
  options: LdapOptions,
  limits: ServerLimits = serverLimits,
): (query: string) => Promise<PasswordAnswer> {
  let waiting = 0;
  return async (text) => {
    const query = parseLdapQuery(text);
    if (typeof query === 'string') return unknown(query);
    if (query.user === undefined || query.password === undefined)
      return unknown('ldapauth lookups must specify the username and password');
    // Servers take a bind without a password for anonymous, and let it pass.
    if (query.password === '') return { kind: 'rejected' };
    if (waiting >= limits.maxWaiting) return unknown('too many LDAP queries are waiting');
    waiting++;
    try {
      let answer = unknown('no server');
      for (const server of serversOf(query, options)) {
        answer = await askServer(query, server, options, limits);
        if (answer.kind !== 'unknown') break;
      }
      return answer;
    } finally {
      waiting--;
    }
  };
}

async function askServer(
  query: LdapQuery,
  server: LdapServer,
  options: LdapOptions,
  limits: ServerLimits,
): Promise<PasswordAnswer> {
  const place = placeOf(query, server);
  if (typeof place === 'string') return unknown(place);
  const loaded = await ldapPackage();
  if (loaded.kind !== 'loaded') return unknown(loaded.reason);
  let session: Session | undefined;
  try {
    session = openSession(place, options, limits, loaded.module.Client);
    const { open, end } = session;
    await withDeadline(open(), queryTimeoutMs(query, limits), end);
    return { kind: 'accepted' };
  } catch (e) {
    const code = e instanceof Error ? (e as Error & { code?: unknown }).code : undefined;
    if (code === invalidCredentials) return { kind: 'rejected' };
    const where = server.host.startsWith('/') ? server.host : `${place.host}:${place.port}`;
    return unknown(`failed to bind the LDAP connection to server ${where} - ${messageOf(e)}`);
  } finally {
    session?.end();
  }
}

function unknown(reason: string): PasswordAnswer {
  return { kind: 'unknown', reason };
}
