// Directories and the rules of a store for recipients, from a configuration as it is written.
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { addressOf } from '../../directory/contract.ts';
import type { DirectoryAnswer } from '../../directory/directory.ts';
import { formatDiagnostic } from '../../mail/diagnostic.ts';
import type { Logs } from '../../observe/logs.ts';
import { loadProgram } from '../program.ts';
import { openDirectories, openDirectory } from './directory.ts';

interface World {
  readonly folder: string;
  readonly told: string[];
  /** What is answered for a recipient, in short. */
  ask(address: string): Promise<string>;
  /** Whether it was answered without waiting. */
  isSync(address: string): boolean;
  answer(address: string): Promise<DirectoryAnswer>;
}

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'directory-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** @param sections `begin directories` and the options of one store */
function open(t: TestContext, folder: string, directories: string, store: string): World {
  const file = path.join(folder, 'conf');
  writeFileSync(
    file,
    `domainlist ours = a.test : b.test\nbegin directories\n${directories}\nbegin stores\nbox:\n driver = maildir\n sockets = ${folder}/lmtp\n${store}\n`,
  );
  const { program, diagnostics } = loadProgram(file, new Map());
  assert.deepEqual(diagnostics.map(formatDiagnostic), []);
  const instance = program?.model.stores[0];
  assert.ok(program !== undefined && instance !== undefined);
  const told: string[] = [];
  const logs = { panic: (text: string) => void told.push(text) } as unknown as Logs;
  const directory = openDirectory(instance, program, openDirectories(program, logs));
  t.after(() => directory.close());
  const find = (address: string): ReturnType<typeof directory.find> => directory.find(addressOf(address));
  return {
    folder,
    told,
    answer: async (address) => find(address),
    isSync: (address) => !(find(address) instanceof Promise),
    async ask(address) {
      const a = await find(address);
      if (a.kind !== 'found') return a.kind;
      const { username, home, maildir, uid, gid } = a.user;
      return [username, home ?? '-', maildir ?? '-', uid ?? '-', gid ?? '-'].join(' ');
    },
  };
}

const passwd = (folder: string, text: string): void => {
  const file = path.join(folder, 'users');
  writeFileSync(file, text);
};

test('what entries leave open is filled in by the directory, then by the store; a RCPT is answered at once', async (t) => {
  const folder = makeFolder(t);
  passwd(
    folder,
    'al@a.test:x:5:6::/h/al\nbo@a.test:x::::::userdb_mail=maildir:/m/bo\ncy@b.test:x\nmb:x::::::userdb_mail=mbox:~/mail\npr:x::::::proxy host=192.0.2.1\n',
  );
  const world = open(
    t,
    folder,
    `u:\n driver = passwd_file\n file = ${folder}/users\n user = mail\n group = 12\n home = /home/$domain_data/$local_part_data`,
    ' directories = u\n maildir = ${if eq{$domain_data}{b.test}{$home/Maildir}{/v/$domain_data/$local_part_data}}',
  );
  assert.equal(await world.ask('Al@A.test'), 'al@a.test /h/al /v/a.test/al 5 6');
  assert.equal(await world.ask('bo@a.test'), 'bo@a.test /home/a.test/bo /m/bo 8 12');
  assert.equal(await world.ask('cy@b.test'), 'cy@b.test /home/b.test/cy /home/b.test/cy/Maildir 8 12');
  assert.equal(await world.ask('mb'), 'mb /home//mb - 8 12');
  assert.equal(await world.ask('pr'), 'pr /home//pr - 8 12');
  assert.equal(await world.ask('al@b.test'), 'unknown');
  for (const address of ['al@a.test', 'cy@b.test']) assert.ok(world.isSync(address));
});

test('static: a directory makes a user, its owner owns the mail, and no name leads out', async (t) => {
  const folder = makeFolder(t);
  mkdirSync(path.join(folder, 'home/a.test/al'), { recursive: true });
  mkdirSync(path.join(folder, 'home/a.test/.hidden'));
  const uid = process.geteuid?.() === 0 ? 1234 : (process.geteuid?.() ?? 0);
  const gid = process.geteuid?.() === 0 ? 1235 : (process.getegid?.() ?? 0);
  chownSync(path.join(folder, 'home/a.test/al'), uid, gid);
  const world = open(
    t,
    folder,
    `u:\n driver = static\n directory = ${folder}/home/$domain_data/$local_part_data\n use_owner\n username_chars =\n maildir = $home/Maildir`,
    ' directories = u',
  );
  const home = `${folder}/home/a.test/al`;
  assert.equal(await world.ask('al@a.test'), `al@a.test ${home} ${home}/Maildir ${uid} ${gid}`);
  for (const address of [
    'bo@a.test',
    'al@b.test',
    '".hidden"@a.test',
    '".."@a.test',
    '"../a.test/al"@a.test',
    '"a/../al"@a.test',
    '"${home}"@a.test',
    'al@[192.0.2.1]',
  ])
    assert.equal(await world.ask(address), 'unknown', address);
  assert.ok(world.isSync('al@a.test') && world.isSync('bo@a.test'));
  rmSync(path.join(folder, 'home'), { recursive: true });
  assert.equal(await world.ask('al@a.test'), 'unavailable');
});

test('directories are asked in order, each with its own rules; the cache keeps an answer', async (t) => {
  const folder = makeFolder(t);
  passwd(folder, 'al:x\n');
  const database = new DatabaseSync(path.join(folder, 'db'));
  database.exec(
    "create table u(n text, h text); insert into u values ('al@a.test','/db/al'),('bo@a.test','/db/bo')",
  );
  const world = open(
    t,
    folder,
    `s:\n driver = sql\n engine = sqlite\n connect = ${folder}/db\n query = select h as home from u where n = :user\n cache_size = 1M\n maildir = $home/M\np:\n driver = passwd_file\n file = ${folder}/users\n username_format = %Ln\n maildir = /p/$local_part_data`,
    ' directories = s : p',
  );
  assert.equal(await world.ask('al@a.test'), 'al@a.test /db/al /db/al/M - -');
  assert.equal(await world.ask('al@b.test'), 'al - /p/al - -');
  database.exec(
    "update u set h = '/new' where n = 'al@a.test'; update u set n = 'gone' where n = 'bo@a.test'",
  );
  assert.equal(await world.ask('al@a.test'), 'al@a.test /db/al /db/al/M - -');
  assert.equal(await world.ask('bo@a.test'), 'unknown');
  database.exec('drop table u');
  assert.equal(await world.ask('cy@a.test'), 'unavailable', 'the second one is not asked');
  assert.equal(await world.ask('al@b.test'), 'al - /p/al - -', 'a kept "unknown" of the first');
  database.close();
});

test('domains, aliases and catch_all', async (t) => {
  const folder = makeFolder(t);
  passwd(folder, 'al:x\nbo:x\npostmaster:x\n');
  writeFileSync(
    path.join(folder, 'aliases'),
    'info@a.test: al@a.test\nsales@a.test: info@a.test\nx1@a.test: x2@a.test\nx2@a.test: x1@a.test\nmany@a.test: al@a.test, bo@a.test\nself@a.test: al\nal@a.test: al@a.test\nlost@a.test: nobody@a.test\n',
  );
  const world = open(
    t,
    folder,
    `p:\n driver = passwd_file\n file = ${folder}/users\n username_format = %Ln\n`,
    [
      ' directories = p',
      ' maildir = /p/$local_part_data',
      ' domains = +ours',
      ` aliases = \${lookup{$local_part@$domain}lsearch{${folder}/aliases}}`,
      ' catch_all = ${if eq{$domain}{b.test}{postmaster}{${if eq{$local_part}{lost2}{nobody}}}}',
    ].join('\n'),
  );
  const users: Record<string, string> = {
    'al@a.test': 'al',
    'info@a.test': 'al',
    'sales@a.test': 'al',
    'self@a.test': 'al',
    'nobody@b.test': 'postmaster',
    'bo@b.test': 'bo',
    bo: 'bo',
  };
  for (const [address, name] of Object.entries(users))
    assert.equal(await world.ask(address), `${name} - /p/${name} - -`, address);
  for (const address of ['al@c.test', 'nobody@a.test', 'lost@a.test', 'x@sub.a.test'])
    assert.equal(await world.ask(address), 'unknown', address);
  for (const [address, why] of [
    ['x1@a.test', /aliases: .*more than 10/],
    ['many@a.test', /aliases: "al@a.test, bo@a.test" is not one/],
    ['lost2@a.test', /catch_all: nobody@a.test is not known/],
  ] as const) {
    const a = await world.answer(address);
    assert.ok(a.kind === 'unavailable' && why.test(a.reason), `${address}: ${JSON.stringify(a)}`);
  }
});

test('a lookup that fails makes a recipient unavailable, never unknown', async (t) => {
  const folder = makeFolder(t);
  passwd(folder, 'al:x\n');
  for (const option of ['aliases', 'catch_all', 'domains']) {
    const world = open(
      t,
      folder,
      `p:\n driver = passwd_file\n file = ${folder}/users\n username_format = %Ln`,
      ` directories = p\n maildir = /p/$local_part_data\n ${option} = \${lookup{$local_part}lsearch{${folder}/absent}}`,
    );
    assert.equal(await world.ask('nobody@a.test'), 'unavailable', option);
  }
});

test('what mailchute check says of directories', (t) => {
  const folder = makeFolder(t);
  const file = path.join(folder, 'conf');
  writeFileSync(
    file,
    `begin directories
a:
 driver = sql
 engine = sqlite
 connect = db
 query = select home from u where n = ':user'
b:
 driver = ldap
 servers = <; ldap://h:389 ; http://h
 base = dc=%q
 filter = (uid=*)
 attributes = home
 bind_dn = cn=x
c:
 driver = passwd_file
 file = users
 username_format = %x
 query = x
d:
 driver = static
e:
 driver = sql
 engine = oracle
 connect = <; (/run/x)/d/u/p
 query = select $local_part
begin stores
s:
 driver = maildir
 sockets = /run/lmtp
 directories = a : cc : d
t:
 driver = maildir
 sockets = /run/lmtp
 directories = c
`,
  );
  const { diagnostics } = loadProgram(file, new Map());
  assert.deepEqual(
    diagnostics.map((d) => formatDiagnostic(d).slice(file.length + 1)),
    [
      '5: a directory: connect "db" is not an absolute path',
      '6: a directory: query: write :user without quotes around it: it is bound, not written into the text',
      '7: note: no store asks b directory',
      '9: b directory: servers: "http://h" is not of the form ldap://host:port, ldaps://host:port or ldapi:///path',
      '10: b directory: base: unknown variable %q',
      '11: b directory: filter: it has no variable: everybody would get the same answer (write %u, for example)',
      '12: b directory: attributes: "home" is not of the form attribute=field, =field=text or attribute=field=text',
      '13: b directory: bind_dn and bind_password must be set together',
      '16: c directory: file "users" is not an absolute path',
      '17: c directory: username_format: unknown variable %x',
      '18: option "query" unknown',
      '19: d directory: directory must be set',
      '21: e directory: engine must be set',
      '21: note: no store asks e directory',
      '23: "oracle" is not a valid value for engine (one of sqlite, pgsql, mysql)',
      '24: warning: the password in connect is shown to everybody who may ask for the configuration (write "hide connect = ...")',
      '27: warning: s store: mail waits for users of whom a directory does not say where it goes (set maildir here or there)',
      '27: s store: maildir must be set here or in d directory',
      '30: directory "cc" of s store is not defined',
      '31: warning: t store: mail waits for users of whom c directory does not say where it goes (set maildir here or there)',
    ],
  );
});

test('stores that ask the same directory share it, and it is open until the last of them has closed it', async (t) => {
  const folder = makeFolder(t);
  const file = path.join(folder, 'users.db');
  const database = new DatabaseSync(file);
  database.exec("create table users(name text, home text); insert into users values ('a', '/h/a')");
  database.close();
  const config = path.join(folder, 'conf');
  writeFileSync(
    config,
    `begin directories\nd:\n driver = sql\n engine = sqlite\n connect = ${file}\n query = select home from users where name = :username\n cache_size = 1M\n` +
      `begin stores\none:\n driver = maildir\n sockets = ${folder}/1\n directories = d\n maildir = /m\n` +
      `two:\n driver = maildir\n sockets = ${folder}/2\n directories = d : d\n maildir = /m\n`,
  );
  const { program } = loadProgram(config, new Map());
  const [one, two] = program?.model.stores ?? [];
  assert.ok(program !== undefined && one !== undefined && two !== undefined);
  const logs = { panic: () => undefined } as unknown as Logs;
  const all = openDirectories(program, logs);
  const first = openDirectory(one, program, all);
  const second = openDirectory(two, program, all);
  assert.equal((await first.find(addressOf('a@x.test'))).kind, 'found');
  rmSync(file);
  // Only what was asked by the first store is known to the second.
  assert.equal((await second.find(addressOf('a@x.test'))).kind, 'found');
  assert.equal((await second.find(addressOf('b@x.test'))).kind, 'unavailable');
  await first.close();
  assert.equal((await second.find(addressOf('a@x.test'))).kind, 'found');
  await second.close();
  const later = openDirectory(one, program, all);
  assert.equal((await later.find(addressOf('a@x.test'))).kind, 'unavailable');
  await later.close();
});
