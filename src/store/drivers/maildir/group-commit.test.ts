import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Durability, FlushTarget } from './durability.ts';
import { groupCommit } from './group-commit.ts';
import type { GroupCommitOptions } from './group-commit.ts';

interface World {
  readonly durability: Durability;
  /** Common flushes that were asked for and have not ended. */
  readonly flushes: { readonly fd: number; readonly end: (error?: Error) => void }[];
  readonly single: string[];
  now: number;
}

function world(changes: Partial<GroupCommitOptions> = {}): World {
  const w: Omit<World, 'durability'> = { flushes: [], single: [], now: 0 };
  const one =
    (kind: string) =>
    (target: FlushTarget): Promise<void> => {
      w.single.push(`${kind}${target.fd}`);
      return Promise.resolve();
    };
  const durability = groupCommit({
    flush: (fd) =>
      new Promise((resolve, reject) => {
        w.flushes.push({ fd, end: (error) => (error === undefined ? resolve() : reject(error)) });
      }),
    suits: () => true,
    each: { file: one('file'), folder: one('folder') },
    minBatch: 3,
    slowMs: 100,
    restMs: 1000,
    nowMs: () => w.now,
    ...changes,
  });
  return Object.assign(w, { durability });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
const files = (
  w: World,
  count: number,
  device = 1,
): { readonly done: number[]; readonly all: Promise<unknown> } => {
  const done: number[] = [];
  const all = Promise.all(
    Array.from({ length: count }, (_, i) => w.durability.file({ fd: i, device }).then(() => done.push(i))),
  );
  return { done, all };
};

test('a few go one by one, many share a flush, and nobody is answered before it ends', async () => {
  const w = world();
  await files(w, 2).all;
  assert.deepEqual([w.single, w.flushes.length], [['file0', 'file1'], 0]);
  const many = files(w, 5);
  await turn();
  assert.equal(w.flushes.length, 1);
  assert.deepEqual(many.done, []);
  w.flushes[0]?.end();
  await many.all;
  assert.equal(w.single.length, 2);
});

test('who comes while a flush runs waits for the next one', async () => {
  const w = world();
  const first = files(w, 3);
  await turn();
  const second = files(w, 4);
  await turn();
  assert.equal(w.flushes.length, 1);
  w.flushes[0]?.end();
  await first.all;
  await turn();
  assert.equal(w.flushes.length, 2);
  assert.deepEqual(second.done, []);
  w.flushes[1]?.end();
  await second.all;
});

test('each file system has flushes of its own, and one that does not suit has none', async () => {
  const w = world({ suits: (fd) => fd !== 9 });
  void files(w, 3, 1);
  void files(w, 3, 2);
  await turn();
  assert.equal(w.flushes.length, 2);
  await Promise.all([9, 9, 9, 9].map((fd) => w.durability.folder({ fd, device: 3 })));
  assert.deepEqual(w.single, ['folder9', 'folder9', 'folder9', 'folder9']);
});

test('what asks to go alone is in no batch', async () => {
  const w = world();
  await Promise.all([1, 2, 3, 4].map((fd) => w.durability.file({ fd, device: 1, alone: true })));
  assert.deepEqual([w.single, w.flushes.length], [['file1', 'file2', 'file3', 'file4'], 0]);
});

test('a flush that fails is no answer: each is flushed by itself and its own fault counts', async () => {
  const w = world({
    each: {
      file: ({ fd }) => (fd === 1 ? Promise.reject(new Error('EIO')) : Promise.resolve()),
      folder: () => Promise.resolve(),
    },
  });
  const all = Promise.allSettled([0, 1, 2].map((fd) => w.durability.file({ fd, device: 1 })));
  await turn();
  w.flushes[0]?.end(new Error('syncfs failed'));
  assert.deepEqual(
    (await all).map((r) => r.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

test('a slow flush stops grouping for a while, longer each time in a row', async () => {
  const w = world();
  for (const rest of [1000, 2000]) {
    const slow = files(w, 3);
    await turn();
    w.now += 101;
    w.flushes.shift()?.end();
    await slow.all;
    w.now += rest - 1;
    await turn();
    await files(w, 3).all;
    assert.equal(w.flushes.length, 0);
    w.now += 1;
    await turn();
  }
  void files(w, 3);
  await turn();
  assert.equal(w.flushes.length, 1);
});
