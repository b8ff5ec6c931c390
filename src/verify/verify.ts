/** Address verification (Exim manual, "Address verification"): routing first, and a callout where one is asked for. */
import type { Address } from '../mail/address.ts';
import { errorText } from '../mail/error-text.ts';
import { MailError } from '../mail/mail-error.ts';
import type { Status } from '../mail/outcome.ts';
import { type Reply, replyFromText } from '../mail/reply.ts';
import { askForQuota } from './ask-quota.ts';
import { askServer, lookUp } from './ask-server.ts';
import { incompleteReply } from './callout-wording.ts';
import type { CalloutOptions, ForeseeingVerifier, VerifyRequest, VerifyResult } from './verifier.ts';
import {
  heldFor,
  questionOf,
  targetOf,
  type VerifierParts,
  type VerifyRouting,
  type Who,
} from './verifier-parts.ts';

export function createVerifier(parts: VerifierParts): ForeseeingVerifier {
  return {
    verifyRecipient: (request, signal) => verify(parts, request, 'recipient', signal),
    verifySender: (request, signal) => verify(parts, request, 'sender', signal),
    foresee: (addresses, callout, direct, signal) => {
      for (const [i, address] of addresses.entries()) {
        const ahead = direct ? i + 1 : undefined;
        void foresee(parts, address, ahead, callout, signal).catch(() => undefined);
      }
    },
  };
}

async function verify(
  parts: VerifierParts,
  request: VerifyRequest,
  who: Who,
  signal: AbortSignal,
): Promise<VerifyResult> {
  let routing: VerifyRouting;
  try {
    routing = await parts.route(
      request.address,
      who === 'recipient' ? 'verify-recipient' : 'verify-sender',
      signal,
      request.successOnRedirect === true,
    );
  } catch (error) {
    if (error instanceof MailError && error.code === 'ABORTED') throw error;
    const text = errorText(error);
    return { kind: 'defer', stage: 'route', reply: temporary(who, undefined), logReason: text };
  }
  switch (routing.kind) {
    case 'fail':
      return {
        kind: 'fail',
        stage: 'route',
        reply: routing.reason.reply ?? replyFromText(550, undefined, routing.reason.text),
        logReason: routing.reason.text,
      };
    case 'defer':
      return {
        kind: 'defer',
        stage: 'route',
        reply: temporary(who, routing.reason),
        logReason: routing.reason.text,
      };
    case 'discard':
    case 'redirected':
      return { kind: 'ok', via: 'route' };
    case 'routed': {
      const { addressData } = routing.facts;
      const data = addressData === undefined ? {} : { addressData };
      if (request.quota !== undefined) {
        const full = await askForQuota(parts, routing, request.quota, signal);
        if (full !== undefined) return { ...full, ...data };
      }
      if (request.callout === undefined) return { kind: 'ok', via: 'route', ...data };
      const direct = request.direct === true && who === 'recipient';
      const result = await callOut(parts, routing, request.callout, who, direct, signal);
      if (result.kind === 'defer' && request.callout.deferOk)
        return { kind: 'ok', via: 'callout', forgiven: result.stage, ...data };
      if (result.kind !== 'ok' || result.random === true) return { ...result, ...data };
      const { local, domain } = routing.facts;
      return { ...result, ...data, known: { local, domain } };
    }
  }
}

async function callOut(
  parts: VerifierParts,
  routing: Extract<VerifyRouting, { kind: 'routed' }>,
  options: CalloutOptions,
  who: Who,
  direct: boolean,
  signal: AbortSignal,
): Promise<VerifyResult> {
  const target = targetOf(parts, routing);
  if ('reason' in target) {
    if (target.local !== true) return impossible(who, target.reason);
    // As in Exim: routing has shown that it exists here, and there is nobody who knows better.
    parts.unasked?.(routing.transport ?? '', target.reason);
    return { kind: 'ok', via: 'route' };
  }
  const held = direct ? heldFor(parts, target, routing, options, 0) : undefined;
  return askServer({ parts, target, address: routing.address, options, who, held, signal });
}

/** Only the question is asked ahead: where the address is routed when its turn comes decides whether it was the right one. */
async function foresee(
  parts: VerifierParts,
  address: Address,
  /** Of a message that is delivered at once, which of the RCPTs it is. */
  ahead: number | undefined,
  options: CalloutOptions,
  signal: AbortSignal,
): Promise<void> {
  const routing = await parts.route(address, 'verify-recipient', signal);
  if (routing.kind !== 'routed') return;
  const target = targetOf(parts, routing);
  if ('reason' in target) return;
  const held = ahead === undefined ? undefined : heldFor(parts, target, routing, options, ahead);
  if (lookUp(parts, routing.address, options, held).kind !== 'ask') return;
  const sender = held === undefined ? options.sender : held.sender;
  const [first] = target.endpoints;
  if (held === undefined || first === undefined || held.ask(first) === undefined)
    parts.callouts.foresee(questionOf(target, routing.address, { ...options, sender }));
}

function impossible(who: Who, logReason: string): VerifyResult {
  const log = `Could not complete ${who} verify callout: ${logReason}`;
  return {
    kind: 'defer',
    stage: 'connect',
    reply: incompleteReply(who),
    logReason: log,
    impossible: true,
  };
}

/** Our own troubles are for the log; only a reply that a router composed for the client is told. */
function temporary(who: Who, reason: Status | undefined): Reply {
  if (who === 'recipient' && reason?.reply !== undefined) return reason.reply;
  return replyFromText(451, undefined, 'Temporary local problem - please try later');
}
