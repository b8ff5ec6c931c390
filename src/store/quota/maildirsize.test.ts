import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatChange, formatMaildirsize, isDoubtful, parseMaildirsize } from './maildirsize.ts';

const amount = fc.record({ bytes: fc.nat(2 ** 31), messages: fc.nat(10_000) }, { noNullPrototype: true });

test('what is written is read back, with any changes after it', () => {
  fc.assert(
    fc.property(amount, amount, fc.array(amount, { maxLength: 20 }), (limits, used, changes) => {
      const text = formatMaildirsize(limits, used) + changes.map(formatChange).join('');
      const total = (name: 'bytes' | 'messages'): number =>
        used[name] + changes.reduce((n, c) => n + c[name], 0);
      assert.deepEqual(parseMaildirsize(text), {
        limits,
        used: { bytes: total('bytes'), messages: total('messages') },
        lines: changes.length + 1,
      });
    }),
  );
});

test('the first line is as Dovecot writes it', () => {
  const head = (bytes: number, messages: number): string =>
    formatMaildirsize({ bytes, messages }, { bytes: 5, messages: 1 });
  assert.equal(head(10, 0), '10S\n5 1\n');
  assert.equal(head(0, 10), '10C\n5 1\n');
  assert.equal(head(10, 20), '10S,20C\n5 1\n');
  assert.equal(head(0, 0), '0S\n5 1\n');
});

test('any octets are read or refused, and figures are never negative', () => {
  const text = fc
    .array(
      fc.constantFrom('5', '10', '-', '+', ' ', '\n', 'S', 'C', ',', 'x', '\0', '\r', '99999999999999999999'),
      {
        maxLength: 30,
      },
    )
    .map((p) => p.join(''));
  fc.assert(
    fc.property(text, (octets) => {
      const read = parseMaildirsize(octets);
      if (read !== undefined) assert.ok(read.used.bytes >= 0 && read.used.messages >= 0);
    }),
    { numRuns: 5000 },
  );
  assert.equal(parseMaildirsize(''), undefined);
  // A torn line: Dovecot would write the next one behind it.
  assert.equal(parseMaildirsize('5S\n10 1\n10'), undefined);
  assert.equal(parseMaildirsize(`5S\n${'0 0\n'.repeat(1280)}`), undefined);
});

test('figures over a limit are doubted when more than the sum is there, or after 15 minutes', () => {
  const doubtful = (lines: number, bytes: number, ageMs: number): boolean =>
    isDoubtful({ limits: undefined, used: { bytes, messages: 3 }, lines }, { bytes: 10, messages: 3 }, ageMs);
  assert.equal(doubtful(2, 10, 1e9), false);
  assert.equal(doubtful(2, 11, 0), true);
  assert.equal(doubtful(1, 11, 900_000), false);
  assert.equal(doubtful(1, 11, 900_001), true);
});
