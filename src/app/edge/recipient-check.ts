/** Verification of the addresses of one SMTP transaction (Exim manual, "Address verification"). */
import type { ConnectionFacts, ExpandScope, MessageFacts } from '../../expand/scope.ts';
import { expandText } from '../../expand/expand.ts';
import type { Envelope } from '../../mail/envelope.ts';
import { type Address, isSyntaxError, type LocalPart, parseAddress } from '../../mail/address.ts';
import { logText } from '../../observe/log-text.ts';
import { route } from '../../router/route.ts';
import type { Following, MailCommand } from '../../smtp/server/handler.ts';
import type { Verifier, VerifyResult } from '../../verify/verifier.ts';
import { createVerifier } from '../../verify/verify.ts';
import type { HeldCallout, HeldQuestion } from '../../verify/verifier-parts.ts';
import { type HeldDeliveries, heldDeliveries } from './held-deliveries.ts';
import type { EdgeParts } from './parts.ts';

/** What verification may look at; read when it is needed. */
export interface CheckedSession {
  readonly connection: ConnectionFacts;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
  transaction(): { readonly command: MailCommand; readonly facts: MessageFacts } | undefined;
  scope(): ExpandScope;
  /** With the domain that an unqualified address lacks. */
  qualified(address: Address): Address;
  /** The message is to be delivered while its sender waits. */
  direct(): boolean;
  /** What is handed over then, with the name of the transfer; undefined where it is not after all. */
  envelope(): Omit<Envelope, 'recipients'> | undefined;
}

export interface RecipientCheck {
  /** For the ACLs of the transaction at hand. */
  readonly verifier: Verifier;
  /** A RCPT begins. @param following what has come behind it: RCPTs are asked about with the first that is asked about */
  begin(following: () => Following): void;
  /** Transactions at servers that were begun for the message; undefined where there are none. */
  held(): HeldDeliveries | undefined;
  /** The transaction at hand is over, or a new one. */
  reset(): void;
  /**
   * Direct delivery: a recipient whom no ACL verified is asked about now, so that nobody is refused after the content; undefined where
   * nothing speaks against it.
   */
  askServer(
    address: Address,
    defer: 'spool' | 'pass',
  ): Promise<Exclude<VerifyResult, { kind: 'ok' }> | undefined>;
}

/** RCPTs that have come together. */
interface Batch extends Following {
  /** Which RCPT of the message the first is, from 1. */
  readonly count: number;
}

/** In the name of a transfer: RCPT commands, refused ones counted; another text than any position in the envelope. */
export function recipientNumber(count: number): string {
  return `r${count}`;
}

/** Of recipients that no ACL asked about, with Exim's limits. */
const directCallout = {
  timeoutMs: 30_000,
  connectTimeoutMs: 30_000,
  maxWaitMs: 120_000,
  deferOk: false,
  noCache: true,
} as const;

export function createRecipientCheck(parts: EdgeParts, session: CheckedSession): RecipientCheck {
  const { main, services, logs } = parts;
  const { connection, signal } = session;
  /** The server of the recipient at hand has been asked about it. */
  let asked = false;
  let behind: (() => Following) | undefined;
  /** RCPTs to come whose servers were asked ahead. */
  let seenAhead = 0;

  /** Where that was. */
  let batch: Batch = { count: 0, recipients: [], data: false };
  let held: HeldDeliveries | undefined;

  function hold(question: HeldQuestion): HeldCallout | undefined {
    if (held === undefined) {
      const envelope = session.envelope();
      if (envelope === undefined) return undefined;
      held = heldDeliveries(envelope);
    }
    const { ahead } = question;
    const { count, recipients, data } = ahead === 0 ? atHand() : batch;
    const last = data && ahead === recipients.length;
    return held.question(question, { number: recipientNumber(count + ahead), last });
  }

  function atHand(): Batch {
    const count = session.transaction()?.facts.rcptCount ?? 0;
    return { count, ...(behind?.() ?? { recipients: [], data: false }) };
  }

  const one = createVerifier({
    route: (address, mode, routeSignal, stopAtRedirect) => {
      const transaction = session.transaction();
      return route(
        address,
        {
          routers: parts.routers,
          ...(parts.rewriteChild === undefined ? {} : { rewriteChild: parts.rewriteChild }),
          main,
          services,
          mode,
          sender: mode === 'verify-sender' ? null : (transaction?.command.sender ?? null),
          connection,
          ...(transaction === undefined ? {} : { message: transaction.facts }),
          transport: (name) => parts.transports.get(name),
          problem: (text) => logs.panic(logText(text)),
        },
        routeSignal,
        stopAtRedirect,
      );
    },
    randomLocalPart: () => randomLocalPart(parts, session.scope()),
    transport: (name) => parts.transports.get(name)?.transport,
    callouts: parts.callouts,
    cache: parts.calloutCache,
    unasked: parts.unasked,
    hold,
    onAsk: (callout, direct) => {
      // One look at a batch: what came with it has been seen then.
      if (behind === undefined || session.transaction() === undefined || seenAhead > 0) return;
      batch = atHand();
      const { recipients } = batch;
      seenAhead = recipients.length;
      const addresses = recipients.map((r) => session.qualified(r.address));
      if (recipients.length > 0) one.foresee(addresses, callout, direct, signal);
    },
  });

  const verifier: Verifier = {
    verifySender: (request, s) => one.verifySender(request, s),
    async verifyRecipient(request, s) {
      const direct = request.direct === true || session.direct();
      const result = await one.verifyRecipient(direct ? { ...request, direct } : request, s);
      asked ||= result.kind === 'ok' && result.via !== 'route';
      return result;
    },
  };

  return {
    verifier,
    begin(following) {
      asked = false;
      behind = following;
      seenAhead--;
    },
    held: () => held,
    reset() {
      behind = undefined;
      seenAhead = 0;
      held?.end();
      held = undefined;
    },
    async askServer(address, defer) {
      if (asked) return undefined;
      const command = session.transaction()?.command;
      const sizeOctets = command?.params.declaredSize;
      const callout = {
        ...directCallout,
        sender: command?.sender ?? null,
        ...(sizeOctets === undefined ? {} : { sizeOctets }),
      };
      const found = await verifier.verifyRecipient({ address, callout, direct: true }, signal);
      if (found.kind === 'ok' || found.impossible === true) return undefined;
      return found.kind === 'defer' && defer === 'spool' ? undefined : found;
    },
  };
}

/** `callout_random_local_part`; undefined where it gives none. */
async function randomLocalPart(parts: EdgeParts, scope: ExpandScope): Promise<LocalPart | undefined> {
  const text = parts.options.callout_random_local_part;
  const result = await expandText(text, scope);
  if (result.kind !== 'ok') {
    if (result.kind !== 'forced-fail')
      parts.logs.panic(`failed to expand callout_random_local_part: ${logText(result.reason)}`);
    return undefined;
  }
  const address = parseAddress(`${result.text}@x`);
  return isSyntaxError(address) ? undefined : address.local;
}
