// The same users in the real Dovecot's lmtp and in our store: the same answers to the same RCPTs, while the source answers and
// while it does not.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { postgresProgram, startPostgres, startSlapd } from '../support/databases.ts';
import { startDovecot } from '../support/dovecot.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, temporaryFolder } from '../support/process.ts';

const deadlineMs = 20_000;

/** Replies to RCPTs of one session, in order. */
async function answers(port: number, recipients: readonly string[]): Promise<string[]> {
  const socket = net.connect(port, '127.0.0.1');
  socket.setEncoding('latin1');
  const timer = setTimeout(() => socket.destroy(new Error('no reply in time')), deadlineMs);
  let text = '';
  const commands = ['LHLO client.test', 'MAIL FROM:<>', ...recipients.map((r) => `RCPT TO:<${r}>`), 'QUIT'];
  socket.write(commands.map((c) => `${c}\r\n`).join(''), 'latin1');
  try {
    for await (const chunk of socket) text += chunk;
  } finally {
    clearTimeout(timer);
  }
  const replies = text.match(/^\d{3} .*$/gm) ?? [];
  assert.equal(replies.length, commands.length + 1, text);
  return replies.slice(3, -1).map((r) => r.trimEnd());
}

const recipients: readonly string[] = [
  [
    'alice@a.test',
    'ALICE@A.Test',
    '"alice"@a.test',
    '"al\\ice"@a.test',
    'alice',
    'Alice',
    'alice+x@a.test',
    '"alice+x"@a.test',
  ],
  [
    'alice@b.test',
    'bob@a.test',
    'bob@b.test',
    'bob',
    'carol@b.test',
    'nobody@a.test',
    'nobody',
    'alice@c.test',
    '+x@a.test',
  ],
  [
    'upper@a.test',
    'Upper@a.test',
    'a.b-c_d@a.test',
    'a+b@a.test',
    '"a b"@a.test',
    "o'brien@a.test",
    'caf@a.test',
  ],
  [
    '"../alice"@a.test',
    '"alice/../bob"@a.test',
    '"alice/"@a.test',
    '*@a.test',
    'a*@a.test',
    '%@a.test',
    'al_ce@a.test',
  ],
  [
    "\"' or '1'='1\"@a.test",
    '"alice\'--"@a.test',
    '"alice)(uid=*"@a.test',
    '"%u"@a.test',
    '$local_part@a.test',
    '{x}@a.test',
  ],
  [
    '"alice:x"@a.test',
    '":"@a.test',
    '#alice@a.test',
    'alice@[192.0.2.1]',
    '__proto__@a.test',
    'constructor@a.test',
  ],
].flat();

interface Side {
  readonly theirs: number;
  readonly ours: number;
}

async function bothStores(
  t: TestContext,
  theirExtra: string,
  ourDirectories: (folder: string) => string,
  prepare: (folder: string) => void,
  delimiters = '+',
): Promise<Side & { readonly folder: string }> {
  const folder = temporaryFolder('directories-dovecot');
  t.after(() => folder.remove());
  chmodSync(folder.path, 0o755);
  prepare(folder.path);
  const dovecot = await startDovecot(path.join(folder.path, 'dovecot'), {
    users: [],
    extra: `recipient_delimiter = ${delimiters}\n${theirExtra.replaceAll('FOLDER', folder.path)}`,
  });
  t.after(() => dovecot.stop());
  const port = await freePort();
  const store = await startMailchute(
    path.join(folder.path, 'ours'),
    'daemon_smtp_ports =',
    `begin directories\n${ourDirectories(folder.path)}\nbegin stores\nbox:\n  driver = maildir\n  listen = <; 127.0.0.1:${port}\n  directories = users\n  recipient_delimiter = ${delimiters}\n  maildir = ${folder.path}/ours/mail/$local_part_data\n`,
  );
  t.after(() => store.stop());
  return { theirs: dovecot.lmtpPort, ours: port, folder: folder.path };
}

async function same({ theirs, ours }: Side, asked: readonly string[] = recipients): Promise<string[]> {
  const want = await answers(theirs, asked);
  assert.deepEqual(await answers(ours, asked), want);
  return want;
}

/** At least so many of each, so that equal answers mean something. */
function isTelling(replies: readonly string[], found: number, unknown: number): void {
  const count = (code: string): number => replies.filter((r) => r.startsWith(code)).length;
  assert.ok(count('250') >= found && count('550') >= unknown, replies.join('\n'));
}

const full = (names: readonly string[]): string => names.map((n) => `${n}:{PLAIN}x:::::\n`).join('');

test('passwd-file: whole addresses, local parts, a file for each domain', {
  skip: needsRoot('dovecot'),
  timeout: 90_000,
}, async (t) => {
  const userdb = (file: string): string => `auth_username_format = FORMAT
userdb {
  driver = passwd-file
  args = ${file}
}`;
  const cases = [
    { format: '%Lu', file: 'FOLDER/users', found: 4 },
    { format: '%Ln', file: 'FOLDER/names', found: 12 },
    { format: '%u', file: 'FOLDER/users', found: 3 },
    { format: '%n', file: 'FOLDER/names', found: 9 },
    { format: '%Lu', file: 'FOLDER/%d/passwd', found: 4 },
  ] as const;
  for (const { format, file, found } of cases) {
    await t.test(`${format} ${path.basename(file)}`, async (t) => {
      const side = await bothStores(
        t,
        userdb(file).replace('FORMAT', format),
        (folder) =>
          `users:\n  driver = passwd_file\n  file = ${file.replace('FOLDER', folder)}\n  username_format = ${format}`,
        (folder) => {
          writeFileSync(
            path.join(folder, 'users'),
            full(['alice@a.test', 'Upper@a.test', 'bob', 'carol@b.test', 'a.b-c_d@a.test']),
          );
          writeFileSync(path.join(folder, 'names'), full(['alice', 'Upper', 'bob', 'a.b-c_d']));
          mkdirSync(path.join(folder, 'a.test'));
          mkdirSync(path.join(folder, 'b.test'));
          writeFileSync(path.join(folder, 'a.test/passwd'), full(['alice@a.test', 'a.b-c_d@a.test']));
          writeFileSync(path.join(folder, 'b.test/passwd'), full(['carol@b.test']));
        },
      );
      isTelling(await same(side), found, 15);
    });
  }
});

test('recipient_delimiter with several characters: the first of any', {
  skip: needsRoot('dovecot'),
  timeout: 60_000,
}, async (t) => {
  const side = await bothStores(
    t,
    'userdb {\n  driver = passwd-file\n  args = FOLDER/users\n}',
    (folder) => `users:\n  driver = passwd_file\n  file = ${folder}/users\n  username_format = %Ln`,
    (folder) => writeFileSync(path.join(folder, 'users'), full(['alice', 'a-b', 'b+c', 'x'])),
    '+-_',
  );
  const asked = [
    'alice+a-b',
    'alice-a+b',
    'alice_',
    'a-b',
    'b+c',
    '-x',
    'x-',
    'x_+-y',
    '"x+"',
    '"x y-z"',
    'alicea',
    '+',
    '-',
  ];
  isTelling(
    await same(
      side,
      asked.map((local) => `${local}@a.test`),
    ),
    6,
    4,
  );
});

test('passwd-file: the fields of an entry are those that doveadm shows', {
  skip: needsRoot('dovecot', 'doveadm'),
  timeout: 60_000,
}, async (t) => {
  const { passwdFileUsers } = await import('../../src/directory/drivers/passwd-file.ts');
  const folder = temporaryFolder('passwd-dovecot');
  t.after(() => folder.remove());
  chmodSync(folder.path, 0o755);
  const file = path.join(folder.path, 'entries');
  const lines = [
    'plain:x:1001:1002::/home/plain::',
    'named:x:mail:mail::/home/named',
    'extra:x:5:6::/home/e::userdb_home=/h/%n/%Un userdb_uid=7 userdb_quota_rule=*:storage=1G nologin',
    'mail:x:5:6::/home/m::userdb_mail=maildir:/v/%u/%d',
    'older:x:5:6::/home/o:::maildir:/old/mail',
    'percent:x:5:6::/home/%u::',
    'spaces:x:5:6::/home/s::  userdb_a=1  userdb_b=x=y',
    'twice:x:5:6::/first::',
    'twice:x:7:8::/second::',
  ];
  writeFileSync(file, `# comment\n\n:x\n${lines.join('\n')}`);
  const dovecot = await startDovecot(path.join(folder.path, 'dovecot'), {
    users: [],
    extra: `userdb {\n  driver = passwd-file\n  args = ${file}\n}`,
  });
  t.after(() => dovecot.stop());
  const source = passwdFileUsers({ file, settleMs: 0 });
  for (const name of ['plain', 'named', 'extra', 'older', 'percent', 'spaces', 'twice']) {
    const shown = new Map(
      (await dovecot.doveadm('user', name)).split('\n').flatMap((line): [string, string][] => {
        const [, field, value] = /^(\S+)\t(.*)$/.exec(line) ?? [];
        return field === undefined || field === 'field' ? [] : [[field, value ?? '']];
      }),
    );
    const answer = await source.find(name);
    assert.ok(answer.kind === 'found', name);
    const { home, uid, gid, maildir, extra } = answer.user;
    assert.equal(home, shown.get('home'), name);
    assert.equal(String(uid), shown.get('uid'), name);
    assert.equal(String(gid), shown.get('gid'), name);
    if (maildir !== undefined) assert.equal(`maildir:${maildir}`, shown.get('mail'), name);
    for (const field of ['quota_rule', 'a', 'b'])
      assert.equal(extra[field], shown.get(field), `${name} ${field}`);
  }
});

test('passwd-file: entries that Dovecot does not take make mail wait here, or are taken', {
  skip: needsRoot('dovecot'),
  timeout: 60_000,
}, async (t) => {
  const side = await bothStores(
    t,
    'userdb {\n  driver = passwd-file\n  args = FOLDER/odd\n}',
    (folder) => `users:\n  driver = passwd_file\n  file = ${folder}/odd\n  username_format = %Ln`,
    (folder) =>
      writeFileSync(path.join(folder, 'odd'), 'good:x:::::\nbad:x:12x:1::/h::\nroot:x:0:0::/h::\nshort:x\n'),
  );
  const asked = ['good', 'bad', 'root', 'short'].map((n) => `${n}@a.test`);
  const codes = async (port: number): Promise<string[]> =>
    (await answers(port, asked)).map((r) => r.slice(0, 3));
  assert.deepEqual(await codes(side.theirs), ['250', '550', '550', '550']);
  assert.deepEqual(await codes(side.ours), ['250', '451', '451', '250']);
});

const sqlTable = [
  'create table users(name varchar(60), domain varchar(60), home varchar(60), uid int, gid int)',
  ...['alice', 'a.b-c_d', 'Upper', "o''brien"].map(
    (n) => `insert into users values ('${n}','a.test','/home/x',8,8)`,
  ),
  "insert into users values ('carol','b.test','/home/x',8,8)",
  '',
].join('; ');

const theirQuery = "user_query = SELECT home, uid, gid FROM users WHERE name = '%n' AND domain = '%d'";
const ourQuery = 'query = select home, uid, gid from users where name = :username and domain = :domain';
const theirSql = 'userdb {\n  driver = sql\n  args = FOLDER/sql.conf\n}';
const allCharacters = 'auth_username_format = %Lu\nauth_username_chars =\n';

test('sqlite: the same users, and the same answers while there is no table', {
  skip: needsRoot('dovecot', '/usr/lib/dovecot/modules/auth/libdriver_sqlite.so'),
  timeout: 60_000,
}, async (t) => {
  const side = await bothStores(
    t,
    `${allCharacters}${theirSql}`,
    (folder) =>
      `users:\n  driver = sql\n  engine = sqlite\n  connect = ${folder}/db\n  ${ourQuery}\n  username_chars =`,
    (folder) => {
      new DatabaseSync(path.join(folder, 'db')).exec(sqlTable);
      chmodSync(path.join(folder, 'db'), 0o666);
      writeFileSync(
        path.join(folder, 'sql.conf'),
        `driver = sqlite\nconnect = ${folder}/db\n${theirQuery}\n`,
      );
    },
  );
  isTelling(await same(side), 6, 20);
  new DatabaseSync(path.join(side.folder, 'db')).exec('alter table users rename to away');
  const out = await same(side, ['alice@a.test', 'nobody@a.test']);
  assert.ok(
    out.every((r) => r.startsWith('451 4.3.0')),
    out.join('\n'),
  );
  new DatabaseSync(path.join(side.folder, 'db')).exec('alter table away rename to users');
  isTelling(await same(side), 6, 20);
});

test('pgsql: the same users', {
  skip: needsRoot('dovecot', postgresProgram('postgres'), '/usr/lib/dovecot/modules/auth/libdriver_pgsql.so'),
  timeout: 90_000,
}, async (t) => {
  const database = await startPostgres(sqlTable);
  t.after(() => database.stop());
  const side = await bothStores(
    t,
    `${allCharacters}${theirSql}`,
    () =>
      `users:\n  driver = sql\n  engine = pgsql\n  connect = <; 127.0.0.1:${database.port}/mail/mail/secret\n  ${ourQuery}\n  username_chars =`,
    (folder) =>
      writeFileSync(
        path.join(folder, 'sql.conf'),
        `driver = pgsql\nconnect = host=127.0.0.1 port=${database.port} dbname=mail user=mail password=secret\n${theirQuery}\n`,
      ),
  );
  isTelling(await same(side), 6, 20);
});

const ldif = `dn: dc=test
objectClass: domain
dc: test
${['alice', 'a.b-c_d', "o'brien", 'x (y)', 'star*']
  .map(
    (uid) => `
dn: cn=${uid},dc=test
objectClass: inetOrgPerson
cn: ${uid}
sn: x
uid: ${uid}
mail: ${uid}@a.test
employeeNumber: 8
`,
  )
  .join('')}`;

test('ldap: the same users, names that filters know included', {
  skip: needsRoot('dovecot', 'slapd', '/usr/lib/dovecot/modules/auth/libauthdb_ldap.so'),
  timeout: 90_000,
}, async (t) => {
  const server = await startSlapd(ldif);
  t.after(() => server.stop());
  const side = await bothStores(
    t,
    `${allCharacters}userdb {\n  driver = ldap\n  args = FOLDER/ldap.conf\n}`,
    () =>
      `users:\n  driver = ldap\n  servers = <; ldap://127.0.0.1:${server.port}\n  base = dc=test\n  filter = (&(objectClass=inetOrgPerson)(mail=%u))\n  attributes = <, employeeNumber=uid, =home=/home/%{ldap:uid}\n  username_chars =`,
    (folder) =>
      writeFileSync(
        path.join(folder, 'ldap.conf'),
        `uris = ldap://127.0.0.1:${server.port}\nbase = dc=test\nuser_filter = (&(objectClass=inetOrgPerson)(mail=%u))\nuser_attrs = employeeNumber=uid, =home=/home/%{ldap:uid}\n`,
      ),
  );
  const more = [
    '"x (y)"@a.test',
    '"x \\(y\\)"@a.test',
    'star*@a.test',
    's*@a.test',
    '"*"@a.test',
    '"x (z)"@a.test',
    '"a)(mail=*"@a.test',
  ];
  isTelling(await same(side, [...recipients, ...more]), 8, 20);
});

test('a passwd-file that is rewritten in place again and again bounces nobody', {
  skip: needsRoot('dovecot'),
  timeout: 60_000,
}, async (t) => {
  const folder = temporaryFolder('directories-rewrite');
  t.after(() => folder.remove());
  const names = Array.from({ length: 400 }, (_, i) => `user${i}`);
  const file = path.join(folder.path, 'users');
  writeFileSync(file, full(names));
  const port = await freePort();
  const store = await startMailchute(
    path.join(folder.path, 'ours'),
    'daemon_smtp_ports =',
    `begin directories\nusers:\n  driver = passwd_file\n  file = ${file}\n  username_format = %Ln\nbegin stores\nbox:\n  driver = maildir\n  listen = <; 127.0.0.1:${port}\n  directories = users\n  maildir = ${folder.path}/ours/mail/$local_part_data\n`,
  );
  t.after(() => store.stop());
  const { openSync, writeSync, closeSync } = await import('node:fs');
  const replies: string[] = [];
  const asked = names.filter((_, i) => i % 40 === 39).map((n) => `${n}@a.test`);
  for (let round = 0; round < 6; round++) {
    const writer = openSync(file, 'w');
    for (let i = 0; i < names.length; i += 100) {
      writeSync(writer, full(names.slice(i, i + 100)));
      replies.push(...(await answers(port, asked)));
    }
    closeSync(writer);
    if (round === 3) renameSync(file, `${file}.old`);
    if (round === 3) writeFileSync(file, readFileSync(`${file}.old`));
  }
  assert.deepEqual(
    replies.filter((r) => !/^(?:250|451) /.test(r)),
    [],
  );
  assert.ok(replies.some((r) => r.startsWith('250')));
  const nobody = await answers(port, ['nobody@a.test', 'user399@a.test']);
  assert.match(nobody[1] ?? '', /^250/);
  // The last change is less than a second old, so this question waited; it may have been put off, never the next one.
  assert.match(nobody[0] ?? '', /^(?:550|451)/);
  assert.match((await answers(port, ['nobody@a.test']))[0] ?? '', /^550/);
});
