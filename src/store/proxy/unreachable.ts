import type { HeldAnswer } from '../../lmtp/client/held.ts';

/** For so long nobody else waits for a backend whose connections time out. */
const holdOffMs = 10_000;
const maxKnown = 1024;

/**
 * Backends whose connections timed out a moment ago. A refused connection costs nothing, but one that times out would
 * hold up every dialogue that has a recipient there.
 */
export class Unreachable {
  readonly #known = new Map<string, { readonly untilMs: number; readonly answer: HeldAnswer }>();

  /** What to say without asking. */
  answer(key: string): HeldAnswer | undefined {
    const known = this.#known.get(key);
    if (known === undefined || performance.now() < known.untilMs) return known?.answer;
    this.#known.delete(key);
    return undefined;
  }

  note(key: string, answer: HeldAnswer): void {
    if (answer.kind !== 'unanswered' || answer.stage !== 'connect' || answer.fault.kind !== 'timeout') return;
    this.#known.delete(key);
    this.#known.set(key, { untilMs: performance.now() + holdOffMs, answer });
    const oldest = this.#known.keys().next();
    if (this.#known.size > maxKnown && oldest.done !== true) this.#known.delete(oldest.value);
  }
}
