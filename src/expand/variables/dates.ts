/** The time formats of `$tod_...` (Exim manual, "Expansion variables"), in the process's time zone. */

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const two = (n: number): string => String(n).padStart(2, '0');
const clock = (d: Date): string => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
const weekday = (d: Date): string => days[d.getDay()] ?? '';
const month = (d: Date): string => months[d.getMonth()] ?? '';

function zone(d: Date): string {
  const minutes = -d.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${two(size % 60)}`;
}

/** Format name -> text for a moment. */
export const dates: {
  readonly [name in 'bsdInbox' | 'certificate' | 'epoch' | 'full' | 'log' | 'logfile' | 'zone' | 'zulu']: (
    d: Date,
  ) => string;
} = {
  bsdInbox: (d) => `${weekday(d)} ${month(d)} ${two(d.getDate())} ${clock(d)} ${d.getFullYear()}`,
  // Always in GMT.
  certificate: (d) => {
    const [, day, m, year, time] = d.toUTCString().split(' ');
    return `${m} ${day} ${time} ${year} GMT`;
  },
  epoch: (d) => String(Math.floor(d.getTime() / 1000)),
  full: (d) => `${weekday(d)}, ${two(d.getDate())} ${month(d)} ${d.getFullYear()} ${clock(d)} ${zone(d)}`,
  log: (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d)}`,
  logfile: (d) => `${d.getFullYear()}${two(d.getMonth() + 1)}${two(d.getDate())}`,
  zone,
  zulu: (d) => d.toISOString().replace(/[-:T]|\.\d+/g, ''),
};
