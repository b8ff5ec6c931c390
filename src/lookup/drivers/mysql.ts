/** mysql: SQL statements to MySQL or MariaDB (Exim manual, "SQL lookups", "Special MySQL features"), with the package `mysql2`. */
import type { FieldPacket, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { mysqlPools } from './mysql-pools.ts';
import { octetsOf } from './octets.ts';
import { serverLimits, type ServerLimits, type ServerList } from './servers.ts';
import { rowsText } from './sql-rows.ts';
import { createSqlServerLookup } from './sql-server.ts';

/** @param servers items of `mysql_servers`: `host:port(socket)/database/user/password` */
export function createMysql(servers: readonly string[], limits: ServerLimits = serverLimits): LookupDriver {
  const list: ServerList = { name: 'MYSQL', option: 'mysql_servers', configured: servers };
  return createSqlServerLookup('mysql', list, mysqlPools(list, limits), limits, async (connection, sql) =>
    resultAnswer(await connection.query<Result>({ sql, rowsAsArray: true, typeCast: octetsOfField })),
  );
}

type Result = RowDataPacket[][] | RowDataPacket[] | ResultSetHeader;

/** A value as the server wrote it. */
function octetsOfField(field: { buffer(): Buffer | null }): string | null {
  return field.buffer()?.toString('latin1') ?? null;
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
