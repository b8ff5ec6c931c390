import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { withCache } from './cache.ts';
import { addressOf, nameOf } from './contract.ts';
import type { DirectoryAnswer } from './directory.ts';
import { readLdapAttributes, escapeDn, escapeFilter } from './drivers/ldap-attributes.ts';
import { filterProblem, readLdapUri } from './drivers/ldap.ts';
import { askInTurn, type Turn } from './drivers/servers.ts';
import { chainDirectories, createDirectory, type UserSource } from './user-source.ts';
import { usernameRule } from './username.ts';
import { readVariables } from './variables.ts';

const found = (username: string): DirectoryAnswer => ({ kind: 'found', user: { username, extra: {} } });
const unknown: DirectoryAnswer = { kind: 'unknown' };
const away: DirectoryAnswer = { kind: 'unavailable', reason: 'away' };

/** A source that answers as told, and counts. */
function scripted(
  answer: (name: string) => DirectoryAnswer | Promise<DirectoryAnswer>,
): UserSource & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    find(name) {
      asked.push(name);
      return answer(name);
    },
    list: () => undefined,
    close: () => Promise.resolve(),
  };
}

test('username_format and username_chars, as auth_username_format and auth_username_chars', () => {
  const names = (rules: Parameters<typeof usernameRule>[0], ...addresses: readonly string[]): unknown[] => {
    const rule = usernameRule(rules);
    assert.ok(typeof rule !== 'string', String(rule));
    return addresses.map((a) => rule(addressOf(a)));
  };
  const some = [
    'Joe.B@Example.Test',
    'Joe',
    '"Joe"@x.test',
    "o'x@x.test",
    '"a b"@x.test',
    'caf\xc3\xa9@x.test',
    'j@[192.0.2.1]',
  ];
  assert.deepEqual(names({}, ...some), [
    'joe.b@example.test',
    'joe',
    'joe@x.test',
    ...Array(4).fill(undefined),
  ]);
  assert.deepEqual(names({ format: '%Ln', chars: '' }, ...some), [
    'joe.b',
    'joe',
    'joe',
    "o'x",
    'a b',
    'caf\xc3\xa9',
    'j',
  ]);
  assert.deepEqual(names({ format: '%u' }, 'Joe@X.test'), ['Joe@X.test']);
  assert.deepEqual(names({ format: '%Un%%%{domain}' }, 'Joe@X.test', 'joe'), ['JOE%X.test', 'JOE%']);
  assert.deepEqual(names({ format: '%n', chars: 'abc' }, 'abc', 'abd', 'abc@x.test'), [
    'abc',
    undefined,
    undefined,
  ]);
  for (const bad of ['%', '%q', '%{nonsense}', 'x', '', '%5u'])
    assert.equal(typeof usernameRule({ format: bad }), 'string', bad);
});

test('variables: every text is read or refused, and a value is never read again', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('%', 'u', 'n', 'd', 'L', 'U', '{', '}', 'x', '@') }),
      (text) => {
        const read = readVariables(text);
        if (typeof read === 'string') return;
        assert.equal(read.varies, read.expand('', () => 'V') !== read.expand('', () => 'W'));
      },
    ),
  );
  const read = readVariables('a%u');
  assert.ok(typeof read !== 'string');
  assert.equal(read.expand('%d'), 'a%d');
});

test('a chain: found and unavailable end it, unknown goes on; at once where nobody waits', async () => {
  const make = (...answers: (DirectoryAnswer | Promise<DirectoryAnswer>)[]) =>
    chainDirectories(
      answers.map((a) =>
        createDirectory(
          scripted(() => a),
          { format: '%n' },
        ),
      ),
    );
  const ask = addressOf('x@y.test');
  assert.deepEqual(make(unknown, found('b')).find(ask), found('b'));
  assert.deepEqual(make(unknown, away, found('b')).find(ask), away);
  assert.deepEqual(make(found('a'), away).find(ask), found('a'));
  assert.deepEqual(make(unknown, unknown).find(ask), unknown);
  assert.deepEqual(await make(unknown, Promise.resolve(unknown), found('c')).find(ask), found('c'));
  assert.deepEqual(await make(Promise.resolve(away), found('c')).find(ask), away);
});

test('the cache: lifetimes of both kinds, unavailable never kept, old users served while there is no answer', async () => {
  let now = 0;
  let answer: DirectoryAnswer = found('a');
  const source = scripted(() => answer);
  const make = (serveStale: boolean, negativeTtlMs = 50) =>
    withCache(source, { maxBytes: 10_000, ttlMs: 100, negativeTtlMs, serveStale, nowMs: () => now });
  const cached = make(true);
  const ask = (name = 'a'): string => {
    const a = cached.find(name);
    assert.ok(!(a instanceof Promise));
    return nameOf(a);
  };
  assert.deepEqual([ask(), ask(), source.asked.length], ['a', 'a', 1]);
  now = 99;
  answer = unknown;
  assert.deepEqual([ask(), source.asked.length], ['a', 1]);
  now = 100;
  assert.deepEqual([ask(), ask(), source.asked.length], ['unknown', 'unknown', 2]);
  now = 150;
  answer = away;
  assert.deepEqual(
    [ask(), ask(), source.asked.length],
    ['unavailable', 'unavailable', 4],
    'an old "unknown" is no answer',
  );
  answer = found('a');
  assert.equal(ask(), 'a');
  now = 10_000;
  answer = away;
  assert.deepEqual([ask(), ask('b')], ['a', 'unavailable']);
  answer = unknown;
  assert.equal(ask(), 'unknown');
  answer = away;
  now = 20_000;
  assert.equal(ask(), 'unavailable', 'who was gone is not served again');
  const fresh = make(false, 0);
  answer = found('a');
  await fresh.find('a');
  now = 30_000;
  answer = away;
  assert.equal(nameOf(await fresh.find('a')), 'unavailable');
  answer = unknown;
  const before = source.asked.length;
  await fresh.find('z');
  await fresh.find('z');
  assert.equal(source.asked.length, before + 2, 'no negative entries with a lifetime of 0');
});

test('the cache is bounded, by what was not used for longest, and questions under way are shared', async () => {
  const source = scripted((name) => (name.startsWith('u') ? found(name) : unknown));
  const cached = withCache(source, {
    maxBytes: 5000,
    ttlMs: 1000,
    negativeTtlMs: 1000,
    serveStale: true,
    nowMs: () => 0,
  });
  await cached.find('ukeep');
  for (let i = 0; i < 500; i++) {
    await cached.find(`n${i}`);
    await cached.find('ukeep');
  }
  assert.equal(source.asked.filter((n) => n === 'ukeep').length, 1);
  await cached.find('n0');
  assert.equal(source.asked.filter((n) => n === 'n0').length, 2);
  const uncached = { maxBytes: 0, ttlMs: 1000, negativeTtlMs: 1000, serveStale: true };
  let answerAll: (answer: DirectoryAnswer) => void = () => undefined;
  const slow = scripted(() => new Promise((resolve) => (answerAll = resolve)));
  const shared = withCache(slow, uncached);
  const questions = [1, 2, 3].map(async () => shared.find('a'));
  answerAll(found('a'));
  assert.deepEqual((await Promise.all(questions)).map(nameOf), ['a', 'a', 'a']);
  assert.equal(slow.asked.length, 1);
  const again = shared.find('a');
  answerAll(unknown);
  assert.equal(nameOf(await again), 'unknown');
  const failing = withCache(
    scripted(() => Promise.reject(new Error('lost'))),
    uncached,
  );
  assert.deepEqual(await failing.find('a'), { kind: 'unavailable', reason: 'lost' });
});

test('servers: the next one is asked, the one that answered first from then on, a broken connection again', async () => {
  const asked: string[] = [];
  const says: Record<string, Turn<string>> = {
    a: { kind: 'next', reason: 'a is down' },
    b: { kind: 'answer', answer: 'yes' },
  };
  const ask = askInTurn(['a', 'b'], 1000, async (server, _: string, shareMs): Promise<Turn<string>> => {
    asked.push(server);
    assert.equal(shareMs, 500);
    return says[server] ?? { kind: 'refused', reason: '?' };
  });
  assert.equal(await ask('q'), 'yes');
  assert.equal(await ask('q'), 'yes');
  assert.deepEqual(asked.splice(0), ['a', 'b', 'b']);
  says['b'] = { kind: 'next', reason: 'lost', broken: true };
  assert.deepEqual(await ask('q'), { kind: 'unavailable', reason: 'a is down' });
  assert.deepEqual(asked.splice(0), ['b', 'b', 'a']);
  says['b'] = { kind: 'refused', reason: 'no such table' };
  assert.deepEqual(await ask('q'), { kind: 'unavailable', reason: 'no such table' });
});

test('LDAP: escapes, attribute rules, filters and places', () => {
  assert.equal(escapeFilter('*()\\\0\x7f\xe9a'), '\\2a\\28\\29\\5c\\00\\7f\xe9a');
  assert.equal(escapeDn(' a,b+"=#c '), '\\20a\\2cb\\2b\\22\\3d#c\\20');
  assert.equal(escapeDn('#x'), '\\23x');
  fc.assert(fc.property(fc.string({ unit: 'binary-ascii' }), (s) => !/[*()\0]/.test(escapeFilter(s))));
  const rules = readLdapAttributes([
    'homeDirectory=home',
    '=mail=maildir:/v/%d/%{ldap:Mbox:%%}',
    'quota=quota_rule=*:bytes=%$',
    '=x=%{ldap:gone:other}',
    'gone=y',
  ]);
  assert.ok(typeof rules !== 'string');
  assert.deepEqual(rules.asked, ['homeDirectory', 'Mbox', 'quota', 'gone']);
  const values = new Map([
    ['homedirectory', '/h'],
    ['mbox', 'm%u'],
    ['quota', '7'],
  ]);
  assert.deepEqual(
    [...rules.fieldsOf('n@d.test', values)],
    [
      ['home', '/h'],
      ['mail', 'maildir:/v/d.test/m%u'],
      ['quota_rule', '*:bytes=7'],
      ['x', 'other'],
    ],
  );
  for (const bad of ['home', '=home', 'a=b=%q', '=f=%$', 'a b=c', ''])
    assert.equal(typeof readLdapAttributes([bad]), 'string', bad);
  assert.equal(filterProblem('(&(objectClass=x)(uid=%u))'), undefined);
  for (const bad of ['(uid=*)', '(uid=%u', 'uid=%u', '(uid=%u))(', '(uid=%q)'])
    assert.equal(typeof filterProblem(bad), 'string', bad);
  assert.deepEqual(readLdapUri('ldaps://[::1]'), { secure: true, host: '::1', port: 636 });
  assert.deepEqual(readLdapUri('ldap://h:3'), { secure: false, host: 'h', port: 3 });
  assert.deepEqual(readLdapUri('ldapi:///run/x'), { secure: false, host: '/run/x', port: 0 });
  for (const bad of ['h', 'http://h', 'ldap://', 'ldap://h:x', 'ldapi://x', 'ldap://h/base'])
    assert.equal(typeof readLdapUri(bad), 'string', bad);
});
