/** Deliveries of a pool in transactions that were begun earlier, where they fit, and else in new ones. */
import { type Endpoint, endpointKey } from '../../mail/endpoint.ts';
import type { Envelope } from '../../mail/envelope.ts';
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

interface Begun {
  readonly endpoint: Endpoint;
  readonly options: LmtpPoolOptions;
  readonly send: Send;
}

/** One connection is as good as the other: to the same place, greeted with the same name. */
function samePlace({ endpoint, options }: Begun, other: Endpoint, now: LmtpPoolOptions): boolean {
  return (
    options.helo === now.helo &&
    options.avoidPipelining === now.avoidPipelining &&
    (endpoint === other || endpointKey(endpoint) === endpointKey(other))
  );
}

export function holdingPool(pool: Pool): HoldingPool {
  const begun = new WeakMap<HeldDelivery, Begun>();

  async function sendHeld(
    held: readonly HeldDelivery[],
    endpoint: Endpoint,
    message: LmtpMessage,
    options: LmtpPoolOptions,
    signal: AbortSignal,
  ): Promise<LmtpSendResult | undefined> {
    const { recipients, ...envelope } = message.envelope;
    for (const delivery of held) {
      const known = begun.get(delivery);
      if (known === undefined || !samePlace(known, endpoint, options)) continue;
      const order = known.send.order(envelope, recipients);
      if (order === undefined) continue;
      if (order.every((position, i) => position === i)) return known.send.send(message, options, signal);
      const ordered = order.flatMap((position) => recipients[position] ?? []);
      const sent = await known.send.send(
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
      if (send !== undefined) begun.set(send, { endpoint, options, send });
      return send;
    },
    async send(held, endpoint, message, options, signal) {
      const sent = held === undefined ? undefined : await sendHeld(held, endpoint, message, options, signal);
      return sent ?? pool.send(endpoint, message, options, signal);
    },
  };
}
