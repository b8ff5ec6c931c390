/** The directory driver `ldap` (Dovecot manual, "LDAP"), with the package `ldapts`. */
import { entryOf } from '../../lookup/drivers/ldap.ts';
import {
  type ClientClass,
  openSession,
  type Place,
  type Session,
} from '../../lookup/drivers/ldap-session.ts';
import type { LdapQuery } from '../../lookup/drivers/ldap-query.ts';
import { messageOf, textOf } from '../../lookup/drivers/octets.ts';
import { optionalPackage } from '../../lookup/drivers/optional-package.ts';
import { LateAnswer, perServer, serverLimits, withDeadline } from '../../lookup/drivers/servers.ts';
import type { DirectoryAnswer } from '../directory.ts';
import { readUser } from '../user-fields.ts';
import { unavailable, type UserSource } from '../user-source.ts';
import { readVariables, type VariableText } from '../variables.ts';
import { escapeDn, escapeFilter, type LdapAttributes } from './ldap-attributes.ts';
import { askInTurn, type Turn } from './servers.ts';
import { systemIds } from './system-ids.ts';

export interface LdapUsersOptions {
  /** `ldap://host:port`, `ldaps://host:port`, `ldapi:///path`. */
  readonly servers: readonly string[];
  readonly base: VariableText;
  readonly scope: 'base' | 'one' | 'sub';
  readonly filter: VariableText;
  readonly attributes: LdapAttributes;
  /** Empty for an anonymous bind. */
  readonly bindDn: string;
  readonly bindPassword: string;
  /** STARTTLS before the bind, on `ldap://`. */
  readonly startTls: boolean;
  /** The server's certificate must be good. */
  readonly requireCert: boolean;
  readonly caFile: string | undefined;
  readonly timeoutMs: number;
}

const ldap = optionalPackage('ldap', 'ldapts', () => import('ldapts'));

interface Question {
  readonly base: string;
  readonly filter: string;
}

type Found = ReturnType<typeof entryOf>[] | 'several' | 'no base';

/** Result codes of RFC 4511 §4.1.9. */
const sizeLimitExceeded = 4;
const noSuchObject = 32;
/** The server cannot answer now, or not this client: another one may. */
const serverTrouble: ReadonlySet<unknown> = new Set([1, 3, 7, 8, 11, 48, 49, 50, 51, 52, 80]);

/**
 * No entry: unknown. One: a user by its attributes. Several, an error, a late answer: unavailable; a base that does not exist too, unless
 * it varies with the name. One connection to each server, opened again when it is lost. A name that is not UTF-8 is unknown.
 */
export function ldapUsers(options: LdapUsersOptions): UserSource {
  const { servers, base, filter, attributes, timeoutMs } = options;
  const ids = systemIds();
  let ClientOf: ClientClass | undefined;
  const sessions = perServer<Session>(
    (server) => {
      const place = readLdapUri(server);
      if (typeof place === 'string') throw new Error(place);
      return openSession(
        { ...place, user: options.bindDn, password: options.bindPassword },
        {
          defaultServers: [],
          caCertFile: options.caFile,
          requireCert: options.requireCert ? 'demand' : 'never',
          startTls: options.startTls,
        },
        { ...serverLimits, connectTimeoutMs: timeoutMs / servers.length, queryTimeoutMs: timeoutMs },
        ClientOf,
      );
    },
    (session) => session.end(),
  );

  const ask = async (server: string, question: Question, shareMs: number): Promise<Turn<Found>> => {
    let session: Session | undefined;
    let used = false;
    try {
      if (sessions.get(server).isOver()) sessions.drop(server);
      const current = sessions.get(server);
      session = current;
      used = current.isOpen();
      const query = queryOf(options, question);
      const found = await withDeadline(current.search(query), shareMs, () => sessions.drop(server, current));
      return { kind: 'answer', answer: found.searchEntries.map(entryOf) };
    } catch (e) {
      const code = e instanceof Error ? (e as Error & { code?: unknown }).code : undefined;
      if (code === sizeLimitExceeded) return { kind: 'answer', answer: 'several' };
      if (code === noSuchObject) return { kind: 'answer', answer: 'no base' };
      const reason = `LDAP: ${messageOf(e)}`;
      if (typeof code === 'number' && !serverTrouble.has(code)) return { kind: 'refused', reason };
      if (session !== undefined) sessions.drop(server, session);
      return { kind: 'next', reason, broken: used && !(e instanceof LateAnswer) };
    }
  };
  const inTurn = askInTurn(servers, timeoutMs, ask);

  const judge = (username: string, found: Found): DirectoryAnswer => {
    if (found === 'no base')
      return base.varies ? { kind: 'unknown' } : unavailable('LDAP: the base does not exist');
    const [entry, another] = found === 'several' ? [] : found;
    if (found === 'several' || another !== undefined) return unavailable('LDAP: several entries are found');
    if (entry === undefined) return { kind: 'unknown' };
    const values = new Map<string, string>();
    for (const [name, [value]] of entry.attributes)
      if (value !== undefined) values.set(name.toLowerCase(), value);
    const fields = attributes.fieldsOf(username, values);
    const read = readUser(username, fields, fields, ids);
    return read.kind === 'user'
      ? { kind: 'found', user: read.user }
      : unavailable(`${entry.name}: ${read.problem}`);
  };

  return {
    async find(username) {
      if (textOf(username) === undefined) return { kind: 'unknown' };
      const loaded = await ldap();
      if (loaded.kind !== 'loaded') return unavailable(loaded.reason);
      ClientOf = loaded.module.Client;
      const question = {
        base: base.expand(username, escapeDn),
        filter: filter.expand(username, escapeFilter),
      };
      const found = await inTurn(question);
      return Array.isArray(found) || typeof found === 'string' ? judge(username, found) : found;
    },
    list: () => undefined,
    close: () => Promise.resolve(sessions.clear()),
  };
}

function queryOf({ scope, attributes, timeoutMs }: LdapUsersOptions, question: Question): LdapQuery {
  return {
    ...question,
    scope,
    attributes: attributes.asked,
    sizeLimit: 2,
    timeLimitSeconds: Math.ceil(timeoutMs / 1000),
    networkTimeoutSeconds: 0,
    dereference: 'never',
    ignoreReferrals: true,
    scheme: 'ldap',
    servers: undefined,
    user: '',
    password: '',
  };
}

/** Where a server is; a string says what is wrong with the text. */
export function readLdapUri(text: string): Omit<Place, 'user' | 'password'> | string {
  const socket = /^ldapi:\/\/(\/.+|%2[Ff].+)$/.exec(text)?.[1];
  if (socket !== undefined) return { secure: false, host: socket.replaceAll(/%2f/gi, '/'), port: 0 };
  const m = /^(ldaps?):\/\/(?:\[([0-9A-Fa-f:.]+)\]|([^:/[\]]+))(?::(\d{1,5}))?\/?$/.exec(text);
  if (m === null) return `"${text}" is not of the form ldap://host:port, ldaps://host:port or ldapi:///path`;
  const secure = m[1] === 'ldaps';
  return { secure, host: m[2] ?? m[3] ?? '', port: m[4] === undefined ? (secure ? 636 : 389) : Number(m[4]) };
}

/** What is wrong with a filter, as far as its parentheses and variables show it. */
export function filterProblem(text: string): string | undefined {
  const variables = readVariables(text);
  if (typeof variables === 'string') return variables;
  if (!variables.varies)
    return 'it has no variable: everybody would get the same answer (write %u, for example)';
  let depth = 0;
  for (const c of text) {
    if (c === '(') depth++;
    else if (c === ')' && --depth < 0) break;
  }
  return depth === 0 && text.startsWith('(') ? undefined : 'its parentheses do not match';
}
