// Recipients that are redirected: one record each until all of their children are done, whatever happens in between.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { RouterSpec } from '../../test/support/routing-world.ts';
import {
  deferred,
  delivered,
  failedWith,
  openQueueWorld,
  type QueueWorld,
  type QueueWorldOptions,
  type Script,
} from '../../test/support/queue-world.ts';
import { formatAddress } from '../mail/address.ts';
import type { RecipientOutcome } from '../mail/outcome.ts';
import { deliveryLine } from '../observe/delivery-lines.ts';

const minute = 60_000;
const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-redirect-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const aliasFile = path.join(folder, 'aliases');
/** Lookups remember answers for a moment; included files are read anew. */
const listFile = path.join(folder, 'list');

const open: QueueWorld[] = [];
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

interface Setup {
  readonly aliases: string;
  readonly deliver: Script;
  readonly redirect?: Partial<Extract<RouterSpec, { redirect: unknown }>['redirect']>;
  readonly al?: Partial<RouterSpec>;
  readonly more?: Partial<QueueWorldOptions>;
}

function start({ aliases, deliver, redirect = {}, al = {}, more = {} }: Setup): QueueWorld {
  writeFileSync(aliasFile, aliases);
  const routers: RouterSpec[] = [
    { name: 'back', domains: 'back.test', transport: 'back', accept: true },
    {
      name: 'al',
      redirect: {
        data: `\${lookup{$local_part}lsearch{${aliasFile}}}`,
        allowFail: true,
        fileTransport: 'files',
        pipeTransport: 'files',
        ...redirect,
      },
      ...al,
    },
    { name: 'local', localParts: '!^no', transport: 'store', accept: true },
  ];
  const world = openQueueWorld({
    routers,
    transports: {
      store: { deliver, local: true },
      files: { deliver, local: true, maxRecipients: 1 },
      back: { deliver: (batch) => batch.recipients.map(() => delivered), local: true },
    },
    retry: ['* * F,2h,1m'],
    ...more,
  });
  open.push(world);
  return world;
}

/** What went to the store and to files, in order. */
function delivered2(world: QueueWorld): string[] {
  return world.batches
    .filter((b) => b.transport !== 'back')
    .flatMap((b) =>
      b.batch.recipients.map((r) => b.batch.delivery?.target?.text ?? formatAddress(r.address)),
    );
}

function lines(world: QueueWorld): string[] {
  return world.events.flatMap((e) => {
    const text = deliveryLine(e, new Set())?.text.replace(/^\S+ /, '');
    return text === undefined ? [] : [text];
  });
}

const all: Script = (batch) => batch.recipients.map(() => delivered);
/** Puts off those whose local part is in the set. */
function allBut(waiting: ReadonlySet<string>): Script {
  return (batch) =>
    batch.recipients.map((r) => (waiting.has(r.address.local) ? deferred('address') : delivered));
}

describe('a redirected recipient', () => {
  test('goes to each child once, and is logged with itself in brackets', async () => {
    const world = start({ aliases: 'list: a, b, list, /dev/null, |cmd x\n', deliver: all });
    await world.put({ recipients: ['list@example.test'] });
    await world.runner.queueRun();
    assert.deepEqual(
      delivered2(world).sort(),
      ['a@example.test', 'b@example.test', 'list@example.test', '|cmd x'].sort(),
    );
    assert.deepEqual(await world.entries(), []);
    assert.deepEqual(
      lines(world).sort(),
      [
        '=> /dev/null <list@example.test> R=al T=**bypassed**',
        '=> a <list@example.test> R=local T=store',
        '-> b <list@example.test> R=local T=store',
        '-> list <list@example.test> R=local T=store',
        '=> |cmd x <list@example.test> R=al T=files',
        'Completed',
      ].sort(),
    );
  });

  test('waits for its last child; those that are done stay done, by name, in the spool', async () => {
    const waiting = new Set(['b']);
    const world = start({ aliases: 'list: a, b, c\n', deliver: (b, s) => allBut(waiting)(b, s) });
    await world.put({ recipients: ['list@x.test'] });
    await world.runner.queueRun();
    const [entry] = await world.entries();
    const state = entry?.states[0];
    assert.ok(state?.kind === 'pending');
    assert.equal(state.nextAttemptAtMs, world.now + minute);
    assert.deepEqual(
      Object.entries(state.children ?? {}).map(([key, child]) => [key, child.kind]),
      [
        ['a@example.test', 'done'],
        ['b@example.test', 'pending'],
        ['c@example.test', 'done'],
      ],
    );
    waiting.clear();
    world.now += minute;
    await world.runner.queueRun();
    assert.deepEqual(
      delivered2(world),
      ['a', 'b', 'c', 'b'].map((l) => `${l}@example.test`),
    );
    assert.deepEqual(await world.entries(), []);
  });

  test('children have their own times', async () => {
    const waiting = new Set(['a', 'b']);
    writeFileSync(listFile, 'a, b');
    const world = start({
      aliases: '',
      deliver: (b, s) => allBut(waiting)(b, s),
      redirect: { data: `:include:${listFile}` },
      al: { localParts: 'list' },
    });
    await world.put({ recipients: ['list@x.test'] });
    await world.runner.queueRun();
    writeFileSync(listFile, 'a, b, new');
    waiting.add('new');
    world.now += minute / 2;
    await world.runner.queueRun({ force: 'due' });
    assert.deepEqual(
      delivered2(world)
        .slice(2)
        .map((a) => a.split('@')[0]),
      ['a', 'b', 'new'],
      'a forced run tries all; a new member of the list gets it too',
    );
    world.now += minute;
    await world.runner.queueRun();
    const [entry] = await world.entries();
    assert.ok(entry?.states[0]?.kind === 'pending' && entry.states[0].attempts === 3);
  });

  test('a child that fails is bounced once, while the others wait', async () => {
    const waiting = new Set(['b']);
    const world = start({ aliases: 'list: nobody, b\n', deliver: (b, s) => allBut(waiting)(b, s) });
    await world.put({ recipients: ['list@x.test'] });
    await world.runner.queueRun();
    waiting.clear();
    world.now += minute;
    await world.runner.queueRun();
    const bounces = world.batches.filter((b) => b.transport === 'back');
    assert.equal(bounces.length, 1);
    assert.match(
      bounces[0]?.content ?? '',
      /list@x\.test\r\n {4}\(redirected to nobody@example\.test\)\r\n {4}Unrouteable address/,
    );
    assert.ok(lines(world).includes('** nobody@example.test <list@x.test>: Unrouteable address'));
    assert.deepEqual(await world.entries(), []);
  });

  test('hide_child_in_errmsg, and errors_to of the list', async () => {
    const world = start({
      aliases: 'list: nobody\n',
      deliver: all,
      redirect: { hideChildInErrmsg: true },
      al: { errorsTo: 'owner@back.test' },
    });
    await world.put({ recipients: ['list@x.test'] });
    await world.runner.queueRun();
    const [bounce, ...others] = world.batches;
    assert.equal(others.length, 0);
    assert.equal(formatAddress(bounce?.batch.recipients[0]?.address ?? null), 'owner@back.test');
    assert.ok(!(bounce?.content ?? 'nobody').includes('nobody'));
  });
});

describe('duplicates', () => {
  test('recipients of the envelope, other lists, and what was done in an earlier attempt', async () => {
    const waiting = new Set(['late']);
    writeFileSync(listFile, 'b, late, plain, one');
    const world = start({
      aliases: `one: a, b, c\ntwo: :include:${listFile}\npipes: |cmd\nmore: |cmd\n`,
      deliver: (b, s) => allBut(waiting)(b, s),
    });
    await world.put({
      recipients: [
        'one@example.test',
        'plain@example.test',
        'two@example.test',
        'pipes@x.test',
        'more@x.test',
      ],
    });
    await world.runner.queueRun();
    assert.deepEqual(
      delivered2(world).sort(),
      ['a', 'b', 'c', 'late', 'plain']
        .map((l) => `${l}@example.test`)
        .concat(['|cmd', '|cmd'])
        .sort(),
      'the pipes of two parents are two',
    );
    // "one" is done and gone from the work, but what it did still counts for "two".
    writeFileSync(listFile, 'a, c, late');
    waiting.clear();
    world.now += minute;
    await world.runner.queueRun();
    assert.equal(delivered2(world).filter((a) => a.startsWith('late')).length, 2);
    assert.equal(delivered2(world).length, 8);
    assert.deepEqual(await world.entries(), []);
  });

  test('a recipient all of whose children are done for others is done', async () => {
    const world = start({ aliases: 'one: a\ntwo: a, one\n', deliver: all });
    await world.put({ recipients: ['one@example.test', 'two@example.test'] });
    await world.runner.queueRun();
    assert.deepEqual(delivered2(world), ['a@example.test']);
    assert.deepEqual(await world.entries(), []);
  });
});

describe('one_time', () => {
  test('a list is not read again: only those who are left get the message', async () => {
    const waiting = new Set(['b', 'c']);
    writeFileSync(listFile, 'a, b, c');
    const world = start({
      aliases: '',
      deliver: (b, s) => allBut(waiting)(b, s),
      redirect: { data: `:include:${listFile}`, oneTime: true },
      al: { localParts: 'list', errorsTo: 'owner@back.test' },
    });
    await world.put({ recipients: ['list@x.test'] });
    await world.runner.queueRun();
    writeFileSync(listFile, 'newcomer');
    waiting.delete('b');
    world.now += minute;
    await world.runner.queueRun();
    waiting.clear();
    world.now += minute;
    await world.runner.queueRun();
    assert.deepEqual(
      delivered2(world).map((a) => a.split('@')[0]),
      ['a', 'b', 'c', 'b', 'c', 'c'],
    );
    assert.deepEqual(
      world.batches.map((b) => formatAddress(b.batch.sender)),
      world.batches.map(() => 'owner@back.test'),
    );
    assert.deepEqual(await world.entries(), []);
  });
});

test('malformed addresses are skipped, logged, and told of by mail in the same record', async () => {
  const world = start({
    aliases: 'list: a@@b, c\n',
    deliver: all,
    redirect: { skipSyntaxErrors: true, syntaxErrorsTo: 'owner@back.test', syntaxErrorsText: 'Look:' },
  });
  await world.put({ recipients: ['list@x.test'] });
  await world.runner.queueRun();
  assert.ok(lines(world).includes('al router: skipped error: domain missing or malformed in "a@@b"'));
  const told = world.batches.find((b) => b.transport === 'back');
  assert.equal(told?.batch.sender, null);
  assert.match(
    told?.content ?? '',
    /Subject: error\(s\) in forwarding[^]*\r\n\r\nLook:\r\n\r\n[^]* {2}domain missing or malformed in "a@@b"\r\n\r\nThe other/,
  );
});

test('a crash between deliveries: what was recorded is not delivered again, and nothing is lost', async () => {
  // The store takes a batch and then the process dies before the rest is through: the last record never happens.
  let crash = true;
  const world = start({
    aliases: 'list: a, |one, |two, |three\n',
    deliver: (batch, signal) => {
      if (!crash || batch.delivery?.target?.text !== '|three') return all(batch, signal);
      return new Promise((_, reject) => {
        setTimeout(() => reject(new Error('killed')), 50);
      });
    },
    more: {
      wrapSpool: (spool) => ({
        ...spool,
        newId: () => spool.newId(),
        create: (s) => spool.create(s),
        claim: (o) => spool.claim(o),
        renew: (c, l, n) => spool.renew(c, l, n),
        inspect: (q) => spool.inspect(q),
        nextDueAtMs: () => spool.nextDueAtMs(),
        close: () => spool.close(),
        record: async (claim, update) => (crash && update.release ? 'lost' : spool.record(claim, update)),
      }),
    },
  });
  await world.put({ recipients: ['list@x.test'] });
  await world.runner.queueRun();
  const [entry] = await world.entries();
  const state = entry?.states[0];
  assert.ok(state?.kind === 'pending');
  const done = Object.entries(state.children ?? {}).filter(([, c]) => c.kind === 'done');
  assert.ok(done.length >= 1, 'deliveries are recorded while others are under way');
  crash = false;
  world.now += 10 * minute;
  const before = delivered2(world).length;
  await world.runner.queueRun();
  const again = delivered2(world).slice(before);
  assert.deepEqual(await world.entries(), []);
  for (const [key] of done)
    assert.ok(!again.some((a) => key === a || key.startsWith(`${a}:`)), `${key} is delivered once`);
  for (const target of ['a@example.test', '|one', '|two', '|three'])
    assert.ok(delivered2(world).includes(target), target);
});

test('whatever transports answer, every child is delivered once or bounced once in the end', async () => {
  const answer = fc.constantFrom<'ok' | 'no' | 'wait'>('ok', 'ok', 'no', 'wait', 'wait');
  const names = ['a', 'b', 'c', 'd', 'e'] as const;
  const lists = fc.array(fc.subarray([...names, 'l0', 'l1', 'l2'], { minLength: 1 }), {
    minLength: 3,
    maxLength: 3,
  });
  const recipients = fc.array(fc.constantFrom(...names, 'l0', 'l1', 'l2'), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(lists, recipients, fc.array(answer, { maxLength: 30 }), async (members, to, script) => {
      let step = 0;
      const ends = new Map<string, number>();
      const world = start({
        aliases: members.map((m, i) => `l${i}: ${m.join(', ')}\n`).join(''),
        deliver: (batch) =>
          batch.recipients.map((r): RecipientOutcome => {
            const said = script[step++] ?? 'ok';
            if (said === 'wait') return deferred('address');
            ends.set(r.address.local, (ends.get(r.address.local) ?? 0) + 1);
            return said === 'ok' ? delivered : failedWith();
          }),
      });
      await world.put({ recipients: to.map((local) => `${local}@example.test`) });
      for (let i = 0; i < 40 && (await world.entries()).length > 0; i++) {
        await world.runner.queueRun();
        world.now += minute;
      }
      assert.deepEqual(await world.entries(), [], 'the queue is empty in the end');
      const reached = new Set<string>();
      const walk = (name: string): void => {
        if (reached.has(name)) return;
        reached.add(name);
        for (const member of /^l\d$/.test(name) ? (members[Number(name[1])] ?? []) : []) walk(member);
      };
      for (const name of to) walk(name);
      for (const name of names) {
        const twice = to.filter((t) => t === name).length;
        const wanted = reached.has(name) ? Math.max(1, twice) : 0;
        assert.equal(ends.get(name) ?? 0, wanted, `${name} ended ${ends.get(name) ?? 0} times`);
      }
      await open.pop()?.close();
    }),
    { numRuns: 40 },
  );
});
