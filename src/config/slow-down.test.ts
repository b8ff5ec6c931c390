import assert from 'node:assert/strict';
import { test } from 'node:test';
import { delayOf, parseSlowDown } from './slow-down.ts';

test('delays grow from the threshold on, up to the longest', () => {
  const limit = parseSlowDown('4, 0.25s,1.5,1m');
  assert.deepEqual(limit, { threshold: 4, initialMs: 250, factor: 1.5, maxMs: 60_000 });
  assert.ok(limit !== undefined);
  assert.deepEqual(
    [1, 4, 5, 6, 7, 1000].map((n) => delayOf(limit, n)),
    [0, 0, 250, 375, 562.5, 60_000],
  );
});

test('what is no limit', () => {
  for (const text of [
    '',
    '4',
    '4,1s,1.5',
    '4,1s,1.5,4m,',
    'x,1s,1.5,4m',
    '4,1x,1.5,4m',
    '4,1s,-1,4m',
    '4,1s,1.5,4w',
  ])
    assert.equal(parseSlowDown(text), undefined, text);
});
