/** pgsql: SQL statements to PostgreSQL (Exim manual, "SQL lookups", "Special PostgreSQL features"), with the package `pg`. */
import type { DatabaseError, Pool, PoolClient, PoolConfig, QueryArrayResult } from 'pg';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { messageOf, octetsOf } from './octets.ts';
import { optionalPackage } from './optional-package.ts';
import {
  hostField,
  perServer,
  serverFields,
  serverLimits,
  withDeadline,
  type ServerAnswer,
  type ServerLimits,
  type ServerList,
} from './servers.ts';
import { rowsText } from './sql-rows.ts';
import { brokenOff, createSqlServerLookup } from './sql-server.ts';

const pg = optionalPackage('pgsql', 'pg', () => import('pg'));

/** @param servers items of `pgsql_servers`: `host:port/database/user/password` or `(socket)/...` */
export function createPgsql(servers: readonly string[], limits: ServerLimits = serverLimits): LookupDriver {
  const list: ServerList = { name: 'PGSQL', option: 'pgsql_servers', configured: servers };
  let PoolClass: (new (config: PoolConfig) => Pool) | undefined;
  /** Servers that have no TLS. */
  const plain = new Set<string>();
  const pools = perServer<Pool | string>(
    (key) => {
      const tls = !key.startsWith(plainMark);
      const config = poolConfig(list, tls ? key : key.slice(plainMark.length), tls, limits);
      if (typeof config === 'string' || PoolClass === undefined)
        return typeof config === 'string' ? config : 'pg is not loaded';
      const pool = new PoolClass(config);
      // An idle connection that breaks is replaced at the next query.
      pool.on('error', () => undefined);
      pool.on('connect', (client) => client.on('error', () => undefined));
      return pool;
    },
    (pool) => void (typeof pool === 'string' || pool.end().catch(() => undefined)),
  );

  const ask = async (server: string, query: string): Promise<ServerAnswer> => {
    const tls = !plain.has(server);
    const pool = pools.get(tls ? server : plainMark + server);
    if (typeof pool === 'string') return { kind: 'defer', reason: pool };
    if (pool.waitingCount >= limits.maxWaiting)
      return { kind: 'defer', reason: 'too many PGSQL queries are waiting' };
    let client: PoolClient;
    try {
      client = await pool.connect();
    } catch (e) {
      if (messageOf(e) !== noTls || !tls)
        return { kind: 'next', reason: `PGSQL connection failed: ${messageOf(e)}` };
      // As libpq does by default: TLS where the server has it, its certificate not checked. Who waits in the other pool comes
      // here in turn; a pool that is given up would never answer them.
      plain.add(server);
      return ask(server, query);
    }
    try {
      const r = await withDeadline(
        client.query({ text: query, rowMode: 'array' }),
        limits.queryTimeoutMs,
        () => client.release(true),
      );
      client.release();
      return resultAnswer(r);
    } catch (e) {
      if (isRefusal(e)) {
        client.release();
        return { kind: 'defer', reason: `PGSQL: query failed: ${messageOf(e)} (${e.code})` };
      }
      try {
        client.release(true);
      } catch {
        // the deadline gave it up already
      }
      return brokenOff(list, query, e);
    }
  };

  return createSqlServerLookup(
    'pgsql',
    list,
    pg,
    (module) => {
      PoolClass = module.default.Pool;
    },
    ask,
    () => pools.clear(),
  );
}

/** The server processed the query and refused it: another one would do the same. */
export function isRefusal(e: unknown): e is DatabaseError & { readonly code: string } {
  const code = e instanceof Error ? (e as Error & { code?: unknown }).code : undefined;
  // Classes 08, 53, 57 and 58 of the manual's "Error codes" are the server's trouble, not the query's.
  return (
    typeof code === 'string' &&
    /^[0-9A-Z]{5}$/.test(code) &&
    'severity' in (e as object) &&
    !/^(?:08|53|57|58)/.test(code)
  );
}

/** Before a server's text: the key of its pool without TLS. */
export const plainMark = '\0';

export const noTls = 'The server does not support SSL connections';

export function poolConfig(
  list: ServerList,
  server: string,
  tls: boolean,
  limits: ServerLimits,
): PoolConfig | string {
  const fields = serverFields(list, server, 3);
  if (typeof fields === 'string') return fields;
  const [where = '', database = '', user = '', password = ''] = fields;
  const { host, port, socket } = hostField(where);
  const place =
    socket === undefined
      ? { host: host === '' ? '/var/run/postgresql' : host, port: port ?? 5432 }
      : socketPlace(socket);
  if (typeof place === 'string') return place;
  return {
    ...place,
    ...(database === '' ? {} : { database }),
    ...(user === '' ? {} : { user }),
    ...(password === '' ? {} : { password }),
    ...(tls && place.host[0] !== '/' ? { ssl: { rejectUnauthorized: false } } : {}),
    max: limits.maxConnections,
    connectionTimeoutMillis: limits.connectTimeoutMs,
    statement_timeout: limits.queryTimeoutMs,
    idleTimeoutMillis: 30_000,
    allowExitOnIdle: true,
    application_name: 'mailchute',
    // Values stay as the server wrote them.
    types: { getTypeParser: () => (value: string | Buffer) => value },
  };
}

/** libpq takes the folder and the port of `/folder/.s.PGSQL.5432`. */
function socketPlace(socket: string): { host: string; port: number } | string {
  const m = /^(\/.*)\/\.s\.PGSQL\.(\d+)$/.exec(socket);
  return m === null
    ? `PGSQL socket "${socket}" is not of the form /folder/.s.PGSQL.port`
    : { host: m[1] ?? '', port: Number(m[2]) };
}

function resultAnswer(result: QueryArrayResult | QueryArrayResult[]): DriverAnswer {
  // Of several statements the last one counts, as with libpq.
  const last = Array.isArray(result) ? result.at(-1) : result;
  if (last === undefined) return { kind: 'missing' };
  if (last.fields.length === 0 && last.command !== 'SELECT')
    return last.rowCount === null
      ? { kind: 'missing', keepMs: 0 }
      : { kind: 'found', value: String(last.rowCount), keepMs: 0 };
  const names = last.fields.map((f) => octetsOf(f.name));
  const rows = (last.rows as readonly (readonly (string | null)[])[]).map((row) =>
    names.map((name, i) => [name, octetsOf(row[i] ?? '')] as const),
  );
  const value = rowsText(rows);
  return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
}
