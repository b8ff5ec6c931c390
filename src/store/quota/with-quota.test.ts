import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { deliveryTo, memoryContent } from '../contract.ts';
import type { MailStore, StoreDelivery, StoreOutcome } from '../mail-store.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import { quotaAccounts } from './accounts.ts';
import type { PolicyAnswer, QuotaPolicy } from './policy.ts';
import { readQuotaRules } from './rules.ts';
import { nothing, sum } from './amount.ts';
import type { Amount } from './amount.ts';
import type { UsageSource } from './usage.ts';
import { readQuotaWarning } from './warnings.ts';
import { withQuota } from './with-quota.ts';

const never = new AbortController().signal;
const user = (username: string): MailUser => ({ username, extra: {} });
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Mailboxes and figures in memory. Messages lie in the mailbox some turns before they are counted. */
function world(limit: string, more: Partial<QuotaPolicy> = {}, store: Partial<MailStore> = {}) {
  const boxes = new Map<string, number[]>();
  const kept = new Map<string, Amount>();
  const warned: string[] = [];
  const problems: string[] = [];
  const delivered: StoreDelivery[] = [];
  const read = readQuotaRules([limit], '0');
  if (read.kind === 'refused') throw new Error(read.reason);
  const totalOf = (name: string): Amount =>
    (boxes.get(name) ?? []).map((bytes) => ({ bytes, messages: 1 })).reduce(sum, nothing);
  const source: UsageSource = {
    counts: 'stored',
    countsMessages: true,
    keeps: true,
    key: ({ username }) => username,
    kept({ username }, rules) {
      if (username === 'broken') throw new Error('unreadable');
      const used = kept.get(username);
      return used === undefined ? undefined : { used, limits: rules.limits };
    },
    async count({ username }, rules) {
      const used = totalOf(username);
      await tick();
      kept.set(username, used);
      return { used, limits: rules.limits };
    },
    add({ username }, stored) {
      if (username === 'readonly') throw new Error('cannot write');
      kept.set(username, sum(kept.get(username) ?? nothing, stored));
    },
    close: () => undefined,
  };
  const policy: QuotaPolicy = {
    rules: read.value,
    source,
    enforced: true,
    warnings: [],
    maxMailBytes: 0,
    exceededText: 'full',
    ...more,
  };
  const inner: MailStore = {
    async deliver(delivery) {
      delivered.push(delivery);
      await tick();
      const outcomes = delivery.recipients.map(({ user: { username } }, i): StoreOutcome => {
        if (username === 'away') return { kind: 'unavailable', reason: 'away' };
        // Lines end in LF; the content has none.
        const size = delivery.content.size + delivery.trace(i).length - 1;
        boxes.set(username, [...(boxes.get(username) ?? []), size]);
        return { kind: 'stored', storedBytes: size, virtualBytes: size + 1 };
      });
      await tick();
      return outcomes;
    },
    close: () => Promise.resolve(),
    ...store,
  };
  const answers: PolicyAnswer = { kind: 'policy', policy };
  const limited = withQuota(inner, {
    policyOf: ({ username }) =>
      username === 'free'
        ? { kind: 'none' }
        : username === 'odd'
          ? { kind: 'unavailable', reason: 'odd rule' }
          : answers,
    accounts: quotaAccounts(),
    onWarning: ({ username }, warning, used) => warned.push(`${username} ${warning.command} ${used.bytes}`),
    onProblem: (text) => problems.push(text),
  });
  const deliver = async (names: readonly string[], octets: number): Promise<string[]> => {
    const content = memoryContent('x'.repeat(octets - 'Trace: all\r\n'.length));
    const outcomes = await limited.deliver(deliveryTo(names.map(user), content, true), never);
    return outcomes.map((o) => o.kind);
  };
  return { limited, deliver, boxes, kept, warned, problems, delivered, totalOf };
}

test('each recipient has his own outcome in order; the store sees only those that fit', async () => {
  const w = world('*:bytes=100');
  assert.deepEqual(await w.deliver(['full', 'free'], 90), ['stored', 'stored']);
  assert.deepEqual(await w.deliver(['a', 'full', 'free', 'odd', 'broken', 'away', 'a', 'b', 'a'], 40), [
    'stored',
    'over-quota',
    'stored',
    'unavailable',
    'unavailable',
    'unavailable',
    'stored',
    'stored',
    'over-quota',
  ]);
  const seen = w.delivered[1]?.recipients.map((r) => r.user.username);
  assert.deepEqual(seen, ['a', 'free', 'away', 'a', 'b']);
  for (const name of ['a', 'b', 'full']) assert.deepEqual(w.kept.get(name), w.totalOf(name), name);
  assert.deepEqual(w.kept.get('away'), nothing);
});

test('without quotas a delivery goes through as it is, and nothing is counted', async () => {
  const w = world('*:bytes=100');
  const delivery = deliveryTo([user('free'), user('free')], memoryContent('x'.repeat(1000)));
  await w.limited.deliver(delivery, never);
  assert.equal(w.delivered[0], delivery);
  assert.equal(w.kept.size, 0);
});

test('what a store does not take is not counted, and room is given back', async () => {
  const w = world('*:bytes=100');
  for (let i = 0; i < 3; i++) assert.deepEqual(await w.deliver(['away'], 90), ['unavailable']);
  const throwing = world('*:bytes=100', {}, { deliver: () => Promise.reject(new Error('broken store')) });
  for (let i = 0; i < 3; i++) await assert.rejects(throwing.deliver(['a'], 90), /broken store/);
});

test('a message that is stored and cannot be counted is stored; that is told', async () => {
  const w = world('*:bytes=100');
  w.kept.set('readonly', nothing);
  assert.deepEqual(await w.deliver(['readonly'], 50), ['stored']);
  assert.deepEqual(w.problems, ['quota of readonly: cannot write']);
});

test('a message that only what is under way keeps out waits for how that ends', async () => {
  let fail: (() => void) | undefined;
  const w = world(
    '*:bytes=100',
    {},
    {
      deliver: (d) =>
        new Promise((resolve) => {
          if (fail === undefined)
            fail = () => resolve(d.recipients.map(() => ({ kind: 'unavailable', reason: 'no' })));
          else resolve(d.recipients.map(() => ({ kind: 'stored', storedBytes: 90 })));
        }),
    },
  );
  w.kept.set('a', nothing);
  const first = w.deliver(['a'], 90);
  await tick();
  const second = w.deliver(['a'], 90);
  await tick();
  await tick();
  fail?.();
  assert.deepEqual(await first, ['unavailable']);
  assert.deepEqual(await second, ['stored']);
});

test('deliveries at one time to many users in any order end, keep the limits and count right', async () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'free');
  const letter = fc.record({
    to: fc.array(name, { minLength: 1, maxLength: 5 }),
    octets: fc.integer({ min: 13, max: 60 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(letter, { maxLength: 25 }), fc.boolean(), async (letters, known) => {
      const w = world('*:bytes=200:messages=7');
      if (known) for (const n of ['a', 'b', 'c', 'd']) w.kept.set(n, nothing);
      const all = await Promise.all(letters.map(({ to, octets }) => w.deliver(to, octets)));
      const stored = new Map<string, number>();
      letters.forEach(({ to }, i) =>
        to.forEach((n, j) => {
          if (all[i]?.[j] === 'stored') stored.set(n, (stored.get(n) ?? 0) + 1);
        }),
      );
      for (const n of ['a', 'b', 'c', 'd']) {
        const total = w.totalOf(n);
        assert.ok(total.bytes <= 200 && total.messages <= 7, `${n}: ${JSON.stringify(total)}`);
        assert.equal(total.messages, stored.get(n) ?? 0);
        if (total.messages > 0) assert.deepEqual(w.kept.get(n), total);
      }
      assert.deepEqual(w.problems, []);
    }),
    { numRuns: 300 },
  );
});

test('at RCPT the declared size decides, and without one whether the mailbox is over', async () => {
  const w = world('*:bytes=100', { maxMailBytes: 500 });
  const check = async (name: string, octets?: number): Promise<string | undefined> =>
    (await w.limited.check?.(user(name), undefined, octets))?.kind;
  assert.equal(await check('free', 1e9), undefined);
  assert.equal(await check('odd'), 'unavailable');
  assert.equal(await check('broken'), 'unavailable');
  assert.equal(await check('a', 100), undefined);
  assert.equal(await check('a', 101), 'over-quota');
  assert.equal(await check('a', 501), 'too-big');
  w.kept.set('a', { bytes: 100, messages: 1 });
  assert.equal(await check('a'), undefined);
  assert.equal(await check('a', 1), 'over-quota');
  w.kept.set('a', { bytes: 101, messages: 1 });
  assert.equal(await check('a'), 'over-quota');
});

test('a warning comes once, also when deliveries at one time pass its limit', async () => {
  const read = readQuotaWarning('bytes=100 /warn');
  if (read.kind === 'refused') throw new Error(read.reason);
  const w = world('*:bytes=1000', { warnings: [read.value] });
  await Promise.all(Array.from({ length: 9 }, () => w.deliver(['a', 'b'], 30)));
  assert.deepEqual(w.warned.sort(), ['a /warn 116', 'b /warn 116']);
});
