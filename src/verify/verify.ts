/** Address verification (Exim manual, "Address verification"): routing first, and a callout where one is asked for. */
import type { Address } from '../mail/address.ts';
import { MailError } from '../mail/mail-error.ts';
import type { Status } from '../mail/outcome.ts';
import { type Reply, replyFromText } from '../mail/reply.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { CalloutTarget, Transport } from '../transport/transport.ts';
import type { CalloutCache, CalloutLesson } from './cache.ts';
import type { CalloutAnswer, CalloutQuestion, Callouts } from './callout.ts';
import {
  failStage,
  incompleteReply,
  recipientRefusedReply,
  refusedLog,
  senderRefusedReply,
  unclearLog,
} from './callout-wording.ts';
import type { CalloutOptions, ForeseeingVerifier, VerifyRequest, VerifyResult } from './verifier.ts';
import { errorText } from '../mail/error-text.ts';

/** What routing says of an address; `Routed` of `router/environment.ts` has this shape. */
export type VerifyRouting =
  | {
      readonly kind: 'routed';
      readonly transport?: string;
      readonly hosts: readonly RouteHost[];
      /** What goes into RCPT: affixes taken off. */
      readonly address: Address;
      readonly facts: { readonly addressData?: string };
    }
  | { readonly kind: 'discard' }
  /** To several addresses, a file or a command: good, and not looked into further. */
  | { readonly kind: 'redirected' }
  | { readonly kind: 'fail' | 'defer'; readonly reason: Status };

export type VerifyMode = 'verify-recipient' | 'verify-sender';

export interface VerifierParts {
  /** Runs an address through the routers. Bound to the connection and message at hand, so a verifier is made per session. */
  readonly route: (address: Address, mode: VerifyMode, signal: AbortSignal) => Promise<VerifyRouting>;
  readonly transport: (name: string) => Transport | undefined;
  /** Shared by all sessions, so that questions meet. */
  readonly callouts: Callouts;
  /** Absent: no callout is remembered. */
  readonly cache?: CalloutCache;
  /** Milliseconds since 1970. */
  readonly nowMs?: () => number;
}

type Who = 'recipient' | 'sender';

export function createVerifier(parts: VerifierParts): ForeseeingVerifier {
  return {
    verifyRecipient: (request, signal) => verify(parts, request, 'recipient', signal),
    verifySender: (request, signal) => verify(parts, request, 'sender', signal),
    foresee: (addresses, callout, signal) => {
      for (const address of addresses) void foresee(parts, address, callout, signal).catch(() => undefined);
    },
  };
}

// Here `success_on_redirect`, `random`, `postmaster` and `use_sender` will come in
// (Exim manual, "Redirection while verifying", "Additional parameters for callouts"); the ACL reader refuses them so far.
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
      if (request.callout === undefined) return { kind: 'ok', via: 'route', ...data };
      const result = await callOut(parts, routing, request.callout, who, signal);
      if (result.kind === 'defer' && request.callout.deferOk) return { kind: 'ok', via: 'callout', ...data };
      return result.kind === 'ok' ? { ...result, ...data } : result;
    }
  }
}

async function callOut(
  parts: VerifierParts,
  routing: Extract<VerifyRouting, { kind: 'routed' }>,
  options: CalloutOptions,
  who: Who,
  signal: AbortSignal,
): Promise<VerifyResult> {
  const target = targetOf(parts, routing);
  if (typeof target === 'string') return impossible(who, target);

  const { address } = routing;
  const { sender } = options;
  const now = parts.nowMs ?? Date.now;
  const cache = options.noCache ? undefined : parts.cache;
  const cached = cache?.lookup(address, sender, now());
  if (cached === 'accepted') return { kind: 'ok', via: 'cache' };
  if (cached !== undefined) return cachedFailure(cached);

  const answer = await parts.callouts.ask(questionOf(target, address, options), signal);
  const lesson = lessonOf(answer, sender === null);
  if (lesson !== undefined) cache?.remember(address, sender, lesson, now());
  switch (answer.kind) {
    case 'accepted':
      return { kind: 'ok', via: 'callout' };
    case 'refused': {
      const reply = who === 'recipient' ? recipientRefusedReply(answer) : senderRefusedReply(answer);
      return { kind: 'fail', stage: failStage(answer.stage), reply, logReason: refusedLog(answer) };
    }
    case 'unclear':
      return {
        kind: 'defer',
        stage: answer.stage,
        reply: incompleteReply(who),
        logReason: unclearLog(answer, who),
      };
  }
}

/** The place to ask, or why there is none. */
function targetOf(
  parts: VerifierParts,
  { transport: name, hosts }: Extract<VerifyRouting, { kind: 'routed' }>,
): CalloutTarget | string {
  if (name === undefined) return 'cannot callout: the router sets no transport';
  const transport = parts.transport(name);
  if (transport === undefined) return `cannot callout: there is no transport ${name}`;
  const target = transport.calloutTarget(hosts);
  return 'kind' in target ? `cannot callout via transport ${name}: ${target.reason}` : target;
}

function questionOf(target: CalloutTarget, address: Address, options: CalloutOptions): CalloutQuestion {
  const { sender, sizeOctets, connectTimeoutMs, timeoutMs: commandTimeoutMs, maxWaitMs } = options;
  const size = sizeOctets === undefined ? {} : { sizeOctets };
  return { target, sender, address, ...size, connectTimeoutMs, commandTimeoutMs, maxWaitMs };
}

/** Only the question is asked ahead: where the address is routed when its turn comes decides whether it was the right one. */
async function foresee(
  parts: VerifierParts,
  address: Address,
  options: CalloutOptions,
  signal: AbortSignal,
): Promise<void> {
  const routing = await parts.route(address, 'verify-recipient', signal);
  if (routing.kind !== 'routed') return;
  const target = targetOf(parts, routing);
  if (typeof target === 'string') return;
  const now = parts.nowMs ?? Date.now;
  const cached = options.noCache ? undefined : parts.cache?.lookup(routing.address, options.sender, now());
  if (cached === undefined) parts.callouts.foresee(questionOf(target, routing.address, options));
}

/**
 * What is worth remembering. A refused banner or HELO is not, as in the real Exim (its manual says it is): a store that
 * is being mended would refuse a domain's mail for hours. Nor is a refused MAIL with a sender of its own.
 */
function lessonOf(answer: CalloutAnswer, nullSender: boolean): CalloutLesson | undefined {
  if (answer.kind === 'accepted') return 'accepted';
  if (answer.kind !== 'refused') return undefined;
  // A mailbox that is full today, or for this message, is a mailbox all the same.
  if (isAboutQuota(answer.reply)) return undefined;
  if (answer.stage === 'rcpt') return 'refused';
  return answer.stage === 'mail' && nullSender ? 'null-sender-refused' : undefined;
}

/** Mailbox full, or too big for it or for the system (RFC 3463 §3.3, §3.4). */
function isAboutQuota({ code, status }: Reply): boolean {
  return code === 552 || (status !== undefined && /^\d\.(?:2\.2|2\.3|3\.4)$/.test(status));
}

function cachedFailure(cached: 'refused' | 'domain-refused'): VerifyResult {
  const text =
    cached === 'refused'
      ? 'Previous (cached) callout verification failure'
      : '(result of an earlier callout reused).';
  const reply = replyFromText(550, undefined, text);
  return { kind: 'fail', stage: cached === 'refused' ? 'rcpt' : 'mail', reply, logReason: text };
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
