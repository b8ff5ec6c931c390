import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Deadlines, type Waiter } from './deadlines.ts';

interface Probe extends Waiter {
  readonly done: Promise<number>;
}

function waiter(): Probe {
  const { promise, resolve } = Promise.withResolvers<number>();
  return { deadlineMs: Infinity, expired: () => resolve(performance.now()), done: promise };
}

/** Deadlines keep no process alive; a test that waits for one must. */
async function awake<T>(wait: Promise<T>): Promise<T> {
  const hold = setInterval(() => undefined, 1_000);
  try {
    return await wait;
  } finally {
    clearInterval(hold);
  }
}

describe('Deadlines', () => {
  it('expire in their order, never early', async () => {
    const d = new Deadlines();
    const late = waiter();
    const soon = waiter();
    d.add(late);
    d.add(soon);
    const start = performance.now();
    d.arm(late, 60);
    d.arm(soon, 20);
    const [l, s] = await awake(Promise.all([late.done, soon.done]));
    assert.ok(s - start >= 20 && l - start >= 60 && s <= l);
  });
  it('can be moved and taken back', async () => {
    const d = new Deadlines();
    const moved = waiter();
    const never = waiter();
    const removed = waiter();
    for (const w of [moved, never, removed]) d.add(w);
    let wrong = 0;
    never.expired = () => wrong++;
    removed.expired = () => wrong++;
    d.arm(never, 5);
    d.disarm(never);
    d.arm(removed, 5);
    d.remove(removed);
    d.arm(moved, 10);
    const start = performance.now();
    d.arm(moved, 50);
    assert.ok((await awake(moved.done)) - start >= 50);
    assert.equal(wrong, 0);
  });
  it('may be armed again while they expire', async () => {
    const d = new Deadlines();
    const w = waiter();
    d.add(w);
    let times = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    w.expired = () => {
      if (++times === 3) resolve();
      else d.arm(w, 5);
    };
    d.arm(w, 5);
    await awake(promise);
    assert.equal(times, 3);
  });
});
