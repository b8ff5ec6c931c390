/** Exim's times: `1w2d3h4m5s` (Exim manual, "Times"). */

const units: readonly (readonly [string, number])[] = [
  ['w', 604_800],
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
];

/** Seconds; undefined where the text is no interval. The units may stand in any order, as Exim takes them. */
export function parseInterval(text: string): number | undefined {
  if (!/^(?:\d+[wdhms])+$/.test(text)) return undefined;
  let seconds = 0;
  for (const [, n, unit] of text.matchAll(/(\d+)([wdhms])/g))
    seconds += Number(n) * (units.find(([u]) => u === unit)?.[1] ?? 0);
  return seconds;
}

/** The interval in the largest units that fit. */
export function formatInterval(seconds: number): string {
  let rest = Math.abs(seconds);
  let out = seconds < 0 ? '-' : '';
  for (const [unit, size] of units) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) out += `${n}${unit}`;
  }
  return out === '' ? '0s' : out;
}
