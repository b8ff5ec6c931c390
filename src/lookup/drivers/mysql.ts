/** mysql: SQL statements to MySQL or MariaDB (Exim manual, "SQL lookups", "Special MySQL features"), with the package `mysql2`. */
import type {
  FieldPacket,
  Pool,
  PoolConnection,
  PoolOptions,
  ResultSetHeader,
  RowDataPacket,
} from 'mysql2/promise';
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

const mysql = optionalPackage('mysql', 'mysql2', () => import('mysql2/promise'));

/** Where Debian's servers listen for local programs. */
const defaultSocket = '/run/mysqld/mysqld.sock';

/** @param servers items of `mysql_servers`: `host:port(socket)/database/user/password` */
export function createMysql(servers: readonly string[], limits: ServerLimits = serverLimits): LookupDriver {
  const list: ServerList = { name: 'MYSQL', option: 'mysql_servers', configured: servers };
  let createPool: ((options: PoolOptions) => Pool) | undefined;
  const pools = perServer<Pool | string>(
    (server) => {
      const options = poolOptions(list, server, limits);
      if (typeof options === 'string') return options;
      return createPool === undefined ? 'mysql2 is not loaded' : createPool(options);
    },
    (pool) => void (typeof pool === 'string' || pool.end().catch(() => undefined)),
  );

  const ask = async (server: string, query: string): Promise<ServerAnswer> => {
    const pool = pools.get(server);
    if (typeof pool === 'string') return { kind: 'defer', reason: pool };
    let connection: PoolConnection;
    try {
      const waiting = pool.getConnection();
      connection = await withDeadline(waiting, limits.queryTimeoutMs, () => {
        waiting.then((c) => c.release()).catch(() => undefined);
      });
    } catch (e) {
      if (messageOf(e) === 'Queue limit reached.')
        return { kind: 'defer', reason: 'too many MYSQL queries are waiting' };
      return { kind: 'next', reason: `MYSQL connection failed: ${messageOf(e)}` };
    }
    try {
      const options = { sql: query, rowsAsArray: true, typeCast: octetsOfField };
      const r = await withDeadline(connection.query<Result>(options), limits.queryTimeoutMs, () =>
        connection.destroy(),
      );
      connection.release();
      return resultAnswer(r);
    } catch (e) {
      if (isRefusal(e)) {
        connection.release();
        return { kind: 'defer', reason: `MYSQL: query failed: ${messageOf(e)}` };
      }
      connection.destroy();
      return brokenOff(list, query, e);
    }
  };

  return createSqlServerLookup(
    'mysql',
    list,
    mysql,
    (module) => {
      ({ createPool } = module);
    },
    ask,
    () => pools.clear(),
  );
}

type Result = RowDataPacket[][] | RowDataPacket[] | ResultSetHeader;

/** The server refused the query: its error has an SQLSTATE, which no broken connection has, and is not about being away. */
export function isRefusal(e: unknown): boolean {
  const state = e instanceof Error ? (e as Error & { sqlState?: unknown }).sqlState : undefined;
  return typeof state === 'string' && state !== '' && !state.startsWith('08') && !/^(?:57|70100)/.test(state);
}

/** A value as the server wrote it. */
function octetsOfField(field: { buffer(): Buffer | null }): string | null {
  return field.buffer()?.toString('latin1') ?? null;
}

export function poolOptions(list: ServerList, server: string, limits: ServerLimits): PoolOptions | string {
  if (server.includes('['))
    return `option groups of my.cnf are not read: "${server.split('/')[0] ?? ''}" in ${list.option}`;
  const fields = serverFields(list, server, 3);
  if (typeof fields === 'string') return fields;
  const [where = '', database = '', user = '', password = ''] = fields;
  const { host, port, socket } = hostField(where);
  const local = host === '' || host === 'localhost';
  const place =
    local && port === undefined
      ? { socketPath: socket ?? defaultSocket }
      : { host: host === '' ? 'localhost' : host, port: port ?? 3306 };
  return {
    ...place,
    ...(database === '' ? {} : { database }),
    ...(user === '' ? {} : { user }),
    ...(password === '' ? {} : { password }),
    charset: 'utf8mb4',
    connectTimeout: limits.connectTimeoutMs,
    connectionLimit: limits.maxConnections,
    maxIdle: limits.maxConnections,
    idleTimeout: 30_000,
    queueLimit: limits.maxWaiting,
    enableKeepAlive: true,
    multipleStatements: false,
  };
}

function resultAnswer([result, fields]: [Result, FieldPacket[]]): DriverAnswer {
  // A statement without rows: how many it changed.
  if (!Array.isArray(result)) return { kind: 'found', value: String(result.affectedRows), keepMs: 0 };
  const names = fields.map((f) => octetsOf(f.name));
  let all = result as unknown as readonly (readonly (string | null)[])[];
  // A single NULL is no data; one after other rows, and one of several fields, is the empty text.
  if (names.length === 1) {
    const first = all.findIndex((row) => row[0] !== null);
    all = first < 0 ? [] : all.slice(first);
  }
  const rows = all.map((row) => names.map((name, i) => [name, row[i] ?? ''] as const));
  const value = rowsText(rows);
  return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
}
