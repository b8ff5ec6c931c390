import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, isSyntaxError, parseAddress } from '../mail/address.ts';
import { parseQueueId, type QueueId } from '../mail/message-id.ts';
import { freezeNotices } from './freeze-tell.ts';

function address(text: string): Address {
  const a = parseAddress(text);
  assert.ok(!isSyntaxError(a));
  return a;
}

function id(text: string): QueueId {
  const q = parseQueueId(text);
  assert.ok(q !== undefined);
  return q;
}

const tell = {
  to: [address('postmaster@example.test'), address('ops@example.test')],
  primaryHostname: 'mx.example.test',
  from: 'Mail Delivery System <Mailer-Daemon@example.test>',
  newId: () => id('1xVlgV-0002FP-1R'),
};

const entry = (sender: Address | null, protocol: string): Parameters<typeof freezeNotices>[1] => ({
  id: id('1xVlgV-0002FL-1K'),
  envelope: { sender, recipients: [{ address: address('a@x.test') }, { address: address('b@x.test') }] },
  reception: { protocol, receivedAtMs: 0 },
  states: [
    { kind: 'done', how: 'delivered' },
    { kind: 'pending', nextAttemptAtMs: 0, attempts: 1 },
  ],
});

test('one notice goes to all who are told, with those who wait', () => {
  const [notice, another] = freezeNotices(
    tell,
    entry(address('s@y.test'), 'esmtp'),
    'why\n',
    (position) => `error ${position}`,
    0,
  );
  assert.ok(notice !== undefined && another === undefined);
  assert.deepEqual(
    notice.envelope.recipients.map((r) => r.address.local),
    ['postmaster', 'ops'],
  );
  assert.equal(notice.envelope.sender, null);
  const text = Buffer.from(notice.content).toString('latin1');
  assert.match(text, /^Message 1xVlgV-0002FL-1K has been frozen \(why.*\)\.\r$/m);
  assert.match(text, /^ {2}b@x\.test: error 1\r$/m);
  assert.doesNotMatch(text, /a@x\.test/);
  assert.doesNotMatch(text, /[^\r]\n/);
});

test('nobody is told of our own bounces, nor where nobody is to be told', () => {
  const none = (): undefined => undefined;
  assert.deepEqual(freezeNotices(tell, entry(null, 'local'), '', none, 0), []);
  assert.deepEqual(freezeNotices(undefined, entry(null, 'esmtp'), '', none, 0), []);
  assert.equal(freezeNotices(tell, entry(null, 'esmtp'), '', none, 0).length, 1);
});
