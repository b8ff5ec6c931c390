let cachedSecond = -1;
let cachedText = '';

const two = (n: number): string => (n < 10 ? `0${n}` : `${n}`);

/** The time stamp of Exim's logs, local time: `2026-11-24 08:15:27` (Exim manual, "Log files"). */
export function logTime(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== cachedSecond) {
    cachedSecond = second;
    const d = new Date(second * 1000);
    cachedText = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  }
  return cachedText;
}

/** What `millisec` adds to {@link logTime}: a period and three decimals. */
export function logMillis(nowMs: number): string {
  return `.${String(Math.floor(nowMs) % 1000).padStart(3, '0')}`;
}

/** What `log_timezone` adds: hours and minutes east of Greenwich, `+0100`. */
export function logZone(nowMs: number): string {
  const east = -new Date(nowMs).getTimezoneOffset();
  const minutes = Math.abs(east);
  return `${east < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}${two(minutes % 60)}`;
}
