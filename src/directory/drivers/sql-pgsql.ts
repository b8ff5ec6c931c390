/** PostgreSQL for the driver `sql`. */
import { pgsqlPools } from '../../lookup/drivers/pgsql-pools.ts';
import type { ServerLimits } from './servers.ts';
import { openSqlServers } from './sql-servers.ts';
import type { SqlDatabase } from './sql.ts';

/** @param servers as in the main option `pgsql_servers`: `host:port/database/user/password` or `(socket)/...` */
export function openPgsql(servers: readonly string[], limits: ServerLimits): SqlDatabase {
  return openSqlServers('PGSQL', servers, limits, pgsqlPools, async (client, { text, values }) => {
    const asked = { text, values: [...values], rowMode: 'array' } as const;
    const { fields, rows } = await client.query<(string | null)[]>(asked);
    const two = rows.slice(0, 2).map((row) => fields.map((f, i) => [f.name, row[i] ?? null] as const));
    return { kind: 'rows', rows: two };
  });
}
