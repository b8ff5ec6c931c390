import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Disk, FileOrder, NamesOrder } from './disk.ts';
import { diskThread } from './disk-thread.ts';
import { failureCode } from './failure.ts';

interface World {
  readonly disk: Disk;
  readonly lost: string[];
  readonly flushes: number[];
  readonly shown: () => string[];
  readonly left: () => string[];
  readonly file: (name: string, folder?: string) => FileOrder;
  readonly names: (rename: string | undefined, ...links: string[]) => NamesOrder;
}

function world(t: TestContext): World {
  const root = mkdtempSync(path.join(os.tmpdir(), 'disk-thread-'));
  for (const name of ['tmp', 'new']) mkdirSync(path.join(root, name));
  const folderFd = openSync(path.join(root, 'new'), constants.O_RDONLY);
  const { dev: device } = statSync(root);
  const lost: string[] = [];
  const flushes: number[] = [];
  const disk = diskThread(folderFd, { onFlush: (ms) => flushes.push(ms), onLost: (why) => lost.push(why) });
  t.after(async () => {
    await disk.close();
    closeSync(folderFd);
    rmSync(root, { recursive: true });
  });
  const parts = [Buffer.from('A: b\n\n'), Buffer.from('body\n')];
  const at = (name: string): { path: string; folderFd: number } => ({
    path: path.join(root, 'new', name),
    folderFd,
  });
  return {
    disk,
    lost,
    flushes,
    shown: () => readdirSync(path.join(root, 'new')),
    left: () => readdirSync(path.join(root, 'tmp')),
    file: (name, folder = 'tmp') => ({
      path: path.join(root, folder, name),
      mode: 0o600,
      owner: undefined,
      device,
      folderFd,
      parts,
    }),
    names: (rename, ...links) => ({
      device,
      links: links.map(at),
      rename: rename === undefined ? undefined : at(rename),
    }),
  };
}

test('many at once, and each gets its own answer', async (t) => {
  const { disk, file, names, shown, left, flushes } = world(t);
  const all = Array.from({ length: 200 }, (_, i) =>
    i % 7 === 0
      ? disk.deliver(file(`${i}`, 'gone'), names(`${i}`))
      : disk.deliver(file(`${i}`), names(`${i}`, `${i}-link`)),
  );
  const results = await Promise.allSettled(all);
  for (const [i, result] of results.entries()) {
    if (i % 7 === 0) assert.ok(result.status === 'rejected' && failureCode(result.reason) === 'ENOENT');
    else assert.deepEqual(result, { status: 'fulfilled', value: [{ kind: 'durable' }, { kind: 'durable' }] });
  }
  assert.deepEqual([shown().length, left()], [2 * (200 - 29), []]);
  assert.ok(flushes.length < 100, `${flushes.length} flushes`);
});

test('steps by themselves, and a name that is taken', async (t) => {
  const { disk, file, names, shown, left } = world(t);
  const one = file('1');
  await disk.write(one);
  assert.deepEqual([shown(), left()], [[], ['1']]);
  assert.deepEqual(await disk.publish(one.path, names('a', 'b')), [{ kind: 'durable' }, { kind: 'durable' }]);
  const two = file('2');
  await disk.write(two);
  const [taken, good] = await disk.publish(two.path, names('c', 'a'));
  assert.ok(taken?.kind === 'unnamed' && failureCode(taken.error) === 'EEXIST');
  assert.equal(good?.kind, 'durable');
  await disk.write(file('3'));
  assert.deepEqual(await disk.publish(file('3').path, names(undefined)), []);
  assert.deepEqual([shown().toSorted(), left()], [['a', 'b', 'c'], []]);
});

test('a thread that is lost says nothing of what it had, and takes nothing more', async (t) => {
  const { file, names, shown } = world(t);
  const lost: string[] = [];
  // It ends when it starts: there is no such folder.
  const disk = diskThread(1 << 20, { onFlush: () => undefined, onLost: (why) => lost.push(why) });
  const [delivered, written] = await Promise.allSettled([
    disk.deliver(file('1'), names('a', 'b')),
    disk.write(file('2')),
  ]);
  // A recipient who may have the message gets no second file.
  assert.ok(delivered.status === 'fulfilled');
  assert.deepEqual(
    delivered.value.map((name) => name.kind !== 'durable' && [name.kind, String(name.error).split(':')[1]]),
    Array.from({ length: 2 }, () => ['unsure', ' the thread for the disk is lost']),
  );
  assert.ok(written.status === 'rejected');
  assert.match(String(written.reason), /the thread for the disk is lost/);
  await assert.rejects(disk.deliver(file('3'), names('c')), /the thread for the disk is lost/);
  assert.equal(lost.length, 1);
  assert.match(lost[0] ?? '', /ENOENT/);
  assert.deepEqual(shown(), []);
  await disk.close();
});
