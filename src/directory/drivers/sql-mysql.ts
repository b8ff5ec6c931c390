/** MySQL and MariaDB for the driver `sql`, with the package `mysql2`. */
import type { Pool, PoolConnection, PoolOptions, RowDataPacket } from 'mysql2/promise';
import { isRefusal, poolOptions } from '../../lookup/drivers/mysql.ts';
import { messageOf } from '../../lookup/drivers/octets.ts';
import { optionalPackage } from '../../lookup/drivers/optional-package.ts';
import { LateAnswer, perServer, serverLimits, withDeadline } from '../../lookup/drivers/servers.ts';
import { askInTurn, type ServerLimits, type Turn } from './servers.ts';
import type { RowsAnswer, SqlDatabase, SqlQuestion } from './sql.ts';

const mysql = optionalPackage('mysql', 'mysql2', () => import('mysql2/promise'));

/** @param servers as in the main option `mysql_servers`: `host:port(socket)/database/user/password` */
export function openMysql(servers: readonly string[], limits: ServerLimits): SqlDatabase {
  const list = { name: 'MYSQL', option: 'connect', configured: servers };
  const { timeoutMs } = limits;
  let createPool: ((options: PoolOptions) => Pool) | undefined;
  const pools = perServer<Pool | string>(
    (server) => {
      const options = poolOptions(list, server, {
        ...serverLimits,
        connectTimeoutMs: timeoutMs / servers.length,
        queryTimeoutMs: timeoutMs,
        maxConnections: limits.maxConnections,
      });
      if (typeof options === 'string') return options;
      // Numbers and dates come as the texts they are.
      const texts = { supportBigNumbers: true, bigNumberStrings: true, dateStrings: true } as const;
      return createPool === undefined ? 'mysql2 is not loaded' : createPool({ ...options, ...texts });
    },
    (pool) => void (typeof pool === 'string' || pool.end().catch(() => undefined)),
  );

  const ask = async (server: string, question: SqlQuestion, shareMs: number): Promise<Turn<RowsAnswer>> => {
    const { text, values } = question;
    const pool = pools.get(server);
    if (typeof pool === 'string') return { kind: 'refused', reason: pool };
    let connection: PoolConnection;
    try {
      const waiting = pool.getConnection();
      connection = await withDeadline(waiting, shareMs, () => {
        waiting.then((c) => c.release()).catch(() => undefined);
      });
    } catch (e) {
      return { kind: 'next', reason: `MYSQL connection failed: ${messageOf(e)}` };
    }
    try {
      // A prepared statement: the server binds the values.
      const asked = connection.execute<RowDataPacket[][]>({ sql: text, rowsAsArray: true }, [...values]);
      const [rows, fields] = await withDeadline(asked, shareMs, () => connection.destroy());
      connection.release();
      if (!Array.isArray(rows)) return { kind: 'refused', reason: 'MYSQL: the query gives no rows' };
      const all = rows as unknown as readonly (readonly unknown[])[];
      const two = all.slice(0, 2).map((row) => fields.map((f, i) => [f.name, textOfValue(row[i])] as const));
      return { kind: 'answer', answer: { kind: 'rows', rows: two } };
    } catch (e) {
      const reason = `MYSQL: query failed: ${messageOf(e)}`;
      if (isRefusal(e)) {
        connection.release();
        return { kind: 'refused', reason };
      }
      connection.destroy();
      return { kind: 'next', reason, broken: !(e instanceof LateAnswer) };
    }
  };
  const inTurn = askInTurn(servers, timeoutMs, ask);
  return {
    async ask(question) {
      const loaded = await mysql();
      if (loaded.kind !== 'loaded') return { kind: 'unavailable', reason: loaded.reason };
      ({ createPool } = loaded.module);
      return inTurn(question);
    },
    close: () => Promise.resolve(pools.clear()),
  };
}

function textOfValue(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  return typeof value === 'string' ? value : JSON.stringify(value);
}
