import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { addressOf } from '../../test/support/routing-world.ts';
import type { RoutedTo } from '../router/environment.ts';
import { groupRecipients, type RoutedRecipient } from './batch.ts';

function routed(over: Partial<RoutedTo>): RoutedTo {
  return {
    kind: 'routed',
    router: 'r',
    transport: 't',
    local: false,
    hosts: [{ name: 'h', address: '198.51.100.1' }],
    unordered: false,
    address: addressOf('u@a.test'),
    headerEdits: [],
    logAsLocal: false,
    facts: { local: 'u', domain: 'a.test' },
    ...over,
  };
}

const variants: readonly Partial<RoutedTo>[] = [
  {},
  { transport: 'other' },
  { hosts: [{ name: 'h', address: '198.51.100.1', port: 24 }] },
  { hosts: [] },
  { errorsTo: null },
  { errorsTo: addressOf('owner@a.test') },
  { headerEdits: [{ kind: 'remove', name: 'subject' }] },
];

test('every recipient is in exactly one group of its own kind, in order, and no group is too large', () => {
  const sender = addressOf('s@a.test');
  fc.assert(
    fc.property(
      fc.array(fc.nat(variants.length - 1), { maxLength: 40 }),
      fc.integer({ min: 1, max: 5 }),
      (kinds, max) => {
        const items = kinds.map(
          (k, position): RoutedRecipient => ({
            position,
            task: position,
            key: '',
            before: { kind: 'pending', nextAttemptAtMs: 0, attempts: 0 },
            who: { position, address: addressOf('u@a.test'), logAsLocal: false },
            recipient: { address: addressOf('u@a.test') },
            routed: routed(variants[k] ?? {}),
          }),
        );
        const groups = groupRecipients(items, sender, () => max);
        assert.deepEqual(
          groups.flatMap((g) => g.members.map((m) => m.position)).toSorted((a, b) => a - b),
          kinds.map((_, i) => i),
        );
        for (const group of groups) {
          const positions = group.members.map((m) => m.position);
          assert.ok(positions.length <= max);
          assert.deepEqual(
            positions,
            positions.toSorted((a, b) => a - b),
          );
          assert.equal(new Set(positions.map((p) => kinds[p])).size, 1);
        }
        const wanted = variants
          .map((_, k) => Math.ceil(kinds.filter((x) => x === k).length / max))
          .reduce((a, b) => a + b, 0);
        assert.equal(groups.length, wanted, 'and there are no more groups than needed');
      },
    ),
  );
});

test('hosts in random order are one destination, in fixed order they are not', () => {
  const a = { name: 'a', address: '198.51.100.1' };
  const b = { name: 'b', address: '198.51.100.2' };
  const pair = (unordered: boolean): RoutedRecipient[] =>
    [
      [a, b],
      [b, a],
    ].map((hosts, position) => ({
      position,
      task: position,
      key: '',
      before: { kind: 'pending', nextAttemptAtMs: 0, attempts: 0 },
      who: { position, address: addressOf('u@a.test'), logAsLocal: false },
      recipient: { address: addressOf('u@a.test') },
      routed: routed({ hosts, unordered }),
    }));
  assert.equal(groupRecipients(pair(true), null, () => 10).length, 1);
  assert.equal(groupRecipients(pair(false), null, () => 10).length, 2);
});
