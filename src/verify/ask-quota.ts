/** `quota` (Exim manual, "Quota caching"). */
import { refusedLog } from './callout-wording.ts';
import { isAboutQuota, refusedReply, resultOf } from './callout-result.ts';
import { questionOf, targetOf, type VerifierParts, type VerifyRouting } from './verifier-parts.ts';
import type { CalloutOptions, VerifyRequest, VerifyResult } from './verifier.ts';

/**
 * `quota` (Exim manual, "Quota caching"): undefined where there is room. Exim looks into its own mailboxes; here a store is
 * asked with the size, and mailboxes of the appendfile transport have no quota.
 */
export async function askForQuota(
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
