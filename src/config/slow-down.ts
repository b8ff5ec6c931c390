/** Delays for clients that send much in one session (Exim manual, "smtp_ratelimit_mail"). */

/** Times in milliseconds. */
export interface SlowDown {
  /** Commands that are not delayed. */
  readonly threshold: number;
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
}

/** Reads `threshold,initial delay,factor,maximum delay`, such as `4,0.25s,1.015,4m`; undefined for anything else. */
export function parseSlowDown(text: string): SlowDown | undefined {
  const [threshold, initial, factor, max, ...more] = text.split(',').map((part) => part.trim());
  const initialMs = timeOf(initial);
  const maxMs = timeOf(max);
  if (threshold === undefined || !/^\d{1,9}$/.test(threshold) || initialMs === undefined) return undefined;
  if (
    factor === undefined ||
    !/^\d{1,6}(?:\.\d{1,9})?$/.test(factor) ||
    maxMs === undefined ||
    more.length > 0
  )
    return undefined;
  return { threshold: Number(threshold), initialMs, factor: Number(factor), maxMs };
}

/** How long the command with this number, from 1, waits. */
export function delayOf(limit: SlowDown, count: number): number {
  const beyond = count - limit.threshold;
  if (beyond <= 0) return 0;
  return Math.min(limit.maxMs, limit.initialMs * limit.factor ** (beyond - 1));
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

function timeOf(text: string | undefined): number | undefined {
  const m = /^(\d{1,9}(?:\.\d{1,6})?)([smh]?)$/.exec(text ?? '');
  return m === null ? undefined : Number(m[1]) * (units[m[2] || 's'] ?? 1000);
}
