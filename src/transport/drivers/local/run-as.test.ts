import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { temporaryFolder } from '../../../../test/support/process.ts';
import { fcntlLock } from '../../../net/file-lock.ts';
import type { Identity } from './identity.ts';
import type { MailboxJob } from './mailbox-file.ts';
import { runAs } from './run-as.ts';
import type { OnceJob } from './side-files.ts';

const folder = temporaryFolder('run-as');
after(() => folder.remove());
chmodSync(folder.path, 0o777);
const root = process.geteuid?.() === 0;
const identity: Identity = root
  ? { uid: 65_534, gid: 65_534 }
  : { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const options = { deadlineMs: 60_000, signal: new AbortController().signal };

function mailbox(name: string, over: Partial<MailboxJob> = {}): MailboxJob {
  return {
    kind: 'mailbox',
    path: path.join(folder.path, name),
    mode: 0o600,
    modeFailNarrower: true,
    fileMustExist: false,
    checkOwner: true,
    checkGroup: false,
    allowSymlink: false,
    allowFifo: false,
    useLockFile: true,
    useFcntl: true,
    useFlock: true,
    lockRetries: 40,
    lockIntervalMs: 100,
    lockFileMode: 0o600,
    lockFileTimeoutMs: 60_000,
    hostname: 'h.test',
    createDirectory: true,
    directoryMode: 0o700,
    createFile: 'anywhere',
    ...over,
  };
}

async function* parts(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

const text = (name: string): string => readFileSync(path.join(folder.path, name), 'utf8');

describe('mailboxes', { timeout: 120_000 }, () => {
  test('many at once append whole messages, whatever locks they use', async () => {
    const bodies = Array.from({ length: 8 }, (_, i) => `${String(i).repeat(50_000)}\n`);
    const locks = [{}, {}, { useFcntl: false }, { useFlock: false }];
    const outcomes = await Promise.all(
      bodies.map((body, i) =>
        runAs(
          identity,
          mailbox('many', locks[i % locks.length]),
          parts(body.slice(0, 999), body.slice(999)),
          options,
        ),
      ),
    );
    assert.deepEqual(
      outcomes,
      bodies.map(() => ({ kind: 'done' })),
    );
    assert.deepEqual(
      text('many').split('\n').toSorted().slice(1),
      bodies.map((b) => b.trimEnd()),
    );
    assert.ok(!existsSync(path.join(folder.path, 'many.lock')));
    const { mode, uid } = statSync(path.join(folder.path, 'many'));
    assert.deepEqual([mode & 0o7777, uid], [0o600, identity.uid]);
  });

  test('locks of others are waited for, and in the end it is put off', async () => {
    const job = mailbox('held', { useLockFile: false, lockRetries: 1, lockIntervalMs: 10 });
    writeFileSync(job.path, '', { mode: 0o600 });
    chownSync(job.path, identity.uid, identity.gid);
    assert.ok(fcntlLock(openSync(job.path, 'r+')));
    assert.deepEqual(await runAs(identity, job, parts('x\n'), options), {
      kind: 'deferred',
      text: `failed to lock mailbox ${job.path} (fcntl)`,
    });
    assert.equal(text('held'), '');
  });

  test('an old lock file is taken away', async () => {
    const job = mailbox('stale', { lockRetries: 2, lockIntervalMs: 10 });
    const lock = `${job.path}.lock`;
    writeFileSync(lock, '');
    chownSync(lock, identity.uid, identity.gid);
    utimesSync(lock, 1, 1);
    assert.deepEqual(await runAs(identity, job, parts('x\n'), options), { kind: 'done' });
    assert.equal(text('stale'), 'x\n');
  });

  test('content that breaks off leaves nothing behind', async () => {
    const job = mailbox('broken');
    await runAs(identity, job, parts('first\n'), options);
    const breaking = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.from('x'.repeat(100_000));
      throw new Error('the disk is gone');
    };
    const outcome = await runAs(identity, job, breaking(), options);
    assert.deepEqual(outcome, { kind: 'deferred', text: 'cannot read the message: the disk is gone' });
    assert.equal(text('broken'), 'first\n');
  });

  test('nothing is made outside of home where create_file says so', async () => {
    for (const [createFile, name, good] of [
      ['inhome', 'home/a', true],
      ['inhome', 'home/b/c', false],
      ['belowhome', 'home/b/c', true],
      ['belowhome', 'home/../d', false],
      ['anywhere', 'e', true],
    ] as const) {
      const job = mailbox(name, { createFile, home: path.join(folder.path, 'home') });
      const outcome = await runAs(
        identity,
        { ...job, path: `${folder.path}/${name}` },
        parts('x\n'),
        options,
      );
      assert.equal(outcome.kind, good ? 'done' : 'deferred', `${createFile} ${name}`);
    }
  });

  test('a process that hangs is killed at its deadline', async () => {
    const never = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.from('x');
      await new Promise(() => {});
    };
    const outcome = await runAs(identity, mailbox('late'), never(), { ...options, deadlineMs: 300 });
    assert.match(outcome.kind === 'done' ? 'done' : outcome.text, /took longer/);
  });

  test('an abort leaves the outcome open', async () => {
    const abort = new AbortController();
    const waiting = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.from('x');
      abort.abort();
      yield Buffer.from('y');
    };
    await assert.rejects(
      runAs(identity, mailbox('aborted'), waiting(), { ...options, signal: abort.signal }),
    );
  });

  test('a worker never becomes root', { skip: !root && 'needs root' }, async () => {
    const outcome = await runAs({ uid: 0, gid: 5 }, mailbox('asroot'), parts('x'), options);
    assert.deepEqual(outcome, { kind: 'deferred', text: 'no delivery runs as root' });
    assert.ok(!existsSync(path.join(folder.path, 'asroot')));
  });

  test('what only root may write is not written', { skip: !root && 'needs root' }, async () => {
    mkdirSync(path.join(folder.path, 'private'), { mode: 0o700 });
    const outcome = await runAs(identity, mailbox('private/box'), parts('x'), options);
    assert.equal(outcome.kind, 'deferred');
    assert.ok(!existsSync(path.join(folder.path, 'private/box')));
  });
});

test('once: each recipient once, until the time is up, and the same message again', async () => {
  const ask = async (over: Partial<OnceJob>): Promise<string> => {
    const job: OnceJob = {
      kind: 'once',
      path: path.join(folder.path, 'once'),
      recipients: ['a@x.test', 'B@x.test'],
      repeatMs: 0,
      maxOctets: 0,
      mode: 0o600,
      token: 'one',
      nowMs: 1_000_000,
      ...over,
    };
    const outcome = await runAs(identity, job, parts(), options);
    assert.ok(outcome.kind === 'done', JSON.stringify(outcome));
    return outcome.text ?? '';
  };
  assert.equal(await ask({}), 'a@x.test\nB@x.test');
  assert.equal(await ask({}), 'a@x.test\nB@x.test', 'the delivery is repeated');
  assert.equal(await ask({ token: 'two' }), '');
  assert.equal(await ask({ token: 'three', repeatMs: 10_000, nowMs: 1_009_000 }), '');
  assert.equal(await ask({ token: 'four', repeatMs: 10_000, nowMs: 1_010_000 }), 'a@x.test\nB@x.test');
  assert.equal(await ask({ token: 'five', recipients: ['c@x.test'], maxOctets: 30 }), 'c@x.test');
  assert.equal(await ask({ token: 'six', recipients: ['a@x.test', 'c@x.test'], maxOctets: 60 }), 'a@x.test');
});
