/** Main log lines about SMTP connections and what clients do wrong (Exim manual, "Log files"). */
import { formatAddress, formatPath, type Address, type ReversePath } from '../mail/address.ts';
import { assertNever } from '../mail/assert-never.ts';
import { logInterval, type LogItems } from './log-items.ts';
import { logText } from './log-text.ts';
import { clientField, clientName, type LoggedClient } from './reception-lines.ts';

/** Something that happened in a session. `client` is as far as it is known then. */
export type SessionEvent =
  | { readonly kind: 'opened'; readonly connections: number }
  | { readonly kind: 'closed'; readonly how: SessionEnd; readonly durationMs: number }
  /** A session without MAIL that was not refused at once; the commands it gave, in order. */
  | { readonly kind: 'no-mail'; readonly durationMs: number; readonly commands: readonly string[] }
  /** `syntax`: a command that cannot be read; `protocol`: one that does not belong here. */
  | { readonly kind: 'syntax' | 'protocol'; readonly command: string; readonly reason: string }
  | { readonly kind: 'synchronization'; readonly command: string; readonly reason: string }
  /** The connection is closed since the client does something too often. */
  | { readonly kind: 'dropped'; readonly reason: string }
  /** A bound was met and the session goes on. */
  | { readonly kind: 'limited'; readonly reason: string }
  | {
      readonly kind: 'too-big';
      readonly sender: ReversePath;
      readonly declared: number;
      readonly max: number;
    }
  | {
      readonly kind: 'timeout' | 'lost';
      readonly during: 'command' | 'data';
      readonly sender: ReversePath | undefined;
      readonly durationMs: number;
    }
  | {
      readonly kind: 'incomplete';
      readonly what: string;
      readonly sender: ReversePath;
      readonly recipients: readonly Address[];
    };

export type SessionEnd = 'QUIT' | 'lost' | 'dropped';

export interface SessionLine {
  readonly logs: readonly ('main' | 'reject')[];
  readonly text: string;
}

/** The line for an event; undefined for what is not selected. */
export function sessionLine(client: LoggedClient, e: SessionEvent, items: LogItems): SessionLine | undefined {
  const name = clientName(client, items);
  const from = clientField(client, items);
  switch (e.kind) {
    case 'opened':
      return when(
        items,
        'smtp_connection',
        `SMTP connection from ${name} (TCP/IP connection count = ${e.connections})`,
      );
    case 'closed':
      return when(
        items,
        'smtp_connection',
        `SMTP connection from ${name} ${endOf(e.how, e.durationMs, items)}`,
      );
    case 'no-mail': {
      const shown = e.commands.slice(-20).join(',');
      const commands = e.commands.length === 0 ? '' : ` C=${e.commands.length > 20 ? '...' : ''}${shown}`;
      return when(
        items,
        'smtp_no_mail',
        `no MAIL in SMTP connection from ${name} D=${logInterval(e.durationMs, items)}${commands}`,
      );
    }
    case 'syntax':
    case 'protocol':
      return when(
        items,
        `smtp_${e.kind}_error`,
        `SMTP ${e.kind} error in "${logText(e.command)}" ${from} ${logText(e.reason)}`,
      );
    case 'synchronization':
      return {
        logs: ['main', 'reject'],
        text: `SMTP protocol synchronization error (${logText(e.reason)}): rejected ${e.command === '' ? 'connection from' : `"${logText(e.command)}"`} ${from}`,
      };
    case 'dropped':
      return main(`SMTP call from ${name} dropped: ${logText(e.reason)}`);
    case 'limited':
      return main(`${from} ${logText(e.reason)}`);
    case 'too-big':
      // The selection is about the main log.
      return {
        logs: items.has('size_reject') ? ['main', 'reject'] : ['reject'],
        text: `rejected MAIL FROM:${logText(formatPath(e.sender))} ${from}: message too big: size=${e.declared} max=${e.max}`,
      };
    case 'timeout':
      return when(
        items,
        'lost_incoming_connection',
        e.during === 'command'
          ? `SMTP command timeout on connection from ${name} D=${logInterval(e.durationMs, items)}`
          : `SMTP data timeout (message abandoned) on connection from ${name} F=${path(e.sender)} D=${logInterval(e.durationMs, items)}`,
      );
    case 'lost':
      return when(
        items,
        'lost_incoming_connection',
        e.during === 'command'
          ? `unexpected disconnection while reading SMTP command from ${name} D=${logInterval(e.durationMs, items)}`
          : `SMTP connection from ${name} lost while reading message data`,
      );
    case 'incomplete': {
      const to = e.recipients
        .slice(0, 1000)
        .map((r) => ` ${logText(formatAddress(r))}`)
        .join('');
      return when(
        items,
        'smtp_incomplete_transaction',
        `${from} incomplete transaction (${e.what}) from ${logText(formatPath(e.sender))}${to === '' ? '' : ` for${to}`}`,
      );
    }
    default:
      return assertNever(e);
  }
}

function when(items: LogItems, item: string, text: string): SessionLine | undefined {
  return items.has(item) ? main(text) : undefined;
}

function main(text: string): SessionLine {
  return { logs: ['main'], text };
}

function path(sender: ReversePath | undefined): string {
  return logText(formatPath(sender ?? null));
}

function endOf(how: SessionEnd, durationMs: number, items: LogItems): string {
  switch (how) {
    case 'QUIT':
      return 'closed by QUIT';
    case 'lost':
      return `lost D=${logInterval(durationMs, items)}`;
    case 'dropped':
      return 'closed by DROP in ACL';
    default:
      return assertNever(how);
  }
}
