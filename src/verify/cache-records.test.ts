import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLmdbHints } from '../hints/drivers/lmdb.ts';
import { type Address, isSyntaxError, parseAddress } from '../mail/address.ts';
import { temporaryFolder } from '../../test/support/process.ts';
import { createCalloutCache, defaultCalloutExpiry, type KeptRefusal } from './cache.ts';
import { calloutRows, isAbout } from './cache-records.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (isSyntaxError(parsed)) throw new Error(parsed.text);
  return parsed;
}

test('everything that the cache keeps is one row, and each row is found by its address and its domain', async (t) => {
  const folder = temporaryFolder('cache-records');
  const hints = openLmdbHints({ directory: folder.path });
  t.after(async () => {
    await hints.close();
    folder.remove();
  });
  const cache = createCalloutCache(hints, defaultCalloutExpiry, assert.fail);
  const said: KeptRefusal = {
    stage: 'rcpt',
    peer: { kind: 'unix', path: '/run/store' },
    after: 'RCPT TO:<b@a.test>',
    reply: { code: 550, lines: ['no'] },
  };
  const nowMs = 1_764_000_000_000;
  const hour = 3_600_000;
  cache.remember(address('a@A.test'), null, { of: 'address', result: 'accept' }, nowMs);
  cache.remember(address('b@a.test'), address('s@in.test'), { of: 'address', result: 'reject', said }, nowMs);
  cache.remember(address('"x/<y"@b.test'), null, { of: 'random', result: 'reject' }, nowMs);
  cache.remember(address('c@b.test'), null, { of: 'postmaster', result: 'reject', said }, nowMs);
  cache.remember(address('c@d.test'), null, { of: 'null-sender', said }, nowMs);
  cache.rememberQuota(address('q@a.test'), said, nowMs, 1000);
  await hints.put('callout', 'broken@a.test', { result: 'perhaps' }, nowMs + hour);
  const rows = [...calloutRows(hints, defaultCalloutExpiry, nowMs)];
  assert.deepEqual(
    rows.map((r) => [r.about, r.subject, r.sender, r.result, r.expiresAtMs - nowMs, r.said?.reply.code]),
    [
      ['quota', 'q@a.test', undefined, 'reject', 1000, 550],
      ['domain', 'a.test', undefined, 'accept', 168 * hour, undefined],
      ['address', 'a@A.test', undefined, 'accept', 24 * hour, undefined],
      ['random', 'b.test', undefined, 'reject', 168 * hour, undefined],
      ['postmaster', 'b.test', undefined, 'reject', 3 * hour, 550],
      ['address', 'b@a.test', '<s@in.test>', 'reject', 2 * hour, 550],
      ['domain', 'd.test', undefined, 'reject', 3 * hour, 550],
    ],
  );
  const about = (wanted: string): string[] => rows.filter((r) => isAbout(r, wanted)).map((r) => r.subject);
  assert.deepEqual(about('a@a.TEST'), ['a@A.test']);
  assert.deepEqual(about('A@a.test'), []);
  assert.deepEqual(about('A.test'), ['q@a.test', 'a.test', 'a@A.test', 'b@a.test']);
  // What a domain's facts outlive each other by.
  const later = [...calloutRows(hints, defaultCalloutExpiry, nowMs + 4 * hour)];
  assert.deepEqual(
    later.map((r) => [r.about, r.subject]),
    [
      ['domain', 'a.test'],
      ['address', 'a@A.test'],
      ['random', 'b.test'],
    ],
  );
});
