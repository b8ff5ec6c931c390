// Directories against real servers: the contract of all drivers, connections that end, servers that are silent, TLS.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directoryContract, nameOf } from '../../src/directory/contract.ts';
import { ldapUsers, type LdapUsersOptions } from '../../src/directory/drivers/ldap.ts';
import { readLdapAttributes } from '../../src/directory/drivers/ldap-attributes.ts';
import { openMysql } from '../../src/directory/drivers/sql-mysql.ts';
import { openPgsql } from '../../src/directory/drivers/sql-pgsql.ts';
import { readSqlQuery, type SqlEngine } from '../../src/directory/drivers/sql-query.ts';
import { sqlUsers } from '../../src/directory/drivers/sql.ts';
import type { UserSource } from '../../src/directory/user-source.ts';
import { readVariables } from '../../src/directory/variables.ts';
import {
  type Database,
  postgresProgram,
  startedOnce,
  startMariadb,
  startPostgres,
  startSlapd,
} from '../support/databases.ts';
import { needs } from '../support/peers.ts';
import { startProxy, type Proxy } from '../support/tcp-proxy.ts';

const table = [
  'create table users(name varchar(50), home varchar(50), uid int, gid int, quota_rule varchar(50))',
  "insert into users values ('alice','/home/alice',1001,1002,'*:storage=1G')",
  "insert into users values ('bob',NULL,NULL,NULL,NULL)",
  'create table twice(name varchar(50), uid int)',
  "insert into twice values ('alice',1)",
  "insert into twice values ('alice',2)",
  '',
].join('; ');

const ldif = `dn: dc=test
objectClass: domain
dc: test

dn: ou=people,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=private,dc=test
objectClass: organizationalUnit
ou: private

dn: uid=alice,ou=people,dc=test
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
homePostalAddress: /home/alice
employeeNumber: 1001
departmentNumber: 1002
carLicense: 5

dn: uid=bob,ou=people,dc=test
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: A

dn: uid=hidden,ou=private,dc=test
objectClass: inetOrgPerson
uid: hidden
cn: Hidden
sn: H
`;

const postgres = startedOnce(() => startPostgres(table));
const mariadb = startedOnce(() => startMariadb(table));
const slapd = startedOnce(() => startSlapd(ldif));

const limits = { timeoutMs: 1500, maxConnections: 4 };

type OpenAt = (port: number) => UserSource;

function sql(engine: Exclude<SqlEngine, 'sqlite'>, text: string, more: Partial<typeof limits> = {}): OpenAt {
  const open = engine === 'pgsql' ? openPgsql : openMysql;
  const query = readSqlQuery(text, engine);
  if (typeof query === 'string') throw new Error(query);
  return (port) => sqlUsers(open([`127.0.0.1:${port}/mail/mail/secret`], { ...limits, ...more }), query);
}

function ldap(
  more: Partial<LdapUsersOptions> & { readonly find?: string; readonly below?: string } = {},
): OpenAt {
  const attributes = readLdapAttributes([
    'homePostalAddress=home',
    'employeeNumber=uid',
    'departmentNumber=gid',
    'carLicense=quota_rule=*:storage=%$G',
  ]);
  const base = readVariables(more.below ?? 'ou=people,dc=test');
  const filter = readVariables(more.find ?? '(&(objectClass=inetOrgPerson)(uid=%u))');
  if (typeof attributes === 'string' || typeof base === 'string' || typeof filter === 'string')
    throw new Error('malformed');
  return (port) =>
    ldapUsers({
      servers: [`ldap://127.0.0.1:${port}`],
      base,
      scope: 'sub',
      filter,
      attributes,
      bindDn: 'cn=manager,dc=test',
      bindPassword: 'secret',
      startTls: false,
      requireCert: true,
      caFile: undefined,
      timeoutMs: limits.timeoutMs,
      ...more,
    });
}

const query = 'select home, uid, gid, quota_rule from users where name = :user';
const drivers = [
  { name: 'pgsql', skip: needs(postgresProgram('postgres')), server: postgres, open: sql('pgsql', query) },
  {
    name: 'mysql',
    skip: needs('mariadbd'),
    server: mariadb,
    open: sql('mysql', query.replace('name', 'binary name')),
  },
  { name: 'ldap', skip: needs('slapd'), server: slapd, open: ldap() },
] as const;

async function throughProxy(
  server: () => Promise<Database>,
  body: (proxy: Proxy) => Promise<void>,
): Promise<void> {
  const proxy = await startProxy((await server()).port);
  try {
    await body(proxy);
  } finally {
    await proxy.stop();
  }
}

for (const { name, skip, server, open } of drivers) {
  if (skip !== false) {
    test(`${name}: contract`, { skip }, () => undefined);
    continue;
  }
  directoryContract(name, async () => {
    const proxy = await startProxy((await server()).port);
    return {
      open: async () => open(proxy.port),
      breakSource: () => proxy.become('closed'),
      repairSource: () => proxy.become('open'),
      cleanUp: () => proxy.stop(),
    };
  });

  test(`${name}: further fields; connections that were cut are made anew; a silent server ends at the deadline`, () =>
    throughProxy(server, async (proxy) => {
      const source = open(proxy.port);
      const alice = await source.find('alice');
      assert.ok(alice.kind === 'found');
      assert.equal(alice.user.extra['quota_rule'], name === 'ldap' ? '*:storage=5G' : '*:storage=1G');
      for (let i = 0; i < 3; i++) {
        await proxy.cut();
        assert.equal(nameOf(await source.find('bob')), 'bob');
      }
      await proxy.become('silent');
      const answers = await Promise.all(['alice', 'nobody', 'alice'].map(async (n) => source.find(n)));
      assert.deepEqual(answers.map(nameOf), Array(3).fill('unavailable'));
      await proxy.become('open');
      assert.equal(nameOf(await source.find('alice')), 'alice');
      await source.close();
    }));

  test(`${name}: the second of two servers answers while the first is out of reach`, { skip }, () =>
    throughProxy(server, async (proxy) => {
      await proxy.become('closed');
      const good = await startProxy((await server()).port);
      const both =
        name === 'ldap'
          ? ldap({ servers: [`ldap://127.0.0.1:${proxy.port}`, `ldap://127.0.0.1:${good.port}`] })(0)
          : twoServers(name, proxy.port, good.port);
      assert.equal(nameOf(await both.find('alice')), 'alice');
      await good.become('closed');
      await proxy.become('open');
      assert.equal(nameOf(await both.find('alice')), 'alice');
      await both.close();
      await good.stop();
    }),
  );
}

function twoServers(engine: 'pgsql' | 'mysql', first: number, second: number): UserSource {
  const read = readSqlQuery(query, engine);
  if (typeof read === 'string') throw new Error(read);
  const servers = [first, second].map((port) => `127.0.0.1:${port}/mail/mail/secret`);
  return sqlUsers((engine === 'pgsql' ? openPgsql : openMysql)(servers, limits), read);
}

for (const engine of ['pgsql', 'mysql'] as const) {
  const driver = drivers.find((d) => d.name === engine);
  const skip = driver?.skip ?? false;
  test(`${engine}: several rows, a refused query and a wrong password are unavailable`, {
    skip,
  }, async () => {
    const { port } = await (engine === 'pgsql' ? postgres : mariadb)();
    const ask = async (text: string): Promise<string> => {
      const source = sql(engine, text)(port);
      const answer = await source.find('alice');
      await source.close();
      return answer.kind === 'unavailable' ? answer.reason : answer.kind;
    };
    assert.match(await ask('select uid from twice where name = :user'), /several rows/);
    assert.match(await ask('select x from nowhere where name = :user'), /nowhere/);
    assert.match(await ask('selec uid from twice where name = :user'), /syntax/i);
    assert.equal(await ask('select uid from twice where name = :domain'), 'unknown');
    const read = readSqlQuery(query, engine);
    assert.ok(typeof read !== 'string');
    const wrong = sqlUsers(
      (engine === 'pgsql' ? openPgsql : openMysql)([`127.0.0.1:${port}/mail/mail/wrong`], limits),
      read,
    );
    const answer = await wrong.find('alice');
    assert.ok(answer.kind === 'unavailable' && !/wrong|secret/.test(answer.reason));
    await wrong.close();
  });
}

test('pgsql: a statement that runs too long is unavailable, and its connection does not stay taken', {
  skip: drivers[0].skip,
}, async () => {
  const { port } = await postgres();
  const source = sql('pgsql', "select pg_sleep(case when :user = 'slow' then 30 else 0 end), 1 as uid", {
    timeoutMs: 400,
    maxConnections: 1,
  })(port);
  assert.equal(nameOf(await source.find('slow')), 'unavailable');
  assert.equal(nameOf(await source.find('quick')), 'quick');
  await source.close();
});

test('ldap: several entries, a base that is not there, a refused bind', {
  skip: drivers[2].skip,
}, async () => {
  const { port } = await slapd();
  const ask = async (open: OpenAt, name = 'alice'): Promise<string> => {
    const source = open(port);
    const answer = await source.find(name);
    await source.close();
    return answer.kind === 'unavailable' ? answer.reason : nameOf(answer);
  };
  assert.match(await ask(ldap({ find: '(|(uid=%u)(sn=A))' })), /several entries/);
  assert.match(await ask(ldap({ find: '(|(uid=%u)(objectClass=*))', below: 'dc=test' })), /several entries/);
  assert.match(await ask(ldap({ below: 'ou=nowhere,dc=test' })), /base does not exist/);
  assert.equal(await ask(ldap({ below: 'uid=%u,ou=people,dc=test', scope: 'base' })), 'alice');
  assert.equal(await ask(ldap({ below: 'uid=%u,ou=people,dc=test', scope: 'base' }), 'x,y+"z"'), 'unknown');
  assert.match(await ask(ldap({ bindPassword: 'wrong' })), /LDAP/);
  // Without rights on the subtree nobody is found in it: what the server does not show is unknown.
  assert.equal(await ask(ldap({ bindDn: '', bindPassword: '' })), 'alice');
  const attributes = readLdapAttributes(['homeDirectory=home', 'uidNumber=uid', 'gidNumber=gid']);
  assert.ok(typeof attributes !== 'string');
  assert.equal(await ask(ldap({ attributes })), 'alice');
});

test('ldap: TLS from the start and STARTTLS, with the certificate verified', {
  skip: drivers[2].skip,
}, async () => {
  const { port, tlsPort, certificate, socket } = await slapd();
  const ask = async (more: Partial<LdapUsersOptions>): Promise<string> => {
    const source = ldap(more)(port);
    const answer = await source.find('alice');
    await source.close();
    return nameOf(answer);
  };
  const implicit = [`ldaps://localhost:${tlsPort}`];
  const starting = [`ldap://localhost:${port}`];
  assert.equal(await ask({ servers: implicit, caFile: certificate }), 'alice');
  assert.equal(await ask({ servers: implicit }), 'unavailable');
  assert.equal(await ask({ servers: implicit, requireCert: false }), 'alice');
  assert.equal(await ask({ servers: starting, startTls: true, caFile: certificate }), 'alice');
  assert.equal(await ask({ servers: starting, startTls: true }), 'unavailable');
  assert.equal(await ask({ servers: implicit, caFile: '/nonexistent' }), 'unavailable');
  assert.equal(await ask({ servers: [`ldapi://${socket}`] }), 'alice');
});
