/** Date and time as RFC 5322 §3.3 has them, in the machine's zone: `Tue, 24 Nov 2026 08:15:27 +0000`. */
export function formatDate(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second === dateSecond) return dateText;
  const d = new Date(ms);
  const east = -d.getTimezoneOffset();
  const zone = `${east < 0 ? '-' : '+'}${two(Math.floor(Math.abs(east) / 60))}${two(Math.abs(east) % 60)}`;
  const day = days[d.getDay()] ?? '';
  const month = months[d.getMonth()] ?? '';
  dateText = `${day}, ${two(d.getDate())} ${month} ${d.getFullYear()} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())} ${zone}`;
  dateSecond = second;
  return dateText;
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
// Dates are asked for several times a message, and change once a second.
let dateSecond = Number.NaN;
let dateText = '';

function two(n: number): string {
  return n < 10 ? `0${n}` : `${n}`;
}
