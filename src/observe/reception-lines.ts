/** Main log lines of the receiving side, in Exim's form, so that exigrep and eximstats read them (Exim manual, "Log files"). */
import { formatAddress, formatPath, type Address, type ReversePath } from '../mail/address.ts';
import type { QueueId } from '../mail/message-id.ts';
import { logInterval, type LogItems } from './log-items.ts';
import { logText } from './log-text.ts';

/** What the lines tell of a client. */
export interface LoggedClient {
  readonly hostAddress: string;
  readonly hostPort?: number | undefined;
  readonly hostName?: string | undefined;
  readonly helo?: string | undefined;
  /** Where the client connected to. */
  readonly interfaceAddress?: string | undefined;
  readonly interfacePort?: number | undefined;
}

/** `H=` and {@link clientName}. */
export function clientField(client: LoggedClient, items: LogItems): string {
  return `H=${clientName(client, items)}`;
}

/**
 * `name (helo) [address]`: the name only where it was verified, the HELO only where it says something else; `:port` and
 * ` I=[interface]:port` where they are selected.
 */
export function clientName(client: LoggedClient, items: LogItems): string {
  const { hostName, helo, hostAddress, hostPort, interfaceAddress, interfacePort } = client;
  const named = hostName === undefined ? '' : `${hostName} `;
  const same = helo === undefined || helo === hostName;
  const port = items.has('incoming_port') && hostPort !== undefined ? `:${hostPort}` : '';
  const at =
    items.has('incoming_interface') && interfaceAddress !== undefined
      ? ` I=[${interfaceAddress}]:${interfacePort ?? 0}`
      : '';
  return logText(`${named}${same ? '' : `(${helo}) `}[${hostAddress}]${port}${at}`);
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
  /** The same where the field was added here. */
  readonly createdId?: string | undefined;
  /** BODY of MAIL; absent where the client did not give it. */
  readonly body?: '7BIT' | '8BITMIME' | 'BINARYMIME' | undefined;
  /** PIPELINING was offered, and whether the client used it; absent where it was not offered. */
  readonly pipelined?: boolean | undefined;
  /** From MAIL to the end of the content. */
  readonly receiveMs?: number | undefined;
  /** The Subject field, decoded. */
  readonly subject?: string | undefined;
  readonly recipients?: readonly Address[] | undefined;
}

/** `ID <= sender H=... P=... S=... id=...`, with what is selected. */
export function arrivalLine(a: Arrival, items: LogItems): string {
  const sender = a.sender === null ? '<>' : formatAddress(a.sender);
  let line = `${a.id} <= ${logText(sender)}`;
  if (a.reportOn !== undefined) line += ` R=${a.reportOn}`;
  if (a.client !== undefined) line += ` ${clientField(a.client, items)}`;
  line += ` P=${a.protocol}`;
  if (items.has('pipelining') && a.pipelined !== undefined) line += a.pipelined ? ' L' : ' L-';
  line += ` S=${a.size}`;
  if (items.has('8bitmime')) line += ` M8S=${a.body === undefined ? 0 : a.body === '7BIT' ? 7 : 8}`;
  if (items.has('receive_time') && a.receiveMs !== undefined)
    line += ` RT=${logInterval(a.receiveMs, items)}`;
  if (items.has('msg_id') && a.messageId !== undefined && a.messageId !== '')
    line += ` id=${logText(a.messageId)}`;
  if (items.has('msg_id_created') && a.createdId !== undefined) line += ` id*=${logText(a.createdId)}`;
  if (items.has('subject') && a.subject !== undefined) line += ` T="${quoted(a.subject)}"`;
  if (items.has('received_sender')) line += ` from ${logText(formatPath(a.sender))}`;
  if (items.has('received_recipients') && a.recipients !== undefined && a.recipients.length > 0)
    line += ` for ${a.recipients
      .slice(0, maxListed)
      .map((r) => logText(formatAddress(r)))
      .join(' ')}`;
  return line;
}

/** A line of the log tells no more recipients than this. */
const maxListed = 1000;

function quoted(text: string): string {
  return logText(text.replace(/["\\]/g, '\\$&'));
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
export function rejectionLine(r: Rejection, items: LogItems): string {
  const id = r.id === undefined ? '' : `${r.id} `;
  const from = r.sender === undefined ? '' : ` F=${logText(formatPath(r.sender))}`;
  const reason = r.reason === '' ? '' : `: ${logText(r.reason)}`;
  return `${id}${clientField(r.client, items)}${from} ${r.temporary ? 'temporarily ' : ''}rejected ${logText(r.what)}${reason}`;
}

/** `RCPT <user@example.test>`. */
export function rejectedRcpt(address: Address): string {
  return `RCPT ${formatPath(address)}`;
}
