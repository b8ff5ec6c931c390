/** MySQL and MariaDB for the driver `sql`. */
import type { RowDataPacket } from 'mysql2/promise';
import { mysqlPools } from '../../lookup/drivers/mysql-pools.ts';
import type { ServerLimits } from './servers.ts';
import { openSqlServers } from './sql-servers.ts';
import type { SqlDatabase } from './sql.ts';

/** @param servers as in the main option `mysql_servers`: `host:port(socket)/database/user/password` */
export function openMysql(servers: readonly string[], limits: ServerLimits): SqlDatabase {
  return openSqlServers('MYSQL', servers, limits, mysqlPools, async (connection, { text, values }) => {
    // A prepared statement: the server binds the values.
    const asked = connection.execute<RowDataPacket[][]>({ sql: text, rowsAsArray: true }, [...values]);
    const [rows, fields] = await asked;
    if (!Array.isArray(rows)) return { kind: 'unavailable', reason: 'MYSQL: the query gives no rows' };
    const all = rows as unknown as readonly (readonly unknown[])[];
    const two = all.slice(0, 2).map((row) => fields.map((f, i) => [f.name, textOfValue(row[i])] as const));
    return { kind: 'rows', rows: two };
  });
}

function textOfValue(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  return typeof value === 'string' ? value : JSON.stringify(value);
}
