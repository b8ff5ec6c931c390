/**
 * Times of a configuration and of expansions: `1w2d3h4m5s` (Exim manual, "Time intervals"). Units may stand in any order and more
 * than once.
 */

/** What Exim's integers hold, in seconds. */
const maxMs = 0x7fffffff * 1000;

/** Node takes a longer time for 1 ms. */
const longestTimerMs = 0x7fffffff;

/** A time that somebody has chosen, as a timer takes it: 24.8 days at the most. */
export function timerMs(ms: number): number {
  return Math.min(ms, longestTimerMs);
}

const units: readonly (readonly [letter: string, ms: number])[] = [
  ['w', 604_800_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
];

/** Milliseconds, or undefined where the text is no time. */
export function parseTimeInterval(text: string): number | undefined {
  let total = 0;
  let digits = '';
  for (const c of text) {
    if (c >= '0' && c <= '9') digits += c;
    else {
      const unit = units.find(([letter]) => letter === c);
      if (unit === undefined || digits === '') return undefined;
      total += Number(digits) * unit[1];
      digits = '';
    }
  }
  return digits === '' && text !== '' && total <= maxMs ? total : undefined;
}

/** The form Exim prints: the largest units that fit, `0s` for none, a sign before less. Parts of a second are dropped. */
export function formatTimeInterval(ms: number): string {
  let rest = Math.floor(Math.abs(ms) / 1000) * 1000;
  let out = ms <= -1000 ? '-' : '';
  for (const [letter, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) out += `${count}${letter}`;
  }
  return out === '' ? '0s' : out;
}
