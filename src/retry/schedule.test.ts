import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { RetryAlgorithm, RetryRule } from './rules.ts';
import { afterFailure, type RetryRecord, scheduleDefaults } from './schedule.ts';

const minute = 60_000;
const hour = 60 * minute;
const options = { ...scheduleDefaults, random: () => 0.5 };

function ruleOf(...algorithms: RetryAlgorithm[]): RetryRule {
  return { pattern: '*', algorithms, position: { file: 'conf', line: 1, column: 1 } };
}

/** The gaps between attempts, each made exactly when it is due, until the failure has expired. */
function gaps(rule: RetryRule, most = 100, random = options.random): number[] {
  let record: RetryRecord | undefined;
  let now = 1_000_000;
  const out: number[] = [];
  for (let i = 0; i < most; i++) {
    record = afterFailure(rule, record, now, { ...options, random });
    if (record.expired) break;
    out.push((record.nextTryAtMs - now) / minute);
    now = record.nextTryAtMs;
  }
  return out;
}

describe('afterFailure', () => {
  test('F repeats its interval and expires at the first failure after the cutoff', () => {
    const f = ruleOf({ letter: 'F', cutoffMs: hour, intervalMs: 15 * minute });
    assert.deepEqual(gaps(f), [15, 15, 15, 15, 15]);
  });

  test("G grows as the manual's example says", () => {
    const rule = ruleOf(
      { letter: 'F', cutoffMs: hour, intervalMs: 15 * minute },
      { letter: 'G', cutoffMs: 48 * hour, intervalMs: hour, factor: 2 },
    );
    // 15 minutes for an hour, then one hour, two, four, eight, sixteen; the maximum interval is a day.
    assert.deepEqual(gaps(rule), [15, 15, 15, 15, 60, 120, 240, 480, 960, 1440]);
  });

  test('an attempt before its time does not lengthen the next gap', () => {
    const g = ruleOf({ letter: 'G', cutoffMs: 48 * hour, intervalMs: hour, factor: 2 });
    const first = afterFailure(g, undefined, 0, options);
    const early = afterFailure(g, first, 10 * minute, options);
    assert.equal(early.nextTryAtMs, 10 * minute + hour);
  });

  test('no rule, or one without parameters, gives up at once', () => {
    assert.equal(afterFailure(undefined, undefined, 5, options).expired, true);
    assert.equal(afterFailure(ruleOf(), undefined, 5, options).expired, true);
  });

  test('an old record counts as none', () => {
    const f = ruleOf({ letter: 'F', cutoffMs: hour, intervalMs: minute });
    const old: RetryRecord = { firstFailedAtMs: 0, lastTryAtMs: hour, nextTryAtMs: 2 * hour, expired: true };
    const now = hour + scheduleDefaults.dataExpireMs + 1;
    assert.deepEqual(afterFailure(f, old, now, options), {
      firstFailedAtMs: now,
      lastTryAtMs: now,
      nextTryAtMs: now + minute,
      expired: false,
    });
  });

  test('a message failure counts from the arrival of the message', () => {
    const f = ruleOf({ letter: 'F', cutoffMs: hour, intervalMs: minute });
    const now = 10 * hour;
    assert.equal(afterFailure(f, undefined, now, options).expired, false);
    assert.equal(afterFailure(f, undefined, now, { ...options, receivedAtMs: now - 2 * hour }).expired, true);
  });

  test('the next time is later than now, within the maximum, and every failure ends', () => {
    const time = fc.integer({ min: 1, max: 300 }).map((n) => n * minute);
    const algorithm: fc.Arbitrary<RetryAlgorithm> = fc.oneof(
      fc.record({ letter: fc.constant('F' as const), cutoffMs: time, intervalMs: time }),
      fc.record({
        letter: fc.constantFrom('G' as const, 'H' as const),
        cutoffMs: time,
        intervalMs: time,
        factor: fc.integer({ min: 1000, max: 4000 }).map((n) => n / 1000),
      }),
    );
    fc.assert(
      fc.property(
        fc.array(algorithm, { minLength: 1, maxLength: 4 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (list, r) => {
          const all = gaps(ruleOf(...list), 1000, () => r);
          assert.ok(all.every((gap) => gap > 0 && gap <= 1440));
          const last = list.at(-1)?.cutoffMs ?? 0;
          // Whole milliseconds again: a sum of fractions of minutes may miss a cutoff that is met exactly.
          const gapsMs = all.map((gap) => Math.round(gap * minute));
          const totalMs = gapsMs.reduce((sum, gap) => sum + gap, 0);
          assert.ok(all.length < 1000 && totalMs > last, 'expires after the last cutoff');
          assert.ok(totalMs - (gapsMs.at(-1) ?? 0) <= last, 'and not one attempt later');
        },
      ),
    );
  });
});
