import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { openQueueWorld, type QueueWorld, type QueueWorldOptions } from '../../test/support/queue-world.ts';
import { addressOf, type RouterSpec } from '../../test/support/routing-world.ts';
import type { RecipientOutcome } from '../mail/outcome.ts';

const routers: readonly RouterSpec[] = [
  { name: 'reply', domains: 'reply.test', transport: 'reply', accept: true },
  { name: 'other', transport: 'other', accept: true },
];
let world: QueueWorld;
afterEach(() => world.close());

function start(
  reply: (world: QueueWorld) => RecipientOutcome,
  over: Partial<QueueWorldOptions> = {},
): QueueWorld {
  world = openQueueWorld({
    routers,
    retry: ['* * F,1h,10m'],
    transports: {
      reply: { deliver: () => [reply(world)], local: true, maxRecipients: 1 },
      other: {
        deliver: (b) => b.recipients.map(() => ({ kind: 'delivered' })),
        local: true,
        maxRecipients: 1,
      },
    },
    ...over,
  });
  return world;
}

function answer({ spool }: QueueWorld): RecipientOutcome {
  return {
    kind: 'delivered',
    generated: [
      {
        id: spool.newId(),
        recipients: [{ address: addressOf('s@other.test') }],
        content: Buffer.from('Subject: away\r\n\r\nlater\r\n'),
        body: '7BIT',
      },
    ],
  };
}

describe('what a delivery makes', () => {
  test('is stored with the outcome, told of, and delivered', async () => {
    const w = start(answer);
    await w.put({ sender: 's@other.test', recipients: ['a@x.test', 'u@reply.test', 'b@x.test'] });
    await w.runner.queueRun();
    await w.runner.queueRun();
    assert.deepEqual(await w.entries(), []);
    const replies = w.batches.filter((b) => b.content.includes('Subject: away'));
    assert.deepEqual(
      replies.map((b) => [b.batch.sender, b.batch.recipients.map((r) => r.address)]),
      [[null, [addressOf('s@other.test')]]],
    );
    const told = w.events.filter((e) => e.kind === 'bounced');
    assert.equal(told.length, 1);
    assert.deepEqual(told[0]?.kind === 'bounced' && told[0].to, [addressOf('s@other.test')]);
  });

  test('is there exactly when the outcome is: a record that fails brings neither', async () => {
    const records: { readonly outcomes: number; readonly generated: number }[] = [];
    let refusals = 2;
    const w = start(answer, {
      wrapSpool: (spool) => ({
        ...spool,
        record: (claim, update) => {
          if (refusals-- > 0) return Promise.reject(new Error('no'));
          records.push({ outcomes: update.outcomes.length, generated: update.generated?.length ?? 0 });
          return spool.record(claim, update);
        },
      }),
    });
    await w.put({ sender: 's@x.test', recipients: ['u@reply.test'] });
    await w.runner.queueRun();
    assert.deepEqual(records[0], { outcomes: 1, generated: 1 });
    assert.equal(w.events.filter((e) => e.kind === 'bounced').length, 1);
  });
});

test('an outcome may freeze the message', async () => {
  const w = start(() => ({
    kind: 'deferred',
    status: { text: 'pipe process failed to exec "x"' },
    scope: 'address',
    freeze: true,
  }));
  await w.put({ sender: 's@x.test', recipients: ['u@reply.test'] });
  await w.runner.queueRun();
  const [entry] = await w.entries();
  assert.ok(entry?.frozenAtMs !== undefined);
  assert.ok(w.events.some((e) => e.kind === 'frozen' && e.reason === 'pipe process failed to exec "x"'));
});

test('what a command wrote goes back with the bounce, and is kept nowhere else', async () => {
  const w = start(() => ({
    kind: 'failed',
    status: { text: 'return message generated', output: 'first\nsecond \x01\n--evil\n' },
  }));
  await w.put({ sender: 's@other.test', recipients: ['u@reply.test'] });
  await w.runner.queueRun();
  await w.runner.queueRun();
  const bounce = w.batches.find((b) => b.content.includes('X-Failed-Recipients'));
  assert.match(
    bounce?.content ?? '',
    /The following text was generated during the delivery attempts:\r\n\r\n------ u@reply\.test ------\r\n\r\nfirst\r\nsecond \?\r\n--evil\r\n/,
  );
});
