import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { addressOf, type RouterSpec } from '../../test/support/routing-world.ts';
import {
  deferred,
  delivered,
  failedWith,
  openQueueWorld,
  type QueueWorld,
  type QueueWorldOptions,
  type Script,
} from '../../test/support/queue-world.ts';
import type { DeliveryEvent } from './events.ts';

const minute = 60_000;
const hour = 60 * minute;
const twoMinutes = ['* * F,2h,1m'];

const open: QueueWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

function start(options: Partial<QueueWorldOptions> & { readonly deliver?: Script }): QueueWorld {
  const { deliver = () => [], ...rest } = options;
  const routers: RouterSpec[] = [
    { name: 'hosts', domains: 'a.test', transport: 'store', manualroute: { routeData: '198.51.100.1' } },
    {
      name: 'two',
      domains: 'two.test',
      transport: 'store',
      manualroute: { routeData: '198.51.100.1:198.51.100.2' },
    },
    { name: 'socket', domains: 'sock.test', transport: 'sock', manualroute: { routeData: 'whatmeworry' } },
    { name: 'back', domains: 'back.test:lists.test', transport: 'back', accept: true },
  ];
  const world = openQueueWorld({
    routers,
    transports: {
      store: { deliver },
      sock: { deliver, local: true },
      back: { deliver: (batch) => batch.recipients.map(() => delivered), local: true },
    },
    retry: twoMinutes,
    ...rest,
  });
  open.push(world);
  return world;
}

function kinds(world: QueueWorld): string[] {
  return world.events.map((e) => e.kind);
}

function eventsOf<K extends DeliveryEvent['kind']>(
  world: QueueWorld,
  kind: K,
): Extract<DeliveryEvent, { kind: K }>[] {
  return world.events.filter((e): e is Extract<DeliveryEvent, { kind: K }> => e.kind === kind);
}

describe('one delivery', () => {
  test('recipients of one destination go in one batch, edits applied, positions kept', async () => {
    const world = start({ deliver: (batch) => batch.recipients.map(() => delivered) });
    await world.put({
      recipients: ['a@a.test', 'b@sock.test', 'a@a.test', 'c@a.test'],
      headerEdits: [{ kind: 'add', where: 'top', text: 'Received: by us\r\n' }],
    });
    assert.equal(await world.runner.queueRun(), 1);
    assert.deepEqual(
      world.batches.map((b) => [b.transport, b.batch.recipients.map((r) => r.address.local), b.batch.hosts]),
      [
        ['store', ['a', 'a', 'c'], [{ name: '198.51.100.1', address: '198.51.100.1' }]],
        ['sock', ['b'], [{ name: 'whatmeworry' }]],
      ],
    );
    assert.ok(world.batches[0]?.content.startsWith('Received: by us\r\nSubject: hello\r\n'));
    assert.deepEqual(
      eventsOf(world, 'delivered').map((e) => [e.recipient.position, e.first, e.recipient.router]),
      [
        [0, true, 'hosts'],
        [2, false, 'hosts'],
        [3, false, 'hosts'],
        [1, true, 'socket'],
      ],
    );
    assert.deepEqual(kinds(world).slice(-1), ['completed']);
    assert.deepEqual(await world.entries(), []);
  });

  test('a failure is reported in the same record; the bounce is delivered and names it', async () => {
    const world = start({
      deliver: (batch) => batch.recipients.map((r) => (r.address.local === 'no' ? failedWith() : delivered)),
    });
    await world.put({ recipients: ['no@a.test', 'yes@a.test', 'zz@nowhere.test'] });
    await world.runner.queueRun();
    assert.deepEqual(kinds(world).toSorted(), [
      'bounced',
      'completed',
      'completed',
      'delivered',
      'delivered',
      'failed',
      'failed',
    ]);
    const bounce = world.batches.find((b) => b.transport === 'back');
    assert.equal(bounce?.batch.sender, null);
    assert.deepEqual(
      bounce?.batch.recipients.map((r) => r.address),
      [addressOf('sender@back.test')],
    );
    assert.match(
      bounce?.content ?? '',
      /Final-Recipient: rfc822;no@a\.test\r\nAction: failed\r\nStatus: 5\.1\.1/,
    );
    assert.match(bounce?.content ?? '', /Final-Recipient: rfc822;zz@nowhere\.test\r\n/);
    assert.ok(bounce?.content.includes('Subject: hello\r\nMessage-ID: <m@x.test>\r\n\r\nbody\r\n'));
    assert.ok(!bounce?.content.includes('yes@a.test'));
  });

  test('a bounce that fails is frozen and stays', async () => {
    const world = start({});
    const entry = await world.put({ sender: '', recipients: ['zz@nowhere.test'] });
    await world.runner.queueRun();
    assert.deepEqual(kinds(world), ['failed', 'frozen']);
    const [left] = await world.entries();
    assert.equal(left?.id, entry.id);
    assert.equal(left?.frozenAtMs, world.now);
    assert.equal(left?.states[0]?.kind, 'pending');
    assert.equal(await world.runner.queueRun(), 0);
    assert.equal(await world.runner.queueRun({ force: 'frozen' }), 1, 'an administrator can still try it');
  });

  test('an old bounce that fails is dropped', async () => {
    const world = start({ bounce: { ignoreErrorsAfterMs: 2 * hour } });
    await world.put({
      sender: '',
      recipients: ['zz@nowhere.test'],
      reception: { receivedAtMs: world.now - 3 * hour },
    });
    await world.runner.queueRun();
    assert.deepEqual(kinds(world), ['failed', 'error-ignored', 'completed']);
    assert.deepEqual(await world.entries(), []);
  });

  test('NOTIFY=NEVER and an empty errors_to are not reported; errors_to is where bounces go and the reverse path', async () => {
    const routers: RouterSpec[] = [
      {
        name: 'list',
        localParts: 'list',
        transport: 'store',
        errorsTo: 'owner@lists.test',
        headersAdd: ['X-List: yes'],
        headersRemove: ['subject'],
        manualroute: { routeData: '198.51.100.1' },
      },
      {
        name: 'none',
        localParts: 'none',
        transport: 'store',
        errorsTo: '',
        manualroute: { routeData: '198.51.100.1' },
      },
      {
        name: 'bad',
        localParts: 'bad',
        transport: 'store',
        errorsTo: 'gone@nowhere.test',
        manualroute: { routeData: '198.51.100.1' },
      },
      { name: 'hosts', domains: 'a.test', transport: 'store', manualroute: { routeData: '198.51.100.1' } },
      { name: 'back', domains: 'back.test:lists.test', transport: 'back', accept: true },
    ];
    const world = start({ routers, deliver: (batch) => batch.recipients.map(() => failedWith()) });
    await world.put({
      recipients: [
        'list@a.test',
        'none@a.test',
        { address: addressOf('quiet@a.test'), notify: 'never' },
        'bad@a.test',
      ],
    });
    await world.runner.queueRun();
    const stored = world.batches.filter((b) => b.transport === 'store');
    assert.deepEqual(
      stored
        .map(
          (b) =>
            `${b.batch.recipients.map((r) => r.address.local).join()} from ${b.batch.sender?.local ?? '<>'}`,
        )
        .toSorted(),
      ['list from owner', 'none from <>', 'quiet,bad from sender'],
    );
    assert.equal(
      stored.find((b) => b.batch.sender?.local === 'owner')?.content,
      'Message-ID: <m@x.test>\r\nX-List: yes\r\n\r\nbody\r\n',
    );
    assert.deepEqual(
      eventsOf(world, 'error-ignored').map((e) => [e.recipient.address.local, e.reason]),
      [
        ['none', 'errors_to is empty'],
        ['quiet', 'NOTIFY'],
      ],
    );
    const bounces = world.batches
      .filter((b) => b.transport === 'back')
      .map(
        (b) => `${b.batch.recipients[0]?.address.local}: ${/X-Failed-Recipients: (.*)/.exec(b.content)?.[1]}`,
      );
    assert.deepEqual(bounces.toSorted(), ['owner: list@a.test', 'sender: bad@a.test']);
  });

  test('the whole of a one-recipient delivery is one write', async () => {
    let records = 0;
    const world = start({
      deliver: (batch) => batch.recipients.map(() => failedWith()),
      wrapSpool: (spool) => ({
        ...spool,
        record: (claim, update) => {
          records++;
          return spool.record(claim, update);
        },
      }),
    });
    world.runner.deliverNow(await world.born({}));
    await world.runner.stop(10_000);
    assert.equal(records, 1);
    assert.equal((await world.entries())[0]?.envelope.sender, null, 'the bounce is there');
  });

  test('deliveries are recorded while other batches of the message are under way', async () => {
    const { promise: gate, resolve: go } = Promise.withResolvers<void>();
    const world = start({
      deliver: async (batch) => {
        if (batch.recipients[0]?.address.domain === 'sock.test') await gate;
        return batch.recipients.map(() => delivered);
      },
      wrapSpool: (spool) => ({
        ...spool,
        record: async (claim, update) => {
          const result = await spool.record(claim, update);
          if (!update.release) {
            const [entry] = await world.entries();
            assert.deepEqual(
              entry?.states.map((s) => s.kind),
              ['done', 'pending'],
            );
            go();
          }
          return result;
        },
      }),
    });
    await world.put({ recipients: ['a@a.test', 'b@sock.test'] });
    await world.runner.queueRun();
    assert.equal(eventsOf(world, 'delivered').length, 2);
    assert.deepEqual(await world.entries(), []);
  });

  test('of very many recipients not each is recorded by itself, and all are in the end', async () => {
    const sizes: number[] = [];
    const routers: RouterSpec[] = [
      { name: 'one', domains: 'a.test', transport: 'one', manualroute: { routeData: 'whatmeworry' } },
    ];
    const world = start({
      routers,
      transports: {
        one: { deliver: (b) => b.recipients.map(() => delivered), local: true, maxRecipients: 1 },
      },
      wrapSpool: (spool) => ({
        ...spool,
        record: (claim, update) => {
          sizes.push(update.outcomes.length);
          return spool.record(claim, update);
        },
      }),
    });
    await world.put({ recipients: Array.from({ length: 2000 }, (_, i) => `u${i}@a.test`) });
    await world.runner.queueRun();
    assert.equal(world.batches.length, 2000);
    assert.equal(eventsOf(world, 'delivered').length, 2000);
    assert.deepEqual(await world.entries(), []);
    assert.ok(sizes.length <= 501, `${sizes.length} records`);
    assert.equal(
      sizes.reduce((sum, n) => sum + n, 0),
      2000,
    );
  });

  test('a refused record is tried until it is stored, and nothing is delivered twice', async () => {
    let refusals = 2;
    const world = start({
      deliver: (batch) => batch.recipients.map(() => delivered),
      wrapSpool: (spool) => ({
        ...spool,
        record: (claim, update) =>
          refusals-- > 0 ? Promise.reject(new Error('no space')) : spool.record(claim, update),
      }),
    });
    await world.put({});
    await world.runner.queueRun();
    assert.deepEqual(kinds(world), ['record-failed', 'record-failed', 'delivered', 'completed']);
    assert.equal(world.batches.length, 1);
  });

  test('a transport that throws or answers too little puts the recipient off', async () => {
    let turn = 0;
    const world = start({
      deliver: (batch) => {
        if (turn++ === 0) throw new Error('bug');
        return turn === 2 ? [delivered] : batch.recipients.map(() => delivered);
      },
    });
    await world.put({ recipients: ['a@a.test', 'b@a.test'] });
    await world.runner.queueRun();
    assert.deepEqual(kinds(world), ['problem', 'deferred', 'deferred']);
    world.now += minute;
    await world.runner.queueRun();
    world.now += minute;
    await world.runner.queueRun();
    assert.deepEqual(
      eventsOf(world, 'delivered').map((e) => e.recipient.position),
      [0, 1],
    );
    assert.deepEqual(
      world.batches.map((b) => b.batch.recipients.length),
      [2, 2, 1],
    );
  });

  test('self = freeze freezes the message', async () => {
    const world = start({
      routers: [{ name: 'self', transport: 'store', manualroute: { routeData: '127.0.0.1' } }],
    });
    await world.put({});
    await world.runner.queueRun();
    assert.deepEqual(kinds(world), ['deferred', 'frozen']);
    assert.equal(eventsOf(world, 'frozen')[0]?.reason, 'remote host address is the local host');
    assert.notEqual((await world.entries())[0]?.frozenAtMs, undefined);
  });
});

describe('a host that is down', () => {
  const down: Script = (batch) => batch.recipients.map(() => deferred('host'));

  test('is asked by one message when its time has come; the others wait', async () => {
    const world = start({ deliver: down });
    for (let i = 0; i < 5; i++) await world.put({});
    await world.runner.queueRun();
    const first = world.batches.length;
    world.now += minute;
    await world.runner.queueRun();
    assert.equal(world.batches.length, first + 1);
    assert.equal(eventsOf(world, 'deferred').filter((e) => e.skipped).length, 4);
    assert.ok(
      (await world.entries()).every((e) =>
        e.states.every((s) => s.kind === 'pending' && s.nextAttemptAtMs === world.now + minute),
      ),
    );
  });

  test('gets everything soon after it is back, each message once', async () => {
    let up = false;
    const world = start({
      deliver: (batch) => batch.recipients.map(() => (up ? delivered : deferred('host'))),
    });
    for (let i = 0; i < 20; i++) await world.put({ recipients: ['a@a.test', 'b@a.test'] });
    await world.runner.queueRun();
    up = true;
    world.now += minute;
    await world.runner.queueRun();
    assert.deepEqual(await world.entries(), []);
    assert.equal(eventsOf(world, 'delivered').length, 40);
    assert.equal(eventsOf(world, 'completed').length, 20);
  });

  test('bounces what has waited beyond the last cutoff, with the last error', async () => {
    const world = start({ deliver: down });
    await world.put({});
    for (let i = 0; i <= 122; i++) {
      await world.runner.queueRun();
      world.now += minute;
    }
    const failed = eventsOf(world, 'failed');
    assert.equal(failed.length, 1);
    assert.equal(failed[0]?.timedOut, true);
    assert.equal(failed[0]?.status.text, 'Connection refused');
    assert.equal(failed[0]?.queuedMs, 2 * hour + minute);
    assert.match(world.batches.at(-1)?.content ?? '', /retry timeout exceeded/);
  });

  test('without retry rules the first temporary error is final', async () => {
    const world = start({ deliver: down, retry: [] });
    await world.put({});
    await world.runner.queueRun();
    assert.deepEqual(
      eventsOf(world, 'failed').map((e) => e.timedOut),
      [true],
    );
  });

  test('after long failure new mail bounces at once until its time has come', async () => {
    const world = start({ deliver: down });
    await world.put({});
    for (let i = 0; i <= 122; i++) {
      await world.runner.queueRun();
      world.now += minute;
    }
    // The last attempt was two minutes ago: the next of this host is due. After it, nothing is tried for a minute.
    await world.put({});
    await world.runner.queueRun();
    const tried = world.batches.filter((b) => b.transport === 'store').length;
    await world.put({});
    await world.runner.queueRun();
    assert.equal(world.batches.filter((b) => b.transport === 'store').length, tried);
    assert.equal(
      eventsOf(world, 'failed').at(-1)?.status.text,
      'retry time not reached for any host after a long failure period',
    );
  });

  test('the other hosts of a list are still tried', async () => {
    const world = start({
      deliver: (batch) =>
        batch.recipients.map(() =>
          batch.hosts.some((h) => h.address === '198.51.100.2')
            ? { ...delivered, host: { name: '198.51.100.2', address: '198.51.100.2', port: 24 } }
            : deferred('host'),
        ),
    });
    await world.put({ recipients: ['x@a.test'] });
    await world.runner.queueRun();
    await world.put({ recipients: ['x@two.test'] });
    await world.runner.queueRun();
    assert.deepEqual(
      world.batches.at(-1)?.batch.hosts.map((h) => h.name),
      ['198.51.100.2'],
    );
    assert.equal(eventsOf(world, 'delivered').length, 1);
  });

  test('a forced queue run does not wait for the time', async () => {
    const world = start({ deliver: down });
    await world.put({});
    await world.runner.queueRun();
    await world.runner.queueRun();
    assert.equal(world.batches.length, 1);
    await world.runner.queueRun({ force: 'due' });
    assert.equal(world.batches.length, 2);
  });

  test('an address that is put off does not hold the host up', async () => {
    const world = start({
      deliver: (batch) =>
        batch.recipients.map((r) =>
          r.address.local === 'busy'
            ? {
                kind: 'deferred',
                status: {
                  text: 'SMTP error from remote mail server after RCPT TO:<busy@a.test>: 450 wait',
                  reply: { code: 450, lines: ['wait'] },
                },
                scope: 'address',
              }
            : delivered,
        ),
      retry: ['* rcpt_450 F,1h,7m', '* * F,1h,1m'],
    });
    await world.put({ recipients: ['busy@a.test', 'b@a.test'] });
    await world.put({ recipients: ['c@a.test'] });
    await world.runner.queueRun();
    assert.equal(eventsOf(world, 'delivered').length, 2);
    const [event] = eventsOf(world, 'deferred');
    assert.equal(event?.errno, -44);
    assert.equal(event?.nextAttemptAtMs, world.now + 7 * minute);
  });
});
