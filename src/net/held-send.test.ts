import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf } from '../directory/contract.ts';
import type { RcptAnswer } from '../mail/rcpt-answer.ts';
import { reply } from '../mail/reply.ts';
import type { ClientConnection, ExchangeResult } from './client-connection.ts';
import { type HeldDialogues, HeldTransaction } from './held-send.ts';
import type { PooledResult } from './run-pooled.ts';
import type { PoolSession, SessionPool } from './session-pool.ts';

const taken: RcptAnswer = { kind: 'reply', stage: 'rcpt', reply: reply(250, undefined, 'ok') };

test('a recipient who comes while DATA is on its way is not asked about behind it', async () => {
  const flight = Promise.withResolvers<ExchangeResult>();
  const connection: Pick<ClientConnection, 'exchange' | 'fault' | 'settled'> = {
    exchange: () => flight.promise,
    fault: undefined,
    settled: true,
  };
  const session = { connection } as unknown as PoolSession;
  const pool: Pick<SessionPool<PoolSession>, 'acquire' | 'hasRoom' | 'release'> = {
    hasRoom: () => true,
    acquire: () => ({ session, reused: false }) as ReturnType<SessionPool<PoolSession>['acquire']>,
    release: () => undefined,
  };
  const asked: string[] = [];
  const dialogues: HeldDialogues<PoolSession, string, undefined, PooledResult> = {
    *ask(_, __, recipients, last) {
      asked.push(`${recipients.map((r) => r.address.local).join(' ')}${last ? ' DATA' : ''}`);
      yield { commands: 'x', expect: 1, timeoutMs: 1000 };
      const answers = recipients.map(() => taken);
      return last ? { answers, data: reply(354, undefined, 'go') } : { answers };
    },
    *rest() {
      yield { commands: 'x', expect: 1, timeoutMs: 1000 };
      return { end: 'clean', silent: false };
    },
    nothingSent: () => false,
  };
  const held = new HeldTransaction<PoolSession, string, undefined, PooledResult>({
    dialogues,
    envelope: { sender: null },
    options: undefined,
    pool: pool as SessionPool<PoolSession>,
    key: 'a',
    open: () => Promise.reject(new Error('not opened anew')),
    resetTimeoutMs: 1000,
  });
  const recipient = (name: string) => ({ address: addressOf(`${name}@a.test`) });
  const first = [held.rcpt(recipient('one')), held.rcpt(recipient('three'), true)];
  await new Promise((resolve) => setImmediate(resolve));
  const late = held.rcpt(recipient('two'));
  flight.resolve({ replies: [] });
  assert.deepEqual(await Promise.all(first), [taken, taken]);
  assert.equal((await late).kind, 'unanswered');
  assert.deepEqual(asked, ['one three DATA']);
  // The others have their transaction still.
  const others = [recipient('one'), recipient('three')];
  assert.deepEqual(held.order({ sender: null }, others), [0, 1]);
});
