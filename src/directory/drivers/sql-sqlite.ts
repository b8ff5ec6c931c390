/** SQLite for the driver `sql`, with Node's own. */
import { statSync } from 'node:fs';
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite';
import type { Awaitable } from '../../mail/awaitable.ts';
import { messageOf } from '../../lookup/drivers/octets.ts';
import { optionalPackage } from '../../lookup/drivers/optional-package.ts';
import type { Column, RowsAnswer, SqlDatabase, SqlQuestion } from './sql.ts';

const sqlite = optionalPackage('sqlite', 'node:sqlite', () => import('node:sqlite'));

/** Result codes of https://sqlite.org/rescode.html: someone else holds a lock. */
const busy = 5;
const locked = 6;
const retryMs = 20;

interface Open {
  readonly database: DatabaseSync;
  readonly inode: string;
  /** Of the one text that a directory asks. */
  statement?: { readonly text: string; readonly prepared: StatementSync };
}

/**
 * Opened for reading only, anew where another file was put in its place. SQLite answers in the thread of the event loop, so that a query
 * that reads a whole table stops everything meanwhile: the columns asked by need an index. Only two rows are ever read. A
 * lock of someone else is tried again every 20 ms outside SQLite, until `timeoutMs` have passed.
 */
export function openSqlite(file: string, timeoutMs: number): SqlDatabase {
  let open: Open | undefined;
  let Database: typeof DatabaseSync | undefined;
  const close = (): void => {
    open?.database.close();
    open = undefined;
  };

  function rowsOf({ text, values }: SqlQuestion, Class: typeof DatabaseSync): Column[][] {
    const inode = inodeOf(file);
    if (open !== undefined && open.inode !== inode) close();
    open ??= { database: new Class(Buffer.from(file, 'latin1'), { readOnly: true, timeout: 0 }), inode };
    if (open.statement?.text !== text) {
      const prepared = open.database.prepare(text);
      prepared.setReadBigInts(true);
      open.statement = { text, prepared };
    }
    const rows: Column[][] = [];
    for (const row of open.statement.prepared.iterate(...values)) {
      rows.push(Object.entries(row).map(([name, value]) => [name, textOfValue(value)]));
      if (rows.length === 2) break;
    }
    return rows;
  }

  /** Undefined: locked. */
  function once(question: SqlQuestion, Class: typeof DatabaseSync): RowsAnswer | undefined {
    try {
      return { kind: 'rows', rows: rowsOf(question, Class) };
    } catch (e) {
      const code = e instanceof Error ? (e as Error & { errcode?: number }).errcode : undefined;
      if (code !== undefined && [busy, locked].includes(code & 0xff)) return undefined;
      close();
      return { kind: 'unavailable', reason: `sqlite: ${file}: ${messageOf(e)}` };
    }
  }

  async function wait(question: SqlQuestion, Class: typeof DatabaseSync): Promise<RowsAnswer> {
    for (const end = performance.now() + timeoutMs; performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, retryMs));
      const answer = once(question, Class);
      if (answer !== undefined) return answer;
    }
    return { kind: 'unavailable', reason: `sqlite: ${file}: locked for ${timeoutMs / 1000} s` };
  }

  const ask = (question: SqlQuestion, Class: typeof DatabaseSync): Awaitable<RowsAnswer> =>
    once(question, Class) ?? wait(question, Class);

  return {
    ask(question) {
      if (Database !== undefined) return ask(question, Database);
      return sqlite().then((loaded): Awaitable<RowsAnswer> => {
        if (loaded.kind !== 'loaded') return { kind: 'unavailable', reason: loaded.reason };
        Database = loaded.module.DatabaseSync;
        return ask(question, Database);
      });
    },
    close: () => Promise.resolve(close()),
  };
}

function inodeOf(file: string): string {
  const s = statSync(Buffer.from(file, 'latin1'), { throwIfNoEntry: false });
  return s === undefined ? '' : `${s.dev}:${s.ino}`;
}

function textOfValue(value: SQLOutputValue): string | null {
  if (value === null) return null;
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
}
