/** What a verification makes of a server's answer, and what is remembered of it. */
import { type Reply, replyFromText } from '../mail/reply.ts';
import type { CachedAnswer, CalloutLesson, KeptRefusal } from './cache.ts';
import type { CalloutAnswer } from './callout-answer.ts';
import {
  cachedTexts,
  incompleteReply,
  recipientRefusedReply,
  refusedLog,
  senderRefusedReply,
  unclearLog,
} from './callout-wording.ts';
import type { VerifyResult } from './verifier.ts';
import type { Who } from './verifier-parts.ts';

export function resultOf(answer: Exclude<CalloutAnswer, { kind: 'accepted' }>, who: Who): VerifyResult {
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

export function refusedReply(said: KeptRefusal, who: Who): Reply {
  return who === 'recipient' ? recipientRefusedReply(said) : senderRefusedReply(said);
}

/**
 * What is worth remembering. A refused banner or HELO is not, as in the real Exim (its manual says it is): a store that
 * is being mended would refuse a domain's mail for hours. Nor is a refused MAIL with a sender of its own.
 */
export function lessonsOf(answer: CalloutAnswer, nullSender: boolean): readonly CalloutLesson[] {
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
export function isAboutQuota({ code, status }: Reply): boolean {
  return code === 552 || code === 452 || (status !== undefined && /^\d\.(?:2\.2|2\.3|3\.4)$/.test(status));
}

/** Exim's words for the log; the sender hears what the server said, which Exim forgets. */
export function cachedFailure(
  { of, said }: Extract<CachedAnswer, { kind: 'refused' }>,
  who: Who,
): VerifyResult {
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
