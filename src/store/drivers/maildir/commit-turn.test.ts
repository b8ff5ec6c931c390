import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { committer, type Flushes, type Turn } from './commit-turn.ts';
import type { Batch, Order } from './disk-orders.ts';

describe('a turn of the thread for the disk', () => {
  let root: string;
  let folder: number;
  /** What was flushed, and what lay in new/ then. */
  let log: { readonly what: string; readonly shown: number }[];
  let number: number;

  beforeEach(() => {
    root = mkdtempSync(path.join(os.tmpdir(), 'commit-turn-'));
    for (const name of ['tmp', 'new']) mkdirSync(path.join(root, name));
    folder = openSync(path.join(root, 'new'), constants.O_RDONLY);
    log = [];
    number = 0;
  });
  afterEach(() => {
    closeSync(folder);
    rmSync(root, { recursive: true });
  });

  const shown = (): string[] => readdirSync(path.join(root, 'new')).toSorted();
  const left = (): string[] => readdirSync(path.join(root, 'tmp'));
  const note = (what: string): void => void log.push({ what, shown: shown().length });
  const begin = (changes: Partial<Flushes> = {}): ((batches: readonly Batch[]) => Turn) =>
    committer({
      whole: () => {
        note('whole');
        return true;
      },
      file: () => note('file'),
      folder: () => note('folder'),
      ...changes,
    });
  const text = Buffer.from('A: b\n\nbody\n');

  /** A delivery of `text`, its names in new/. */
  function delivery(names: readonly string[], changes: { to?: string; naming?: Order[7] } = {}): Order {
    const to = names.map((name) => path.join(root, changes.to ?? 'new', name));
    const from = path.join(root, 'tmp', String(number));
    return [
      number++,
      from,
      0,
      text.length,
      0o600,
      -1,
      -1,
      changes.naming ?? 'rename',
      to,
      to.map(() => folder),
    ];
  }
  const batch = (...orders: Order[]): Batch[] => [{ orders, bytes: text }];
  const many = (count: number): Order[] =>
    Array.from({ length: count }, (_, i) => delivery([`${number}-${i}`]));

  test('a file is made durable, then named, then its name made durable; only then it is answered', () => {
    const turn = begin();
    const first = turn(batch(delivery(['a'])));
    assert.deepEqual([first.answers.done, first.more, shown()], [[], true, []]);
    const second = turn([]);
    assert.deepEqual([second.answers.done, second.more, shown(), left()], [[0], false, ['a'], []]);
    assert.deepEqual(log, [
      { what: 'file', shown: 0 },
      { what: 'folder', shown: 1 },
    ]);
    assert.equal(readFileSync(path.join(root, 'new/a'), 'latin1'), String(text));
  });

  test('of many, one flush makes new files and the names of those before durable', () => {
    const turn = begin();
    turn(batch(...many(5)));
    const second = turn(batch(...many(5)));
    assert.deepEqual([second.answers.done, second.more, shown().length], [[0, 1, 2, 3, 4], true, 5]);
    const third = turn([]);
    assert.deepEqual([third.answers.done, third.more], [[5, 6, 7, 8, 9], false]);
    assert.deepEqual(
      log.map((l) => l.what),
      ['whole', 'whole', 'whole'],
    );
  });

  test('three and fewer are flushed one by one, and so are all where there is no flush for all', () => {
    const turn = begin();
    turn(batch(...many(3)));
    turn([]);
    assert.deepEqual(
      log.map((l) => l.what),
      ['file', 'file', 'file', 'folder', 'folder', 'folder'],
    );
    log = [];
    begin({ whole: undefined })(batch(...many(5)));
    assert.deepEqual(
      log.map((l) => l.what),
      ['file', 'file', 'file', 'file', 'file'],
    );
  });

  test('links: all names of a file in one flush, each with its own fault', () => {
    const turn = begin();
    turn(batch(delivery(['a', 'b', 'c'])));
    assert.deepEqual([turn([]).answers.done, shown(), left()], [[0], ['a', 'b', 'c'], []]);
    turn(batch(delivery(['d', 'a', 'e'])));
    const [failure] = turn([]).answers.failed;
    assert.ok(failure !== undefined && 'names' in failure);
    const kinds = failure.names.map((n) => (n.kind === 'durable' ? n.kind : `${n.kind} ${n.fault.code}`));
    assert.deepEqual(kinds, ['durable', 'unnamed EEXIST', 'durable']);
    assert.deepEqual(left(), []);
  });

  test('steps by themselves: written first, named later, or not named at all', () => {
    const turn = begin();
    const written = delivery([], { naming: 'later' });
    assert.deepEqual([turn(batch(written)).answers.done, left().length], [[0], 1]);
    const [, from] = written;
    const name = path.join(root, 'new/a');
    assert.deepEqual(turn(batch([7, from, -1, 0, 0, -1, -1, 'rename', [name], [folder]])).answers.done, [7]);
    assert.deepEqual([shown(), left()], [['a'], []]);
    const other = delivery([], { naming: 'later' });
    turn(batch(other));
    assert.deepEqual(turn(batch([8, other[1], -1, 0, 0, -1, -1, 'links', [], []])).answers.done, [8]);
    assert.deepEqual([shown(), left()], [['a'], []]);
  });

  test('a file that cannot be written or named is one failure, and others are not touched', () => {
    const turn = begin();
    const lost: Order = [
      9,
      path.join(root, 'gone/x'),
      0,
      text.length,
      0o600,
      -1,
      -1,
      'rename',
      ['y'],
      [folder],
    ];
    const first = turn(batch(delivery(['a']), lost, delivery(['b'], { to: 'gone' })));
    assert.deepEqual(
      first.answers.failed.map((f) => ('fault' in f ? [f.number, f.fault.code] : f)),
      [[9, 'ENOENT']],
    );
    const second = turn([]);
    assert.deepEqual(second.answers.done, [0]);
    const [failure] = second.answers.failed;
    assert.ok(failure !== undefined && 'names' in failure && failure.names[0]?.kind === 'unnamed');
    assert.equal(failure.names[0].fault.code, 'ENOENT');
    assert.deepEqual(left(), []);
  });

  test('a flush for all that fails is no answer: each is flushed by itself, and its own fault counts', () => {
    let calls = 0;
    const failing = (): void => {
      if (++calls === 2) throw Object.assign(new Error('EIO: broken'), { code: 'EIO' });
    };
    const turn = begin({ whole: () => false, file: failing, folder: failing });
    const first = turn(batch(...many(4)));
    assert.equal(first.answers.flushMs, Number.POSITIVE_INFINITY);
    assert.deepEqual(
      first.answers.failed.map((f) => [f.number, 'fault' in f && f.fault.code]),
      [[1, 'EIO']],
    );
    assert.equal(left().length, 3);
    calls = 0;
    const second = turn(batch(...many(4)));
    assert.deepEqual(second.answers.done, [0, 2, 3]);
    calls = 0;
    turn([]);
    assert.deepEqual(left(), []);
  });

  test('a name whose folder cannot be flushed stays, and is said to be unsure', () => {
    const turn = begin({
      folder: () => {
        throw Object.assign(new Error('EIO: broken'), { code: 'EIO' });
      },
    });
    turn(batch(delivery(['a'])));
    const [failure] = turn([]).answers.failed;
    assert.ok(failure !== undefined && 'names' in failure);
    assert.equal(failure.names[0]?.kind, 'unsure');
    assert.deepEqual(shown(), ['a']);
  });
});
