/** What a verification is given: routing, callouts, cache; and whom it asks. */
import type { Address, LocalPart, ReversePath } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { CalloutTarget, Transport } from '../transport/transport.ts';
import type { CalloutCache } from './cache.ts';
import type { Callouts } from './callout.ts';
import type { CalloutQuestion } from './callout-answer.ts';
import type { CalloutOptions } from './verifier.ts';

/** What routing says of an address; `Routed` of `router/environment.ts` has this shape. */
export type VerifyRouting =
  | {
      readonly kind: 'routed';
      readonly transport?: string;
      readonly hosts: readonly RouteHost[];
      /** What goes into RCPT: affixes taken off. */
      readonly address: Address;
      /** See VerifiedRoute; absent for the address itself. */
      readonly key?: string;
      /** Where its failures are to be told, if not to the sender. */
      readonly errorsTo?: ReversePath;
      readonly facts: { readonly local: string; readonly domain: string; readonly addressData?: string };
    }
  | { readonly kind: 'discard' }
  /** To several addresses, a file or a command: good, and not looked into further. */
  | { readonly kind: 'redirected' }
  | { readonly kind: 'fail' | 'defer'; readonly reason: Status };

export type VerifyMode = 'verify-recipient' | 'verify-sender';

export interface VerifierParts {
  /** Runs an address through the routers. Bound to the connection and message at hand, so a verifier is made per session. */
  readonly route: (
    address: Address,
    mode: VerifyMode,
    signal: AbortSignal,
    /** A redirection to one address is not followed either. */
    stopAtRedirect?: boolean,
  ) => Promise<VerifyRouting>;
  readonly transport: (name: string) => Transport | undefined;
  /** Shared by all sessions, so that questions meet. */
  readonly callouts: Callouts;
  /** Absent: no callout is remembered. */
  readonly cache?: CalloutCache;
  /** A server is about to be asked: the moment to {@link ForeseeingVerifier.foresee} what will be asked next. */
  readonly onAsk?: (options: CalloutOptions, direct: boolean) => void;
  /** A callout was wanted where mail stays on this machine: nobody was asked. */
  readonly unasked?: (transport: string, reason: string) => void;
  /** A message that is delivered at once: its transaction, in which its recipients are asked about; undefined where there is none. */
  readonly hold?: (question: HeldQuestion) => HeldCallout | undefined;
  /** `callout_random_local_part`, expanded; undefined where it gives none. */
  readonly randomLocalPart?: () => Promise<LocalPart | undefined>;
  /** Milliseconds since 1970. */
  readonly nowMs?: () => number;
}

/** A recipient who is asked about in the transaction of the message. */
export interface HeldQuestion {
  readonly transport: Transport;
  readonly target: CalloutTarget;
  readonly routing: Extract<VerifyRouting, { kind: 'routed' }>;
  /** The reverse path of the callout; null where nothing was said of it. */
  readonly sender: ReversePath;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Which of the RCPTs it is: 0 for the one at hand, 1 for the one behind it. */
  readonly ahead: number;
}

export interface HeldCallout {
  /** That of the message, whatever the callout's. */
  readonly sender: ReversePath;
  readonly ask: NonNullable<CalloutQuestion['hold']>;
  /** It need not be asked about, but belongs to the message. */
  take(): void;
}

export type Who = 'recipient' | 'sender';

/** The place to ask, or why there is none. */
export function targetOf(
  parts: VerifierParts,
  { transport: name, hosts }: Extract<VerifyRouting, { kind: 'routed' }>,
): CalloutTarget | { readonly reason: string; readonly local?: true } {
  if (name === undefined) return { reason: 'cannot callout: the router sets no transport' };
  const transport = parts.transport(name);
  if (transport === undefined) return { reason: `cannot callout: there is no transport ${name}` };
  const target = transport.calloutTarget(hosts);
  return 'kind' in target
    ? { ...target, reason: `cannot callout via transport ${name}: ${target.reason}` }
    : target;
}

export function questionOf(
  target: CalloutTarget,
  address: Address,
  options: CalloutOptions,
): CalloutQuestion {
  const { sender, sizeOctets, connectTimeoutMs, timeoutMs: commandTimeoutMs, maxWaitMs } = options;
  const size = sizeOctets === undefined ? {} : { sizeOctets };
  return { target, sender, address, ...size, connectTimeoutMs, commandTimeoutMs, maxWaitMs };
}

export function heldFor(
  parts: VerifierParts,
  target: CalloutTarget,
  routing: Extract<VerifyRouting, { kind: 'routed' }>,
  { sender, timeoutMs, connectTimeoutMs }: CalloutOptions,
  ahead: number,
): HeldCallout | undefined {
  const transport = parts.transport(routing.transport ?? '');
  if (transport === undefined || parts.hold === undefined) return undefined;
  return parts.hold({ transport, target, routing, sender, timeoutMs, connectTimeoutMs, ahead });
}
