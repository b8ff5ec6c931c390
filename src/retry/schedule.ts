/** When to try again, and when to give up (Exim manual, "Retry parameters", "Long-term failures", "Deliveries that work intermittently"). */
import type { RetryAlgorithm, RetryRule } from './rules.ts';

/** The state of one continuing failure: of a host, of an address, of a message. Times are milliseconds since 1970. */
export interface RetryRecord {
  readonly firstFailedAtMs: number;
  readonly lastTryAtMs: number;
  readonly nextTryAtMs: number;
  /** The last cutoff has passed: what still fails is bounced. */
  readonly expired: boolean;
}

export interface ScheduleOptions {
  /** `retry_interval_max`. */
  readonly maxIntervalMs: number;
  /** `retry_data_expire`: an older record counts as none. */
  readonly dataExpireMs: number;
  /**
   * When the message arrived. Given for failures that belong to the message or the address, not to a host: then an
   * older message counts from its arrival, so that one among many that succeed does not wait for ever.
   */
  readonly receivedAtMs?: number;
  /** In [0, 1); for the H algorithm. */
  readonly random: () => number;
}

export const scheduleDefaults: { readonly maxIntervalMs: number; readonly dataExpireMs: number } = {
  maxIntervalMs: 86_400_000,
  dataExpireMs: 604_800_000,
};

/**
 * The record after one more failure at `nowMs`. Without a rule, or with one that has no algorithms, it is expired at
 * once. A time after the last cutoff is still computed: it says when a host that was given up may be tried once more.
 */
export function afterFailure(
  rule: RetryRule | undefined,
  previous: RetryRecord | undefined,
  nowMs: number,
  options: ScheduleOptions,
): RetryRecord {
  const known =
    previous !== undefined && nowMs - previous.lastTryAtMs <= options.dataExpireMs ? previous : undefined;
  const firstFailedAtMs = known?.firstFailedAtMs ?? nowMs;
  const last = rule?.algorithms.at(-1);
  if (rule === undefined || last === undefined)
    return { firstFailedAtMs, lastTryAtMs: nowMs, nextTryAtMs: nowMs, expired: true };
  const failingMs = nowMs - Math.min(firstFailedAtMs, options.receivedAtMs ?? firstFailedAtMs);
  const algorithm = rule.algorithms.find((a) => failingMs < a.cutoffMs) ?? last;
  const intervalMs = Math.min(interval(algorithm, known, nowMs, options.random), options.maxIntervalMs);
  return {
    firstFailedAtMs,
    lastTryAtMs: nowMs,
    nextTryAtMs: nowMs + intervalMs,
    expired: failingMs > last.cutoffMs,
  };
}

function interval(
  a: RetryAlgorithm,
  previous: RetryRecord | undefined,
  nowMs: number,
  random: () => number,
): number {
  if (a.letter === 'F') return a.intervalMs;
  // The smaller of what was planned and what really passed, so that an early attempt does not lengthen the gap.
  const planned = previous === undefined ? 0 : previous.nextTryAtMs - previous.lastTryAtMs;
  const passed = previous === undefined ? 0 : nowMs - previous.lastTryAtMs;
  const lastGapMs = Math.max(0, Math.min(planned, passed));
  const grownMs = Math.floor(lastGapMs * a.factor);
  if (a.letter === 'G') return lastGapMs < a.intervalMs ? a.intervalMs : grownMs;
  const spare = grownMs - a.intervalMs;
  return spare <= 0 ? a.intervalMs : a.intervalMs + Math.floor(spare / 2 + random() * (spare / 2));
}
