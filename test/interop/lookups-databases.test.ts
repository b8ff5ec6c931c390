// Lookups in databases: the same question about the same server to the real Exim's `-be` and to ours; Redis, which Debian's
// Exim does not know, against the real server alone.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { expandText } from '../../src/expand/expand.ts';
import type { ExpandScope } from '../../src/expand/scope.ts';
import { createLdap } from '../../src/lookup/drivers/ldap.ts';
import { createMysql } from '../../src/lookup/drivers/mysql.ts';
import { createPgsql } from '../../src/lookup/drivers/pgsql.ts';
import { createRedis } from '../../src/lookup/drivers/redis.ts';
import { createSqlite } from '../../src/lookup/drivers/sqlite.ts';
import type { LookupDriver } from '../../src/lookup/lookup.ts';
import { lookupContract } from '../../src/lookup/contract.ts';
import { createLookups } from '../../src/lookup/lookups.ts';
import {
  postgresProgram,
  startedOnce,
  startMariadb,
  startPostgres,
  startRedis,
  startSlapd,
  type Database,
} from '../support/databases.ts';
import { ldif, table } from '../support/database-content.ts';
import { eximSpool } from '../support/exim-be.ts';
import { startProxy } from '../support/tcp-proxy.ts';
import { needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

const postgres = startedOnce(() => startPostgres(table));
const mariadb = startedOnce(() => startMariadb(table));
const slapd = startedOnce(() => startSlapd(ldif));
const redis = startedOnce(() => startRedis(''));
const postgresTls = startedOnce(() => startPostgres(table, true));
const closedRedis = startedOnce(() => startRedis('password'));

/** Names of places in questions: ports and sockets that are known only once the servers run. */
type Places = Readonly<Record<string, string>>;

function place(text: string, places: Places): string {
  return text.replace(/@(\w+)@/g, (whole, name: string) => places[name] ?? whole);
}

function ask(type: string, query: string): string {
  return `\${lookup ${type}{${query}}{<$value>}{none}}`;
}

/** Exim's answers: the value, `none`, or `defer`. */
async function exim(config: string, questions: readonly string[]): Promise<string[]> {
  // Questions are octets; the words of a command are written in UTF-8.
  const words = questions.map((q) => `\${escape:${Buffer.from(q, 'latin1').toString('utf8')}}`);
  const { output } = await runToEnd('/usr/sbin/exim4', ['-C', config, '-be', ...words]);
  const lines = output.split('\n').filter((l) => /^(?:<.*>|none)$|^Failed: /.test(l));
  return lines.map((l) => (l.startsWith('Failed: ') ? 'defer' : l));
}

async function ours(questions: readonly string[], drivers: readonly LookupDriver[]): Promise<string[]> {
  const scope: ExpandScope = {
    main: {
      primaryHostname: 'mx.example.test',
      qualifyDomain: 'example.test',
      qualifyRecipient: 'example.test',
      spoolDirectory: '/',
      configFile: '/dev/null',
    },
    services: { lookup: createLookups(drivers), matchList: () => ({ kind: 'no' }) },
  };
  const answers: string[] = [];
  for (const q of questions) {
    const r = await expandText(`\${escape:${q}}`, scope);
    answers.push(r.kind === 'ok' ? r.text : r.kind);
  }
  for (const driver of drivers) await driver.close?.();
  return answers;
}

function comparison(
  name: string,
  needed: readonly string[],
  open: () => Promise<{
    server: Database;
    options: string;
    drivers: () => readonly LookupDriver[];
    places?: Places;
  }>,
  questions: readonly string[],
  /** Question -> what ours says where it is meant to differ. */
  differences: ReadonlyMap<string, string> = new Map(),
): void {
  suite(`${name} lookups agree with the real Exim`, { skip: needs('exim4', ...needed) }, () => {
    const folder = temporaryFolder('lookup');
    let opened: Awaited<ReturnType<typeof open>>;
    before(async () => {
      opened = await open();
    });
    after(() => folder.remove());

    test(`${questions.length} questions`, async () => {
      const { server, options, drivers } = opened;
      const places = {
        port: String(server.port),
        socket: server.socket,
        hex: encodeURIComponent(server.socket),
        ...opened.places,
      };
      const config = path.join(folder.path, 'exim.conf');
      writeFileSync(
        config,
        `primary_hostname = mx.example.test\n${eximSpool(folder.path)}keep_environment =\n${place(options, places)}\n`,
      );
      chmodSync(config, 0o644);
      const asked = questions.map((q) => place(q, places));
      const theirs = await exim(config, asked);
      assert.equal(theirs.length, asked.length, 'one answer a question');
      const mine = await ours(asked, drivers());
      const different = questions.flatMap((q, i) =>
        mine[i] === (differences.get(q) ?? theirs[i]) ? [] : [`${q}: exim ${theirs[i]}, ours ${mine[i]}`],
      );
      assert.deepEqual(different, []);
    });
  });
}

const slapdPrograms = ['slapd', 'slapadd', 'openssl'];
const mariadbPrograms = ['mariadbd', 'mariadb-install-db', 'my_print_defaults'];

const selects = [
  "select name from users where id='a'",
  "select name,home from users where id='a'",
  'select * from users order by id',
  'select id from users order by id',
  "select id from users where id='zz'",
  "select name from users where id='c'",
  "select name from users where id='b'",
  "select home from users where id='c'",
  "select name, home from users where id='e'",
  "insert into users values ('z','zed','/z',9)",
  "update users set n=10 where id='z'",
  "select n from users where id='z'",
  "delete from users where id='z'",
  "delete from users where id='z'",
  'select nonsense',
  'select',
  "select name from users where id='${quote_TYPE:x' or 'a'='a}'",
  "select '${quote_TYPE:quote \" back \\\\ tab \\t end}'",
  "select id from users where name='${quote_TYPE:caf\xe9}'".replace('\xe9', '\xc3\xa9'),
];
const of = (type: string): string[] => selects.map((q) => ask(type, q.replaceAll('TYPE', type)));

comparison(
  'pgsql',
  [postgresProgram('initdb')],
  async () => {
    const server = await postgres();
    return {
      server,
      options: 'pgsql_servers = 127.0.0.1::@port@/mail/mail/secret',
      drivers: () => [createPgsql([`127.0.0.1:${server.port}/mail/mail/secret`])],
    };
  },
  [
    ...of('pgsql'),
    ask('pgsql', ''),
    ask('pgsql', "select true, 1.50::numeric, 'x'::bytea, null as nothing, now() is null"),
    ask('pgsql', 'select 1; select 2'),
    ask('pgsql', 'create temp table q(a int)'),
    ask('pgsql,servers=127.0.0.1::1/mail/mail/secret', 'select 1'),
    ask('pgsql,servers=127.0.0.1::1/mail/mail/secret:127.0.0.1::@port@/mail/mail/secret', 'select 1'),
    ask('pgsql,servers=127.0.0.1::@port@', 'select 1'),
    ask('pgsql,servers=nope', 'select 1'),
    ask('pgsql,servers=incomplete/mail', 'select 1'),
    ask('pgsql,servers=127.0.0.1::@port@/mail/mail/wrong', 'select 3'),
    ask('pgsql,servers=(@socket@)/mail/mail/secret', 'select 5'),
    ask('pgsql,servers=(/nonexistent/socket)/mail/mail/secret', 'select 5'),
    ask('pgsql', 'servers=127.0.0.1::@port@/mail/mail/secret; select 3'),
    ask('pgsql,cache=no_rd', 'select 1'),
  ],
  // Exim keeps one connection for a server whatever the password.
  new Map([[ask('pgsql,servers=127.0.0.1::@port@/mail/mail/wrong', 'select 3'), 'defer']]),
);

comparison(
  'mysql',
  mariadbPrograms,
  async () => {
    const server = await mariadb();
    return {
      server,
      options: 'mysql_servers = 127.0.0.1::@port@/mail/mail/secret',
      drivers: () => [createMysql([`127.0.0.1:${server.port}/mail/mail/secret`])],
    };
  },
  [
    ...of('mysql'),
    ask('mysql', 'select true, 1.50, now() is null'),
    ask('mysql', 'select 1; select 2'),
    ask('mysql', 'set @a = 1'),
    ask('mysql,servers=(@socket@)/mail/mail/secret', 'select 4'),
    ask('mysql,servers=localhost(@socket@)/mail/mail/secret', 'select 4'),
    ask('mysql,servers=127.0.0.1::1/mail/mail/secret', 'select 1'),
    ask('mysql,servers=127.0.0.1::1/mail/mail/secret:127.0.0.1::@port@/mail/mail/secret', 'select 1'),
    ask('mysql,servers=127.0.0.1::@port@/mail/mail/wrong', 'select 1'),
    ask('mysql', 'servers=127.0.0.1::@port@/mail/mail/secret; select 3'),
  ],
  new Map([[ask('mysql,servers=127.0.0.1::@port@/mail/mail/wrong', 'select 1'), 'defer']]),
);

const people = 'ou=people,dc=test';
comparison(
  'ldap',
  slapdPrograms,
  async () => {
    const server = await slapd();
    return {
      server,
      options: 'ldap_default_servers = 127.0.0.1::@port@',
      drivers: () => createLdap({ defaultServers: [`127.0.0.1:${server.port}`] }),
    };
  },
  [
    ask('ldap', `user="cn=manager,dc=test" pass=secret ldap:///ou=private,dc=test?ou`),
    ask('ldap', `ldap:///uid=fred,${people}?mail`),
    ask('ldap', `ldap:///uid=jane,${people}?userPassword`),
    ask('ldap', `ldap:///uid=jane,${people}?userPassword,sn`),
    ask('ldap', `ldap:///uid=fred,${people}?mail,sn`),
    ask('ldap', `ldap:///uid=fred,${people}`),
    ask('ldap', `ldap:///uid=fred,${people}?*`),
    ask('ldap', `ldap:///uid=fred,${people}?nope`),
    ask('ldap', `ldap:///uid=fred,${people}?nope,mail`),
    ask('ldap', `ldap:///uid=nope,${people}?mail`),
    ask('ldap', `ldap:///${people}?mail?sub?(uid=*)`),
    ask('ldap', `ldap:///${people}?mail?sub?(uid=jane)`),
    ask('ldap', `ldap:///${people}?mail?sub?(uid=nope)`),
    ask('ldap', `ldap:///${people}?mail?sub?(&(uid=fred)(|(mail=x)(cn=fred)))`),
    ask('ldap', `ldap:///ou=private,dc=test?cn?sub?`),
    ask('ldapm', `ldap:///${people}?mail?sub?(uid=*)`),
    ask('ldapm', `ldap:///${people}?mail,cn?sub?(objectClass=inetOrgPerson)`),
    ask('ldapm', `ldap:///${people}?mail?sub?(objectClass=inetOrgPerson)`),
    ask('ldapm', `ldap:///${people}?mail?one`),
    ask('ldapm', `ldap:///${people}?mail?base`),
    ask('ldapdn', `ldap:///${people}?mail?sub?(uid=jane)`),
    ask('ldapdn', `ldap:///${people}??sub?(uid=nope)`),
    ask('ldapdn', `ldap:///${people}??sub`),
    ask('ldapdn', `ldap:///${people}??sub?(cn=Sp*)`),
    ask('ldap', `ldap:///cn=Sp%5C,%20ace,${people}?description,sn`),
    ask('ldap', `ldap:///cn=Sp%5C2C%20ace,${people}?description`),
    ask('ldap', `ldap:///${people}?sn?sub?(cn=\${quote_ldap:Sp, ace})`),
    ask('ldap', `ldap:///cn=\${quote_ldap_dn:Sp, ace},${people}?cn`),
    ask('ldap', `ldap:///${people}?sn?sub?(cn=\${quote_ldap:*})`),
    ask('ldap', `user="cn=manager,dc=test" pass=secret ldap:///uid=jane,${people}?sn`),
    ask('ldap', `USER="cn=manager,dc=test" Pass="secret"   ldap:///uid=jane,${people}?sn`),
    ask('ldap', `user=cn=manager,dc=test pass=wrong ldap:///uid=jane,${people}?sn`),
    ask('ldap', `user=cn%3Dmanager,dc=test pass=secret ldap:///uid=jane,${people}?sn`),
    ask('ldap', `time=5 nettime=3 dereference=never referrals=nofollow ldap:///uid=jane,${people}?sn`),
    ask('ldap', `foo=1 ldap:///uid=jane,${people}?sn`),
    ask('ldap', `foo ldap:///uid=jane,${people}?sn`),
    ask('ldap', `dereference=wrong ldap:///uid=jane,${people}?sn`),
    ask('ldap', `referrals=wrong ldap:///uid=jane,${people}?sn`),
    ask('ldap', `servers=127.0.0.1::@port@ ldap:///uid=jane,${people}?sn`),
    ask('ldap', `servers=127.0.0.1::1:127.0.0.1::@port@ ldap:///uid=jane,${people}?sn`),
    ask('ldap', `servers=/nonexistent:@socket@ ldap:///uid=jane,${people}?sn`),
    ask('ldap', `ldap://127.0.0.1:@port@/uid=jane,${people}?sn`),
    ask('ldap', `ldap://127.0.0.1:1/uid=jane,${people}?sn`),
    ask('ldap', `ldapi://@hex@/uid=jane,${people}?sn`),
    ask('ldap', `ldap://@hex@/uid=jane,${people}?sn`),
    ask('ldap', `ldapi://localhost/uid=jane,${people}?sn`),
    ask('ldap', `ldap:///${people}?sn?sub?(uid=jane`),
    ask('ldap', `ldap:///${people}?sn?wrong?(uid=jane)`),
    ask('ldap', 'ldap:///not a dn?sn'),
    ask('ldap', 'http://x/'),
    ask('ldap', `ldap:///uid=jane,${people}?sn???!critical`),
  ],
  // Exim ignores a word that it does not know, and an extension that the query says must not be ignored.
  new Map([
    [ask('ldap', `dereference=wrong ldap:///uid=jane,${people}?sn`), 'defer'],
    [ask('ldap', `ldap:///uid=jane,${people}?sn???!critical`), 'defer'],
  ]),
);

const nothing = (): void => undefined;
for (const [type, server, create, programs] of [
  ['pgsql', postgres, createPgsql, [postgresProgram('initdb')]],
  ['mysql', mariadb, createMysql, mariadbPrograms],
] as const)
  lookupContract(
    type,
    async () => {
      const { port } = await server();
      const driver = create([`127.0.0.1:${port}/mail/mail/secret`]);
      const present = { key: "select name from users where id='d'", value: 'caf\xc3\xa9' };
      const absent = "select name from users where id='zz'";
      return { subject: { driver, file: '', present, absent, deferred: 'nonsense' }, close: nothing };
    },
    needs(...programs),
  );
for (const [i, type] of ['ldap', 'ldapdn', 'ldapm'].entries())
  lookupContract(
    type,
    async () => {
      const { port } = await slapd();
      const driver = createLdap({ defaultServers: [`127.0.0.1:${port}`] })[i];
      assert.ok(driver !== undefined);
      const dn = 'uid=jane,ou=people,dc=test';
      const present = { key: `ldap:///${dn}?sn`, value: type === 'ldapdn' ? dn : 'Doe' };
      return {
        subject: {
          driver,
          file: '',
          present,
          absent: 'ldap:///uid=no,dc=test?sn',
          deferred: 'ldap:///x?y?z',
        },
        close: nothing,
      };
    },
    needs(...slapdPrograms),
  );
lookupContract(
  'redis',
  async () => {
    const { port } = await redis();
    const driver = createRedis([`127.0.0.1:${port}//`]);
    await driver.find('', 'set contract caf\xc3\xa9\\ \xff', []);
    return {
      subject: {
        driver,
        file: '',
        present: { key: 'get contract', value: 'caf\xc3\xa9 \xff' },
        // Of a single value that is not there Exim makes the empty text.
        absent: 'lrange missing 0 -1',
        deferred: 'lrange contract 0 -1',
      },
      close: nothing,
    };
  },
  needs('redis-server'),
);

suite('connections that broke are made anew', {
  skip: needs('redis-server', ...mariadbPrograms, ...slapdPrograms),
}, () => {
  const cases: Readonly<
    Record<string, readonly [() => Promise<Database>, (port: number) => LookupDriver, string]>
  > = {
    pgsql: [postgres, (port) => createPgsql([`127.0.0.1:${port}/mail/mail/secret`]), 'select 1'],
    mysql: [mariadb, (port) => createMysql([`127.0.0.1:${port}/mail/mail/secret`]), 'select 1'],
    redis: [redis, (port) => createRedis([`127.0.0.1:${port}//`]), 'exists none'],
    ldapm: [
      slapd,
      (port) => createLdap({ defaultServers: [`127.0.0.1:${port}`] })[2] as LookupDriver,
      `ldap:///${people}?sn?one`,
    ],
  };
  for (const [type, [start, make, query]] of Object.entries(cases))
    test(type, async () => {
      const proxy = await startProxy((await start()).port);
      const driver = make(proxy.port);
      try {
        for (let i = 0; i < 3; i++) {
          const answers = await Promise.all(
            Array.from({ length: 4 }, async () => driver.find('', query, [])),
          );
          for (const answer of answers) assert.equal(answer.kind, 'found', JSON.stringify(answer));
          await proxy.cut();
        }
      } finally {
        await driver.close?.();
        await proxy.stop();
      }
    });
});

test('pgsql over TLS where the server wants it', {
  skip: needs(postgresProgram('initdb'), 'openssl'),
}, async () => {
  const server = await postgresTls();
  const driver = createPgsql([`127.0.0.1:${server.port}/mail/mail/secret`]);
  const query = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
  assert.deepEqual(await driver.find('', query, []), { kind: 'found', value: 't' });
  await driver.close?.();
});

test('ldap over TLS, from the start and by StartTLS', {
  skip: needs(...slapdPrograms),
}, async () => {
  const { port, tlsPort, certificate } = await slapd();
  const find = async (url: string, options: object): Promise<string> => {
    const [driver] = createLdap({ defaultServers: [`127.0.0.1:${port}`], ...options });
    assert.ok(driver !== undefined);
    const answer = await driver.find('', `${url}/uid=jane,${people}?sn`, []);
    await driver.close?.();
    return answer.kind === 'found' ? answer.value : answer.kind;
  };
  const secure = `ldaps://127.0.0.1:${tlsPort}`;
  assert.equal(await find(secure, { caCertFile: certificate }), 'Doe');
  assert.equal(await find(secure, {}), 'defer');
  assert.equal(await find(secure, { requireCert: 'never' }), 'Doe');
  assert.equal(await find(secure, { caCertFile: '/nonexistent' }), 'defer');
  assert.equal(await find('ldap://', { caCertFile: certificate, startTls: true }), 'Doe');
  assert.equal(await find('ldap://', { startTls: true }), 'defer');
});

suite('redis lookups in the real Redis', { skip: needs('redis-server') }, () => {
  let server: Database;
  let closed: Database;
  before(async () => {
    server = await redis();
    closed = await closedRedis();
  });

  test('replies of every kind', async () => {
    const here = `127.0.0.1:${server.port}//`;
    const rows: readonly (readonly [type: string, query: string, answer: string])[] = [
      ['redis', 'set a one', '<OK>'],
      ['redis', 'get a', '<one>'],
      ['redis', 'get missing', '<>'],
      ['redis', 'set b ${quote_redis:two words \\\\ and\\ttab}', '<OK>'],
      ['redis', 'get b', '<two words \\ and\ttab>'],
      ['redis', 'set c caf\xc3\xa9\\\\ ', '<OK>'],
      ['redis', 'get c', '<caf\\303\\251 >'],
      ['redis', 'exists a', '<true>'],
      ['redis', 'exists missing', '<false>'],
      ['redis', 'rpush l x y', '<true>'],
      ['redis', 'lrange l 0 -1', '<x\\ny>'],
      ['redis', 'lrange missing 0 -1', 'none'],
      ['redis', 'hset h f 1', '<true>'],
      ['redis', 'hgetall h', '<f\\n1>'],
      ['redis', 'eval return{1,{2,3},4} 0', '<1\\n2\\n3\\n4>'],
      ['redis', 'incr a', 'defer'],
      ['redis', 'nonsense', 'defer'],
      ['redis', '', 'defer'],
      ['redis,servers=127.0.0.1::1//', 'get a', 'defer'],
      [`redis,servers=127.0.0.1::1//:127.0.0.1::${server.port}//`, 'get a', '<one>'],
      [`redis,servers=(${server.socket})//`, 'get a', '<one>'],
      [`redis,servers=(${server.socket})/1/`, 'get a', '<>'],
      [`redis,servers=127.0.0.1::${closed.port}//`, 'get a', 'defer'],
      [`redis,servers=127.0.0.1::${closed.port}//password`, 'set a 1', '<OK>'],
      [`redis,servers=127.0.0.1::${closed.port}//wrong`, 'get a', 'defer'],
      ['redis,servers=127.0.0.1', 'get a', 'defer'],
    ];
    const answers = await ours(
      rows.map(([type, query]) => ask(type, query.replaceAll('{1,{2,3},4}', '\\{1,\\{2,3\\},4\\}'))),
      [createRedis([here])],
    );
    assert.deepEqual(
      rows.map(([type, query], i) => `${type} ${query}: ${answers[i]}`),
      rows.map(([type, query, answer]) => `${type} ${query}: ${answer}`),
    );
  });
});

suite('sqlite lookups agree with the real Exim', { skip: needs('exim4') }, () => {
  const folder = temporaryFolder('sqlite');
  after(() => folder.remove());

  test('questions', async () => {
    const file = path.join(folder.path, 'data.db');
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(file);
    database.exec(table);
    database.close();
    const config = path.join(folder.path, 'exim.conf');
    writeFileSync(
      config,
      `primary_hostname = mx.example.test\n${eximSpool(folder.path)}keep_environment =\nsqlite_dbfile = ${file}\n`,
    );
    chmodSync(config, 0o644);
    const questions = [
      ...of('sqlite').filter((q) => !/select nonsense|\{select\}/.test(q)),
      ask('sqlite', ''),
      ask('sqlite', ' -- comment'),
      ask('sqlite', 'select 1; select 2, 3 ; '),
      ask(
        'sqlite',
        'select 1e20, 2.0, 1e15, 123456789012345.678, 1e-5, 0.1+0.2, 9007199254740993, -0.0, 1e14, 100.5, 1e-4',
      ),
      ask('sqlite', "select x'4142', null as n, '' as e, 'a=b' as z, 1 as \"na me\""),
      ask('sqlite', 'select a from (select 1 as a) where a=2'),
      ask('sqlite,file=/nonexistent/x.db', 'select 1'),
      ask(`sqlite,file=${file}`, "select name from users where id='a'"),
      ask('sqlite', `${file} select name from users where id='a'`),
      ask('sqlite,file=relative.db', 'select 1'),
    ];
    const theirs = await exim(config, questions);
    const mine = await ours(questions, [createSqlite({ file })]);
    assert.deepEqual(
      questions.map((q, i) => `${q}: ${mine[i]}`),
      questions.map((q, i) => `${q}: ${theirs[i]}`),
    );
    // Exim takes a statement that SQLite refuses for one that finds nothing; here the mail waits.
    assert.deepEqual(await ours([ask('sqlite', 'nonsense')], [createSqlite({ file })]), ['defer']);
  });
});

test('what comes from the wire must be quoted for the type of the query', async () => {
  const asked: string[] = [];
  const driver: LookupDriver = {
    type: 'pgsql',
    style: 'query',
    quotes: true,
    find: (_, key, _options, quoted) => {
      asked.push(`${key} ${quoted === true ? 'quoted' : 'plain'}`);
      return { kind: 'found', value: 'v' };
    },
  };
  const scope: ExpandScope = {
    main: {
      primaryHostname: 'h',
      qualifyDomain: 'h',
      qualifyRecipient: 'h',
      spoolDirectory: '/',
      configFile: '/',
    },
    services: { lookup: createLookups([driver]), matchList: () => ({ kind: 'no' }) },
    address: { local: "o'x", domain: 'd.test' },
  };
  const run = async (query: string): Promise<string> => {
    const r = await expandText(`\${lookup pgsql{${query}}}`, scope);
    return r.kind === 'ok' ? r.text : r.reason;
  };
  assert.equal(await run("select '${quote_pgsql:$local_part}'"), 'v');
  assert.equal(await run("select ${if eq{a}{a}{'${quote_pgsql:$local_part}'}}"), 'v');
  assert.equal(await run('select 1'), 'v');
  assert.deepEqual(asked, ["select 'o''x' quoted", "select 'o''x' quoted", 'select 1 plain']);
  for (const bad of [
    "select '$local_part'",
    "select '${quote_mysql:$local_part}'",
    "select '${quote_pgsql:$domain}' $local_part",
    'select ${length_2:${quote_pgsql:$local_part}}',
  ])
    assert.match(await run(bad), /tainted search query is not properly quoted/);
  assert.equal(asked.length, 3);
});
