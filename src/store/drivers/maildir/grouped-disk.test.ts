import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Disk, FileOrder, NamesOrder } from './disk.ts';
import type { DiskThreadEvents } from './disk-thread.ts';
import { groupedDisk, type GroupedDiskOptions } from './grouped-disk.ts';

/** A disk that notes what it is asked. */
function noting(log: string[], name: string): Disk {
  return {
    deliver: async ({ path }) => {
      log.push(`${name} deliver ${path}`);
      return [];
    },
    write: async ({ path }) => void log.push(`${name} write ${path}`),
    publish: async (from) => {
      log.push(`${name} publish ${from}`);
      return [];
    },
    close: async () => void log.push(`${name} close`),
  };
}

function world(changes: Partial<GroupedDiskOptions> = {}) {
  const log: string[] = [];
  const problems: string[] = [];
  const events = new Map<number, DiskThreadEvents>();
  const clock = { now: 0 };
  const disk = groupedDisk({
    here: noting(log, 'here'),
    suits: () => true,
    thread: (fd, its) => {
      events.set(fd, its);
      return noting(log, `thread${fd}`);
    },
    slowMs: 100,
    slowInARow: 2,
    restMs: 1000,
    onProblem: (text) => problems.push(text),
    nowMs: () => clock.now,
    ...changes,
  });
  return { log, problems, events, clock, disk };
}

const file = (path: string, device = 1, folderFd = device): FileOrder => ({
  path,
  mode: 0o600,
  owner: undefined,
  device,
  folderFd,
  parts: [],
});
const names = (device = 1): NamesOrder => ({
  device,
  links: [],
  rename: { path: 'x', folderFd: device },
});

test('each file system has a thread of its own, and one that does not suit has none', async () => {
  const { log, disk } = world({ suits: (fd) => fd !== 3 });
  for (const device of [1, 2, 3]) await disk.deliver(file('a', device), names(device));
  await disk.write(file('b', 2));
  await disk.publish('b', names(2));
  await disk.publish('c', { device: 2, links: [], rename: undefined });
  await disk.close();
  assert.deepEqual(log, [
    'thread1 deliver a',
    'thread2 deliver a',
    'here deliver a',
    'thread2 write b',
    'thread2 publish b',
    'here publish c',
    'thread1 close',
    'thread2 close',
    'here close',
  ]);
});

test('after slow flushes in a row a thread rests, longer each time', async () => {
  const { log, disk, events, clock } = world();
  await disk.write(file('a'));
  const flushes = (...times: number[]): void => {
    for (const ms of times) events.get(1)?.onFlush(ms);
  };
  flushes(101, 100, 101, 100, 101, 100);
  await disk.write(file('a'));
  for (const rest of [1000, 2000]) {
    flushes(101, 101);
    // Of those that were under way.
    flushes(101, 101, 101);
    clock.now += rest - 1;
    await disk.write(file('b'));
    clock.now += 1;
    await disk.write(file('c'));
  }
  flushes(100, 101, 101);
  clock.now += 1000;
  await disk.write(file('d'));
  assert.deepEqual(log, [
    'thread1 write a',
    'thread1 write a',
    'here write b',
    'thread1 write c',
    'here write b',
    'thread1 write c',
    'thread1 write d',
  ]);
});

test('where a thread is lost or cannot be had, deliveries go on without, and it is told once', async () => {
  const { log, disk, events, problems } = world();
  await disk.write(file('a'));
  events.get(1)?.onLost('it ended with 1');
  await disk.write(file('b'));
  await disk.write(file('c'));
  assert.deepEqual(log, ['thread1 write a', 'here write b', 'here write c']);
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? '', /^the thread for the disk is lost \(it ended with 1\); /);

  const none = world({
    thread: () => {
      throw new Error('no memory');
    },
  });
  await none.disk.write(file('a'));
  await none.disk.write(file('b'));
  assert.deepEqual(none.log, ['here write a', 'here write b']);
  assert.equal(none.problems.length, 1);
});
