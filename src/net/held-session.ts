/** A pooled session that one user keeps over several dialogues, with time between them. */
import { MailError } from '../mail/mail-error.ts';
import type { Exchange, ExchangeResult } from './client-connection.ts';
import { flyOn } from './fly.ts';
import { giveBack, type PooledResult } from './run-pooled.ts';
import type { Lease, PoolSession, SessionPool } from './session-pool.ts';

type Dialogue<R> = Generator<Exchange, R, ExchangeResult>;

export interface HeldTerms<S extends PoolSession> {
  readonly pool: SessionPool<S>;
  readonly key: string;
  readonly open: () => Promise<S>;
  /** Limit for putting the connection back into a clean state, which nobody waits for. */
  readonly resetTimeoutMs: number;
}

export class HeldSession<S extends PoolSession> {
  readonly #terms: HeldTerms<S>;
  #lease: Lease<S> | undefined;
  #ended = false;

  constructor(terms: HeldTerms<S>) {
    this.#terms = terms;
  }

  /** Undefined before {@link begin} has one, and after the end. */
  get session(): S | undefined {
    return this.#lease?.session;
  }

  /**
   * Gets a session and runs the first dialogue, once more on a new connection where `again` says so of what came of a kept one.
   * Rejects as `open` does, and with MailError ABORTED, LIMIT, UNAVAILABLE.
   */
  async begin<R>(
    dialogue: (session: S) => Dialogue<R>,
    again: (result: R, session: S) => boolean,
    signal?: AbortSignal,
  ): Promise<R> {
    const { pool, key, open } = this.#terms;
    for (let fresh = false; ; fresh = true) {
      const acquired = pool.acquire(key, open, signal, fresh);
      const lease = acquired instanceof Promise ? await acquired : acquired;
      if (this.#ended) {
        pool.release(lease, true);
        throw new MailError('ABORTED', 'given up');
      }
      this.#lease = lease;
      const { session, reused } = lease;
      const result = await flyOn(session.connection, dialogue(session), signal);
      if (!reused || this.#ended || signal?.aborted === true || !again(result, session)) return result;
      this.#lease = undefined;
      session.connection.destroy();
      pool.release(lease, false);
    }
  }

  /** Gives the session back. Always the last call; a dialogue under way ends with `closed` where it is `broken`. */
  end(how: PooledResult['end']): void {
    this.#ended = true;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined) giveBack(this.#terms, lease, how);
  }
}
