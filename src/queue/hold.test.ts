// Mail that waits, hosts to fall back on, hosts that were given up: what the queue does over time, and after a crash.
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
} from '../../test/support/queue-world.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { QueueControl } from './queue-control.ts';

const minute = 60_000;
const intervalMs = 30 * minute;

const open: QueueWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

const routers: readonly RouterSpec[] = [
  { name: 'list', domains: 'list.test', redirect: { data: 'x@ok.test, y@wait.test' } },
  { name: 'all', transport: 'out', manualroute: { routeData: '198.51.100.1' } },
];

function start(
  options: Partial<QueueWorldOptions>,
  out: Partial<QueueWorldOptions['transports'][string]> = {},
): QueueWorld {
  const transports = { out: { deliver: all, ...out } };
  const world = openQueueWorld({ routers, transports, retry: ['* * F,2h,1m'], ...options });
  open.push(world);
  return world;
}

const all: Script = (batch) => batch.recipients.map(() => delivered);
const waits = async (domain: string): Promise<'yes' | 'no'> => (domain === 'wait.test' ? 'yes' : 'no');

/** Addresses that were handed over so far. */
function handed(world: QueueWorld): string[] {
  return world.batches.flatMap(({ batch }) =>
    batch.recipients.map((r) => `${r.address.local}@${r.address.domain}`),
  );
}

describe('a domain that is held', () => {
  const control: QueueControl = { hold: waits, intervalMs };

  test('waits over queue runs, keeps no history of failures, and goes where it is forced', async () => {
    const world = start({ control });
    await world.put({ recipients: ['u@WAIT.test', 'v@ok.test'] });
    for (let i = 0; i < 3; i++) {
      await world.runner.queueRun({ untried: true });
      world.now += 3 * 60 * minute;
    }
    assert.deepEqual(handed(world), ['v@ok.test']);
    const [entry] = await world.entries();
    const [state] = entry?.states ?? [];
    assert.ok(state?.kind === 'pending');
    assert.deepEqual([state.attempts, state.firstFailureAtMs], [0, undefined]);
    await world.runner.queueRun({ force: 'due' });
    assert.deepEqual(handed(world), ['v@ok.test', 'u@WAIT.test']);
    assert.deepEqual(await world.entries(), []);
  });

  test('holds what an address was redirected to, and that alone', async () => {
    const world = start({ control });
    await world.put({ recipients: ['l@list.test'] });
    await world.runner.queueRun();
    await world.runner.queueRun({ untried: true });
    assert.deepEqual(handed(world), ['x@ok.test']);
    await world.runner.queueRun({ force: 'due' });
    assert.deepEqual(handed(world), ['x@ok.test', 'y@wait.test']);
  });
});

describe('a domain whose mail waits for a queue run', () => {
  for (const kind of ['queue', 'queueSmtp'] as const) {
    const control: QueueControl = { [kind]: waits, intervalMs };

    test(`${kind}: goes with the next one`, async () => {
      const world = start({ control });
      world.runner.deliverNow(await world.born({ recipients: ['u@wait.test', 'v@ok.test'] }));
      await idle(world);
      const first = kind === 'queue' ? ['v@ok.test'] : [];
      assert.deepEqual(handed(world), first);
      await world.runner.queueRun({ untried: true });
      assert.deepEqual(handed(world).sort(), ['u@wait.test', 'v@ok.test']);
    });

    test(`${kind}: goes by itself after the interval, counted from the arrival`, async () => {
      const world = start({ control });
      world.runner.deliverNow(await world.born({ recipients: ['u@wait.test'] }));
      await idle(world);
      const [entry] = await world.entries();
      const [state] = entry?.states ?? [];
      assert.ok(state?.kind === 'pending');
      assert.equal(state.nextAttemptAtMs, (entry?.reception.receivedAtMs ?? 0) + intervalMs);
      // Without any queue run, as after a crash: claimed anew, before the time and after it.
      const claimDue = async (): Promise<void> => {
        for (const claim of await world.spool.claim({ max: 9, leaseMs: minute, nowMs: world.now }))
          world.runner.deliverNow(claim);
        await idle(world);
      };
      world.now += intervalMs - 1;
      await claimDue();
      assert.deepEqual(handed(world), []);
      world.now += 1;
      await claimDue();
      assert.deepEqual(handed(world), ['u@wait.test']);
    });
  }
});

test('what all hosts put off goes to those to fall back on, and what they put off waits for whichever is due first', async () => {
  const other: RouteHost = { name: '198.51.100.9', address: '198.51.100.9' };
  let good = true;
  const world = start(
    {},
    {
      deliver: (batch) =>
        batch.recipients.map((r) =>
          r.address.local === 'a'
            ? delivered
            : batch.fallback === true && good
              ? { ...delivered, host: { name: other.name, address: '198.51.100.9', port: 25 } }
              : deferred('address'),
        ),
      fallback: async (own) => own ?? [other],
    },
  );
  await world.put({ recipients: ['a@ok.test', 'b@ok.test'] });
  await world.runner.queueRun();
  assert.deepEqual(
    world.batches.map(({ batch }) => [batch.recipients.length, batch.hosts[0]?.name, batch.fallback]),
    [
      [2, '198.51.100.1', undefined],
      [1, '198.51.100.9', true],
    ],
  );
  assert.deepEqual(await world.entries(), []);
  good = false;
  await world.put({ recipients: ['b@ok.test'] });
  await world.runner.queueRun();
  const [entry] = await world.entries();
  const [state] = entry?.states ?? [];
  assert.equal(state?.kind === 'pending' && state.attempts, 1);
});

for (const delayAfterCutoff of [true, false])
  test(`delay_after_cutoff = ${delayAfterCutoff}`, async () => {
    const world = start({}, { deliver: (b) => b.recipients.map(() => deferred('host')), delayAfterCutoff });
    await world.put({});
    for (let i = 0; i <= 122; i++) {
      await world.runner.queueRun();
      world.now += minute;
    }
    const tries = async (): Promise<number> => {
      const before = world.batches.filter((b) => b.batch.hosts[0]?.name === '198.51.100.1').length;
      world.now += 1000;
      await world.put({ recipients: ['u@ok.test'], sender: '' });
      world.now += 1000;
      await world.runner.queueRun();
      return world.batches.filter((b) => b.batch.hosts[0]?.name === '198.51.100.1').length - before;
    };
    await tries();
    assert.equal(await tries(), delayAfterCutoff ? 0 : 1);
  });

for (const byName of [false, true])
  test(`retry_include_ip_address = ${!byName}`, async () => {
    const world = start(
      { retriedByName: () => byName },
      { deliver: (b) => b.recipients.map(() => deferred('host')) },
    );
    const host = { name: 'mx.test', port: 25 };
    const failing = [{ ...host, address: '198.51.100.1' }];
    const other = [{ ...host, address: '198.51.100.2' }];
    const { gate } = world.context;
    const failure = {
      transport: 'out',
      hosts: failing,
      text: 'refused',
      rule: () => world.context.retryRules[0],
    };
    gate.failed({ ...failure, startedAtMs: world.now, nowMs: world.now });
    assert.equal(gate.ask('out', failing, world.now + 1, false).kind, 'closed');
    assert.equal(gate.ask('out', other, world.now + 1, false).kind, byName ? 'closed' : 'open');
  });

/** Waits until nothing is under delivery. */
async function idle(world: QueueWorld): Promise<void> {
  while (world.runner.active > 0) await new Promise((resolve) => setImmediate(resolve));
}
