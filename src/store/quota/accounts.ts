/**
 * Deliveries under way and what they will take, by user, so that those at one time cannot pass a limit that each by itself keeps.
 * One set serves all stores of a process. What is kept of a user goes when nothing is under way for him.
 */
import { nothing, sum } from './amount.ts';
import type { Amount } from './amount.ts';

export interface Account {
  /** What deliveries under way will take. */
  readonly reserved: Amount;
  reserve(amount: Amount): void;
  /** Resolves when no more than `own` deliveries are under way; rejects when that takes too long or the signal comes. */
  drained(own: number, signal: AbortSignal): Promise<void>;
}

export interface Accounts {
  /**
   * Runs `job` when nobody else's is running for this key. Who locks several keys, keeping reservations of the first, must take them
   * in ascending order, or two could wait for each other.
   */
  locked<T>(key: string, job: (account: Account) => T | Promise<T>): Promise<T>;
  /** A delivery that was reserved has ended. */
  release(key: string, amount: Amount): void;
}

interface State {
  reserved: Amount;
  deliveries: number;
  tail: Promise<unknown> | undefined;
  readonly waiting: Set<() => void>;
}

/** @param drainTimeoutMs how long one waits for deliveries under way */
export function quotaAccounts(drainTimeoutMs = 60_000): Accounts {
  const states = new Map<string, State>();

  function stateOf(key: string): State {
    let state = states.get(key);
    if (state === undefined) {
      state = { reserved: nothing, deliveries: 0, tail: undefined, waiting: new Set() };
      states.set(key, state);
    }
    return state;
  }

  function forget(key: string, state: State): void {
    if (state.deliveries === 0 && state.tail === undefined) states.delete(key);
  }

  function accountOf(state: State): Account {
    return {
      get reserved() {
        return state.reserved;
      },
      reserve(amount) {
        state.reserved = sum(state.reserved, amount);
        state.deliveries++;
      },
      async drained(own, signal) {
        if (state.deliveries <= own) return;
        const until = AbortSignal.any([signal, AbortSignal.timeout(drainTimeoutMs)]);
        while (state.deliveries > own) await wakened(state, until);
      },
    };
  }

  return {
    async locked(key, job) {
      const state = stateOf(key);
      const { tail: before } = state;
      const start = (): ReturnType<typeof job> => job(accountOf(state));
      let run: ReturnType<typeof job>;
      try {
        run = before === undefined ? start() : before.then(start);
      } catch (error) {
        forget(key, state);
        throw error;
      }
      if (!(run instanceof Promise)) {
        forget(key, state);
        return run;
      }
      const tail = run.then(
        () => undefined,
        () => undefined,
      );
      state.tail = tail;
      try {
        return await run;
      } finally {
        if (state.tail === tail) state.tail = undefined;
        forget(key, state);
      }
    },
    release(key, amount) {
      const state = stateOf(key);
      state.reserved = sum(state.reserved, { bytes: -amount.bytes, messages: -amount.messages });
      state.deliveries--;
      for (const wake of state.waiting) wake();
      forget(key, state);
    },
  };
}

function wakened(state: State, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      state.waiting.delete(wake);
      signal.removeEventListener('abort', stop);
    };
    const wake = (): void => {
      end();
      resolve();
    };
    const stop = (): void => {
      end();
      reject(new Error('deliveries to this mailbox take too long'));
    };
    if (signal.aborted) stop();
    else {
      state.waiting.add(wake);
      signal.addEventListener('abort', stop, { once: true });
    }
  });
}
