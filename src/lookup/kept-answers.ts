/**
 * Answers of databases, kept for a moment and shared by those who ask the same at the same time (Exim manual, "Lookup
 * caching"). Exim keeps them while one process handles one message; here one process handles all of them, so that time
 * bounds it.
 */
import type { DriverAnswer, LookupDriver } from './lookup.ts';

export interface KeptAnswers {
  /**
   * The answer to this question: a kept one, the one that is on its way, or what `ask` gives.
   *
   * @param read false: ask in any case (`cache=no_rd`), and keep the new answer
   */
  get(
    driver: LookupDriver,
    key: string,
    options: readonly string[],
    read: boolean,
    ask: () => DriverAnswer | Promise<DriverAnswer>,
  ): DriverAnswer | Promise<DriverAnswer>;
  clear(): void;
}

interface Kept {
  readonly answer: DriverAnswer | Promise<DriverAnswer>;
  /** On the clock of `nowMs`; infinite while the answer is on its way. */
  goodUntil: number;
}

/** @param maxEntries kept of each driver; the oldest go first */
export function createKeptAnswers(
  maxEntries = 2000,
  nowMs: () => number = () => performance.now(),
): KeptAnswers {
  const byDriver = new Map<LookupDriver, Map<string, Kept>>();

  const keptOf = (driver: LookupDriver): Map<string, Kept> => {
    let kept = byDriver.get(driver);
    if (kept === undefined) byDriver.set(driver, (kept = new Map()));
    return kept;
  };

  return {
    get(driver, key, options, read, ask) {
      const keepMs = driver.keepMs?.(key) ?? 0;
      const all = keptOf(driver);
      if (keepMs <= 0) {
        all.clear();
        return ask();
      }
      const name = [key, ...options].join('\0');
      const old = all.get(name);
      if (old !== undefined && read && old.goodUntil > nowMs()) return old.answer;
      all.delete(name);
      const asked = ask();
      const until = (a: DriverAnswer): number =>
        a.kind === 'found' || a.kind === 'missing' ? nowMs() + (a.keepMs ?? keepMs) : 0;
      if (all.size >= maxEntries)
        for (const oldest of all.keys()) {
          all.delete(oldest);
          break;
        }
      const kept: Kept = { answer: asked, goodUntil: Number.POSITIVE_INFINITY };
      all.set(name, kept);
      if (!(asked instanceof Promise)) {
        kept.goodUntil = until(asked);
        return asked;
      }
      asked.then(
        (a) => void (kept.goodUntil = until(a)),
        () => void (kept.goodUntil = 0),
      );
      return asked;
    },
    clear: () => byDriver.clear(),
  };
}
