/** pgsql: SQL statements to PostgreSQL (Exim manual, "SQL lookups", "Special PostgreSQL features"), with the package `pg`. */
import type { QueryArrayResult } from 'pg';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { octetsOf } from './octets.ts';
import { pgsqlPools } from './pgsql-pools.ts';
import { serverLimits, type ServerLimits, type ServerList } from './servers.ts';
import { rowsText } from './sql-rows.ts';
import { createSqlServerLookup } from './sql-server.ts';

/** @param servers items of `pgsql_servers`: `host:port/database/user/password` or `(socket)/...` */
export function createPgsql(servers: readonly string[], limits: ServerLimits = serverLimits): LookupDriver {
  const list: ServerList = { name: 'PGSQL', option: 'pgsql_servers', configured: servers };
  return createSqlServerLookup('pgsql', list, pgsqlPools(list, limits), limits, async (client, text) =>
    resultAnswer(await client.query({ text, rowMode: 'array' })),
  );
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
