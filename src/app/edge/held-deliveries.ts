/** Transactions at the servers of one message's recipients that are begun while its sender still names them. */
import { formatPath } from '../../mail/address.ts';
import { type Endpoint, endpointKey } from '../../mail/endpoint.ts';
import type { Envelope } from '../../mail/envelope.ts';
import type { RcptAnswer } from '../../mail/rcpt-answer.ts';
import { transferNumber } from '../../queue/transfer.ts';
import type { HeldDelivery } from '../../transport/transport.ts';
import type { HeldCallout, HeldQuestion } from '../../verify/verify.ts';

/** For one message; a sender with many recipients must not have all connections to their servers. */
const maxHeld = 8;

/** Recipients beyond that are delivered to in transactions of their own. */
const maxTaken = 1000;

/** A sender that takes longer than this gives its transactions up; its message goes in new ones. */
const longestMs = 60_000;

export interface HeldDeliveries {
  /** Undefined where the callout is not what the delivery would begin with. */
  question(q: HeldQuestion): HeldCallout | undefined;
  /** What the delivery may use. */
  readonly all: readonly HeldDelivery[];
  /** Gives back what no delivery has used. May be called again. */
  end(): void;
}

export interface HeldMessage {
  /** With the name of the transfer. */
  readonly envelope: Omit<Envelope, 'recipients'>;
  /** `transferNumber` of the RCPT at hand, or of one behind it, without what redirection adds. */
  number(ahead: number): string;
}

interface Question extends HeldQuestion {
  readonly number: string;
}

interface Group {
  readonly key: string;
  readonly delivery: HeldDelivery;
  recipients: number;
}

/** A recipient of the message that was not asked about. */
interface Taken {
  readonly q: Question;
  readonly endpoint: Endpoint;
}

export function heldDeliveries(message: HeldMessage): HeldDeliveries {
  const { envelope } = message;
  let groups: Group[] = [];
  const asked = new Map<string, Promise<RcptAnswer>>();
  /** Who goes into a transaction as soon as there is one. */
  let taken: Taken[] = [];
  let timer: NodeJS.Timeout | undefined;
  let over = false;

  function groupFor(q: Question, endpoint: Endpoint): Group | undefined {
    const { transport, target, connectTimeoutMs, timeoutMs: commandTimeoutMs } = q;
    const key = `${transport.name} ${endpointKey(endpoint)}`;
    const open = groups.find((g) => g.key === key && g.recipients < transport.maxRecipients);
    if (open !== undefined || over || groups.length >= maxHeld) return open;
    const delivery = transport.hold?.(target, endpoint, { envelope, connectTimeoutMs, commandTimeoutMs });
    if (delivery === undefined) return undefined;
    const group = { key, delivery, recipients: 0 };
    groups.push(group);
    timer ??= setTimeout(end, longestMs).unref();
    return group;
  }

  function ask(q: Question, endpoint: Endpoint): Promise<RcptAnswer> | undefined {
    const { address, key = '' } = q.routing;
    const number = transferNumber(q.number, key);
    // It may have been asked about ahead, or by an earlier condition.
    const question = `${q.transport.name} ${endpointKey(endpoint)} ${number} ${formatPath(address)}`;
    const known = asked.get(question);
    if (known !== undefined) return known;
    const before = taken;
    taken = [];
    for (const one of before) void ask(one.q, one.endpoint);
    const group = groupFor(q, endpoint);
    if (group === undefined) return undefined;
    group.recipients++;
    const answer = group.delivery.rcpt({ address, transferNumber: number });
    asked.set(question, answer);
    return answer;
  }

  function end(): void {
    over = true;
    clearTimeout(timer);
    for (const { delivery } of groups) delivery.end();
    groups = [];
  }

  return {
    question(q) {
      if (q.transport.hold === undefined || q.routing.errorsTo !== undefined) return undefined;
      // A callout with a reverse path of its own is not about this message.
      if (q.sender !== null && formatPath(q.sender) !== formatPath(envelope.sender)) return undefined;
      const question = { ...q, number: message.number(q.ahead) };
      return {
        sender: envelope.sender,
        ask: (endpoint) => ask(question, endpoint),
        take() {
          const [endpoint] = q.target.endpoints;
          if (endpoint === undefined || taken.length >= maxTaken) return;
          if (groups.length > 0) void ask(question, endpoint);
          else taken.push({ q: question, endpoint });
        },
      };
    },
    get all() {
      return groups.map((g) => g.delivery);
    },
    end,
  };
}
