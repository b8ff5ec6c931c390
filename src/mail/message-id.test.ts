import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { base62, parseQueueId, queueIdGenerator } from './message-id.ts';

test('an id has the form of Exim and says its second', () => {
  const id = queueIdGenerator(4242, () => 1_764_000_000_000)();
  assert.equal(parseQueueId(id), id);
  assert.equal(id.slice(0, 6), base62(1_764_000_000, 6));
  assert.equal(parseQueueId('1u2WxY-000aBc'), undefined);
  assert.equal(parseQueueId(`${id}x`), undefined);
});

test('ids of one generator never repeat and sort in order, however the clock moves', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 22 - 1 }),
      fc.array(
        fc.record({ stepMs: fc.integer({ min: -5000, max: 5000 }), ids: fc.integer({ min: 1, max: 9000 }) }),
        { maxLength: 12 },
      ),
      (pid, moves) => {
        let now = 1_764_000_000_000;
        const next = queueIdGenerator(pid, () => now);
        let last = '';
        for (const { stepMs, ids } of moves) {
          now += stepMs;
          for (let i = 0; i < ids; i++) {
            const id = next();
            assert.ok(id > last, `${id} after ${last}`);
            last = id;
          }
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('one second holds far more ids than the fraction has digits for, and overflow keeps them apart from other processes', () => {
  const ids = new Set<string>();
  let made = 0;
  for (const [pid, epoch] of [
    [1, 0],
    [2, 0],
    [2 ** 22 - 1, 0],
    [1, 1],
    [1, 845],
  ] as const) {
    const next = queueIdGenerator(pid, () => 5000, epoch);
    for (let i = 0; i < 70_000; i++, made++) ids.add(next());
  }
  assert.equal(ids.size, made);
});

test('a restart within one second with the same process number makes other ids when the epoch differs', () => {
  const first = queueIdGenerator(1, () => 1000, 7);
  const second = queueIdGenerator(1, () => 1000, 8);
  const seen = new Set(Array.from({ length: 5000 }, () => first()));
  for (let i = 0; i < 5000; i++) assert.ok(!seen.has(second()));
});

test('no two epochs and process numbers share a middle part', () => {
  fc.assert(
    fc.property(
      fc.tuple(fc.nat(2 ** 22 - 1), fc.nat(845), fc.nat(2 ** 22 - 1), fc.nat(845)),
      ([pidA, epochA, pidB, epochB]) => {
        fc.pre(pidA !== pidB || epochA !== epochB);
        const a = queueIdGenerator(pidA, () => 0, epochA)();
        const b = queueIdGenerator(pidB, () => 0, epochB)();
        assert.notEqual(a, b);
      },
    ),
  );
});
