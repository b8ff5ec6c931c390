/** PostgreSQL for the driver `sql`, with the package `pg`. */
import type { Pool, PoolClient, PoolConfig } from 'pg';
import { messageOf } from '../../lookup/drivers/octets.ts';
import { optionalPackage } from '../../lookup/drivers/optional-package.ts';
import { isRefusal, noTls, plainMark, poolConfig } from '../../lookup/drivers/pgsql.ts';
import { LateAnswer, perServer, serverLimits, withDeadline } from '../../lookup/drivers/servers.ts';
import { askInTurn, type ServerLimits, type Turn } from './servers.ts';
import type { RowsAnswer, SqlDatabase, SqlQuestion } from './sql.ts';

const pg = optionalPackage('pgsql', 'pg', () => import('pg'));

/** @param servers as in the main option `pgsql_servers`: `host:port/database/user/password` or `(socket)/...` */
export function openPgsql(servers: readonly string[], limits: ServerLimits): SqlDatabase {
  const list = { name: 'PGSQL', option: 'connect', configured: servers };
  const { timeoutMs } = limits;
  let PoolOf: (new (config: PoolConfig) => Pool) | undefined;
  /** Servers that have no TLS. */
  const plain = new Set<string>();
  const pools = perServer<Pool | string>(
    (key) => {
      const tls = !key.startsWith(plainMark);
      const config = poolConfig(list, tls ? key : key.slice(plainMark.length), tls, {
        ...serverLimits,
        connectTimeoutMs: timeoutMs / servers.length,
        queryTimeoutMs: timeoutMs,
        maxConnections: limits.maxConnections,
      });
      if (typeof config === 'string') return config;
      if (PoolOf === undefined) return 'pg is not loaded';
      const pool = new PoolOf(config);
      // An idle connection that breaks is replaced at the next query.
      pool.on('error', () => undefined);
      pool.on('connect', (client) => client.on('error', () => undefined));
      return pool;
    },
    (pool) => void (typeof pool === 'string' || pool.end().catch(() => undefined)),
  );

  const ask = async (server: string, question: SqlQuestion, shareMs: number): Promise<Turn<RowsAnswer>> => {
    const { text, values } = question;
    const tls = !plain.has(server);
    const pool = pools.get(tls ? server : plainMark + server);
    if (typeof pool === 'string') return { kind: 'refused', reason: pool };
    let client: PoolClient;
    try {
      client = await pool.connect();
    } catch (e) {
      if (messageOf(e) !== noTls || !tls)
        return { kind: 'next', reason: `PGSQL connection failed: ${messageOf(e)}` };
      // As libpq does by default: TLS where the server has it.
      plain.add(server);
      return ask(server, question, shareMs);
    }
    let released = false;
    const release = (broken: boolean): void => {
      if (!released) client.release(broken);
      released = true;
    };
    try {
      const asked = client.query<(string | null)[]>({ text, values: [...values], rowMode: 'array' });
      const { fields, rows } = await withDeadline(asked, shareMs, () => release(true));
      release(false);
      const two = rows.slice(0, 2).map((row) => fields.map((f, i) => [f.name, row[i] ?? null] as const));
      return { kind: 'answer', answer: { kind: 'rows', rows: two } };
    } catch (e) {
      const refused = isRefusal(e);
      release(!refused);
      const reason = `PGSQL: query failed: ${messageOf(e)}`;
      return refused
        ? { kind: 'refused', reason: `${reason} (${e.code})` }
        : { kind: 'next', reason, broken: !(e instanceof LateAnswer) };
    }
  };
  const inTurn = askInTurn(servers, timeoutMs, ask);
  return {
    async ask(question) {
      const loaded = await pg();
      if (loaded.kind !== 'loaded') return { kind: 'unavailable', reason: loaded.reason };
      PoolOf = loaded.module.default.Pool;
      return inTurn(question);
    },
    close: () => Promise.resolve(pools.clear()),
  };
}
