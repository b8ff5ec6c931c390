/** A server is asked whether it takes mail for an address: from the cache, in a callout, in the message's own transaction. */
import type { Address, Domain, LocalPart, ReversePath } from '../mail/address.ts';
import type { CalloutTarget } from '../transport/transport.ts';
import type { CachedAnswer, CalloutLesson, Unknown } from './cache.ts';
import type { CalloutAnswer } from './callout-answer.ts';
import { cachedFailure, lessonsOf, resultOf } from './callout-result.ts';
import type { CalloutOptions, VerifyResult } from './verifier.ts';
import { type HeldCallout, questionOf, type VerifierParts, type Who } from './verifier-parts.ts';

/** One verification that a server is asked for. */
export interface Asking {
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

export async function askServer(asking: Asking): Promise<VerifyResult> {
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
export function lookUp(
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
