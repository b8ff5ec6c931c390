import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, property, string } from 'fast-check';
import {
  formatReply,
  isPermanent,
  isPositive,
  isTransient,
  reply,
  replyFromText,
  replySummary,
} from './reply.ts';

test('one line and several', () => {
  assert.equal(formatReply(reply(250, undefined, 'OK')), '250 OK\r\n');
  const r = replyFromText(550, '5.1.1', 'no such user\nask the postmaster');
  assert.equal(formatReply(r), '550-5.1.1 no such user\r\n550 5.1.1 ask the postmaster\r\n');
  assert.equal(replySummary(r), '550-5.1.1 no such user\\n550 5.1.1 ask the postmaster');
  assert.deepEqual([isPositive(r), isTransient(r), isPermanent(r)], [false, false, true]);
});

test('no text can add a line that is not counted', () => {
  check(
    property(string(), (text) => {
      const r = replyFromText(451, undefined, text);
      const wire = formatReply(r);
      assert.equal(wire.split('\r\n').length - 1, r.lines.length);
      assert.doesNotMatch(wire.replaceAll('\r\n', ''), /[\r\n]/);
    }),
  );
});
