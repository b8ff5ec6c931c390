import type { HeldAnswer } from '../../protocol/held-transaction.ts';

/** A deadline over several waits. Its signal fires when the time is over or one of the given signals does. */
export class Limit {
  readonly #timeoutMs: number;
  readonly #controller = new AbortController();
  readonly #signals: readonly AbortSignal[];
  readonly #timer: NodeJS.Timeout;
  #over = false;

  constructor(timeoutMs: number, signals: readonly AbortSignal[]) {
    this.#timeoutMs = timeoutMs;
    this.#signals = signals;
    this.#timer = setTimeout(() => {
      this.#over = true;
      this.#controller.abort();
    }, timeoutMs).unref();
    for (const s of signals) {
      if (s.aborted) this.#controller.abort();
      s.addEventListener('abort', this.#abort, { once: true });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The time begins anew. */
  renew(): void {
    if (!this.#over) this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
    for (const s of this.#signals) s.removeEventListener('abort', this.#abort);
  }

  /** An answer that says `aborted`, or another fault that the abort caused, says `timeout` where it was the time. */
  explain(answer: HeldAnswer): HeldAnswer {
    if (answer.kind !== 'unanswered' || !this.#over) return answer;
    return { ...answer, fault: { kind: 'timeout', timeoutMs: this.#timeoutMs } };
  }

  readonly #abort = (): void => this.#controller.abort();
}
