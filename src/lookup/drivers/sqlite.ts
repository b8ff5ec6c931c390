/** sqlite: SQL statements on a file (Exim manual, "More about SQLite"), with Node's own SQLite. */
import { statSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { DriverAnswer, LookupDriver } from '../lookup.ts';
import { messageOf, octetsOf, textOf } from './octets.ts';
import { optionalPackage } from './optional-package.ts';
import { rowsText, type Field } from './sql-rows.ts';

export interface SqliteOptions {
  /** `sqlite_dbfile` */
  readonly file?: string | undefined;
  /** `sqlite_lock_timeout`, here in milliseconds: how long to wait for a lock of someone else. */
  readonly lockTimeoutMs?: number;
}

interface OpenDatabase {
  readonly database: DatabaseSync;
  readonly inode: string;
}

const maxOpen = 25;
const maxRows = 10_000;
const retryMs = 20;

/** Node loads SQLite at the first use, and says then that it is new. */
const sqlite = optionalPackage('sqlite', 'node:sqlite', () => import('node:sqlite'));

export function createSqlite(options: SqliteOptions = {}): LookupDriver {
  const { lockTimeoutMs = 5000 } = options;
  const open = new Map<string, OpenDatabase>();
  const drop = (file: string): void => {
    open.get(file)?.database.close();
    open.delete(file);
  };
  const databaseOf = (file: string, Database: typeof DatabaseSync): DatabaseSync => {
    const old = open.get(file);
    if (old !== undefined && old.inode === inodeOf(file)) return old.database;
    drop(file);
    for (const oldest of open.keys()) if (open.size >= maxOpen) drop(oldest);
    // No waiting for locks inside SQLite: that would stop everything else here.
    const database = new Database(Buffer.from(file, 'latin1'), { timeout: 0 });
    open.set(file, { database, inode: inodeOf(file) });
    return database;
  };

  return {
    type: 'sqlite',
    style: 'query',
    quotes: true,
    async find(_, key, texts, quoted = false): Promise<DriverAnswer> {
      const chosen = chooseFile(key, texts, options.file, quoted);
      if (typeof chosen === 'string') return { kind: 'unusable', reason: chosen };
      const query = textOf(chosen.query);
      if (query === undefined) return { kind: 'defer', reason: 'the query is not UTF-8' };
      const loaded = await sqlite();
      if (loaded.kind !== 'loaded') return loaded;
      const { DatabaseSync: Database, StatementSync: Statement } = loaded.module;
      if (typeof Statement.prototype.setReturnArrays !== 'function')
        return { kind: 'unusable', reason: `sqlite lookups need Node 24; this is ${process.version}` };
      const end = performance.now() + lockTimeoutMs;
      for (;;) {
        try {
          const value = run(databaseOf(chosen.file, Database), query);
          return value === undefined ? { kind: 'missing' } : { kind: 'found', value };
        } catch (e) {
          const code = errorCode(e);
          if (code !== busy && code !== locked) return failed(e, chosen.file);
          if (performance.now() >= end) return { kind: 'defer', reason: `sqlite: ${messageOf(e)}` };
          await new Promise((resolve) => setTimeout(resolve, retryMs));
        }
      }
    },
    close() {
      for (const file of open.keys()) drop(file);
    },
  };
}

/** Result codes of https://sqlite.org/rescode.html. */
const busy = 5;
const locked = 6;
const cannotOpen = 14;

function errorCode(e: unknown): number | undefined {
  return e instanceof Error ? (e as Error & { errcode?: number }).errcode : undefined;
}

function failed(e: unknown, file: string): DriverAnswer {
  return errorCode(e) === cannotOpen
    ? { kind: 'unusable', reason: `failed to open ${file} for sqlite lookup: ${messageOf(e)}` }
    : { kind: 'defer', reason: `sqlite: ${messageOf(e)}` };
}

function inodeOf(file: string): string {
  const s = statSync(Buffer.from(file, 'latin1'), { throwIfNoEntry: false });
  return s === undefined ? '' : `${s.dev}:${s.ino}`;
}

/** The option `file=`, else an absolute path before the query, else the main option. */
function chooseFile(
  key: string,
  options: readonly string[],
  configured: string | undefined,
  quoted: boolean,
): { readonly file: string; readonly query: string } | string {
  let file = configured;
  let query = key;
  const other = options.find((o) => !o.startsWith('file='));
  if (other !== undefined) return `unknown option "${other}" for sqlite lookup`;
  const named = options.at(-1)?.slice('file='.length);
  if (named !== undefined) file = named;
  else if (key.startsWith('/')) {
    if (quoted)
      return 'a file name before the sqlite query is tainted by what comes from the wire in it: write ",file=..." after sqlite';
    const [path = ''] = key.split(/\s/, 1);
    file = path;
    query = key.slice(path.length).trimStart();
  }
  if (file === undefined || !file.startsWith('/')) return 'absolute file name expected for "sqlite" lookup';
  return { file, query };
}

/** Runs every statement of the text; the rows of all of them count. */
function run(database: DatabaseSync, text: string): string | undefined {
  const rows: Field[][] = [];
  let rest = text;
  while (/[^\s;]/.test(rest)) {
    const statement = prepare(database, rest);
    if (statement === undefined) break;
    const names = statement.columns().map((c) => octetsOf(c.name));
    rest = rest.slice(statement.sourceSQL.length);
    if (names.length === 0) statement.run();
    else
      for (const row of readRows(statement)) {
        if (rows.length >= maxRows) throw new Error(`more than ${maxRows} rows`);
        rows.push(names.map((name, i): Field => [name, fieldText(row[i] ?? null)]));
      }
  }
  return rowsText(rows);
}

/** Undefined where only comments are left. */
function prepare(database: DatabaseSync, text: string): StatementSync | undefined {
  try {
    return database.prepare(text);
  } catch (e) {
    if (e instanceof Error && (e as NodeJS.ErrnoException).code === 'ERR_INVALID_ARG_VALUE') return undefined;
    throw e;
  }
}

type Value = null | number | bigint | string | Uint8Array;

function* readRows(statement: StatementSync): Generator<readonly Value[]> {
  statement.setReturnArrays(true);
  statement.setReadBigInts(true);
  for (const row of statement.iterate()) yield row as unknown as readonly Value[];
}

/** A value as SQLite itself makes text of it. */
function fieldText(value: Value): string {
  if (value === null) return '<NULL>';
  if (typeof value === 'string') return octetsOf(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return floatText(value);
  const text = Buffer.from(value).toString('latin1');
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

/** C's `%!.15g`: fifteen significant digits, always with a decimal point. */
export function floatText(value: number): string {
  if (value === 0) return '0.0';
  if (!Number.isFinite(value)) return value > 0 ? 'Inf' : Number.isNaN(value) ? 'NULL' : '-Inf';
  const [digits = '', exponentText = '0'] = value.toExponential(14).split('e');
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 15) {
    const mantissa = trimZeros(digits);
    const sign = exponent < 0 ? '-' : '+';
    return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  return trimZeros(value.toFixed(14 - exponent));
}

function trimZeros(text: string): string {
  if (!text.includes('.')) return `${text}.0`;
  const trimmed = text.replace(/0+$/, '');
  return trimmed.endsWith('.') ? `${trimmed}0` : trimmed;
}
