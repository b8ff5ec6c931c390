/** Main log lines of the receiving side, in Exim's form, so that exigrep and eximstats read them (Exim manual, "Log files"). */
import { formatAddress, formatPath, type Address, type ReversePath } from '../mail/address.ts';
import type { QueueId } from '../mail/message-id.ts';
import { logText } from './log-text.ts';

/** What the lines tell of a client. */
export interface LoggedClient {
  readonly hostAddress: string;
  readonly hostName?: string | undefined;
  readonly helo?: string | undefined;
}

/** `H=name (helo) [address]`: the name only where it was verified, the HELO only where it says something else. */
export function clientField(client: LoggedClient): string {
  const { hostName, helo, hostAddress } = client;
  const named = hostName === undefined ? '' : `${hostName} `;
  const same = helo === undefined || helo === hostName;
  return logText(`H=${named}${same ? '' : `(${helo}) `}[${hostAddress}]`);
}

export interface Arrival {
  readonly id: QueueId;
  readonly sender: ReversePath;
  readonly client?: LoggedClient;
  /** For a bounce made here: the message it reports on. */
  readonly reportOn?: QueueId;
  readonly protocol: string;
  /** Octets as Exim counts them: line ends are one octet, the Received field is included. */
  readonly size: number;
  /** The Message-ID field without its angle brackets. */
  readonly messageId?: string | undefined;
}

/** `ID <= sender H=... P=... S=... id=...`. */
export function arrivalLine(a: Arrival): string {
  const sender = a.sender === null ? '<>' : formatAddress(a.sender);
  const origin = a.client === undefined ? '' : ` ${clientField(a.client)}`;
  const report = a.reportOn === undefined ? '' : ` R=${a.reportOn}`;
  const id = a.messageId === undefined || a.messageId === '' ? '' : ` id=${logText(a.messageId)}`;
  return `${a.id} <= ${logText(sender)}${report}${origin} P=${a.protocol} S=${a.size}${id}`;
}

export interface Rejection {
  /** Known once DATA has begun. */
  readonly id?: QueueId | undefined;
  readonly client: LoggedClient;
  /** Absent before MAIL. */
  readonly sender?: ReversePath | undefined;
  readonly temporary: boolean;
  /** What was refused: `RCPT <user@example.test>`, `after DATA`, `MAIL <x@example.test>`, `connection`. */
  readonly what: string;
  readonly reason: string;
}

/** `H=... F=<sender> rejected RCPT <address>: reason`. */
export function rejectionLine(r: Rejection): string {
  const id = r.id === undefined ? '' : `${r.id} `;
  const from = r.sender === undefined ? '' : ` F=${logText(formatPath(r.sender))}`;
  const reason = r.reason === '' ? '' : `: ${logText(r.reason)}`;
  return `${id}${clientField(r.client)}${from} ${r.temporary ? 'temporarily ' : ''}rejected ${logText(r.what)}${reason}`;
}

/** `RCPT <user@example.test>`. */
export function rejectedRcpt(address: Address): string {
  return `RCPT ${formatPath(address)}`;
}
