/** Main log lines of the delivering side, in Exim's form (Exim manual, "Logging deliveries", "Deferred deliveries", "Delivery failures"). */
import { formatAddress, formatPath } from '../mail/address.ts';
import { assertNever } from '../mail/assert-never.ts';
import type { Status } from '../mail/outcome.ts';
import { replySummary } from '../mail/reply.ts';
import type { DeliveryEvent, EventRecipient } from '../queue/events.ts';
import { logText } from './log-text.ts';
import { arrivalLine } from './reception-lines.ts';

export interface DeliveryLine {
  readonly log: 'main' | 'panic';
  readonly text: string;
}

/** The line for an event; undefined for what Exim's default log selection leaves out. */
export function deliveryLine(e: DeliveryEvent): DeliveryLine | undefined {
  switch (e.kind) {
    case 'delivered': {
      const host = e.host === undefined ? '' : ` H=${logText(e.host.name)} [${e.host.address}]`;
      const reply =
        e.reply === undefined ? '' : ` C="${logText(replySummary(e.reply)).replace(/["\\](?!n)/g, '\\$&')}"`;
      return main(`${e.id} ${e.first ? '=>' : '->'} ${who(e.recipient)}${host}${reply}`);
    }
    case 'failed':
      return main(
        `${e.id} ** ${who(e.recipient)}${peer(e.status)}: ${why(e.status)}${e.timedOut ? ': retry timeout exceeded' : ''}`,
      );
    case 'deferred':
      if (e.skipped) return undefined;
      return main(`${e.id} == ${who(e.recipient)} defer (${e.errno})${peer(e.status)}: ${why(e.status)}`);
    case 'discarded':
      return main(
        `${e.id} => :blackhole: <${logText(formatAddress(e.recipient.address))}>${by(e.recipient)}`,
      );
    case 'error-ignored':
      return main(`${e.id} ${logText(formatAddress(e.recipient.address))}: error ignored (${e.reason})`);
    case 'bounced':
      return main(
        arrivalLine({ id: e.id, sender: null, reportOn: e.cause, protocol: 'local', size: e.size }),
      );
    case 'frozen':
      return main(`${e.id} Frozen${e.reason === '' ? '' : ` (${logText(e.reason)})`}`);
    case 'completed':
      return main(`${e.id} Completed`);
    case 'lease-lost':
      return main(
        `${e.id} another process has taken this message over; ${e.delivered} recipient(s) may be delivered twice`,
      );
    case 'record-failed':
      return {
        log: 'panic',
        text: `${e.id} cannot record what was delivered (attempt ${e.attempt}): ${logText(e.reason)}`,
      };
    case 'problem':
      return { log: 'panic', text: `${e.id === undefined ? '' : `${e.id} `}${logText(e.text)}` };
    default:
      return assertNever(e);
  }
}

function main(text: string): DeliveryLine {
  return { log: 'main', text };
}

/** Address, the original in angle brackets where it differs, router and transport. */
function who(r: EventRecipient): string {
  const address = logText(formatAddress(r.address));
  if (r.logAsLocal)
    return `${logText(r.address.local)} <${logText(formatAddress(r.original ?? r.address))}>${by(r)}`;
  return `${address}${r.original === undefined ? '' : ` ${logText(formatPath(r.original))}`}${by(r)}`;
}

function by(r: EventRecipient): string {
  return `${r.router === undefined ? '' : ` R=${r.router}`}${r.transport === undefined ? '' : ` T=${r.transport}`}`;
}

/** `H=name [address]` where a host was involved; the path of a UNIX socket is in the configuration, not in the log. */
function peer(status: Status): string {
  return status.peer?.includes('[') === true ? ` H=${logText(status.peer)}` : '';
}

function why(status: Status): string {
  return logText(status.text);
}
