/** From the outcome of the outermost ACL to the result (Exim manual, "ACL return codes"). */
import { breakLines, firstLine, takeCode } from './messages.ts';
import type { AclResult, AclVerdict } from './result.ts';
import { panic, type AclState, type Outcome } from './state.ts';
import { messagePhases, phases, type AclPhase } from './tables.ts';

const verdicts: Readonly<Record<Outcome, AclVerdict>> = {
  ok: 'accept',
  fail: 'deny',
  drop: 'drop',
  discard: 'discard',
  defer: 'defer',
  error: 'defer',
  ignored: 'accept',
};

export function toResult(state: AclState, last: Outcome): AclResult {
  const { env } = state;
  let outcome = last;
  if (outcome === 'discard' && (!messagePhases.has(env.phase) || env.phase === 'predata')) {
    panic(state, `"discard" verb not allowed in ${phases[env.phase].title} ACL`);
    outcome = 'error';
    state.userMessage = state.logMessage = undefined;
  }
  const verdict = verdicts[outcome];
  const shown = verdict !== 'defer' || (outcome === 'defer' && state.showDeferral);
  const defaultCode =
    verdict === 'defer'
      ? 451
      : verdict === 'deny' || verdict === 'drop'
        ? phases[env.phase].denyCode
        : acceptCode(env.phase);
  const { userMessage } = state;
  let { logMessage } = state;
  const coded = userMessage === undefined ? undefined : takeCode(userMessage, defaultCode);
  if (coded?.wrongDigit === true) {
    const digit = String(defaultCode).charAt(0);
    panic(
      state,
      `configured error code starts with incorrect digit (expected ${digit}) in "${userMessage ?? ''}"`,
    );
    if (logMessage === userMessage) logMessage = `${defaultCode} ${coded.text}`;
  }
  const details =
    verdict === 'deny' || verdict === 'drop' || verdict === 'defer'
      ? senderDetails(state, verdict)
      : undefined;
  return {
    verdict,
    logTargets: state.logTargets,
    headerEdits: state.headerEdits,
    controls: state.controls,
    ...(coded !== undefined && shown ? { userMessage: breakLines(coded.text) } : {}),
    ...(coded?.code === undefined ? {} : { code: coded.code }),
    ...(coded?.status === undefined ? {} : { status: coded.status }),
    ...(logMessage === undefined ? {} : { logMessage: firstLine(logMessage) }),
    ...(details === undefined ? {} : { details }),
  };
}

/** The code of the usual positive reply, whose first digit a `message` must keep. */
function acceptCode(phase: AclPhase): number {
  return phase === 'predata' ? 354 : phase === 'connect' || phase === 'starttls' ? 220 : 250;
}

/** Why the sender did not verify, told with the first refusal of the message. */
function senderDetails({ env }: AclState, verdict: AclVerdict): string | undefined {
  const sender = env.memory.senderFailure;
  if (sender === undefined || sender.told) return undefined;
  sender.told = true;
  const why = sender.logReason === '' ? '' : `: ${sender.logReason}`;
  env.log({
    text: `sender verify ${sender.kind} for <${sender.address}>${why}`,
    logs: ['main', 'reject'],
    withHost: true,
    item: 'sender_verify_fail',
  });
  if (verdict === 'defer') return undefined;
  if (sender.stage === 'mail')
    return [
      `Callback setup failed while verifying <${sender.address}>`,
      sender.message,
      'The initial connection, or a HELO or MAIL FROM:<> command was',
      'rejected. Refusing MAIL FROM:<> does not help fight spam, disregards',
      'RFC requirements, and stops you from receiving standard bounce',
      'messages. This host does not accept mail from domains whose servers',
      'refuse bounces.',
    ].join('\n');
  if (sender.stage === 'postmaster')
    return [
      `Postmaster verification failed while checking <${sender.address}>`,
      sender.message,
      'Several RFCs state that you are required to have a postmaster',
      'mailbox for each mail domain. This host does not accept mail',
      'from domains whose servers reject the postmaster address.',
    ].join('\n');
  if (sender.message === '') return undefined;
  return `Verification failed for <${sender.address}>\n${sender.message}`;
}
