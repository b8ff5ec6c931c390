/**
 * The lmtp transport: LMTP to a UNIX socket or to a command (Exim manual, "The lmtp transport"). Unlike Exim's, it
 * keeps connections and uses them for the next message, and it can be asked about recipients (callout).
 */
import { createLmtpPool } from '../../lmtp/client/pool.ts';
import { type Endpoint, endpointKey } from '../../mail/endpoint.ts';
import type { Envelope } from '../../mail/envelope.ts';
import type { RecipientOutcome } from '../../mail/outcome.ts';
import type { Batch, Transport } from '../transport.ts';
import { holdingPool } from './held.ts';
import { failureOutcome, outcomeOf, type Sent, type Voice } from './wording.ts';
import { among, splitBatch } from './split-batch.ts';

/** Private options, named as Exim's, with its defaults where one is optional. */
export interface LmtpTransportOptions {
  /** `socket` or `command`: exactly one, as Exim asks for. */
  readonly destination:
    | { readonly kind: 'socket'; readonly path: string }
    | { readonly kind: 'command'; readonly argv: readonly [string, ...string[]] };
  /** The LHLO argument; Exim gives `$primary_hostname`. */
  readonly helo: string;
  /** Recipients of one transaction. Default 1. */
  readonly batchMax?: number;
  /** For connecting, each reply and each block of content. Default 5 minutes. */
  readonly timeoutMs?: number;
  readonly ignoreQuota?: boolean;
  /** Connections to the socket at a time. Default 16 (ours: Exim has one per delivery process). */
  readonly maxConnections?: number;
  /** How long an unused connection is kept. Default 5 s (ours: Exim closes it). */
  readonly idleTimeoutMs?: number;
}

const fiveMinutesMs = 300_000;

/** @param name of the transport instance */
export function createLmtpTransport(name: string, options: LmtpTransportOptions): Transport {
  const { destination, helo } = options;
  const timeoutMs = options.timeoutMs ?? fiveMinutesMs;
  const maxRecipients = options.batchMax ?? 1;
  const endpoint: Endpoint =
    destination.kind === 'socket'
      ? { kind: 'unix', path: destination.path }
      : { kind: 'pipe', argv: destination.argv };
  const pool = createLmtpPool({
    maxPerEndpoint: options.maxConnections ?? 16,
    idleTimeoutMs: options.idleTimeoutMs ?? 5000,
  });
  const holding = holdingPool(pool);
  const voice: Voice = {
    driver: 'lmtp',
    protocol: 'lmtp',
    peer: destination.kind === 'socket' ? destination.path : endpointKey(endpoint),
    connectPrefix:
      destination.kind === 'socket'
        ? `Failed to connect to socket ${destination.path} for ${name} transport: `
        : `Failed to run command ${destination.argv[0]} for ${name} transport: `,
  };
  const sending = {
    helo,
    connectTimeoutMs: timeoutMs,
    commandTimeoutMs: timeoutMs,
    dataTimeoutMs: timeoutMs,
    finalTimeoutMs: timeoutMs,
    ignoreQuota: options.ignoreQuota ?? false,
  };

  async function send(
    batch: Batch,
    positions: readonly number[],
    outcomes: RecipientOutcome[],
    signal: AbortSignal,
  ): Promise<void> {
    const whole = positions.length === batch.recipients.length;
    const recipients = whole ? batch.recipients : batch.recipients.filter(among(positions));
    const envelope: Envelope = { ...batch.envelope, sender: batch.sender, recipients };
    const message = { envelope, content: batch.message };
    const sent = await holding.send(batch.held, endpoint, message, sending, signal);
    if (sent.kind === 'no-session') {
      const outcome = failureOutcome(sent.failure, voice);
      for (const p of positions) outcomes[p] = outcome;
      return;
    }
    const facts: Sent = {
      sender: batch.sender,
      recipients,
      pipelined: sent.result.pipelined,
      contentOctets: batch.message.size,
    };
    sent.result.recipients.forEach((result, i) => {
      const p = positions[i];
      if (p !== undefined) outcomes[p] = outcomeOf(result, i, facts, voice);
    });
  }

  return {
    name,
    maxRecipients,
    async deliver(batch, signal) {
      const outcomes = batch.recipients.map((): RecipientOutcome => unsent);
      for (const group of splitBatch(batch, maxRecipients, true)) {
        try {
          await send(batch, group, outcomes, signal);
        } catch (error) {
          // What was said to earlier ones is known.
          if (outcomes.every((o) => o === unsent)) throw error;
        }
        if (signal.aborted) break;
      }
      return outcomes;
    },
    calloutTarget: () => ({
      protocol: 'lmtp',
      endpoints: [endpoint],
      helo,
      connectTimeoutMs: timeoutMs,
      commandTimeoutMs: timeoutMs,
    }),
    hold: (_, place, { envelope, ...limits }) => holding.hold(place, envelope, { ...sending, ...limits }),
    close: () => pool.close(),
  };
}

const unsent: RecipientOutcome = {
  kind: 'deferred',
  status: { text: 'delivery was not tried' },
  scope: 'message',
};
