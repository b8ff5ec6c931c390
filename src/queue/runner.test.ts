import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { RouterSpec } from '../../test/support/routing-world.ts';
import {
  deferred,
  delivered,
  openQueueWorld,
  type QueueWorld,
  type QueueWorldOptions,
  type Script,
  failedWith,
} from '../../test/support/queue-world.ts';
import { sweepFrozen } from './frozen-sweep.ts';

const open: QueueWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

const routers: RouterSpec[] = [
  { name: 'hosts', domains: 'a.test', transport: 'store', manualroute: { routeData: '198.51.100.1' } },
  { name: 'back', domains: 'back.test', transport: 'back', accept: true },
];

function start(deliver: Script, options: Partial<QueueWorldOptions> = {}): QueueWorld {
  const world = openQueueWorld({
    routers,
    transports: {
      store: { deliver },
      back: { deliver: (batch) => batch.recipients.map(() => delivered), local: true },
    },
    retry: ['* * F,2h,1m'],
    ...options,
  });
  open.push(world);
  return world;
}

/** Resolves when the event has come that often. */
async function came(world: QueueWorld, kind: string, count: number): Promise<void> {
  while (world.events.filter((e) => e.kind === kind).length < count)
    await new Promise((resolve) => setImmediate(resolve));
}

const everyone: Script = (batch) => batch.recipients.map(() => delivered);

describe('the runner', () => {
  test('delivers what is born claimed, what lies there and what a bounce needs', async () => {
    const world = start((batch) =>
      batch.recipients.map((r) => (r.address.local === 'no' ? failedWith() : delivered)),
    );
    await world.put({ recipients: ['old@a.test'] });
    world.runner.start();
    world.runner.deliverNow(await world.born({ recipients: ['new@a.test', 'no@a.test'] }));
    await came(world, 'completed', 3);
    assert.deepEqual(await world.entries(), []);
  });

  test('delivers no more than maxMessages at a time, and gives back what it has no room for', async () => {
    let running = 0;
    let most = 0;
    const waiting: (() => void)[] = [];
    const world = start(
      async (batch) => {
        most = Math.max(most, ++running);
        await new Promise<void>((resolve) => waiting.push(resolve));
        running--;
        return batch.recipients.map(() => delivered);
      },
      { runner: { maxMessages: 2, maxWaiting: 1 } },
    );
    world.runner.start();
    for (let i = 0; i < 5; i++) {
      const claim = await world.born({});
      world.runner.deliverNow(claim);
    }
    assert.equal(world.runner.hasRoom(), false);
    assert.equal(world.runner.active, 3);
    const release = setInterval(() => waiting.shift()?.(), 1);
    await came(world, 'completed', 5);
    clearInterval(release);
    assert.equal(most, 2);
    assert.deepEqual(await world.entries(), []);
  });

  test('stop lets deliveries end, and aborts those that take too long without losing them', async () => {
    const { promise: began, resolve: begin } = Promise.withResolvers<void>();
    const world = start(
      (_, signal) =>
        new Promise((_resolve, reject) => {
          begin();
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        }),
    );
    world.runner.deliverNow(await world.born({}));
    await began;
    await world.runner.stop(1);
    const [entry] = await world.entries();
    assert.equal(entry?.states[0]?.kind, 'pending');
    assert.equal(
      entry?.states[0]?.kind === 'pending' && entry.states[0].attempts,
      0,
      'nobody knows, so nothing is counted',
    );
    const claims = await world.spool.claim({ max: 1, leaseMs: 1000, nowMs: world.now });
    assert.equal(claims.length, 1, 'and it is free for the next process at once');
  });

  test('takes nothing after stop', async () => {
    const world = start(everyone);
    await world.runner.stop(0);
    assert.equal(world.runner.hasRoom(), false);
    world.runner.deliverNow(await world.born({}));
    assert.equal(world.batches.length, 0);
    while ((await world.spool.claim({ max: 1, leaseMs: 1000, nowMs: world.now })).length === 0)
      await new Promise((resolve) => setImmediate(resolve));
  });

  test('keeps the lease of a long delivery', async () => {
    const { promise: renewed, resolve: renew } = Promise.withResolvers<void>();
    const world = start(
      async (batch) => {
        await renewed;
        return batch.recipients.map(() => delivered);
      },
      {
        runner: { leaseMs: 30 },
        wrapSpool: (spool) => ({
          ...spool,
          renew: async (claim, leaseMs, nowMs) => {
            const result = await spool.renew(claim, leaseMs, nowMs);
            assert.equal(result, 'renewed');
            renew();
            return result;
          },
        }),
      },
    );
    world.runner.deliverNow(await world.born({}));
    await came(world, 'completed', 1);
  });

  test('a lost lease stops the delivery and is told', async () => {
    const world = start(
      (_, signal) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new Error('aborted'))),
        ),
      {
        runner: { leaseMs: 30 },
        wrapSpool: (spool) => ({
          ...spool,
          renew: () => Promise.resolve('lost'),
          record: () => Promise.resolve('lost'),
        }),
      },
    );
    world.runner.deliverNow(await world.born({}));
    await came(world, 'lease-lost', 1);
    assert.equal(
      world.events.some((e) => e.kind === 'delivered'),
      false,
    );
  });

  test('a host that does not answer holds up only the message that asks', async () => {
    const { promise: answer, resolve: give } = Promise.withResolvers<void>();
    let asked = 0;
    const world = start(async (batch) => {
      if (asked++ > 0) await answer;
      return batch.recipients.map(() => deferred('host'));
    });
    await world.put({});
    await world.runner.queueRun();
    world.now += 60_000;
    await world.put({});
    await world.put({});
    world.runner.start();
    await came(world, 'deferred', 3);
    assert.equal(asked, 2);
    assert.equal(world.runner.active, 1);
    const skipped = world.events.filter((e) => e.kind === 'deferred' && e.skipped);
    assert.deepEqual(
      skipped.map((e) => e.kind === 'deferred' && e.nextAttemptAtMs - world.now),
      [15_000, 15_000],
    );
    give();
    await came(world, 'deferred', 4);
  });

  test('a queue run of one message leaves the rest alone', async () => {
    const world = start(everyone);
    const first = await world.put({});
    await world.put({});
    assert.equal(await world.runner.queueRun({ id: first.id, force: 'frozen' }), 1);
    assert.equal((await world.entries()).length, 1);
  });

  test('frozen messages end after timeout_frozen_after, and old bounces', async () => {
    const world = start(everyone, {
      routers: [
        { name: 'self', domains: 'a.test', transport: 'store', manualroute: { routeData: '127.0.0.1' } },
        ...routers,
      ],
    });
    await world.put({ recipients: ['u@a.test'] });
    await world.put({ sender: '', recipients: ['u@a.test'] });
    await world.runner.queueRun();
    const hour = 3_600_000;
    const signal = new AbortController().signal;
    assert.equal((await world.entries()).filter((e) => e.frozenAtMs !== undefined).length, 2);
    world.now += hour;
    assert.equal(await sweepFrozen(world.context, 2 * hour, 60_000, signal), 0);
    world.now += 2 * hour;
    assert.equal(await sweepFrozen(world.context, 2 * hour, 60_000, signal), 2);
    await world.runner.queueRun();
    assert.deepEqual(await world.entries(), []);
    assert.match(world.batches.at(-1)?.content ?? '', /cancelled by timeout_frozen_after/);
  });
});
