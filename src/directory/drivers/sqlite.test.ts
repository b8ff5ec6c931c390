import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { directoryContract, nameOf } from '../contract.ts';
import type { UserSource } from '../user-source.ts';
import { readSqlQuery, type SqlEngine } from './sql-query.ts';
import { openSqlite } from './sql-sqlite.ts';
import { sqlUsers } from './sql.ts';

const table = [
  'create table users(name text, domain text, home text, uid int, gid int, mail text, quota_rule text, host text, proxy text)',
  "insert into users values ('alice','example.test','/home/alice',1001,1002,null,null,null,null)",
  "insert into users values ('bob','example.test',null,null,null,'maildir:~/x',null,null,null)",
];

function query(text: string, engine: SqlEngine = 'sqlite') {
  const read = readSqlQuery(text, engine);
  if (typeof read === 'string') throw new Error(read);
  return read;
}

function makeFile(statements: readonly string[]): { readonly file: string; readonly folder: string } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sqlite-users-'));
  const file = path.join(folder, 'users.db');
  const database = new DatabaseSync(file);
  for (const statement of statements) database.exec(statement);
  database.close();
  return { file, folder };
}

directoryContract('sqlite', async () => {
  const { file, folder } = makeFile(table);
  return {
    open: async () =>
      sqlUsers(openSqlite(file, 200), query('select home, uid, gid from users where name = :username')),
    breakSource: async () => renameSync(file, `${file}.away`),
    repairSource: async () => renameSync(`${file}.away`, file),
    cleanUp: async () => rmSync(folder, { recursive: true }),
  };
});

async function withUsers(
  statements: readonly string[],
  sql: string,
  body: (source: UserSource, file: string) => Promise<void>,
): Promise<void> {
  const { file, folder } = makeFile([...table, ...statements]);
  const source = sqlUsers(openSqlite(file, 150), query(sql));
  try {
    await body(source, file);
  } finally {
    await source.close();
    rmSync(folder, { recursive: true });
  }
}

const everything = 'select * from users where name = :local_part and domain = :domain';

test('columns are fields; NULL is none; secrets and the key are not handed on', () =>
  withUsers(
    [
      'alter table users add column password text',
      "insert into users values ('carol','example.test','/h/c',5,'mail','maildir:~/Maildir','*:storage=1G','192.0.2.7','Y','secret')",
    ],
    'select name as username, domain, home, uid, gid, mail, quota_rule as userdb_quota_rule, host, proxy, password from users where name = :username and domain = :domain',
    async (source) => {
      const carol = await source.find('carol@example.test');
      assert.ok(carol.kind === 'found');
      assert.deepEqual(
        { ...carol.user, extra: { ...carol.user.extra } },
        {
          username: 'carol@example.test',
          home: '/h/c',
          maildir: '/h/c/Maildir',
          uid: 5,
          gid: 8,
          proxy: { host: '192.0.2.7', port: 24 },
          extra: { quota_rule: '*:storage=1G', host: '192.0.2.7', proxy: 'Y' },
        },
      );
      assert.equal(nameOf(await source.find('carol@other.test')), 'unknown');
      assert.equal(nameOf(await source.find('carol')), 'unknown');
      // A user whose entry is malformed waits: ~ without a home.
      assert.equal(nameOf(await source.find('bob@example.test')), 'unavailable');
    },
  ));

test('several rows, a statement that fails and a missing table are unavailable, with a reason', () =>
  withUsers(
    ["insert into users values ('alice','example.test','/x',1,1,null,null,null,null)"],
    everything,
    async (source, file) => {
      assert.deepEqual(await source.find('alice@example.test'), {
        kind: 'unavailable',
        reason: 'the query gives several rows',
      });
      const broken = sqlUsers(openSqlite(file, 50), query('select nonsense from nowhere where x = :user'));
      const answer = await broken.find('alice');
      assert.ok(answer.kind === 'unavailable' && /no such table: nowhere/.test(answer.reason));
      await broken.close();
    },
  ));

test('a lock of someone else is waited for outside SQLite, so long and no longer', () =>
  withUsers([], everything, async (source, file) => {
    assert.equal(nameOf(await source.find('alice@example.test')), 'alice@example.test');
    const other = new DatabaseSync(file);
    other.exec('begin exclusive');
    const asked = Promise.resolve(source.find('alice@example.test'));
    let turns = 0;
    const ticking = setInterval(() => turns++, 5);
    assert.deepEqual((await asked).kind, 'unavailable');
    clearInterval(ticking);
    assert.ok(turns > 0, 'the event loop stood still');
    const again = Promise.resolve(source.find('alice@example.test'));
    other.exec('commit');
    other.close();
    assert.equal(nameOf(await again), 'alice@example.test');
  }));

test('after the first question answers come at once; a file put in its place is seen; nothing is written', () =>
  withUsers([], everything, async (source, file) => {
    assert.ok(source.find('alice@example.test') instanceof Promise);
    await source.find('alice@example.test');
    assert.ok(!(source.find('alice@example.test') instanceof Promise));
    const other = makeFile([...table, "update users set name = 'zoe'"]);
    renameSync(other.file, file);
    rmSync(other.folder, { recursive: true });
    assert.equal(nameOf(await source.find('alice@example.test')), 'unknown');
    const writing = sqlUsers(
      openSqlite(file, 50),
      query('insert into users(name) values (:user) returning name'),
    );
    assert.equal(nameOf(await writing.find('mallory')), 'unavailable');
    await writing.close();
  }));

test('placeholders become those of each engine, and only outside texts, names, comments and casts', () => {
  const sql = `select 'it''s 10:30', "a:b", home::text -- :nobody\n from t /* :x */ where u = :user and (n=:username or n=:local_part) and d=:domain`;
  assert.equal(
    query(sql, 'pgsql').text,
    `select 'it''s 10:30', "a:b", home::text -- :nobody\n from t /* :x */ where u = $1 and (n=$2 or n=$3) and d=$4`,
  );
  assert.deepEqual(query(sql, 'pgsql').values('n@x@d'), ['n@x@d', 'n@x', 'n@x', 'd']);
  assert.match(query(sql, 'sqlite').text, /u = \? and \(n=\? or n=\?\) and d=\?$/);
  assert.equal(query("select 'a\\':x' from t where u=:user", 'mysql').values('x').length, 1);
  for (const [text, want] of [
    ['select 1', /no placeholder/],
    ["select home from t where u = ':user'", /without quotes/],
    ['select home from t where u = :nobody', /unknown placeholder :nobody/],
    ['select home from t where u = :user and x = $local_part', /\$local_part/],
    ['select home from t where u = :user and x = ?', /"\?"/],
  ] as const) {
    const read = readSqlQuery(text, 'sqlite');
    assert.ok(typeof read === 'string' && want.test(read), `${text}: ${JSON.stringify(read)}`);
  }
});
