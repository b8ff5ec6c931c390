import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HeldAnswer } from '../../lmtp/client/held.ts';
import { Unreachable } from './unreachable.ts';

const timedOut: HeldAnswer = {
  kind: 'unanswered',
  stage: 'connect',
  fault: { kind: 'timeout', timeoutMs: 1 },
};

test('only a connection that timed out is remembered, for ten seconds, and not more than 1024 of them', (t) => {
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const known = new Unreachable();
  known.note('refused', {
    kind: 'unanswered',
    stage: 'connect',
    fault: { kind: 'io', text: 'Connection refused' },
  });
  known.note('silent', { kind: 'unanswered', stage: 'rcpt', fault: { kind: 'timeout', timeoutMs: 1 } });
  known.note('down', timedOut);
  assert.equal(known.answer('refused'), undefined);
  assert.equal(known.answer('silent'), undefined);
  assert.equal(known.answer('down'), timedOut);
  now += 9_999;
  assert.equal(known.answer('down'), timedOut);
  now += 1;
  assert.equal(known.answer('down'), undefined);
  for (let i = 0; i < 1025; i++) known.note(`b${i}`, timedOut);
  assert.equal(known.answer('b0'), undefined);
  assert.equal(known.answer('b1'), timedOut);
});
