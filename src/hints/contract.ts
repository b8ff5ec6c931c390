/** The suite every hints driver must pass. A driver's test calls {@link hintsContract} once. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { MailError } from '../mail/mail-error.ts';
import type { Hints } from './hints.ts';

export interface HintsUnderTest {
  /** Opens the hints kept at this place; the suite opens one place several times. */
  open(place: string, maxRecords?: number): Hints;
  /** JavaScript (an expression, `await` allowed) that opens the hints of `place` in another process. */
  openSource(place: string): string;
}

const now: number = 1_764_000_000_000;
const databases = ['callout', 'retry', 'wait'] as const;

export function hintsContract(driver: HintsUnderTest): void {
  const places: string[] = [];
  const open: Hints[] = [];
  const place = (): string => {
    const made = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-hints-'));
    places.push(made);
    return made;
  };
  const at = (where: string, maxRecords?: number): Hints => {
    const hints = driver.open(where, maxRecords);
    open.push(hints);
    return hints;
  };
  after(async () => {
    await Promise.all(open.map((hints) => hints.close()));
    for (const made of places) fs.rmSync(made, { recursive: true, force: true });
  });

  describe('hints', () => {
    test('a record is there after put until it expires, in its own database only', async () => {
      const hints = at(place());
      for (const database of databases) {
        assert.equal(hints.get(database, 'key', now), undefined);
        await hints.put(database, 'key', { database }, now + 10);
      }
      for (const database of databases) {
        assert.deepEqual(hints.get(database, 'key', now), { database });
        assert.deepEqual(hints.get(database, 'key', now + 9), { database });
        assert.equal(hints.get(database, 'key', now + 10), undefined);
        assert.equal(hints.get(database, 'ke', now), undefined);
      }
      await hints.delete('retry', 'key');
      await hints.delete('retry', 'key');
      assert.equal(hints.get('retry', 'key', now), undefined);
      assert.deepEqual(hints.get('wait', 'key', now), { database: 'wait' });
    });

    test('put replaces the record and its expiry', async () => {
      const hints = at(place());
      await hints.put('retry', 'k', 1, now + 10);
      await hints.put('retry', 'k', 2, now + 5);
      assert.equal(hints.get('retry', 'k', now), 2);
      assert.equal(hints.get('retry', 'k', now + 5), undefined);
    });

    test('any JSON value under any key comes back, latin1 octets included', async () => {
      const hints = at(place());
      await fc.assert(
        fc.asyncProperty(
          fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }),
          fc.jsonValue(),
          async (key, value) => {
            const expected: unknown = JSON.parse(JSON.stringify(value));
            await hints.put('callout', key, value, now + 1);
            assert.deepEqual(hints.get('callout', key, now), expected);
          },
        ),
        { numRuns: 60 },
      );
    });

    test('a key without end or without octets harms nobody', async () => {
      const hints = at(place());
      for (const key of ['', 'x'.repeat(5000)]) {
        await hints.put('callout', key, 1, now + 1);
        assert.ok([undefined, 1].includes(hints.get('callout', key, now) as undefined | 1));
        await hints.delete('callout', key);
        assert.equal(hints.get('callout', key, now), undefined);
      }
    });

    test('entries gives every live record of a prefix in key order', async () => {
      const hints = at(place());
      await Promise.all(
        Array.from({ length: 1500 }, (_, i) =>
          hints.put('wait', `b:${String(i).padStart(4, '0')}`, i, now + (i % 3 === 0 ? 1 : 9)),
        ),
      );
      await hints.put('wait', 'a:', 'before', now + 9);
      await hints.put('wait', 'c', 'after', now + 9);
      await hints.put('retry', 'b:0001', 'elsewhere', now + 9);
      const expected = Array.from({ length: 1500 }, (_, i) => i).filter((i) => i % 3 !== 0);
      const found = [...hints.entries('wait', 'b:', now + 1)];
      assert.deepEqual(
        found.map(([, record]) => record),
        expected,
      );
      assert.equal(found[0]?.[0], 'b:0001');
      assert.equal([...hints.entries('wait', '', now)].length, 1502);
      assert.deepEqual([...hints.entries('wait', 'd', now)], []);
    });

    test('tidy removes what is expired and says how many', async () => {
      const hints = at(place());
      await Promise.all(
        Array.from({ length: 1200 }, (_, i) =>
          hints.put('callout', `k${i}`, i, now + (i % 2 === 0 ? 5 : 50)),
        ),
      );
      assert.equal(await hints.tidy('callout', now + 4), 0);
      assert.equal(await hints.tidy('callout', now + 5), 600);
      assert.equal(await hints.tidy('callout', now + 5), 0);
      // Gone, not only hidden: at an earlier time they are not there either.
      assert.equal([...hints.entries('callout', '', now)].length, 600);
      assert.equal(await hints.tidy('retry', now + 99), 0);
    });

    test('the number of records is bounded, and what expires soon gives way', async () => {
      const hints = at(place(), 200);
      for (let i = 0; i < 1000; i++) await hints.put('callout', `k${i}`, i, now + 1000 + i);
      const kept = [...hints.entries('callout', '', now)];
      assert.ok(kept.length <= 200 && kept.length >= 150, `${kept.length}`);
      assert.equal(hints.get('callout', 'k999', now), 999, 'the newest is kept');
      for (let i = 0; i < 300; i++) await hints.put('callout', 'k999', i, now + 9999);
      assert.equal([...hints.entries('callout', '', now)].length, kept.length, 'replacing gives nothing up');
      await Promise.all(
        Array.from({ length: 500 }, (_, i) => hints.put('callout', `at once ${i}`, i, now + 9999)),
      );
      assert.ok([...hints.entries('callout', '', now)].length <= 200);
    });

    test('records outlive the driver, and another opening sees them', async () => {
      const where = place();
      const first = driver.open(where);
      await first.put('retry', 'k', [1, { a: 'b' }], now + 9);
      const second = at(where);
      assert.deepEqual(second.get('retry', 'k', now), [1, { a: 'b' }]);
      await first.close();
      await first.close();
      assert.throws(
        () => first.get('retry', 'k', now),
        (e) => e instanceof MailError && e.code === 'CLOSED',
      );
      await second.close();
      assert.deepEqual(at(where).get('retry', 'k', now), [1, { a: 'b' }]);
    });

    test('what another process put is seen when its put has resolved, also after kill -9', {
      timeout: 30_000,
    }, async (t) => {
      const where = place();
      const hints = at(where);
      assert.equal(hints.get('callout', 'k', now), undefined);
      const source = `const hints = ${driver.openSource(where)};
        await hints.put('callout', 'k', 'theirs', ${now + 9}); process.stdout.write('x'); process.stdin.resume();`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      t.after(() => child.kill('SIGKILL'));
      await once(child.stdout, 'data');
      assert.equal(hints.get('callout', 'k', now), 'theirs');
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
      await hints.put('callout', 'k2', 'ours', now + 9);
      assert.deepEqual(
        [...hints.entries('callout', '', now)],
        [
          ['k', 'theirs', now + 9],
          ['k2', 'ours', now + 9],
        ],
      );
    });
  });
}
