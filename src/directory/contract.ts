/** What every directory driver must do. A driver's test file calls {@link directoryContract}. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, type Domain, isSyntaxError, type LocalPart, parseAddress } from '../mail/address.ts';
import { withCache } from './cache.ts';
import type { Directory, DirectoryAnswer } from './directory.ts';
import { createDirectory, type UserSource } from './user-source.ts';

export interface DirectoryFixture {
  /** A source that knows `alice` (home /home/alice, uid 1001, gid 1002) and `bob`, and nobody else. */
  open(): Promise<UserSource>;
  /** Makes the source of an open directory unreachable. */
  breakSource(): Promise<void>;
  /** Puts it back as it was. */
  repairSource(): Promise<void>;
  /** Removes what the fixture made. */
  cleanUp(): Promise<void>;
}

export function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null || isSyntaxError(parsed)) throw new Error(`not an address: ${text}`);
  return parsed;
}

/** The user's name, or what else was answered. */
export function nameOf(answer: DirectoryAnswer): string {
  return answer.kind === 'found' ? answer.user.username : answer.kind;
}

/** Names that nobody has, and that mean something to SQL, LDAP, paths, templates or objects. */
const hostileNames: readonly string[] = [
  [
    "'",
    "' or '1'='1",
    "alice'--",
    'alice"',
    '" or ""="',
    'alice;',
    "\\'",
    '\\',
    'alice\\',
    '`alice`',
    '$1',
    '?',
    ':user',
  ],
  [
    '*',
    'a*',
    'alic?',
    '%',
    'a%',
    '_lice',
    'alic_',
    '(',
    ')',
    'alice)(uid=*',
    '*)(uid=*))(|(uid=*',
    '\\2a',
    'al\\69ce',
    '#alice',
  ],
  [
    '../alice',
    'alice/',
    'alice/.',
    './alice',
    '/alice',
    '//alice',
    '..',
    '.',
    'bob/../alice',
    '/home/alice',
    '~alice',
  ],
  ['alice\0', '\0', 'alice\0x', 'alice\n', '\nalice', 'alice\r', 'alice\tx', 'alice:x', ':', 'alice:'],
  ['%u', '%n', '%{user}', '$local_part', '${lookup{x}', '${run{id}}', '$', '{', '}'],
  ['alic\xe9', 'alic\xc3\xa9', '\xff\xfe', 'alice\xa0', '\xc0\xaelice', '\x80'],
  [
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'null',
    'undefined',
    'NaN',
    '0',
    '-',
    'a'.repeat(900),
  ],
].flat();

export function directoryContract(name: string, makeFixture: () => Promise<DirectoryFixture>): void {
  const withSource = async (
    body: (source: UserSource, fixture: DirectoryFixture) => Promise<void>,
  ): Promise<void> => {
    const fixture = await makeFixture();
    try {
      const source = await fixture.open();
      try {
        await body(source, fixture);
      } finally {
        await source.close();
      }
    } finally {
      await fixture.cleanUp();
    }
  };
  const withDirectory = (
    body: (directory: Directory, fixture: DirectoryFixture) => Promise<void>,
  ): Promise<void> =>
    withSource((source, fixture) => body(createDirectory(source, { format: '%Ln', chars: '' }), fixture));

  test(`${name}: a user is found with its fields`, () =>
    withDirectory(async (directory) => {
      const answer = await directory.find(addressOf('alice@example.test'));
      assert.equal(nameOf(answer), 'alice');
      if (answer.kind !== 'found') return;
      assert.equal(answer.user.home, '/home/alice');
      assert.equal(answer.user.uid, 1001);
      assert.equal(answer.user.gid, 1002);
      assert.equal(answer.user.proxy, undefined);
    }));

  test(`${name}: the case of an address does not matter, nor does needless quoting`, () =>
    withDirectory(async (directory) => {
      for (const text of [
        'ALICE@example.test',
        'alice@EXAMPLE.test',
        'alice',
        '"alice"@example.test',
        '"a\\lice"@example.test',
      ])
        assert.equal(nameOf(await directory.find(addressOf(text))), 'alice', text);
    }));

  test(`${name}: who is not there is unknown, whatever the name means elsewhere`, () =>
    withSource(async (source) => {
      for (const hostile of hostileNames)
        assert.deepEqual(await source.find(hostile), { kind: 'unknown' }, JSON.stringify(hostile));
      const directory = createDirectory(source, { format: '%Ln', chars: '' });
      for (const text of [
        'nobody@example.test',
        '"../alice"@example.test',
        '"a\\"lice"@example.test',
        '*@example.test',
      ])
        assert.equal((await directory.find(addressOf(text))).kind, 'unknown', text);
      // What no parser lets through: the local part is taken as it is.
      const raw = { local: 'ALICE\0' as LocalPart, domain: 'example.test' as Domain };
      assert.equal((await directory.find(raw)).kind, 'unknown');
      assert.equal(nameOf(await directory.find(addressOf('alice@example.test'))), 'alice');
    }));

  test(`${name}: a source out of reach is unavailable, for known and unknown alike, and serves again`, () =>
    withDirectory(async (directory, fixture) => {
      assert.equal(nameOf(await directory.find(addressOf('alice@example.test'))), 'alice');
      await fixture.breakSource();
      for (const text of ['alice@example.test', 'nobody@example.test', "'@example.test"]) {
        const answer = await directory.find(addressOf(text));
        assert.equal(answer.kind, 'unavailable', text);
        if (answer.kind === 'unavailable')
          assert.ok(answer.reason.length > 5 && !/secret/.test(answer.reason));
      }
      await fixture.repairSource();
      assert.equal(nameOf(await directory.find(addressOf('alice@example.test'))), 'alice');
      assert.equal(nameOf(await directory.find(addressOf('nobody@example.test'))), 'unknown');
    }));

  test(`${name}: many questions at once are answered each`, () =>
    withDirectory(async (directory) => {
      const names = ['alice', 'nobody', 'bob', 'alice', "o'brien", 'bob'];
      const all = Array.from({ length: 120 }, (_, i) => names[i % names.length] ?? '');
      const answers = await Promise.all(all.map(async (n) => directory.find(addressOf(`${n}@example.test`))));
      assert.deepEqual(
        answers.map(nameOf),
        all.map((n) => (n === 'alice' || n === 'bob' ? n : 'unknown')),
      );
    }));

  test(`${name}: with a cache the user stays found while the source is out of reach, and nobody stays put off`, () =>
    withSource(async (source, fixture) => {
      let now = 0;
      const cached = withCache(source, {
        maxBytes: 1 << 20,
        ttlMs: 1000,
        negativeTtlMs: 1000,
        serveStale: true,
        nowMs: () => now,
      });
      assert.equal(nameOf(await cached.find('alice')), 'alice');
      assert.equal(nameOf(await cached.find('nobody')), 'unknown');
      now = 5000;
      await fixture.breakSource();
      assert.equal(nameOf(await cached.find('alice')), 'alice');
      assert.equal(nameOf(await cached.find('nobody')), 'unavailable');
      assert.equal(nameOf(await cached.find('bob')), 'unavailable');
      await fixture.repairSource();
      assert.equal(nameOf(await cached.find('bob')), 'bob');
    }));

  test(`${name}: names are listed up to a bound, or not at all`, () =>
    withDirectory(async (directory) => {
      const all = directory.list(10);
      if (all === undefined) return;
      assert.deepEqual([...all].sort(), ['alice', 'bob']);
      assert.equal(directory.list(1)?.length, 1);
    }));
}
