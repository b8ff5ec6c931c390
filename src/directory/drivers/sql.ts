/** The directory driver `sql`: users from a query whose columns are Dovecot's fields (Dovecot manual, "SQL"). Which database it is, is a matter of {@link SqlDatabase}. */
import type { Awaitable } from '../../mail/awaitable.ts';
import { octetsOf, textOf } from '../../lookup/drivers/octets.ts';
import type { DirectoryAnswer } from '../directory.ts';
import { readUser, type SystemIds } from '../user-fields.ts';
import { unavailable, type UserSource } from '../user-source.ts';
import type { SqlQuery } from './sql-query.ts';
import { systemIds } from './system-ids.ts';

/** A column's name and value in text. */
export type Column = readonly [name: string, value: string | null];

export type RowsAnswer =
  /** Two are enough to see that there are several. */
  | { readonly kind: 'rows'; readonly rows: readonly (readonly Column[])[] }
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface SqlQuestion {
  readonly text: string;
  /** Bound to the placeholders of the text, in order. */
  readonly values: readonly string[];
}

/** A database to which queries are put. */
export interface SqlDatabase {
  ask(question: SqlQuestion): Awaitable<RowsAnswer>;
  close(): Promise<void>;
}

/**
 * No row: unknown. One: a user by its columns (`home`, `mail` or `maildir`, `uid`, `gid`, `quota_rule`, `proxy`, `host`...; NULL is no
 * value; `userdb_` before a name is taken off). Several rows, an error, a late answer: unavailable. A name that is not UTF-8 is
 * unknown, since no column can hold it.
 */
export function sqlUsers(database: SqlDatabase, query: SqlQuery): UserSource {
  const ids = systemIds();
  const judge = (username: string, answer: RowsAnswer): DirectoryAnswer => {
    if (answer.kind !== 'rows') return answer;
    const [row, another] = answer.rows;
    if (row === undefined) return { kind: 'unknown' };
    if (another !== undefined) return unavailable('the query gives several rows');
    return userOf(username, row, ids);
  };
  return {
    find(username) {
      const values: string[] = [];
      for (const octets of query.values(username)) {
        const text = textOf(octets);
        if (text === undefined) return { kind: 'unknown' };
        values.push(text);
      }
      const answer = database.ask({ text: query.text, values });
      return answer instanceof Promise
        ? answer.then((a) => judge(username, a), unavailable)
        : judge(username, answer);
    },
    list: () => undefined,
    close: () => database.close(),
  };
}

/** Columns that say how to log in are nobody's business here. */
const secret = /^(?:nopassword|password)$/;

function userOf(username: string, row: readonly Column[], ids: SystemIds): DirectoryAnswer {
  const fields = new Map<string, string>();
  for (const [column, value] of row) {
    const name = octetsOf(column)
      .toLowerCase()
      .replace(/^userdb_/, '');
    if (value !== null && !secret.test(name)) fields.set(name, octetsOf(value));
  }
  const read = readUser(username, fields, fields, ids);
  return read.kind === 'user'
    ? { kind: 'found', user: read.user }
    : unavailable(`user ${username}: ${read.problem}`);
}
