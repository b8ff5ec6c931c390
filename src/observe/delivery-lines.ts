/** Main log lines of the delivering side, in Exim's form (Exim manual, "Logging deliveries", "Deferred deliveries", "Delivery failures"). */
import { formatAddress, formatPath, type ReversePath } from '../mail/address.ts';
import { assertNever } from '../mail/assert-never.ts';
import type { PeerLink, Status } from '../mail/outcome.ts';
import { replySummary } from '../mail/reply.ts';
import type { DeliveryEvent, EventRecipient } from '../queue/events.ts';
import { logInterval, type LogItems } from './log-items.ts';
import { logText } from './log-text.ts';
import { arrivalLine } from './reception-lines.ts';

export interface DeliveryLine {
  readonly log: 'main' | 'panic';
  readonly text: string;
}

/** The line for an event; undefined for what is not selected. */
export function deliveryLine(e: DeliveryEvent, items: LogItems): DeliveryLine | undefined {
  switch (e.kind) {
    case 'delivered': {
      const address = e.host?.address === undefined ? '' : ` [${e.host.address}]${ends(e.link, items)}`;
      const host = e.host === undefined ? '' : ` H=${logText(e.host.name)}${address}`;
      const pipelined = items.has('pipelining') && e.link?.pipelined === true ? ' L' : '';
      const reply =
        e.reply === undefined || !items.has('smtp_confirmation')
          ? ''
          : ` C="${logText(replySummary(e.reply)).replace(/["\\](?!n)/g, '\\$&')}"`;
      const size = items.has('delivery_size') ? ` S=${e.size}` : '';
      const arrow = e.direct === true ? '>>' : e.first ? '=>' : '->';
      const times = queued(e.queuedMs, 'queue_time', items) + took(e.deliveryMs, items);
      return main(
        `${e.id} ${arrow} ${who(e.recipient, items, sent(e.sender, true, items), true)}${size}${host}${pipelined}${reply}${times}`,
      );
    }
    case 'failed': {
      const senders = sent(e.sender, e.recipient.transport !== undefined, items);
      return main(
        `${e.id} ** ${who(e.recipient, items, senders)}${peer(e.status, items)}: ${why(e.status)}${e.timedOut ? ': retry timeout exceeded' : ''}`,
      );
    }
    case 'deferred':
      if (e.skipped && !items.has('retry_defer')) return undefined;
      return main(
        `${e.id} == ${who(e.recipient, items)} ${e.routing === true ? 'routing ' : ''}defer (${e.errno})${peer(e.status, items)}: ${why(e.status)}`,
      );
    case 'discarded':
      if (e.bypassed !== undefined)
        return main(`${e.id} => ${who(e.recipient, items, sent(e.sender, false, items))} T=**bypassed**`);
      return main(
        `${e.id} => :blackhole: <${logText(formatAddress(e.recipient.original ?? e.recipient.address))}>${by(e.recipient)}`,
      );
    case 'error-ignored':
      return main(`${e.id} ${logText(formatAddress(e.recipient.address))}: error ignored (${e.reason})`);
    case 'bounced':
      return main(
        arrivalLine(
          {
            id: e.id,
            sender: null,
            reportOn: e.cause,
            protocol: 'local',
            size: e.size,
            createdId: e.messageId,
            recipients: e.to,
          },
          items,
        ),
      );
    case 'frozen':
      return main(`${e.id} Frozen${e.reason === '' ? '' : ` (${logText(e.reason)})`}`);
    case 'completed':
      return main(`${e.id} Completed${queued(e.queuedMs, 'queue_time_overall', items)}`);
    case 'lease-lost':
      return main(
        `${e.id} another process has taken this message over; ${e.delivered} recipient(s) may be delivered twice`,
      );
    case 'record-failed':
      return {
        log: 'panic',
        text: `${e.id} cannot record what was delivered (attempt ${e.attempt}): ${logText(e.reason)}`,
      };
    case 'note':
      return main(`${e.id} ${logText(e.text)}`);
    case 'problem':
      return { log: 'panic', text: `${e.id === undefined ? '' : `${e.id} `}${logText(e.text)}` };
    default:
      return assertNever(e);
  }
}

function main(text: string): DeliveryLine {
  return { log: 'main', text };
}

/** Address, the original in angle brackets where it differs, `senders`, router and transport. */
function who(r: EventRecipient, items: LogItems, senders = '', delivered = false): string {
  const address = logText(r.target ?? formatAddress(r.address));
  const { parents } = r;
  const between =
    parents === undefined || !items.has('all_parents')
      ? ''
      : ` (${parents.map((p) => logText(formatAddress(p))).join(', ')})`;
  if (delivered && r.logAsLocal)
    return `${logText(r.address.local)}${between} <${logText(formatAddress(r.original ?? r.address))}>${senders}${by(r)}`;
  return `${address}${between}${r.original === undefined ? '' : ` ${logText(formatPath(r.original))}`}${senders}${by(r)}`;
}

/** `F=<sender>`, and `P=<return path>` where there was a delivery. */
function sent(sender: ReversePath, delivered: boolean, items: LogItems): string {
  const path = logText(formatPath(sender));
  return `${items.has('sender_on_delivery') ? ` F=${path}` : ''}${delivered && items.has('return_path_on_delivery') ? ` P=${path}` : ''}`;
}

function queued(ms: number, item: string, items: LogItems): string {
  return items.has(item) ? ` QT=${logInterval(ms, items)}` : '';
}

function took(ms: number, items: LogItems): string {
  return items.has('deliver_time') ? ` DT=${logInterval(ms, items)}` : '';
}

function by(r: EventRecipient): string {
  return `${r.router === undefined ? '' : ` R=${r.router}`}${r.transport === undefined ? '' : ` T=${r.transport}`}`;
}

/** `H=name [address]` where a host was involved; the path of a UNIX socket is in the configuration, not in the log. */
function peer(status: Status, items: LogItems): string {
  return status.peer?.includes('[') === true ? ` H=${logText(status.peer)}${ends(status.link, items)}` : '';
}

/** `:port` of the peer and ` I=[address]:port` of ours, where they are selected. */
function ends(link: PeerLink | undefined, items: LogItems): string {
  if (link === undefined) return '';
  const port = items.has('outgoing_port') ? `:${link.port}` : '';
  const { local } = link;
  // As in Exim, only where that of arriving mail is selected too.
  if (local === undefined || !items.has('outgoing_interface') || !items.has('incoming_interface'))
    return port;
  return `${port} I=[${local.address}]${items.has('outgoing_port') ? `:${local.port}` : ''}`;
}

function why(status: Status): string {
  return logText(status.text);
}
