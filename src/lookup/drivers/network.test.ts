// The drivers that ask servers, with servers that do not answer as they should.
import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { array, assert as check, constantFrom, oneof, property, string } from 'fast-check';
import type { LookupDriver } from '../lookup.ts';
import { parseDnsdbQuery } from './dnsdb-query.ts';
import { createLdap } from './ldap.ts';
import { parseLdapQuery } from './ldap-query.ts';
import { createMysql } from './mysql.ts';
import { optionalPackage } from './optional-package.ts';
import { createPgsql } from './pgsql.ts';
import { createRedis, splitCommand } from './redis.ts';
import { chooseServers, hostField, serverFields, type ServerLimits } from './servers.ts';

const limits: ServerLimits = {
  connectTimeoutMs: 300,
  queryTimeoutMs: 400,
  maxConnections: 2,
  maxWaiting: 10,
};

const drivers: Readonly<Record<string, (port: number) => { driver: LookupDriver; query: string }>> = {
  pgsql: (port) => ({ driver: createPgsql([`127.0.0.1:${port}/d/u/p`], limits), query: 'select 1' }),
  mysql: (port) => ({ driver: createMysql([`127.0.0.1:${port}/d/u/p`], limits), query: 'select 1' }),
  redis: (port) => ({ driver: createRedis([`127.0.0.1:${port}/1/p`], limits), query: 'get x' }),
  ldap: (port) => {
    const [driver] = createLdap({ defaultServers: [`127.0.0.1:${port}`] }, limits);
    assert.ok(driver !== undefined);
    return { driver, query: 'ldap:///dc=test?cn' };
  },
};

const behaviours: Readonly<Record<string, (socket: Socket) => void>> = {
  'says nothing': () => undefined,
  'closes at once': (socket) => void socket.end(),
  resets: (socket) => void socket.resetAndDestroy(),
  'talks nonsense': (socket) => void socket.end('\0\xff\x30\x03nonsense\r\n'.repeat(20)),
};

for (const [type, make] of Object.entries(drivers))
  describe(`${type} at a server that`, () => {
    for (const [name, behave] of Object.entries(behaviours))
      describe(name, () => {
        const sockets: Socket[] = [];
        let server: Server;
        before(async () => {
          server = createServer((socket) => {
            sockets.push(socket);
            socket.on('error', () => undefined);
            behave(socket);
          });
          await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
        });
        after(async () => {
          for (const socket of sockets) socket.destroy();
          await new Promise((resolve) => void server.close(resolve));
        });

        it('defers, for one and for many', async () => {
          const address = server.address();
          assert.ok(typeof address === 'object' && address !== null);
          const { driver, query } = make(address.port);
          const first = await driver.find('', query, []);
          assert.equal(first.kind, 'defer');
          assert.ok(first.kind === 'defer' && !first.reason.includes('/p'), 'no password in the reason');
          const many = await Promise.all(Array.from({ length: 20 }, async () => driver.find('', query, [])));
          for (const answer of many) assert.equal(answer.kind, 'defer');
          await driver.close?.();
        });
      });
  });

describe('packages that are not installed', () => {
  it('are named, with how to install them', async () => {
    const name = 'a-package-that-is-not-there';
    const load = optionalPackage('pgsql', name, () => import(name) as Promise<object>);
    assert.deepEqual(await load(), {
      kind: 'unusable',
      reason: `the pgsql lookup needs the npm package "${name}", which is not installed; install it with: npm install ${name}`,
    });
  });
});

describe('server lists', () => {
  const list = { name: 'PGSQL', option: 'pgsql_servers', configured: ['one:1/d/u/p', '(/s)/d/u/p'] };

  it('come from the option, from the query or from the main option', () => {
    assert.deepEqual(chooseServers(list, ' q', [], false), { servers: list.configured, query: 'q' });
    assert.deepEqual(chooseServers(list, 'q', ['servers=one::1:x/d/u/p'], false), {
      servers: ['one:1/d/u/p', 'x/d/u/p'],
      query: 'q',
    });
    assert.deepEqual(chooseServers(list, 'servers=x/d/u/p; q', [], false), {
      servers: ['x/d/u/p'],
      query: 'q',
    });
    assert.equal(typeof chooseServers(list, 'servers=x/d/u/p; q', [], true), 'string');
    assert.equal(typeof chooseServers(list, 'q', ['servers=two'], false), 'string');
    assert.equal(typeof chooseServers(list, 'q', ['other=1'], false), 'string');
    assert.equal(typeof chooseServers({ ...list, configured: [] }, 'q', [], false), 'string');
  });

  it('have hosts, ports, sockets and fields', () => {
    assert.deepEqual(serverFields(list, '(/a/b)/d/u/p', 3), ['(/a/b)', 'd', 'u', 'p']);
    assert.deepEqual(serverFields(list, 'h//u/', 3), ['h', '', 'u', '']);
    assert.equal(serverFields(list, 'h/secret', 3), 'incomplete PGSQL server data: h');
    assert.deepEqual(hostField('h:12(/s)'), { host: 'h', port: 12, socket: '/s' });
    assert.deepEqual(hostField('[2001:db8::1]:12'), { host: '2001:db8::1', port: 12, socket: undefined });
    assert.deepEqual(hostField(''), { host: '', port: undefined, socket: undefined });
  });
});

describe('queries', () => {
  it('of redis are taken apart as they were quoted', () => {
    const words = splitCommand(' set a\\ b \\\\c\\\td ').map((w) => w.toString('latin1'));
    assert.deepEqual(words, ['set', 'a b', '\\c\td']);
  });

  it('of LDAP give settings and URL', () => {
    const query = parseLdapQuery(
      'USER="cn=\\"a b\\"" pass=x size=3 nettime=2 ldaps://h:1/dc=a%20b?x,y?one?(a=b)',
    );
    assert.ok(typeof query !== 'string');
    const {
      user,
      password,
      sizeLimit,
      networkTimeoutSeconds,
      scheme,
      servers,
      base,
      attributes,
      scope,
      filter,
    } = query;
    assert.deepEqual(
      [user, password, sizeLimit, networkTimeoutSeconds, scheme, servers, base, attributes, scope, filter],
      ['cn="a b"', 'x', 3, 2, 'ldaps', [{ host: 'h', port: 1 }], 'dc=a b', ['x', 'y'], 'one', '(a=b)'],
    );
    for (const bad of ['', 'x', 'size=a ldap:///', 'ldap:///%zz', 'ldap:///a?b?c', 'http://x'])
      assert.equal(typeof parseLdapQuery(bad), 'string', bad);
  });

  it('are read or refused whatever the text', () => {
    const pieces = [
      'ldap://',
      'user=',
      '"',
      '\\',
      '%',
      '?',
      '>',
      ',',
      ';',
      '=',
      'a+',
      'defer_',
      'retrans_',
      ' ',
      ':',
      '<',
      '/',
      '(',
      '[',
      '1',
      'é',
      '\0',
    ];
    const list = { name: 'X', option: 'x', configured: [] };
    const text = oneof(
      string({ unit: 'binary-ascii' }),
      array(constantFrom(...pieces)).map((p) => p.join('')),
    );
    check(
      property(text, (t) => {
        parseLdapQuery(t);
        parseDnsdbQuery(t);
        splitCommand(t);
        hostField(t);
        serverFields(list, t, 3);
        chooseServers(list, t, [`servers=${t}`], false);
      }),
    );
  });

  it('of dnsdb give separators, modifiers, type and names', () => {
    const query = parseDnsdbQuery('>;,/ defer_never, retrans_2s,retry_3,mx = <# a # b');
    assert.deepEqual(query, {
      type: 'mx',
      names: ['a', 'b'],
      separator: ';',
      fieldSeparator: '/',
      defer: 'never',
      dnssec: 'lax',
      timeoutMs: 2000,
      attempts: 3,
    });
  });
});
