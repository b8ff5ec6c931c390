/** What every directory driver must do. A driver's test file calls {@link directoryContract}. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSyntaxError, parseAddress } from '../mail/address.ts';
import type { Address } from '../mail/address.ts';
import type { Directory } from './directory.ts';

export interface DirectoryFixture {
  /** A directory that knows `alice` (home /home/alice, uid 1001, gid 1002) and `bob`, and nobody else. */
  open(): Promise<Directory>;
  /** Makes the source of an open directory unreachable. */
  breakSource(): Promise<void>;
  /** Removes what the fixture made. */
  cleanUp(): Promise<void>;
}

export function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null || isSyntaxError(parsed)) throw new Error(`not an address: ${text}`);
  return parsed;
}

export function directoryContract(name: string, makeFixture: () => Promise<DirectoryFixture>): void {
  const withDirectory = async (
    body: (directory: Directory, fixture: DirectoryFixture) => Promise<void>,
  ): Promise<void> => {
    const fixture = await makeFixture();
    try {
      const directory = await fixture.open();
      await body(directory, fixture);
      await directory.close();
    } finally {
      await fixture.cleanUp();
    }
  };

  test(`${name}: a user is found with its fields`, () =>
    withDirectory(async (directory) => {
      const answer = await directory.find(addressOf('alice@example.test'));
      assert.equal(answer.kind, 'found');
      if (answer.kind !== 'found') return;
      assert.equal(answer.user.username, 'alice');
      assert.equal(answer.user.home, '/home/alice');
      assert.equal(answer.user.uid, 1001);
      assert.equal(answer.user.gid, 1002);
    }));

  test(`${name}: the case of an address does not matter, nor does needless quoting`, () =>
    withDirectory(async (directory) => {
      for (const text of [
        'ALICE@example.test',
        'alice@EXAMPLE.test',
        '"alice"@example.test',
        '"a\\lice"@example.test',
      ]) {
        const answer = await directory.find(addressOf(text));
        assert.equal(answer.kind === 'found' ? answer.user.username : answer.kind, 'alice', text);
      }
    }));

  test(`${name}: who is not there is unknown, path tricks and object keys included`, () =>
    withDirectory(async (directory) => {
      const hostile = [
        'nobody@example.test',
        '"../alice"@example.test',
        '"alice/"@example.test',
        '__proto__@example.test',
      ];
      for (const text of [
        ...hostile,
        'constructor@example.test',
        'alic\xe9@example.test',
        '"alice:x"@example.test',
        '*@example.test',
      ]) {
        assert.equal((await directory.find(addressOf(text))).kind, 'unknown', text);
      }
    }));

  test(`${name}: a source out of reach is unavailable, for known and unknown alike`, () =>
    withDirectory(async (directory, fixture) => {
      await fixture.breakSource();
      for (const text of ['alice@example.test', 'nobody@example.test']) {
        assert.equal((await directory.find(addressOf(text))).kind, 'unavailable', text);
      }
    }));

  test(`${name}: names are listed up to a bound, or not at all`, () =>
    withDirectory(async (directory) => {
      const all = directory.list(10);
      if (all === undefined) return;
      assert.deepEqual([...all].sort(), ['alice', 'bob']);
      assert.equal(directory.list(1)?.length, 1);
    }));
}
