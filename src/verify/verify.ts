/** Address verification (Exim manual, "Address verification"): routing first, and a callout where one is asked for. */
import type { Address, Domain, LocalPart, ReversePath } from '../mail/address.ts';
import { MailError } from '../mail/mail-error.ts';
import type { Status } from '../mail/outcome.ts';
import { type Reply, replyFromText } from '../mail/reply.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { CalloutTarget, Transport } from '../transport/transport.ts';
import type { CachedAnswer, CalloutCache, CalloutLesson, KeptRefusal, Unknown } from './cache.ts';
import type { Callouts } from './callout.ts';
import type { CalloutAnswer, CalloutQuestion } from './callout-answer.ts';
import {
  cachedTexts,
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

type Who = 'recipient' | 'sender';

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

function heldFor(
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

/** One verification that a server is asked for. */
interface Asking {
  readonly parts: VerifierParts;
  readonly target: CalloutTarget;
  readonly address: Address;
  readonly options: CalloutOptions;
  readonly who: Who;
  /** The address itself is asked about so. */
  readonly held: HeldCallout | undefined;
  readonly signal: AbortSignal;
}

const nothingKnown: Unknown = { kind: 'ask' };

async function askServer(asking: Asking): Promise<VerifyResult> {
  const { parts, address, options, who, held } = asking;
  const { random = false, postmaster, sender } = options;
  const cache = options.noCache ? undefined : parts.cache;
  const known = lookUp(parts, address, options, held);
  if (known.kind === 'refused') return cachedFailure(known, who);
  if (known.kind !== 'ask') {
    held?.take();
    return known.kind === 'random-accepted'
      ? { kind: 'ok', via: 'cache', random: true }
      : { kind: 'ok', via: 'cache' };
  }
  parts.onAsk?.(options, held !== undefined);

  const learn = (lesson: CalloutLesson, of = sender): void =>
    cache?.remember(address, of, lesson, (parts.nowMs ?? Date.now)());
  if (random && known.random === undefined) {
    const anybody = await parts.randomLocalPart?.();
    if (anybody !== undefined) {
      const answer = await ask(asking, { ...address, local: anybody }, sender);
      if (answer.kind === 'accepted') {
        learn({ of: 'random', result: 'accept' });
        return { kind: 'ok', via: 'callout', random: true };
      }
      // As in Exim: who cannot say now whether it takes anybody is not asked about somebody.
      if (answer.kind === 'unclear') return resultOf(answer, who);
      if (answer.stage === 'rcpt') learn({ of: 'random', result: 'reject' });
    }
  }
  const given = held === undefined ? sender : held.sender;
  const answer = await ask(asking, address, given, held);
  const lessons = lessonsOf(answer, given === null);
  const done = (result: VerifyResult): VerifyResult => {
    // Whom a server takes mail for from somebody it knows; whom it does not, it may not take that sender's mail for.
    for (const lesson of lessons) learn(lesson, answer.kind === 'accepted' ? sender : given);
    return result;
  };
  if (answer.kind !== 'accepted') return done(resultOf(answer, who));
  if (postmaster !== undefined && known.postmaster === undefined) {
    const missing = await askForPostmaster(asking, postmaster, learn);
    // An address that is known is not asked about again, and so its postmaster would not be.
    if (missing?.kind === 'defer') return missing;
    if (missing !== undefined) return done(missing);
  }
  return done({ kind: 'ok', via: 'callout' });
}

/** What the cache says; of what is asked in a message's own transaction, also what was learnt so. */
function lookUp(
  parts: VerifierParts,
  address: Address,
  { noCache, sender, random = false, postmaster }: CalloutOptions,
  held: HeldCallout | undefined,
): CachedAnswer | Unknown {
  const nowMs = (parts.nowMs ?? Date.now)();
  const cache = noCache ? undefined : parts.cache;
  if (cache === undefined) return nothingKnown;
  const question = { address, sender, random, postmaster: postmaster !== undefined };
  const known = cache.lookup(question, nowMs);
  if (known.kind !== 'ask' || held === undefined || held.sender === sender) return known;
  const learnt = cache.lookup({ ...question, sender: held.sender }, nowMs);
  return learnt.kind === 'ask' ? known : learnt;
}

function ask(
  { parts, target, options, signal }: Asking,
  address: Address,
  sender: ReversePath,
  held?: HeldCallout,
): Promise<CalloutAnswer> {
  const question = questionOf(target, address, { ...options, sender });
  return parts.callouts.ask(held === undefined ? question : { ...question, hold: held.ask }, signal);
}

/** `postmaster` and `fullpostmaster`: undefined where there is one. */
async function askForPostmaster(
  asking: Asking,
  { sender, full }: NonNullable<CalloutOptions['postmaster']>,
  learn: (lesson: CalloutLesson) => void,
): Promise<VerifyResult | undefined> {
  const local = 'postmaster' as LocalPart;
  const here = await ask(asking, { local, domain: asking.address.domain }, sender);
  const saidNo = here.kind !== 'accepted' && here.stage === 'rcpt' && here.reply !== undefined;
  const answer = full && saidNo ? await ask(asking, { local, domain: '' as Domain }, sender) : here;
  if (answer.kind === 'accepted') {
    learn({ of: 'postmaster', result: 'accept' });
    return undefined;
  }
  if (answer.kind === 'refused' && answer.stage === 'rcpt') {
    learn({ of: 'postmaster', result: 'reject', said: answer });
    return { ...resultOf(answer, asking.who), stage: 'postmaster' } as VerifyResult;
  }
  return resultOf(answer, asking.who);
}

/**
 * `quota` (Exim manual, "Quota caching"): undefined where there is room. Exim looks into its own mailboxes; here a store is
 * asked with the size, and mailboxes of the appendfile transport have no quota.
 */
async function askForQuota(
  parts: VerifierParts,
  routing: Extract<VerifyRouting, { kind: 'routed' }>,
  { positiveMs, negativeMs, sizeOctets }: NonNullable<VerifyRequest['quota']>,
  signal: AbortSignal,
): Promise<VerifyResult | undefined> {
  const target = targetOf(parts, routing);
  if ('reason' in target) return undefined;
  const { address } = routing;
  const nowMs = (parts.nowMs ?? Date.now)();
  const known = parts.cache?.quota(address, nowMs);
  if (known?.result === 'accept') return undefined;
  let said = known?.said;
  if (said === undefined) {
    const size = sizeOctets === undefined ? {} : { sizeOctets };
    const question = questionOf(target, address, { ...quotaCallout, ...size });
    const answer = await parts.callouts.ask(question, signal);
    if (answer.kind === 'unclear' && (answer.reply === undefined || !isAboutQuota(answer.reply)))
      return resultOf(answer, 'recipient');
    const { reply } = answer.kind === 'accepted' ? {} : answer;
    const full = reply !== undefined && isAboutQuota(reply) && answer.kind !== 'accepted';
    if (full) said = { stage: answer.stage, peer: answer.peer, after: answer.after, reply };
    parts.cache?.rememberQuota(address, said, nowMs, full ? negativeMs : positiveMs);
    if (said === undefined) return undefined;
  }
  return {
    kind: 'fail',
    stage: 'quota',
    reply: refusedReply(said, 'recipient'),
    logReason: refusedLog(said),
  };
}

const quotaCallout: CalloutOptions = {
  timeoutMs: 30_000,
  connectTimeoutMs: 30_000,
  maxWaitMs: 120_000,
  deferOk: false,
  noCache: true,
  sender: null,
};

function resultOf(answer: Exclude<CalloutAnswer, { kind: 'accepted' }>, who: Who): VerifyResult {
  if (answer.kind === 'unclear')
    return {
      kind: 'defer',
      stage: answer.stage,
      reply: incompleteReply(who),
      logReason: unclearLog(answer, who),
    };
  return {
    kind: 'fail',
    stage: answer.stage,
    reply: refusedReply(answer, who),
    logReason: refusedLog(answer),
  };
}

function refusedReply(said: KeptRefusal, who: Who): Reply {
  return who === 'recipient' ? recipientRefusedReply(said) : senderRefusedReply(said);
}

/** The place to ask, or why there is none. */
function targetOf(
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

function questionOf(target: CalloutTarget, address: Address, options: CalloutOptions): CalloutQuestion {
  const { sender, sizeOctets, connectTimeoutMs, timeoutMs: commandTimeoutMs, maxWaitMs } = options;
  const size = sizeOctets === undefined ? {} : { sizeOctets };
  return { target, sender, address, ...size, connectTimeoutMs, commandTimeoutMs, maxWaitMs };
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

/**
 * What is worth remembering. A refused banner or HELO is not, as in the real Exim (its manual says it is): a store that
 * is being mended would refuse a domain's mail for hours. Nor is a refused MAIL with a sender of its own.
 */
function lessonsOf(answer: CalloutAnswer, nullSender: boolean): readonly CalloutLesson[] {
  if (answer.kind === 'accepted') return [{ of: 'address', result: 'accept' }];
  if (answer.kind !== 'refused') return [];
  const { stage, peer, after, reply } = answer;
  const said: KeptRefusal = { stage, peer, after, reply };
  // A mailbox that is full today, or for this message, is a mailbox all the same.
  if (isAboutQuota(reply)) return [];
  if (stage === 'rcpt') return [{ of: 'address', result: 'reject', said }];
  return stage === 'mail' && nullSender ? [{ of: 'null-sender', said }] : [];
}

/** Mailbox full, or too big for it or for the system (RFC 3463 §3.3, §3.4). */
function isAboutQuota({ code, status }: Reply): boolean {
  return code === 552 || code === 452 || (status !== undefined && /^\d\.(?:2\.2|2\.3|3\.4)$/.test(status));
}

/** Exim's words for the log; the sender hears what the server said, which Exim forgets. */
function cachedFailure({ of, said }: Extract<CachedAnswer, { kind: 'refused' }>, who: Who): VerifyResult {
  const text = cachedTexts[of];
  const stage = of === 'address' ? 'rcpt' : of === 'domain' ? 'mail' : 'postmaster';
  if (said === undefined)
    return { kind: 'fail', stage, reply: replyFromText(550, undefined, text), logReason: text };
  return {
    kind: 'fail',
    stage,
    reply: refusedReply(said, who),
    logReason: `${text} ${refusedLog(said)}`,
  };
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
