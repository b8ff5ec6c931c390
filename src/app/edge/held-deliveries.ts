/** Transactions at the servers of one message's recipients that are begun while its sender still names them. */
import { sameAddress, samePath } from '../../mail/address.ts';
import { type Endpoint, sameEndpoint } from '../../mail/endpoint.ts';
import type { Envelope } from '../../mail/envelope.ts';
import type { RcptAnswer } from '../../mail/rcpt-answer.ts';
import { transferNumber } from '../../queue/transfer.ts';
import type { HeldDelivery, Transport } from '../../transport/transport.ts';
import type { HeldCallout, HeldQuestion } from '../../verify/verifier-parts.ts';

/** For one message; a sender with many recipients must not have all connections to their servers. */
const maxHeld = 8;

/** Recipients beyond that are delivered to in transactions of their own. */
const maxTaken = 1000;

/** A sender that takes longer than this gives its transactions up; its message goes in new ones. */
const longestMs = 60_000;

export interface HeldDeliveries {
  /** Undefined where the callout is not what the delivery would begin with. */
  question(q: HeldQuestion, place: RcptPlace): HeldCallout | undefined;
  /** What the delivery may use. */
  readonly all: readonly HeldDelivery[];
  /** Gives back what no delivery has used. May be called again. */
  end(): void;
}

/** Which RCPT of the message it is. */
export interface RcptPlace {
  /** `transferNumber` without what redirection adds. */
  readonly number: string;
  /** Nothing but DATA follows it. */
  readonly last: boolean;
}

interface Question extends HeldQuestion, RcptPlace {}

interface Group {
  readonly transport: Transport;
  readonly endpoint: Endpoint;
  readonly delivery: HeldDelivery;
  recipients: number;
}

/** A recipient of the message that was not asked about. */
interface Taken {
  readonly q: Question;
  readonly endpoint: Endpoint;
}

interface Asked extends Taken {
  readonly answer: Promise<RcptAnswer>;
}

function isSame(a: Asked, q: Question, endpoint: Endpoint): boolean {
  return (
    a.q.transport === q.transport &&
    sameAddress(a.q.routing.address, q.routing.address) &&
    sameEndpoint(a.endpoint, endpoint)
  );
}

/** @param envelope of the message, with the name of the transfer */
export function heldDeliveries(envelope: Omit<Envelope, 'recipients'>): HeldDeliveries {
  let groups: Group[] = [];
  /** By the number of the recipient: it may have been asked about ahead, or by an earlier condition. */
  const asked = new Map<string, Asked>();
  /** Who goes into a transaction as soon as there is one. */
  let taken: Taken[] = [];
  let timer: NodeJS.Timeout | undefined;
  let over = false;

  function groupFor(q: Question, endpoint: Endpoint): Group | undefined {
    const { transport, target, connectTimeoutMs, timeoutMs: commandTimeoutMs } = q;
    const open = groups.find(
      (g) =>
        g.transport === transport &&
        g.recipients < transport.maxRecipients &&
        sameEndpoint(g.endpoint, endpoint),
    );
    if (open !== undefined || over || groups.length >= maxHeld) return open;
    const delivery = transport.hold?.(target, endpoint, { envelope, connectTimeoutMs, commandTimeoutMs });
    if (delivery === undefined) return undefined;
    const group = { transport, endpoint, delivery, recipients: 0 };
    groups.push(group);
    timer ??= setTimeout(end, longestMs).unref();
    return group;
  }

  function ask(q: Question, endpoint: Endpoint): Promise<RcptAnswer> | undefined {
    const { address, key = '' } = q.routing;
    const number = transferNumber(q.number, key);
    const known = asked.get(number);
    if (known !== undefined && isSame(known, q, endpoint)) return known.answer;
    const before = taken;
    taken = [];
    for (const one of before) void ask(one.q, one.endpoint);
    const group = groupFor(q, endpoint);
    if (group === undefined) return undefined;
    group.recipients++;
    const answer = group.delivery.rcpt({ address, transferNumber: number }, q.last);
    asked.set(number, { q, endpoint, answer });
    return answer;
  }

  function end(): void {
    over = true;
    clearTimeout(timer);
    for (const { delivery } of groups) delivery.end();
    groups = [];
  }

  return {
    question(q, place) {
      if (q.transport.hold === undefined || q.routing.errorsTo !== undefined) return undefined;
      // A callout with a reverse path of its own is not about this message.
      if (q.sender !== null && !samePath(q.sender, envelope.sender)) return undefined;
      const question = { ...q, ...place };
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
