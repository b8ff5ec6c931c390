/** What `log_selector` selects (Exim manual, "Reducing or increasing what is logged"). */
import { formatTimeInterval } from '../mail/time-interval.ts';

/** Names of the selected items. */
export type LogItems = ReadonlySet<string>;

/** A time that a log line tells: in seconds and larger units, with `millisec` to the millisecond below five seconds. */
export function logInterval(ms: number, items: LogItems): string {
  const whole = Math.max(0, Math.round(ms));
  if (items.has('millisec') && whole < 5000)
    return `${Math.floor(whole / 1000)}.${String(whole % 1000).padStart(3, '0')}s`;
  return formatTimeInterval(whole);
}
