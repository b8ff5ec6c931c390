import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { fits, graceOf, limitsOf, readQuotaRules } from './rules.ts';
import type { QuotaRules } from './rules.ts';
import { dueWarning, readQuotaWarning } from './warnings.ts';

function rules(texts: readonly string[], grace?: string): QuotaRules {
  const read = readQuotaRules(texts, grace);
  if (read.kind === 'refused') throw new Error(read.reason);
  return read.value;
}

test('limits add up over rules of one name; only a rule * makes them binding', () => {
  const both = rules(['*:storage=1M', '*:messages=10']);
  assert.deepEqual(both.limits, { bytes: 1_048_576, messages: 10 });
  assert.equal(both.forced, true);
  assert.equal(rules(['?:bytes=5k']).forced, false);
  assert.deepEqual(rules(['*:backend=NOQUOTA']).limits, { bytes: 0, messages: 0 });
});

test('the first rule whose mask matches a folder is its rule; its levels may be parted by / or .', () => {
  const r = rules([
    '*:bytes=1000:messages=10',
    'Trash:bytes=+50%:messages=+1',
    'T*:bytes=-2000',
    'A.*:ignore',
    'inbox:bytes=+1',
  ]);
  const of = (folder?: string): unknown => limitsOf(r, r.limits, folder).limits;
  assert.deepEqual(of('Trash'), { bytes: 1500, messages: 11 });
  assert.deepEqual(of('Tx'), { bytes: 0, messages: 10 });
  assert.deepEqual(of('t'), { bytes: 1000, messages: 10 });
  assert.deepEqual(of(undefined), { bytes: 1001, messages: 10 });
  assert.deepEqual(of('Inbox'), of(undefined));
  assert.deepEqual(limitsOf(r, r.limits, 'A/b/c'), { limits: { bytes: 0, messages: 0 }, ignored: true });
  // Without a default limit a folder has none either.
  assert.deepEqual(limitsOf(r, { bytes: 0, messages: 0 }, 'Trash').limits, { bytes: 0, messages: 0 });
});

test('grace is a share of the default limit, or octets', () => {
  const base = { bytes: 1000, messages: 0 };
  assert.equal(graceOf(rules([]), base), 100);
  assert.equal(graceOf(rules([], '25%%'), base), 250);
  assert.equal(graceOf(rules([], '1K'), base), 1024);
  assert.equal(graceOf(rules([], '0'), base), 0);
  for (const bad of ['', 'x', '-1', '-5%', '5x']) assert.equal(readQuotaRules([], bad).kind, 'refused', bad);
});

test('reading never throws, and what is read has limits that are whole and not negative', () => {
  const words =
    '* ? : = + - % storage bytes messages ignore backend S C , 0 7 10 999999999999999999999 k M T x ( INBOX Trash';
  const piece = fc.constantFrom(' ', '\0', '\xff', ...words.split(' '));
  const text = fc.array(piece, { maxLength: 12 }).map((p) => p.join(''));
  fc.assert(
    fc.property(fc.array(text, { maxLength: 4 }), text, text, (texts, grace, folder) => {
      readQuotaWarning(`${texts[0] ?? ''} ${grace}`);
      const read = readQuotaRules(texts, grace);
      if (read.kind === 'refused') return;
      const { limits } = limitsOf(read.value, read.value.limits, folder);
      for (const n of [...Object.values(limits), ...Object.values(read.value.limits)])
        assert.ok(Number.isInteger(n) && n >= 0, JSON.stringify([texts, n]));
    }),
    { numRuns: 5000 },
  );
});

test('however many messages come, one at most passes the limit, by no more than the grace', () => {
  const size = fc.integer({ min: 1, max: 400 });
  fc.assert(
    fc.property(fc.array(size, { maxLength: 60 }), fc.nat(300), fc.nat(20), (sizes, grace, messages) => {
      const limits = { bytes: 1000, messages };
      let used = { bytes: 0, messages: 0 };
      let passed = 0;
      for (const octets of sizes) {
        if (!fits(limits, grace, used, octets)) continue;
        used = { bytes: used.bytes + octets, messages: used.messages + 1 };
        if (used.bytes > limits.bytes) passed++;
      }
      assert.ok(used.bytes <= 1000 + grace && passed <= 1);
      assert.ok(messages === 0 || used.messages <= messages);
    }),
  );
});

test('a warning is due when its limit is reached from below, the first in order', () => {
  const warnings = ['storage=90% /w 90', 'storage=50% /w 50', 'messages=2 /w two'].map((text) => {
    const read = readQuotaWarning(text);
    if (read.kind === 'refused') throw new Error(read.reason);
    return read.value;
  });
  const limits = { bytes: 1000, messages: 0 };
  const due = (before: number, after: number, n = 5): string | undefined =>
    dueWarning(warnings, limits, { bytes: before, messages: n }, { bytes: after, messages: n + 1 })?.command;
  assert.equal(due(0, 499), undefined);
  assert.equal(due(499, 500), '/w 50');
  assert.equal(due(500, 899), undefined);
  assert.equal(due(100, 950), '/w 90');
  assert.equal(due(950, 1100), undefined);
  assert.equal(due(0, 1, 1), '/w two');
  for (const bad of [
    '',
    'storage=5%',
    'storage=5% ',
    '-storage=5% /w',
    'x=5 /w',
    'storage=+5 /w',
    'storage=-5% /w',
    'storage=5% w',
  ])
    assert.equal(readQuotaWarning(bad).kind, 'refused', bad);
});
