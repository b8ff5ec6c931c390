import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { MailError } from '../../../mail/mail-error.ts';
import {
  all,
  born,
  kill,
  nextLine,
  pending,
  put,
  read,
  runChild,
  spoolContract,
  submission,
} from '../../contract.ts';
import type { Claim, Spool } from '../../spool.ts';
import { openEnvironment } from './environment.ts';
import { openLmdbSpool } from './lmdb-spool.ts';

const module = new URL('./lmdb-spool.ts', import.meta.url).href;
const openSource = (directory: string): string =>
  `(await import(${JSON.stringify(module)})).openLmdbSpool({ directory: ${JSON.stringify(directory)} })`;

spoolContract({ open: (directory) => openLmdbSpool({ directory }), openSource });

const never = new AbortController().signal;
const now = 1_764_000_000_000;
const delivered = {
  outcomes: [{ recipient: 0, state: { kind: 'done', how: 'delivered' } as const }],
  release: true,
};

function temporary(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-spool-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function isNoSpace(error: unknown): boolean {
  return error instanceof MailError && error.code === 'NO_SPACE';
}

describe('content files', () => {
  const files = (directory: string): string[] => fs.readdirSync(path.join(directory, 'body'));

  test('only content above the limit has one, it is private, and it goes with the message', async (t) => {
    const directory = temporary(t);
    const spool = openLmdbSpool({ directory, inlineLimitBytes: 1000 });
    const [small, large] = [await born(spool, Buffer.alloc(1000)), await born(spool, Buffer.alloc(1001))];
    const [name, ...more] = files(directory);
    assert.ok(name?.startsWith(large.entry.id));
    assert.deepEqual(more, []);
    for (const inside of ['db', `body/${name}`]) {
      assert.equal(fs.statSync(path.join(directory, inside)).mode & 0o007, 0, inside);
    }
    await spool.record(small, delivered);
    await spool.record(large, delivered);
    assert.deepEqual(files(directory), []);
    await spool.close();
  });

  test('abort, an aborted signal and close remove what was begun', async (t) => {
    const directory = temporary(t);
    const spool = openLmdbSpool({ directory });
    const controller = new AbortController();
    const writers = [
      await spool.create(never),
      await spool.create(controller.signal),
      await spool.create(never),
    ];
    for (const writer of writers) await writer.write(Buffer.alloc(900_000));
    assert.equal(files(directory).length, 3);
    await writers[0]?.abort();
    assert.equal(files(directory).length, 2);
    controller.abort();
    await spool.close();
    assert.deepEqual(files(directory), []);
  });

  test('a message given up leaves nothing with the signal, which lives as long as its connection', async (t) => {
    const spool = openLmdbSpool({ directory: temporary(t) });
    const { signal } = new AbortController();
    for (let i = 0; i < 3; i++) {
      const writer = await spool.create(signal);
      await writer.write(Buffer.alloc(300_000));
      await writer.abort();
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    await spool.close();
  });

  test('a file that could not be synced or written makes commit fail with its reason and leaves nothing', async (t) => {
    const directory = temporary(t);
    const spool = openLmdbSpool({ directory });
    const writer = await spool.create(never);
    // The folder is replaced by a file: creating the content file fails.
    fs.rmSync(path.join(directory, 'body'), { recursive: true });
    fs.writeFileSync(path.join(directory, 'body'), '');
    await writer.write(Buffer.alloc(900_000));
    await assert.rejects(
      writer.commit(submission(), 1000, now),
      (e) => e instanceof MailError && e.code === 'IO' && e.cause instanceof Error,
    );
    assert.deepEqual(await all(spool), []);
    await spool.close();
  });

  test('opening removes orphans of processes that are gone, and no file that somebody writes or refers to', {
    timeout: 30_000,
  }, async (t) => {
    const directory = temporary(t);
    const source = (hold: string): string =>
      `const w = await spool.create(new AbortController().signal);
       for (let i = 0; i < 10; i++) await w.write(Buffer.alloc(100000));
       ${hold} say(w.id); process.stdin.resume();`;
    const writing = runChild(openSource(directory), source(''));
    const killed = runChild(openSource(directory), source(''));
    const kept = runChild(
      openSource(directory),
      source(`await w.commit(${JSON.stringify(submission())}, 0, ${now});`),
    );
    t.after(() => Promise.all([writing, killed, kept].map(({ child }) => kill(child))));
    const ids = [await nextLine(writing.lines), await nextLine(killed.lines), await nextLine(kept.lines)];
    await kill(killed.child);
    await kill(kept.child);
    fs.writeFileSync(path.join(directory, 'body', 'README'), 'not ours');
    const spool = openLmdbSpool({ directory });
    const left = files(directory).map((name) => name.slice(0, 16));
    assert.deepEqual(new Set<unknown>(left), new Set(['README', ids[0], ids[2]]));
    const [claim] = await spool.claim({ max: 9, leaseMs: 1000, nowMs: now });
    assert.equal(claim?.entry.id, ids[2]);
    assert.equal((await read(claim?.content ?? assert.fail())).length, 1_000_000);
    await spool.close();
  });
});

describe('what cannot be read', () => {
  /** Overwrites octets of an entry. */
  async function damage(
    directory: string,
    claim: Claim,
    which: 'message' | 'state',
    change: (value: Buffer) => Buffer | undefined,
  ): Promise<void> {
    const databases = openEnvironment(directory);
    const value = databases[which].getBinary(claim.entry.id) ?? assert.fail();
    const changed = change(Buffer.from(value));
    if (changed === undefined) databases[which].removeSync(claim.entry.id);
    else databases[which].putSync(claim.entry.id, changed);
    await databases.root.close();
  }

  const damages: readonly (readonly [
    string,
    'message' | 'state',
    (v: Buffer) => Buffer | undefined,
    RegExp,
  ])[] = [
    ['message of another version', 'message', (v) => (v.writeUInt8(9, 0), v), /format version 9/],
    ['state of another version', 'state', (v) => (v.writeUInt8(9, 0), v), /format version 9/],
    ['message cut short', 'message', (v) => v.subarray(0, 30), /damaged|truncated/],
    ['message without octets', 'message', () => Buffer.alloc(1), /truncated/],
    ['message with zeros', 'message', (v) => v.fill(0, 16), /damaged/],
    [
      'message whose JSON lacks fields',
      'message',
      (v) => (v.write('{"a":1}', v.length - 7, 'latin1'), v.writeUInt32LE(7, 4), v),
      /lacks fields/,
    ],
    [
      'content of another length',
      'message',
      (v) => Buffer.concat([v.subarray(0, 16), v.subarray(17)]),
      /octets of content/,
    ],
    ['states damaged', 'state', (v) => v.fill(0x7b, 48), /damaged/],
    [
      'states of another number',
      'state',
      (v) => Buffer.concat([v.subarray(0, 48), Buffer.from('[]')]),
      /one state a recipient/,
    ],
    ['message gone', 'message', () => undefined, /half/],
    ['state gone', 'state', () => undefined, /half/],
  ];

  for (const [what, which, change, text] of damages) {
    test(`${what}: reported, kept, and the others go on`, async (t) => {
      const directory = temporary(t);
      const met: string[] = [];
      const onCorrupt = (id: string, error: Error): void => {
        assert.match(error.message, text);
        assert.ok(error instanceof MailError && error.code === 'CORRUPT');
        met.push(id);
      };
      const first = openLmdbSpool({ directory });
      const bad = await born(first);
      await put(first, 0);
      await first.record(bad, { outcomes: [], release: true });
      await first.close();
      await damage(directory, bad, which, change);
      const spool = openLmdbSpool({ directory, onCorrupt });
      const claims = await spool.claim({ max: 9, leaseMs: 1000, nowMs: now });
      assert.equal(claims.length, 1);
      assert.notEqual(claims[0]?.entry.id, bad.entry.id);
      assert.deepEqual(met, [bad.entry.id]);
      assert.deepEqual(
        await spool.claim({ max: 9, leaseMs: 5_000_000, nowMs: now + 1000 }).then((c) => c.length),
        1,
        'put off',
      );
      assert.deepEqual(await spool.claim({ max: 9, leaseMs: 1000, nowMs: now + 3_600_000 }), []);
      assert.equal(met.length, 2, 'met again after an hour');
      assert.equal((await all(spool)).length, 1);
      const databases = openEnvironment(directory);
      assert.ok(databases.message.doesExist(bad.entry.id) || databases.state.doesExist(bad.entry.id), 'kept');
      await databases.root.close();
      await spool.close();
    });
  }

  test('one claimed by a process that is gone is reported, too', async (t) => {
    const directory = temporary(t);
    let met = 0;
    const first = openLmdbSpool({ directory });
    const bad = await born(first);
    await first.close();
    await damage(directory, bad, 'state', (v) => (v.writeUInt8(7, 0), v));
    const spool = openLmdbSpool({ directory, onCorrupt: () => met++ });
    assert.deepEqual(await spool.claim({ max: 9, leaseMs: 1000, nowMs: now }), []);
    assert.ok(met >= 1);
    await spool.close();
  });

  test('a content file that is missing or cut short', async (t) => {
    const directory = temporary(t);
    const met: string[] = [];
    const spool = openLmdbSpool({ directory, onCorrupt: (_, e) => met.push(e.message) });
    for (const spoil of [fs.rmSync, (f: string) => fs.truncateSync(f, 5)]) {
      const claim = await born(spool, Buffer.alloc(300_000));
      const file = fs.readdirSync(path.join(directory, 'body')).find((f) => f.startsWith(claim.entry.id));
      spoil(path.join(directory, 'body', file ?? ''));
      await assert.rejects(read(claim.content), (e) => e instanceof MailError && e.code === 'IO');
      await spool.record(claim, { outcomes: [], release: true });
      assert.deepEqual(await spool.claim({ max: 9, leaseMs: 1000, nowMs: now }), []);
    }
    assert.match(met[0] ?? '', /missing/);
    assert.match(met[1] ?? '', /has 5 octets/);
    await spool.close();
  });

  test('a spool of another layout is refused', async (t) => {
    const directory = temporary(t);
    await openLmdbSpool({ directory }).close();
    const databases = openEnvironment(directory);
    databases.meta.putSync('layout', Buffer.from('2'));
    await databases.root.close();
    assert.throws(() => openLmdbSpool({ directory }), /layout version 2; this program reads version 1 only/);
  });
});

test('a place that cannot be a spool is a fault with its reason', (t) => {
  const directory = temporary(t);
  fs.writeFileSync(path.join(directory, 'file'), '');
  assert.throws(
    () => openLmdbSpool({ directory: path.join(directory, 'file', 'spool') }),
    (e) => e instanceof MailError && e.code === 'IO' && /ENOTDIR/.test(e.message),
  );
});

describe('no space', () => {
  /** Fills the spool until it refuses; gives the claims there are. */
  async function fill(spool: Spool, content: Buffer): Promise<Claim[]> {
    const claims: Claim[] = [];
    for (let failures = 0; failures === 0; ) {
      const results = await Promise.allSettled(Array.from({ length: 16 }, () => born(spool, content)));
      for (const r of results) {
        if (r.status === 'fulfilled') claims.push(r.value);
        else {
          assert.ok(isNoSpace(r.reason), String(r.reason));
          failures++;
        }
      }
    }
    return claims;
  }

  /** Everything accepted is there, nothing else is, outcomes can be recorded, and with space mail is taken again. */
  async function checkFull(spool: Spool, claims: Claim[], content: Buffer): Promise<void> {
    assert.ok(claims.length > 10);
    assert.deepEqual((await all(spool)).map((e) => e.id).sort(), claims.map((c) => c.entry.id).sort());
    await assert.rejects(put(spool, 0, now, content), isNoSpace);
    await assert.rejects(put(spool, 0, now, Buffer.alloc(2_000_000)), isNoSpace);
    const [first, second, ...rest] = claims;
    assert.ok(first && second);
    assert.equal(
      await spool.record(first, { outcomes: [{ recipient: 0, state: pending(now) }], release: true }),
      'recorded',
    );
    assert.equal(await spool.record(second, delivered), 'recorded');
    for (const c of rest) assert.equal(await spool.record(c, delivered), 'recorded');
  }

  async function checkTaken(spool: Spool, content: Buffer): Promise<void> {
    const until = performance.now() + 5000;
    // The guard asks at intervals.
    for (;;) {
      try {
        await put(spool, 0, now, content);
        break;
      } catch (e) {
        if (!isNoSpace(e) || performance.now() > until) throw e;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const claims = await spool.claim({ max: 99, leaseMs: 1000, nowMs: now });
    assert.equal(claims.length, 2);
    for (const c of claims) await spool.record(c, delivered);
    assert.deepEqual(await all(spool), []);
  }

  test('the size limit of the databases', async (t) => {
    const directory = temporary(t);
    const spool = openLmdbSpool({ directory, maxDatabaseBytes: 2 ** 20 });
    const content = Buffer.alloc(5000);
    const claims = await fill(spool, content);
    assert.ok(fs.statSync(path.join(directory, 'db', 'data.mdb')).size < 1.5 * 2 ** 20);
    await checkFull(spool, claims, content);
    await checkTaken(spool, content);
    await spool.close();
  });

  /** A file system of its own; undefined where mounting is not permitted. */
  function mount(t: TestContext, size: string): string | undefined {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-spool-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'none', directory], { stdio: 'pipe' });
    } catch {
      fs.rmdirSync(directory);
      t.skip('mounting a tmpfs is not permitted here');
      return undefined;
    }
    t.after(() => {
      // Lazily: a test that failed may have left the spool open.
      execFileSync('umount', ['-l', directory]);
      fs.rmdirSync(directory);
    });
    return directory;
  }

  test('a small file system with the reserve kept free', async (t) => {
    const directory = mount(t, '4m');
    if (directory === undefined) return;
    const spool = openLmdbSpool({ directory, minFreeBytes: 2 ** 20 });
    const content = Buffer.alloc(5000);
    const claims = await fill(spool, content);
    await checkFull(spool, claims, content);
    await checkTaken(spool, content);
    await spool.close();
  });

  test('a file system that is really full: the transaction fails, and nothing that was accepted is harmed', async (t) => {
    const directory = mount(t, '4m');
    if (directory === undefined) return;
    const ballast = path.join(directory, 'ballast');
    fs.writeFileSync(ballast, Buffer.alloc(2 ** 20));
    // A reserve below nothing: the guard never refuses, so LMDB and the files meet the end of the disk.
    const spool = openLmdbSpool({ directory, minFreeBytes: -(2 ** 30) });
    const content = Buffer.alloc(5000);
    const claims = await fill(spool, content);
    assert.deepEqual((await all(spool)).map((e) => e.id).sort(), claims.map((c) => c.entry.id).sort());
    await assert.rejects(put(spool, 0, now, Buffer.alloc(2_000_000)), isNoSpace);
    assert.deepEqual(fs.readdirSync(path.join(directory, 'body')), []);
    // An outcome that shares its transaction with messages there is no room for is written all the same.
    const [first, ...others] = claims;
    assert.ok(first);
    let rest = others;
    for (let i = 0; i < 5; i++) {
      const [claim, ...more] = rest;
      assert.ok(claim);
      rest = more;
      const refused = Array.from({ length: 50 }, () => put(spool, 0, now, content));
      const recorded = spool.record(claim, delivered);
      const results = await Promise.allSettled([...refused, put(spool, 0, now, content)]);
      assert.ok(results.every((r) => r.status === 'rejected' && isNoSpace(r.reason)));
      assert.equal(await recorded, 'recorded');
    }
    fs.rmSync(ballast);
    for (const c of rest) assert.equal(await spool.record(c, delivered), 'recorded');
    assert.equal(await spool.record(first, { outcomes: [], release: true }), 'recorded');
    await checkTaken(spool, content);
    await spool.close();
    const again = openLmdbSpool({ directory });
    assert.deepEqual(await all(again), []);
    await again.close();
  });
});
