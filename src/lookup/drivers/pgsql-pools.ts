/** Connections to PostgreSQL servers, with the package `pg`: with TLS where the server has it. */
import type * as Pg from 'pg';
import type { DatabaseError, Pool, PoolClient, PoolConfig } from 'pg';
import { messageOf } from './octets.ts';
import { optionalPackage } from './optional-package.ts';
import { hostField, perServer, serverFields, type ServerLimits, type ServerList } from './servers.ts';
import type { Connected, SqlPools } from './sql-pools.ts';

const load = optionalPackage('pgsql', 'pg', () => import('pg'));

type PoolClass = new (config: PoolConfig) => Pool;

const noTls = 'The server does not support SSL connections';

interface Server {
  readonly first: Pool;
  /** Where the server turned out to have no TLS: in place of the first. */
  plain?: Pool;
  openPlain(): Pool;
}

/** @param list its servers are `host:port/database/user/password` or `(socket)/...` */
export function pgsqlPools(list: ServerList, limits: ServerLimits): SqlPools<typeof Pg, PoolClient> {
  let servers: ReturnType<typeof serversOf> | undefined;
  const serversOf = (PoolOf: PoolClass) =>
    perServer<Server | string>(
      (text) => {
        const config = poolConfig(list, text, limits);
        if (typeof config === 'string') return config;
        return { first: open(PoolOf, config), openPlain: () => open(PoolOf, { ...config, ssl: false }) };
      },
      (server) => {
        if (typeof server === 'string') return;
        for (const pool of [server.first, server.plain]) pool?.end().catch(() => undefined);
      },
    );

  async function connect(PoolOf: PoolClass, text: string): Promise<Connected<PoolClient>> {
    servers ??= serversOf(PoolOf);
    const server = servers.get(text);
    if (typeof server === 'string') return { kind: 'refused', reason: server };
    const pool = server.plain ?? server.first;
    if (pool.waitingCount >= limits.maxWaiting)
      return { kind: 'refused', reason: 'too many PGSQL queries are waiting' };
    try {
      const connection = await pool.connect();
      return { kind: 'connected', connection, release: (broken) => connection.release(broken) };
    } catch (e) {
      if (messageOf(e) !== noTls || pool === server.plain)
        return { kind: 'unreached', reason: `PGSQL connection failed: ${messageOf(e)}` };
      // As libpq does by default: TLS where the server has it, its certificate not checked. Who waits in the first pool comes
      // here in turn; a pool that is given up would never answer them.
      server.plain ??= server.openPlain();
      return connect(PoolOf, text);
    }
  }

  return {
    name: list.name,
    load,
    connect: (module, server) => connect(module.default.Pool, server),
    refusal: (thrown) => (isRefusal(thrown) ? `${messageOf(thrown)} (${thrown.code})` : undefined),
    clear: () => servers?.clear(),
  };
}

function open(PoolOf: PoolClass, config: PoolConfig): Pool {
  const pool = new PoolOf(config);
  // An idle connection that breaks is replaced at the next query.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** The server processed the question and refused it. */
function isRefusal(e: unknown): e is DatabaseError & { readonly code: string } {
  const code = e instanceof Error ? (e as Error & { code?: unknown }).code : undefined;
  // Classes 08, 53, 57 and 58 of the manual's "Error codes" are the server's trouble, not the query's.
  return (
    typeof code === 'string' &&
    /^[0-9A-Z]{5}$/.test(code) &&
    'severity' in (e as object) &&
    !/^(?:08|53|57|58)/.test(code)
  );
}

function poolConfig(list: ServerList, server: string, limits: ServerLimits): PoolConfig | string {
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
    ...(place.host[0] !== '/' ? { ssl: { rejectUnauthorized: false } } : {}),
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
