import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureOutcome, outcomeOf, type Sent, type Voice } from '../transport/drivers/wording.ts';
import { classify } from './classify.ts';
import { addressOf } from '../../test/support/routing-world.ts';

// What the transports really say, so that a change of their words shows here.
const sent: Sent = {
  sender: addressOf('s@a.test'),
  recipients: [{ address: addressOf('u@a.test') }],
  pipelined: true,
  contentOctets: 10,
};
const voices: readonly Voice[] = [
  {
    driver: 'smtp',
    protocol: 'lmtp',
    peer: 'h [198.51.100.1]',
    connectPrefix: '',
    host: { name: 'h', address: '198.51.100.1', port: 24 },
  },
  { driver: 'smtp', protocol: 'smtp', peer: 'h [198.51.100.1]', connectPrefix: '' },
  {
    driver: 'lmtp',
    protocol: 'lmtp',
    peer: '/run/lmtp',
    connectPrefix: 'Failed to connect to socket /run/lmtp for t transport: ',
  },
];

for (const voice of voices) {
  const of = (outcome: ReturnType<typeof outcomeOf>): [string, number] => {
    assert.ok(outcome.kind === 'deferred');
    const { error, errno } = classify(outcome);
    switch (error.kind) {
      case 'plain':
      case 'host':
        return [error.name, errno];
      case 'reply':
        return [`${error.to}_4${error.tens}${error.units}`, errno];
      case 'quota':
      case 'other':
        return [error.kind, errno];
    }
  };
  test(`the words of ${voice.driver} with ${voice.protocol}`, () => {
    const reply = { code: 452, lines: ['wait'] } as const;
    const refused = (stage: 'mail' | 'rcpt' | 'data' | 'content'): [string, number] =>
      of(outcomeOf({ kind: 'refused', stage, reply }, 0, sent, voice));
    assert.deepEqual(refused('mail'), ['mail_452', -45]);
    assert.deepEqual(refused('rcpt'), ['rcpt_452', -44]);
    assert.deepEqual(refused('data'), ['data_452', -46]);
    assert.deepEqual(refused('content'), ['data_452', -46]);
    assert.deepEqual(of(failureOutcome({ fault: { kind: 'io', text: 'Connection refused' } }, voice)), [
      'refused',
      111,
    ]);
    assert.deepEqual(of(failureOutcome({ fault: { kind: 'timeout', timeoutMs: 1 } }, voice)), [
      'timeout_connect',
      110,
    ]);
    const unanswered = (fault: Parameters<typeof failureOutcome>[0]['fault']): [string, number] =>
      of(outcomeOf({ kind: 'unanswered', stage: 'rcpt', recipient: 0, fault }, 0, sent, voice));
    assert.deepEqual(unanswered({ kind: 'timeout', timeoutMs: 1 }), ['timeout', 110]);
    assert.deepEqual(unanswered({ kind: 'closed' }), ['lost_connection', -18]);
    assert.deepEqual(unanswered({ kind: 'io', text: 'Connection reset by peer' }), ['lost_connection', 104]);
    assert.deepEqual(unanswered({ kind: 'malformed', text: 'x' }), ['other', -19]);
  });
}
