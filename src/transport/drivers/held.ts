/** Deliveries of a pool in transactions that were begun earlier, where they fit, and else in new ones. */
import { type Endpoint, sameEndpoint } from '../../mail/endpoint.ts';
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import type { RcptAnswer } from '../../mail/rcpt-answer.ts';
import type { LmtpPool, LmtpPoolOptions, LmtpSendResult } from '../../lmtp/client/pool.ts';
import type { LmtpMessage } from '../../lmtp/client/transaction.ts';
import type { SmtpPool } from '../../smtp/client/pool.ts';
import type { HeldDelivery } from '../transport.ts';

type Pool = LmtpPool | SmtpPool;
type Send = NonNullable<ReturnType<Pool['hold']>>;

export interface HoldingPool {
  /** See `Transport.hold`. */
  hold(
    endpoint: Endpoint,
    envelope: Omit<Envelope, 'recipients'>,
    options: LmtpPoolOptions,
  ): HeldDelivery | undefined;
  /** As the pool's `send`; in one of the held transactions where that comes to the same. */
  send(
    held: readonly HeldDelivery[] | undefined,
    endpoint: Endpoint,
    message: LmtpMessage,
    options: LmtpPoolOptions,
    signal: AbortSignal,
  ): Promise<LmtpSendResult>;
}

/** One of a pool's own. */
class Begun implements HeldDelivery {
  readonly pool: Pool;
  readonly endpoint: Endpoint;
  readonly options: LmtpPoolOptions;
  readonly send: Send;

  constructor(pool: Pool, endpoint: Endpoint, options: LmtpPoolOptions, send: Send) {
    this.pool = pool;
    this.endpoint = endpoint;
    this.options = options;
    this.send = send;
  }

  rcpt(recipient: Recipient, last: boolean): Promise<RcptAnswer> {
    return this.send.rcpt(recipient, last);
  }

  end(): void {
    this.send.end();
  }
}

/** One connection is as good as the other: to the same place, greeted with the same name. */
function samePlace({ endpoint, options }: Begun, other: Endpoint, now: LmtpPoolOptions): boolean {
  return (
    options.helo === now.helo &&
    options.avoidPipelining === now.avoidPipelining &&
    sameEndpoint(endpoint, other)
  );
}

export function holdingPool(pool: Pool): HoldingPool {
  async function sendHeld(
    held: readonly HeldDelivery[],
    endpoint: Endpoint,
    message: LmtpMessage,
    options: LmtpPoolOptions,
    signal: AbortSignal,
  ): Promise<LmtpSendResult | undefined> {
    const { recipients, ...envelope } = message.envelope;
    for (const delivery of held) {
      if (!(delivery instanceof Begun) || delivery.pool !== pool) continue;
      const { send } = delivery;
      const order = samePlace(delivery, endpoint, options) ? send.order(envelope, recipients) : undefined;
      if (order === undefined) continue;
      if (order.every((position, i) => position === i)) return send.send(message, options, signal);
      const ordered = order.flatMap((position) => recipients[position] ?? []);
      const sent = await send.send(
        { ...message, envelope: { ...envelope, recipients: ordered } },
        options,
        signal,
      );
      if (sent?.kind !== 'done') return sent;
      const { result } = sent;
      const results = recipients.flatMap((_, position) => result.recipients[order.indexOf(position)] ?? []);
      return { ...sent, result: { ...result, recipients: results } };
    }
    return undefined;
  }

  return {
    hold(endpoint, envelope, options) {
      const send = pool.hold(endpoint, envelope, options);
      return send === undefined ? undefined : new Begun(pool, endpoint, options, send);
    },
    async send(held, endpoint, message, options, signal) {
      const sent = held === undefined ? undefined : await sendHeld(held, endpoint, message, options, signal);
      return sent ?? pool.send(endpoint, message, options, signal);
    },
  };
}
