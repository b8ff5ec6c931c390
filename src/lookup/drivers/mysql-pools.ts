/** Connections to MySQL and MariaDB servers, with the package `mysql2`. */
import type * as Mysql from 'mysql2/promise';
import type { Pool, PoolConnection, PoolOptions } from 'mysql2/promise';
import { messageOf } from './octets.ts';
import { optionalPackage } from './optional-package.ts';
import {
  hostField,
  perServer,
  serverFields,
  withDeadline,
  type ServerLimits,
  type ServerList,
} from './servers.ts';
import type { SqlPools } from './sql-pools.ts';

const load = optionalPackage('mysql', 'mysql2', () => import('mysql2/promise'));

/** Where Debian's servers listen for local programs. */
const defaultSocket = '/run/mysqld/mysqld.sock';

/** @param list its servers are `host:port(socket)/database/user/password` */
export function mysqlPools(list: ServerList, limits: ServerLimits): SqlPools<typeof Mysql, PoolConnection> {
  let pools: ReturnType<typeof poolsOf> | undefined;
  const poolsOf = (createPool: (options: PoolOptions) => Pool) =>
    perServer<Pool | string>(
      (server) => {
        const options = poolOptions(list, server, limits);
        return typeof options === 'string' ? options : createPool(options);
      },
      (pool) => void (typeof pool === 'string' || pool.end().catch(() => undefined)),
    );
  return {
    name: list.name,
    load,
    async connect({ createPool }, server, timeoutMs) {
      pools ??= poolsOf(createPool);
      const pool = pools.get(server);
      if (typeof pool === 'string') return { kind: 'refused', reason: pool };
      try {
        const waiting = pool.getConnection();
        const connection = await withDeadline(waiting, timeoutMs, () => {
          waiting.then((c) => c.release()).catch(() => undefined);
        });
        const release = (broken: boolean): void => (broken ? connection.destroy() : connection.release());
        return { kind: 'connected', connection, release };
      } catch (e) {
        return messageOf(e) === 'Queue limit reached.'
          ? { kind: 'refused', reason: 'too many MYSQL queries are waiting' }
          : { kind: 'unreached', reason: `MYSQL connection failed: ${messageOf(e)}` };
      }
    },
    refusal: (thrown) => (isRefusal(thrown) ? messageOf(thrown) : undefined),
    clear: () => pools?.clear(),
  };
}

/** The server refused the query: its error has an SQLSTATE, which no broken connection has, and is not about being away. */
function isRefusal(e: unknown): boolean {
  const state = e instanceof Error ? (e as Error & { sqlState?: unknown }).sqlState : undefined;
  return typeof state === 'string' && state !== '' && !state.startsWith('08') && !/^(?:57|70100)/.test(state);
}

function poolOptions(list: ServerList, server: string, limits: ServerLimits): PoolOptions | string {
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
    // Numbers and dates come as the texts they are.
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
  };
}
