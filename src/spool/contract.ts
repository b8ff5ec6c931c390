/**
 * The suite every spool driver must pass: each sentence of the port's comments, as behaviour. A driver's test calls
 * {@link spoolContract} once.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, test } from 'node:test';
import * as fc from 'fast-check';
import type { Address, Domain, LocalPart } from '../mail/address.ts';
import { MailError } from '../mail/mail-error.ts';
import { parseQueueId, type QueueId } from '../mail/message-id.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type {
  Claim,
  GeneratedMessage,
  Hold,
  RecipientState,
  Spool,
  SpoolEntry,
  SpoolQuery,
  Submission,
} from './spool.ts';

export interface SpoolUnderTest {
  /** Opens the spool kept at this place; the suite opens one place several times, in one process and in several. */
  open(place: string): Spool | Promise<Spool>;
  /** JavaScript (an expression, `await` allowed) that opens the spool of `place` in another process. */
  openSource(place: string): string;
}

const never = new AbortController().signal;
const now: number = 1_764_000_000_000;
const minute = 60_000;
const done: RecipientState = { kind: 'done', how: 'delivered' };
/** Every octet, as a latin1 string. */
const everyOctet = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1');

export function address(local: string, domain = 'example.test'): Address {
  return { local: local as LocalPart, domain: domain as Domain };
}

export function submission(recipients = 1, sender: Address | null = address('sender')): Submission {
  return {
    envelope: {
      sender,
      recipients: Array.from({ length: recipients }, (_, i) => ({ address: address(`user${i}`) })),
    },
    reception: {
      protocol: 'esmtp',
      helo: 'client.example.test',
      hostAddress: '192.0.2.1',
      receivedAtMs: now,
    },
    headerEdits: [{ kind: 'add', where: 'top', text: 'Received: by mx.example.test\r\n' }],
    variables: { acl_m0: 'value' },
  };
}

const message = Buffer.from('Subject: test\r\nTo: user0@example.test\r\n\r\nbody\r\n', 'latin1');

export function pending(nextAttemptAtMs: number, attempts = 1): RecipientState {
  return {
    kind: 'pending',
    nextAttemptAtMs,
    attempts,
    firstFailureAtMs: now,
    lastStatus: { text: 'refused', code: '4.4.1' },
  };
}

export async function put(
  spool: Spool,
  leaseMs: number,
  nowMs: number = now,
  content: Uint8Array = message,
  recipients = 1,
): Promise<Claim | undefined> {
  const writer = await spool.create(never);
  await writer.write(content);
  return writer.commit(submission(recipients), leaseMs, nowMs);
}

export async function born(spool: Spool, content: Uint8Array = message, recipients = 1): Promise<Claim> {
  const claim = await put(spool, minute, now, content, recipients);
  assert.ok(claim);
  return claim;
}

export async function all(spool: Spool, query: SpoolQuery = {}): Promise<SpoolEntry[]> {
  return collect(spool.inspect(query));
}

export async function read(source: MessageSource): Promise<Buffer> {
  return Buffer.concat(await collect(source.open(never)));
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function claimOne(spool: Spool, nowMs = now, leaseMs = minute): Promise<Claim> {
  const [claim, ...more] = await spool.claim({ max: 10, leaseMs, nowMs });
  assert.ok(claim, 'a message to claim');
  assert.equal(more.length, 0);
  return claim;
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof MailError && error.code === code;
}

/** A process that runs `source` (with `spool` open) and prints lines; killed with the suite. */
export function runChild(
  openSource: string,
  source: string,
): { child: ChildProcess; lines: AsyncIterator<string> } {
  const program = `const spool = ${openSource}; const say = (x) => require('node:fs').writeSync(1, JSON.stringify(x) + '\\n'); ${source}`;
  const wrapped = `import { createRequire } from 'node:module'; const require = createRequire('/'); ${program}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', wrapped], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

export async function nextLine(lines: AsyncIterator<string>): Promise<unknown> {
  const line = await lines.next();
  assert.ok(line.done !== true, 'the child said something');
  return JSON.parse(line.value);
}

export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

export function spoolContract(driver: SpoolUnderTest): void {
  const places: string[] = [];
  const open: Spool[] = [];
  const place = (): string => {
    const made = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-spool-'));
    places.push(made);
    return made;
  };
  const spoolAt = async (at: string): Promise<Spool> => {
    const spool = await driver.open(at);
    open.push(spool);
    return spool;
  };
  const fresh = (): Promise<Spool> => spoolAt(place());
  after(async () => {
    await Promise.all(open.map((spool) => spool.close()));
    for (const made of places) fs.rmSync(made, { recursive: true, force: true });
  });

  describe('ids', () => {
    test('have the form of queue ids, are known at create, and never repeat between writers, openings and newId', async () => {
      const at = place();
      const seen = new Set<string>();
      let made = 0;
      for (let i = 0; i < 4; i++) {
        const spool = await driver.open(at);
        for (let n = 0; n < 50; n++, made += 2) {
          const { id } = await spool.create(never);
          assert.equal(parseQueueId(id), id);
          seen.add(id).add(spool.newId());
        }
        await spool.close();
      }
      assert.equal(seen.size, made);
    });
  });

  describe('commit', () => {
    test('keeps submission and content octet by octet', async () => {
      const at = place();
      const writer = await (await spoolAt(at)).create(never);
      const content = Buffer.from(`X: ${everyOctet.slice(14)}\r\n\r\n${everyOctet}`, 'latin1');
      await writer.write(content.subarray(0, 100));
      await writer.write(content.subarray(100));
      const given: Submission = {
        envelope: {
          sender: address(everyOctet, everyOctet),
          recipients: [
            { address: address(everyOctet), notify: ['failure', 'delay'], orcpt: 'rfc822;a@example.test' },
            { address: address(everyOctet), notify: 'never' },
          ],
          body: '8BITMIME',
          declaredSize: 12_345,
          smtputf8: true,
          ret: 'HDRS',
          envid: everyOctet,
        },
        reception: {
          protocol: 'esmtps',
          helo: everyOctet,
          hostAddress: '2001:db8::1',
          hostPort: 1,
          hostName: everyOctet,
          interfaceAddress: '192.0.2.1',
          interfacePort: 25,
          receivedAtMs: now + 0.5,
        },
        headerEdits: [
          { kind: 'add', where: 'bottom', text: everyOctet },
          { kind: 'remove', name: everyOctet },
        ],
        variables: { acl_m1: everyOctet, ['__proto__']: 'x', empty: '' },
      };
      assert.equal(await writer.commit(given, 0, now), undefined);
      // Another opening, so that nothing comes from memory.
      const claim = await claimOne(await spoolAt(at));
      const { id, size, headerSize, states, ...rest } = claim.entry;
      assert.deepEqual(rest, given);
      assert.equal(id, writer.id);
      assert.equal(size, content.length);
      assert.equal(headerSize, content.indexOf('\r\n\r\n') + 4);
      assert.equal(states.length, 2);
      assert.ok(states.every((s) => s.kind === 'pending' && s.attempts === 0 && s.nextAttemptAtMs <= now));
      assert.deepEqual(await read(claim.content), content);
      assert.equal(claim.content.size, content.length);
      assert.deepEqual(Buffer.from(claim.content.bytes ?? []), content);
    });

    test('the header section ends with its blank line, wherever that is', async () => {
      const spool = await fresh();
      const long = `X: ${'y'.repeat(300_000)}\r\n`;
      for (const [text, expected] of [
        ['A: 1\r\n\r\nbody', 8],
        ['\r\nbody\r\n\r\nmore', 2],
        ['A: 1\r\n', 6],
        ['', 0],
        ['A: 1\r\nB: 2\r\n\r\n', 14],
        [`${long}\r\nbody\r\n\r\n`, long.length + 2],
        [`\r\n${long}\r\n`, 2],
        [long, long.length],
      ] as const) {
        for (const step of [1 << 20, 65_536, ...(text.length < 100 ? [1, 3] : [])]) {
          const writer = await spool.create(never);
          const content = Buffer.from(text, 'latin1');
          for (let i = 0; i < content.length; i += step) await writer.write(content.subarray(i, i + step));
          const claim = await writer.commit(submission(), minute, now);
          assert.equal(claim?.entry.headerSize, expected, JSON.stringify(text.slice(0, 40)));
          assert.equal(claim?.entry.size, text.length);
        }
      }
    });

    test('content of any length in chunks of any length comes back whole, from the claim it was born with and from a later one', async () => {
      const at = place();
      const spool = await spoolAt(at);
      const other = await spoolAt(at);
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(
            fc.nat(5000),
            fc.constantFrom(128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1),
            fc.nat(1_500_000),
          ),
          fc.integer({ min: 1, max: 400_000 }),
          async (length, step) => {
            const content = Buffer.alloc(length);
            for (let i = 0; i < length; i += 251) content[i] = (i * 31 + length) & 0xff;
            const writer = await spool.create(never);
            for (let i = 0; i < length; i += Math.max(step, length >> 8)) {
              const chunk = Buffer.from(content.subarray(i, i + Math.max(step, length >> 8)));
              await writer.write(chunk);
              // The spool must not depend on the chunk after write.
              chunk.fill(0xee);
            }
            const claim = await writer.commit(submission(), minute, now);
            assert.ok(claim);
            assert.ok((await read(claim.content)).equals(content));
            assert.equal(await spool.record(claim, { outcomes: [], release: true }), 'recorded');
            const later = await claimOne(other);
            for await (const chunk of later.content.open(never))
              assert.ok(chunk.length > 0 && chunk.length <= 128 * 1024);
            assert.ok((await read(later.content)).equals(content), 'read twice');
            assert.equal(
              await other.record(later, { outcomes: [{ recipient: 0, state: done }], release: true }),
              'recorded',
            );
          },
        ),
        { numRuns: 25 },
      );
      assert.deepEqual(await all(spool), []);
    });

    test('some of its recipients can be done at birth, not all', async () => {
      const spool = await fresh();
      const writer = await spool.create(never);
      await writer.write(message);
      const finished = { kind: 'done', how: 'delivered' } as const;
      const claim = await writer.commit(submission(3), minute, now, [undefined, finished, undefined]);
      assert.deepEqual(
        claim?.entry.states.map((s) => s.kind),
        ['pending', 'done', 'pending'],
      );
      assert.deepEqual((await all(spool))[0]?.states, claim?.entry.states);
      const over = await spool.create(never);
      await over.write(message);
      await assert.rejects(async () => over.commit(submission(1), minute, now, [finished]), RangeError);
      assert.equal((await all(spool)).length, 1);
    });

    test('what was written can be read before it is committed, and more can be written', async () => {
      const spool = await fresh();
      for (const length of [0, 1, 1000, 200_000, 900_000]) {
        const writer = await spool.create(never);
        const head = Buffer.from('A: b\r\n\r\n', 'latin1');
        const body = Buffer.alloc(length, 'x');
        await writer.write(head);
        await writer.write(body);
        const written = await writer.content();
        assert.equal(written.headerSize, head.length);
        assert.equal(written.source.size, head.length + length);
        assert.ok((await read(written.source)).equals(Buffer.concat([head, body])));
        await writer.write(body);
        assert.ok((await read((await writer.content()).source)).equals(Buffer.concat([head, body, body])));
        if (length === 1000) {
          await writer.abort();
          await assert.rejects(writer.content(), hasCode('CLOSED'));
          continue;
        }
        const claim = await writer.commit(submission(), minute, now);
        assert.ok(claim);
        assert.ok((await read(claim.content)).equals(Buffer.concat([head, body, body])));
      }
    });

    test('with a lease the message is born claimed', async () => {
      const at = place();
      const spool = await spoolAt(at);
      const claim = await born(spool);
      assert.deepEqual(await read(claim.content), message);
      for (const other of [spool, await spoolAt(at)]) {
        assert.deepEqual(await other.claim({ max: 10, leaseMs: minute, nowMs: now }), []);
      }
      assert.equal((await all(spool)).length, 1);
    });

    test('many at once all become durable, each once', async () => {
      const at = place();
      const spool = await spoolAt(at);
      const ids = await Promise.all(
        Array.from({ length: 300 }, async () => {
          const writer = await spool.create(never);
          await writer.write(message);
          await writer.commit(submission(), 0, now);
          return writer.id;
        }),
      );
      await spool.close();
      assert.deepEqual((await all(await spoolAt(at))).map((e) => e.id).sort(), [...ids].sort());
    });

    test('a message is not there before commit', async () => {
      const spool = await fresh();
      const writer = await spool.create(never);
      await writer.write(Buffer.alloc(500_000));
      assert.deepEqual(await all(spool), []);
      assert.equal(spool.nextDueAtMs(), undefined);
      await writer.abort();
    });

    test('happens once', async () => {
      const spool = await fresh();
      const writer = await spool.create(never);
      await writer.commit(submission(), 0, now);
      await assert.rejects(writer.commit(submission(), 0, now), hasCode('CLOSED'));
      assert.equal((await all(spool)).length, 1);
    });
  });

  describe('abort', () => {
    test('forgets everything, twice if asked, and nothing can follow', async () => {
      const spool = await fresh();
      for (const length of [10, 700_000]) {
        const writer = await spool.create(never);
        await writer.write(Buffer.alloc(length));
        await writer.abort();
        await writer.abort();
        assert.throws(() => void writer.write(message), hasCode('CLOSED'));
        await assert.rejects(writer.commit(submission(), 0, now), hasCode('CLOSED'));
      }
      assert.deepEqual(await all(spool), []);
    });

    test('does nothing after commit', async () => {
      const spool = await fresh();
      for (const content of [message, Buffer.alloc(700_000, 'x')]) {
        const writer = await spool.create(never);
        await writer.write(content);
        const committed = writer.commit(submission(), minute, now);
        await writer.abort();
        const claim = await committed;
        await writer.abort();
        assert.ok(claim);
        assert.ok((await read(claim.content)).equals(content));
      }
      assert.equal((await all(spool)).length, 2);
    });

    test('an aborted signal refuses create and commit', async () => {
      const spool = await fresh();
      const aborted = AbortSignal.abort();
      await assert.rejects(spool.create(aborted), hasCode('ABORTED'));
      for (const length of [10, 700_000]) {
        const controller = new AbortController();
        const writer = await spool.create(controller.signal);
        await writer.write(Buffer.alloc(length));
        controller.abort();
        await assert.rejects(writer.commit(submission(), 0, now), hasCode('ABORTED'));
      }
      assert.deepEqual(await all(spool), []);
    });

    test('reading stops with its signal', async () => {
      const spool = await fresh();
      for (const size of [100_000, 1_000_000]) {
        const claim = await born(spool, Buffer.alloc(size, 'x'));
        const controller = new AbortController();
        await assert.rejects(async () => {
          for await (const chunk of claim.content.open(controller.signal)) {
            assert.ok(chunk.length < size);
            controller.abort();
          }
        }, hasCode('ABORTED'));
      }
    });
  });

  describe('claim', () => {
    test('gives what is due, longest due first, at most max', async () => {
      const spool = await fresh();
      for (const dueMs of [now + 3, now + 1, now + 2, now + 9, now]) await put(spool, 0, dueMs);
      const dues = (claims: readonly Claim[]): unknown[] =>
        claims.map(
          ({ entry }) => entry.states[0]?.kind === 'pending' && entry.states[0].nextAttemptAtMs - now,
        );
      assert.deepEqual(dues(await spool.claim({ max: 0, leaseMs: minute, nowMs: now + 5 })), []);
      assert.deepEqual(dues(await spool.claim({ max: 3, leaseMs: minute, nowMs: now + 5 })), [0, 1, 2]);
      assert.deepEqual(dues(await spool.claim({ max: 3, leaseMs: minute, nowMs: now + 5 })), [3]);
      assert.deepEqual(dues(await spool.claim({ max: 3, leaseMs: minute, nowMs: now + 9 })), [9]);
    });

    test('new mail comes in the order in which it arrived', async () => {
      const spool = await fresh();
      const ids: string[] = [];
      for (let i = 0; i < 30; i++) {
        const writer = await spool.create(never);
        await writer.commit(submission(), 0, now);
        ids.push(writer.id);
      }
      assert.deepEqual(
        (await spool.claim({ max: 99, leaseMs: minute, nowMs: now })).map((c) => c.entry.id),
        ids,
      );
    });

    test('a lease ends by time, and the token of the one who had it is stale once another has it', async () => {
      const at = place();
      const first = await spoolAt(at);
      const second = await spoolAt(at);
      const old = await born(first);
      assert.deepEqual(await second.claim({ max: 9, leaseMs: minute, nowMs: now + minute - 1 }), []);
      const taken = await claimOne(second, now + minute);
      assert.notEqual(taken.token, old.token);
      assert.equal(
        await first.record(old, { outcomes: [{ recipient: 0, state: done }], release: true }),
        'lost',
      );
      assert.equal(await first.renew(old, minute, now + minute), 'lost');
      assert.deepEqual((await all(first))[0]?.states, old.entry.states);
      assert.equal(
        await second.record(taken, { outcomes: [{ recipient: 0, state: done }], release: true }),
        'recorded',
      );
      assert.deepEqual(await all(first), []);
    });

    test('renew extends a lease', async () => {
      const at = place();
      const first = await spoolAt(at);
      const second = await spoolAt(at);
      const claim = await born(first);
      assert.equal(await first.renew(claim, minute, now + minute / 2), 'renewed');
      assert.deepEqual(await second.claim({ max: 9, leaseMs: minute, nowMs: now + minute }), []);
      assert.equal((await second.claim({ max: 9, leaseMs: minute, nowMs: now + 1.5 * minute })).length, 1);
      assert.equal(await first.renew(claim, minute, now + 2 * minute), 'lost');
    });

    test('a lease past its time can be renewed and recorded while nobody else took the message', async () => {
      const spool = await fresh();
      const claim = await born(spool);
      assert.equal(await spool.renew(claim, minute, now + 5 * minute), 'renewed');
      assert.deepEqual(await spool.claim({ max: 9, leaseMs: minute, nowMs: now + 5 * minute }), []);
      assert.equal(
        await spool.record(claim, { outcomes: [{ recipient: 0, state: done }], release: true }),
        'recorded',
      );
    });

    test('of many claims at once each message goes to one', async () => {
      const at = place();
      const spools = [await spoolAt(at), await spoolAt(at)];
      await Promise.all(Array.from({ length: 60 }, () => put(spools[0] ?? assert.fail(), 0)));
      const rounds = Array.from({ length: 20 }, (_, i) =>
        (spools[i % 2] ?? assert.fail()).claim({ max: 7, leaseMs: minute, nowMs: now }),
      );
      const ids = (await Promise.all(rounds)).flat().map((c) => c.entry.id);
      assert.equal(ids.length, 60);
      assert.equal(new Set(ids).size, 60);
    });

    test('by id, before its time and frozen, when asked to', async () => {
      const spool = await fresh();
      const [early, frozen] = [await born(spool), await born(spool)];
      await spool.record(early, {
        outcomes: [{ recipient: 0, state: pending(now + minute) }],
        release: true,
      });
      await spool.record(frozen, { outcomes: [], frozenAtMs: now, release: true });
      const options = { max: 9, leaseMs: minute, nowMs: now };
      assert.deepEqual(await spool.claim(options), []);
      assert.deepEqual(await spool.claim({ ...options, id: early.entry.id }), []);
      assert.deepEqual(await spool.claim({ ...options, id: frozen.entry.id, force: 'due' }), []);
      const [claim, ...none] = await spool.claim({ ...options, force: 'due' });
      assert.equal(claim?.entry.id, early.entry.id);
      assert.deepEqual(none, []);
      const [thaw] = await spool.claim({ ...options, id: frozen.entry.id, force: 'frozen' });
      assert.equal(thaw?.entry.frozenAtMs, now);
      assert.deepEqual(await spool.claim({ ...options, force: 'frozen' }), [], 'both are leased now');
      assert.ok(thaw);
      await spool.record(thaw, { outcomes: [], frozenAtMs: null, release: true });
      assert.equal((await claimOne(spool)).entry.id, frozen.entry.id);
    });

    test('entries in their thousands do not stand in the way', async () => {
      const spool = await fresh();
      await Promise.all(Array.from({ length: 3000 }, (_, i) => put(spool, 0, now + 10 + i)));
      await put(spool, 0, now);
      assert.equal((await spool.claim({ max: 100, leaseMs: minute, nowMs: now })).length, 1);
      assert.equal(spool.nextDueAtMs(), now + 10);
      const ids = new Set<string>();
      for (;;) {
        const claims = await spool.claim({ max: 500, leaseMs: minute, nowMs: now + 5000 });
        if (claims.length === 0) break;
        for (const c of claims) ids.add(c.entry.id);
      }
      assert.equal(ids.size, 3000);
    });
  });

  describe('record', () => {
    test('keeps states by position, and release makes the message claimable when it is due', async () => {
      const at = place();
      const spool = await spoolAt(at);
      const claim = await born(spool, message, 3);
      const later = pending(now + minute, 2);
      const outcomes = [
        { recipient: 2, state: done },
        { recipient: 1, state: later },
      ];
      assert.equal(await spool.record(claim, { outcomes, release: false }), 'recorded');
      assert.deepEqual(await spool.claim({ max: 9, leaseMs: minute, nowMs: now }), [], 'still leased');
      const more = [{ recipient: 0, state: { kind: 'done', how: 'failed' } as const }];
      assert.equal(await spool.record(claim, { outcomes: more, release: true }), 'recorded');
      const other = await spoolAt(at);
      const expected = [{ kind: 'done', how: 'failed' }, later, done];
      assert.deepEqual((await all(other))[0]?.states, expected);
      assert.deepEqual(await other.claim({ max: 9, leaseMs: minute, nowMs: now + minute - 1 }), []);
      assert.deepEqual((await claimOne(other, now + minute)).entry.states, expected);
    });

    test('after a release the claim is stale', async () => {
      const spool = await fresh();
      const claim = await born(spool);
      assert.equal(await spool.record(claim, { outcomes: [], release: true }), 'recorded');
      assert.equal(
        await spool.record(claim, { outcomes: [{ recipient: 0, state: done }], release: true }),
        'lost',
      );
      assert.equal(await spool.renew(claim, minute, now), 'lost');
      assert.equal((await all(spool)).length, 1);
    });

    test('the message disappears with its last recipient, content and all', async () => {
      const spool = await fresh();
      for (const content of [message, Buffer.alloc(300_000, 'x')]) {
        const claim = await born(spool, content, 2);
        await spool.record(claim, { outcomes: [{ recipient: 1, state: done }], release: false });
        assert.equal((await all(spool)).length, 1);
        const last = [{ recipient: 0, state: { kind: 'done', how: 'discarded' } as const }];
        assert.equal(await spool.record(claim, { outcomes: last, release: false }), 'recorded');
        assert.deepEqual(await all(spool), []);
        assert.equal(await spool.record(claim, { outcomes: last, release: true }), 'lost');
        assert.equal(spool.nextDueAtMs(), undefined);
      }
    });

    test('records of one claim at the same time all count', async () => {
      const spool = await fresh();
      const claim = await born(spool, message, 20);
      const results = await Promise.all(
        Array.from({ length: 19 }, (_, i) =>
          spool.record(claim, { outcomes: [{ recipient: i, state: done }], release: false }),
        ),
      );
      assert.ok(results.every((r) => r === 'recorded'));
      assert.equal((await all(spool))[0]?.states.filter((s) => s.kind === 'done').length, 19);
      await spool.record(claim, { outcomes: [{ recipient: 19, state: done }], release: false });
      assert.deepEqual(await all(spool), []);
    });

    test('a recipient that is not there is a fault, and nothing is written', async () => {
      const spool = await fresh();
      const claim = await born(spool);
      await assert.rejects(
        spool.record(claim, { outcomes: [{ recipient: 1, state: done }], release: true }),
        RangeError,
      );
      assert.deepEqual((await all(spool))[0]?.states, claim.entry.states);
    });

    test('generated messages appear with the record, or not at all', async () => {
      const at = place();
      const spool = await spoolAt(at);
      const generate = (content: Buffer): GeneratedMessage => ({
        ...submission(1, null),
        id: spool.newId(),
        content,
      });
      for (const content of [message, Buffer.alloc(400_000, 'x')]) {
        const claim = await born(spool);
        const [bounce, wrong] = [generate(content), generate(content)];
        const update = {
          outcomes: [{ recipient: 0, state: { kind: 'done', how: 'failed' } as const }],
          release: true,
        };
        assert.equal(
          await spool.record({ ...claim, token: 'stale' }, { ...update, generated: [wrong] }),
          'lost',
        );
        assert.deepEqual(
          (await all(spool)).map((e) => e.id),
          [claim.entry.id],
        );
        assert.equal(await spool.record(claim, { ...update, generated: [bounce] }), 'recorded');
        const taken = await claimOne(await spoolAt(at));
        assert.equal(taken.entry.id, bounce.id);
        assert.equal(taken.entry.envelope.sender, null);
        assert.equal(taken.entry.size, content.length);
        assert.ok((await read(taken.content)).equals(content));
        const other = await spoolAt(at);
        const again = await born(other);
        await assert.rejects(
          other.record(again, { ...update, generated: [bounce] }),
          hasCode('IO'),
          'an id is used once',
        );
        assert.deepEqual(
          (await all(other, { id: again.entry.id })).map((e) => e.states),
          [again.entry.states],
        );
        await other.record(again, update);
        assert.ok((await read(taken.content)).equals(content), 'the refused one took nothing with it');
        await (open.at(-2) ?? assert.fail()).record(taken, update);
        assert.deepEqual(await all(spool), []);
      }
    });

    test('a message can be born frozen or for later, together with those who are told', async () => {
      for (const length of [100, 400_000]) {
        const at = place();
        const spool = await spoolAt(at);
        const content = Buffer.alloc(length, 'x');
        const commit = async (hold: Hold): Promise<QueueId> => {
          const writer = await spool.create(never);
          await writer.write(content);
          assert.equal(await writer.commit(submission(2), hold, now), undefined);
          return writer.id;
        };
        const notice: GeneratedMessage = {
          ...submission(1, null),
          id: spool.newId(),
          content: message,
        };
        const later = await commit({ nextAttemptAtMs: now + 5000 });
        const frozen = await commit({ nextAttemptAtMs: now, frozenAtMs: now + 3, generated: [notice] });
        // Another opening, so that nothing comes from memory.
        const other = await spoolAt(at);
        assert.deepEqual(
          (await all(other, { frozen: true })).map((e) => [e.id, e.frozenAtMs]),
          [[frozen, now + 3]],
        );
        assert.equal((await claimOne(other)).entry.id, notice.id, 'nothing else is due');
        const waiting = await claimOne(other, now + 5000);
        assert.equal(waiting.entry.id, later);
        assert.deepEqual(
          waiting.entry.states,
          [0, 1].map(() => ({ kind: 'pending', nextAttemptAtMs: now + 5000, attempts: 0 })),
        );
        assert.ok((await read(waiting.content)).equals(content));
        const again = await spool.create(never);
        await assert.rejects(
          again.commit(
            submission(),
            { nextAttemptAtMs: now, frozenAtMs: now, generated: [{ ...notice, content }] },
            now,
          ),
          hasCode('IO'),
          'an id is used once',
        );
        assert.deepEqual(await all(other, { id: again.id }), [], 'and nothing of it is stored');
        const [thaw] = await other.claim({
          max: 9,
          leaseMs: minute,
          nowMs: now,
          id: frozen,
          force: 'frozen',
        });
        assert.ok((await read(thaw?.content ?? assert.fail())).equals(content));
      }
    });

    test('freezing keeps a message from being claimed until it is thawed', async () => {
      const spool = await fresh();
      const claim = await born(spool);
      assert.equal(
        await spool.record(claim, { outcomes: [], frozenAtMs: now + 1, release: false }),
        'recorded',
      );
      assert.deepEqual(await spool.claim({ max: 9, leaseMs: minute, nowMs: now + 99 * minute }), []);
      assert.equal(spool.nextDueAtMs(), undefined);
      assert.deepEqual(
        (await all(spool, { frozen: true })).map((e) => e.frozenAtMs),
        [now + 1],
      );
      assert.deepEqual(await all(spool, { frozen: false }), []);
      assert.equal(await spool.record(claim, { outcomes: [], release: false }), 'recorded');
      assert.equal(
        (await all(spool))[0]?.frozenAtMs,
        now + 1,
        'a record that does not mention it leaves it frozen',
      );
      assert.equal(await spool.record(claim, { outcomes: [], frozenAtMs: null, release: true }), 'recorded');
      const thawed = await claimOne(spool);
      assert.equal(thawed.entry.frozenAtMs, undefined);
      assert.equal((await all(spool, { frozen: false })).length, 1);
    });
  });

  describe('inspect', () => {
    test('gives all, oldest first, claimed or not, and one by its id', async () => {
      const spool = await fresh();
      const ids: string[] = [];
      for (let i = 0; i < 150; i++) {
        const writer = await spool.create(never);
        await writer.commit(submission(), i % 2 === 0 ? minute : 0, now);
        ids.push(writer.id);
      }
      const entries = await all(spool);
      assert.deepEqual(
        entries.map((e) => e.id),
        ids,
      );
      const [, second] = entries;
      assert.ok(second);
      assert.deepEqual(await all(spool, { id: second.id }), [second]);
      assert.deepEqual(await all(spool, { id: second.id, frozen: true }), []);
      assert.deepEqual(await all(spool, { id: spool.newId() }), []);
    });

    test('goes on while messages come and go', async () => {
      const spool = await fresh();
      const claims = await Promise.all(Array.from({ length: 200 }, () => born(spool)));
      let seen = 0;
      for await (const entry of spool.inspect({})) {
        assert.ok(entry.envelope.recipients.length === 1);
        const claim = claims[seen++];
        if (claim !== undefined)
          await spool.record(claim, { outcomes: [{ recipient: 0, state: done }], release: true });
        if (seen % 10 === 0) await put(spool, minute);
        if (seen > 1000) assert.fail('without end');
      }
      assert.ok(seen >= 64);
    });
  });

  describe('nextDueAtMs', () => {
    test('is the earliest time at which something can be claimed', async () => {
      const spool = await fresh();
      assert.equal(spool.nextDueAtMs(), undefined);
      await put(spool, 0, now + 50);
      const claim = await born(spool);
      assert.equal(spool.nextDueAtMs(), now + 50);
      await spool.record(claim, { outcomes: [{ recipient: 0, state: pending(now + 20) }], release: true });
      assert.equal(spool.nextDueAtMs(), now + 20);
      assert.equal((await spool.claim({ max: 9, leaseMs: minute, nowMs: now + 50 })).length, 2);
      assert.equal(spool.nextDueAtMs(), now + 50 + minute, 'the end of the leases');
    });

    test('sees what another opening did', async () => {
      const at = place();
      const [one, two] = [await spoolAt(at), await spoolAt(at)];
      assert.equal(two.nextDueAtMs(), undefined);
      await put(one, 0, now + 7);
      assert.equal(two.nextDueAtMs(), now + 7);
    });
  });

  describe('close', () => {
    test('waits for what is under way, and refuses what comes after', async () => {
      const at = place();
      const spool = await driver.open(at);
      const [small, large] = [await spool.create(never), await spool.create(never)];
      await large.write(Buffer.alloc(2_000_000));
      const unfinished = await spool.create(never);
      await unfinished.write(Buffer.alloc(500_000));
      const commits = [small.commit(submission(), 0, now), large.commit(submission(), 0, now)];
      const closed = spool.close();
      await Promise.all(commits);
      await closed;
      await spool.close();
      await assert.rejects(unfinished.commit(submission(), 0, now), hasCode('CLOSED'));
      await assert.rejects(spool.create(never), hasCode('CLOSED'));
      await assert.rejects(spool.claim({ max: 1, leaseMs: 1, nowMs: now }), hasCode('CLOSED'));
      assert.throws(() => spool.nextDueAtMs(), hasCode('CLOSED'));
      assert.equal((await all(await spoolAt(at))).length, 2);
    });

    test('gives back what was claimed', async () => {
      const at = place();
      const spool = await driver.open(at);
      await born(spool);
      const other = await spoolAt(at);
      assert.deepEqual(await other.claim({ max: 9, leaseMs: minute, nowMs: now }), []);
      await spool.close();
      assert.equal(other.nextDueAtMs(), now);
      assert.equal((await other.claim({ max: 9, leaseMs: minute, nowMs: now })).length, 1);
    });
  });

  describe('several processes', () => {
    test('a lease holds while its process lives and is void at once when it is killed', {
      timeout: 30_000,
    }, async (t) => {
      const at = place();
      const spool = await spoolAt(at);
      for (let i = 0; i < 5; i++) await put(spool, 0);
      const { child, lines } = runChild(
        driver.openSource(at),
        `const claims = await spool.claim({ max: 3, leaseMs: 3600000, nowMs: ${now} });
         say(claims.map((c) => c.entry.id)); process.stdin.resume();`,
      );
      t.after(() => kill(child));
      const held = await nextLine(lines);
      assert.ok(Array.isArray(held) && held.length === 3);
      const rest = await spool.claim({ max: 9, leaseMs: minute, nowMs: now + minute });
      assert.equal(rest.length, 2);
      assert.ok(rest.every((c) => !held.includes(c.entry.id)));
      await kill(child);
      assert.equal(spool.nextDueAtMs(), now);
      const freed = await spool.claim({ max: 9, leaseMs: minute, nowMs: now + minute });
      assert.deepEqual(new Set<unknown>(freed.map((c) => c.entry.id)), new Set<unknown>(held));
      assert.ok((await read((freed[0] ?? assert.fail()).content)).equals(message));
    });

    test('two processes claim and record at the same time, and each message is had by one', {
      timeout: 60_000,
    }, async (t) => {
      const at = place();
      const spool = await spoolAt(at);
      const count = 400;
      await Promise.all(Array.from({ length: count }, () => put(spool, 0)));
      const { child, lines } = runChild(
        driver.openSource(at),
        `say('ready'); await new Promise((r) => process.stdin.once('data', r));
         const had = [];
         for (;;) {
           const claims = await spool.claim({ max: 5, leaseMs: 60000, nowMs: ${now} });
           if (claims.length === 0) break;
           for (const c of claims) had.push(c.entry.id);
           const results = await Promise.all(claims.map((c) =>
             spool.record(c, { outcomes: [{ recipient: 0, state: { kind: 'done', how: 'delivered' } }], release: true })));
           if (results.includes('lost')) throw new Error('lost');
         }
         say(had); await spool.close(); process.exit(0);`,
      );
      t.after(() => kill(child));
      assert.equal(await nextLine(lines), 'ready');
      child.stdin?.write('go\n');
      const had: string[] = [];
      for (;;) {
        const claims = await spool.claim({ max: 5, leaseMs: minute, nowMs: now });
        if (claims.length === 0) break;
        for (const claim of claims) {
          had.push(claim.entry.id);
          assert.equal(
            await spool.record(claim, { outcomes: [{ recipient: 0, state: done }], release: true }),
            'recorded',
          );
        }
      }
      const theirs = await nextLine(lines);
      assert.ok(Array.isArray(theirs));
      assert.equal(new Set([...had, ...theirs]).size, count);
      assert.equal(had.length + theirs.length, count);
      assert.deepEqual(await all(spool), []);
    });

    test('what commit said is durable is there after kill -9, and what was not committed leaves nothing', {
      timeout: 30_000,
    }, async (t) => {
      const at = place();
      const { child, lines } = runChild(
        driver.openSource(at),
        `const submission = ${JSON.stringify(submission())};
         const write = async (size) => { const w = await spool.create(new AbortController().signal);
           for (let i = 0; i < size; i += 50000) await w.write(Buffer.alloc(Math.min(50000, size - i), 120)); return w; };
         const ids = [];
         for (const size of [100, 5000, 400000, 3000000]) { const w = await write(size); await w.commit(submission, 60000, ${now}); ids.push(w.id); }
         await write(2000000);
         say(ids); process.stdin.resume();`,
      );
      t.after(() => kill(child));
      const ids = await nextLine(lines);
      await kill(child);
      const spool = await spoolAt(at);
      const claims = await spool.claim({ max: 9, leaseMs: minute, nowMs: now });
      assert.deepEqual(claims.map((c) => c.entry.id).sort(), ids);
      assert.deepEqual(
        claims.map((c) => c.content.size).sort((a, b) => a - b),
        [100, 5000, 400_000, 3_000_000],
      );
      for (const claim of claims)
        assert.ok((await read(claim.content)).equals(Buffer.alloc(claim.content.size, 'x')));
    });
  });
}
