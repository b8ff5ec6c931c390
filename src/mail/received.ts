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

export interface ReceivedFacts {
  readonly id: string;
  readonly hostAddress?: string;
  readonly hostName?: string;
  readonly helo?: string;
  readonly by: string;
  readonly protocol: string;
  /** What stands in parentheses after `with`. */
  readonly program: string;
  /** The reverse path, empty for `<>`. */
  readonly sender: string;
  /** Only where there is one recipient: more would tell each of the others. */
  readonly recipient?: string;
  readonly atMs: number;
}

/** The Received field that an edge adds, with its final CRLF, in the form of Exim's default `received_header_text` (RFC 5321 §4.4). */
export function receivedField(f: ReceivedFacts): string {
  const from =
    f.hostAddress === undefined ? '' : `from ${hostClause(f.hostAddress, f.hostName, f.helo)}\r\n\t`;
  const sender = f.sender === '' ? '' : `(envelope-from <${f.sender}>)\r\n\t`;
  const recipient = f.recipient === undefined ? '' : `\r\n\tfor ${f.recipient}`;
  return `Received: ${from}by ${f.by} with ${f.protocol} (${f.program})\r\n\t${sender}id ${f.id}${recipient};\r\n\t${formatDate(f.atMs)}\r\n`;
}

/** Exim's `$sender_rcvhost`: a HELO that only repeats the name or the address is left out. */
function hostClause(address: string, name: string | undefined, helo: string | undefined): string {
  const shown = helo !== undefined && !repeats(helo, address, name) ? helo : undefined;
  if (name === undefined) return shown === undefined ? `[${address}]` : `[${address}] (helo=${shown})`;
  return shown === undefined ? `${name} ([${address}])` : `${name} ([${address}] helo=${shown})`;
}

function repeats(helo: string, address: string, name: string | undefined): boolean {
  const said = helo.toLowerCase();
  return said === name?.toLowerCase() || said === `[${address}]` || said === `[ipv6:${address}]`;
}
