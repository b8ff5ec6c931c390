/** Exim's times: `1w2d3h4m5s` (Exim manual, "Times"). */

const units: readonly (readonly [string, number])[] = [
  ['w', 604_800],
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
];

/** Seconds; undefined where the text is no interval. The units stand in falling order. */
export function parseInterval(text: string): number | undefined {
  const found = /^(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/i.exec(text);
  if (found === null || text === '') return undefined;
  return units.reduce((sum, [, size], i) => sum + Number(found[i + 1] ?? 0) * size, 0);
}

/** The interval in the largest units that fit. */
export function formatInterval(seconds: number): string {
  let rest = seconds;
  let out = '';
  for (const [unit, size] of units) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) out += `${n}${unit}`;
  }
  return out === '' ? '0s' : out;
}
