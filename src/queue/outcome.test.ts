import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf } from '../../test/support/routing-world.ts';
import type { Status } from '../mail/outcome.ts';
import { deferredState, shortStatus } from './outcome.ts';

const long: Status = {
  text: `LMTP error after RCPT TO:<a@a.test>: ${'x'.repeat(15_000)}`,
  code: '4.2.0',
  reply: { code: 450, status: '4.2.0', lines: ['y'.repeat(8000), 'z'.repeat(8000)] },
  peer: '/run/lmtp',
};

test('what a peer says at length is recorded and reported by its beginning', () => {
  const short = shortStatus(long);
  assert.equal(short.text, long.text.slice(0, 1024));
  assert.deepEqual(short.reply, { code: 450, status: '4.2.0', lines: ['y'.repeat(1024)] });
  assert.equal(short.peer, long.peer);
  assert.equal(short.code, '4.2.0');
  const state = deferredState(
    { kind: 'pending', nextAttemptAtMs: 0, attempts: 0 },
    {
      kind: 'deferred',
      who: { position: 0, address: addressOf('a@a.test'), logAsLocal: false },
      status: long,
      errno: -1,
      skipped: false,
      nextAttemptAtMs: 5,
    },
    1,
  );
  assert.deepEqual(state.lastStatus, short);
});

test('an ordinary status stays the object it is', () => {
  const status: Status = { text: 'refused', reply: { code: 450, lines: ['no', 'not now'] } };
  assert.equal(shortStatus(status), status);
});
