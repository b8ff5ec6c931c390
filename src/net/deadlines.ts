import { timerMs } from '../mail/time-interval.ts';

/** Something that may wait too long. One object per connection, used again for every wait. */
export interface Waiter {
  /** When the wait is over, by the clock of {@link Deadlines}; Infinity while nothing is waited for. */
  deadlineMs: number;
  /** The deadline has passed. */
  expired(): void;
}

/**
 * One timer for any number of waits. Setting a deadline is one assignment, so that a busy connection pays nothing for
 * its many short waits; the timer looks at all waiters at the earliest deadline it knew, and never more often than
 * every tenth of a millisecond a waiter, so that ten thousand idle connections cost one walk a second.
 * Deadlines are kept late by that much, never early.
 */
export class Deadlines {
  readonly #waiters = new Set<Waiter>();
  #timer: NodeJS.Timeout | undefined;
  #wakeAtMs = Infinity;

  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
  }

  remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size === 0) this.#stop();
  }

  /** Sets when the wait ends, milliseconds from now; it must have been added. Infinity waits for ever. */
  arm(waiter: Waiter, timeoutMs: number): void {
    const now = performance.now();
    waiter.deadlineMs = now + timeoutMs;
    if (waiter.deadlineMs < this.#wakeAtMs) this.#wake(waiter.deadlineMs, now);
  }

  disarm(waiter: Waiter): void {
    waiter.deadlineMs = Infinity;
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakeAtMs = Infinity;
  }

  #wake(atMs: number, nowMs: number): void {
    clearTimeout(this.#timer);
    const soonest = Math.max(2, this.#waiters.size / 10);
    const delayMs = timerMs(Math.max(soonest, Math.ceil(atMs - nowMs)));
    this.#wakeAtMs = nowMs + delayMs;
    this.#timer = setTimeout(() => this.#look(), delayMs);
    // Connections keep the process alive while they are open; their deadlines need not.
    this.#timer.unref();
  }

  #look(): void {
    this.#stop();
    const now = performance.now();
    let next = Infinity;
    for (const waiter of this.#waiters) {
      if (waiter.deadlineMs <= now) {
        waiter.deadlineMs = Infinity;
        waiter.expired();
      }
      if (waiter.deadlineMs < next) next = waiter.deadlineMs;
    }
    if (next < this.#wakeAtMs) this.#wake(next, now);
  }
}

/** The waits of all connections of the process. */
export const deadlines: Deadlines = new Deadlines();
