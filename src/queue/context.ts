/** What deliveries share: made once by the application. */
import type {
  AddressFacts,
  ConnectionFacts,
  ExpandScope,
  ExpandServices,
  MainFacts,
  MessageFacts,
} from '../expand/scope.ts';
import type { Address } from '../mail/address.ts';
import type { RecipientOutcome } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { RetryRule } from '../retry/rules.ts';
import type { ScheduleOptions } from '../retry/schedule.ts';
import type { RouteEnvironment } from '../router/environment.ts';
import type { ConfiguredRouter } from '../router/options.ts';
import type { TransportTraits } from '../router/router.ts';
import type { Claim, Spool, SpoolEntry } from '../spool/spool.ts';
import type { Batch, Transport } from '../transport/transport.ts';
import type { RoutedRecipient } from './batch.ts';
import type { EmitEvent } from './events.ts';
import type { FreezeTell } from './freeze-tell.ts';
import type { QueueControl } from './queue-control.ts';
import type { HostGate } from './host-gate.ts';

export interface BounceOptions {
  /** `bounce_return_message` and `bounce_return_body`: off, only header lines go back. */
  readonly returnBody: boolean;
  /** `bounce_return_size_limit`, octets of the whole message. */
  readonly returnSizeLimitBytes: number;
  /** `bounce_return_linesize_limit`, octets: only header lines of a message with longer lines go back; 0 for no limit. */
  readonly returnLineLimit: number;
  /** `ignore_bounce_errors_after`: a bounce that fails when it is older than this is dropped, a younger one frozen. */
  readonly ignoreErrorsAfterMs: number;
  /** `errors_copy`: who else gets a bounce to this address. */
  readonly copies?: (to: Address) => Promise<readonly Address[]>;
  /** `errors_reply_to`. */
  readonly replyTo?: string;
  /** `bounce_message_text`. */
  readonly extraText?: string;
}

/** Exim's defaults. */
export const bounceDefaults: BounceOptions = {
  returnBody: true,
  returnSizeLimitBytes: 100 * 1024,
  returnLineLimit: 998,
  ignoreErrorsAfterMs: 10 * 7 * 86_400_000,
};

/** A transport with what routers ask about it. */
export interface ConfiguredTransport extends TransportTraits {
  readonly transport: Transport;
  /** False: hosts that are past their last retry time are tried for each new message (`delay_after_cutoff`). */
  readonly delayAfterCutoff?: boolean;
  /** Retry rules for what a local transport puts off are chosen by the domain (`retry_use_local_part` false). */
  readonly retryByDomain?: boolean;
  /**
   * Hosts to try for recipients that all others deferred, in the order in which they are to be tried; a text says why there
   * are none. Absent where the transport cannot have any.
   *
   * @param own of the router; absent: the transport's
   */
  readonly fallback?: (own: readonly RouteHost[] | undefined) => Promise<readonly RouteHost[] | string>;
  /** In place of `transport.deliver`, with the same promises, where options are expanded for each delivery. */
  readonly deliver?: (delivery: DeliveryAtHand, signal: AbortSignal) => Promise<readonly RecipientOutcome[]>;
}

/** What options of a transport may look at. */
export interface DeliveryAtHand {
  readonly batch: Batch;
  readonly claim: Claim;
  /** In the order of the batch's recipients. */
  readonly members: readonly [RoutedRecipient, ...RoutedRecipient[]];
  /** With the address of the first recipient. */
  readonly scope: ExpandScope & { readonly address: AddressFacts };
  /** Told what Exim puts on the panic log. */
  problem(text: string): void;
}

export interface DeliveryContext {
  readonly spool: Spool;
  readonly gate: HostGate;
  readonly routers: readonly ConfiguredRouter[];
  /** See RouteEnvironment. */
  readonly rewriteChild?: RouteEnvironment['rewriteChild'];
  readonly transports: ReadonlyMap<string, ConfiguredTransport>;
  readonly main: MainFacts;
  readonly services: ExpandServices;
  readonly retryRules: readonly RetryRule[];
  /** Without `receivedAtMs`, which is the message's. */
  readonly schedule: Omit<ScheduleOptions, 'receivedAtMs'>;
  readonly bounce: BounceOptions;
  /** Domains whose mail waits; absent where there are none. */
  readonly control?: QueueControl;
  /** `freeze_tell`; absent where nobody is told. */
  readonly freezeTell?: FreezeTell;
  /** A name of this spool that no other has: with it transfers to our own stores are told from repeats. */
  readonly instance?: string;
  /** Transactions of one message at a time; Exim's `remote_max_parallel`. */
  readonly maxParallelBatches: number;
  readonly emit: EmitEvent;
  readonly nowMs: () => number;
}

/** The groups of variables of a message in the spool. */
export interface EntryFacts {
  readonly message: MessageFacts;
  readonly connection?: ConnectionFacts;
}

/** @param content gives header fields and body when they are asked for */
export function factsOf(
  entry: SpoolEntry,
  content: Required<Pick<MessageFacts, 'headers' | 'body'>>,
): EntryFacts {
  const { envelope, reception } = entry;
  const message: MessageFacts = {
    id: entry.id,
    sender: envelope.sender,
    declaredSize: envelope.declaredSize ?? -1,
    size: entry.size,
    bodyIs8bit: envelope.body === '8BITMIME' || envelope.body === 'BINARYMIME',
    recipients: envelope.recipients.map((r) => r.address),
    rcptCount: envelope.recipients.length,
    receivedAtMs: reception.receivedAtMs,
    ...content,
    variables: new Map(Object.entries(entry.variables)),
  };
  if (reception.hostAddress === undefined) return { message };
  const connection: ConnectionFacts = {
    hostAddress: reception.hostAddress,
    hostPort: reception.hostPort ?? 0,
    interfaceAddress: reception.interfaceAddress ?? '',
    interfacePort: reception.interfacePort ?? 0,
    ...(reception.hostName === undefined ? undefined : { hostName: reception.hostName }),
    ...(reception.helo === undefined ? undefined : { helo: reception.helo }),
    protocol: reception.protocol,
    variables: new Map(),
  };
  return { message, connection };
}
