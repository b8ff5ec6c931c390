/** `verify = recipient` and `verify = sender` (Exim manual, "Address verification", "Sender address verification reporting"). */
import { formatAddress, type Address, type Domain, type LocalPart } from '../mail/address.ts';
import type { Awaitable } from '../expand/scope.ts';
import type { CalloutOptions, VerifyRequest, VerifyResult } from '../verify/verifier.ts';
import { headerSyntaxFault } from './header-syntax.ts';
import { maxRemembered } from './environment.ts';
import { fail, type AclState, type Outcome } from './state.ts';
import { messagePhases, phases } from './tables.ts';
import type { CalloutTest, VerifyTest } from './verify-test.ts';

export function runVerify(state: AclState, test: VerifyTest, warns: boolean): Awaitable<Outcome> {
  if (test.what === 'header_syntax') return verifyHeaderSyntax(state);
  return test.what === 'recipient' ? verifyRecipient(state, test, warns) : verifySender(state, test, warns);
}

function verifyHeaderSyntax(state: AclState): Outcome {
  const headers = state.scope.message?.headers;
  if (headers === undefined)
    return fail(state, `cannot verify header in ACL for ${phases[state.env.phase].title}`);
  const fault = headerSyntaxFault(headers());
  if (fault === undefined) return 'ok';
  // The client is told only what `message` says.
  state.logMessage = state.facts.verifyMessage = fault;
  return 'fail';
}

function verifyRecipient(state: AclState, test: VerifyTest, warns: boolean): Awaitable<Outcome> {
  const { scope, env } = state;
  const { address } = scope;
  if (env.phase !== 'rcpt' || address === undefined)
    return fail(state, `cannot verify recipient in ACL for ${phases[env.phase].title}`);
  const subject: Address = address.original ?? {
    local: address.local as LocalPart,
    domain: address.domain as Domain,
  };
  return env.verifier.verifyRecipient(request(state, test, subject), env.signal).then((result) => {
    if (result.kind === 'ok') {
      if (result.addressData !== undefined) address.addressData = result.addressData;
      if (result.via !== 'route' && test.callout?.deferOk !== true) {
        // The place where mail for it goes knows this recipient (Exim manual, "Callout verification"); with defer_ok it
        // may not have been asked.
        address.domainData = subject.domain;
        address.localPartData = subject.local;
        address.domainDataTainted = false;
        address.localPartDataTainted = false;
      }
      return 'ok';
    }
    const text = result.reply.lines.join('\n');
    state.logMessage = result.logReason;
    state.userMessage = text;
    state.facts.recipientVerifyFailure = failureWord(result);
    return failure(state, test, result, warns);
  });
}

function verifySender(state: AclState, test: VerifyTest, warns: boolean): Awaitable<Outcome> {
  const { scope, env } = state;
  if (!messagePhases.has(env.phase))
    return fail(state, `cannot verify sender in ACL for ${phases[env.phase].title}`);
  const subject = test.address ?? scope.message?.sender ?? null;
  // A bounce has no sender to verify.
  if (subject === null) return 'ok';
  const key = `${formatAddress(subject)} ${JSON.stringify(test.callout ?? null)}`;
  const known = env.memory.senders.get(key);
  if (known !== undefined) return senderOutcome(state, test, subject, known, warns);
  return env.verifier.verifySender(request(state, test, subject), env.signal).then((result) => {
    if (env.memory.senders.size >= maxRemembered) env.memory.senders.clear();
    env.memory.senders.set(key, result);
    return senderOutcome(state, test, subject, result, warns);
  });
}

function senderOutcome(
  state: AclState,
  test: VerifyTest,
  subject: Address,
  result: VerifyResult,
  warns: boolean,
): Outcome {
  if (result.kind === 'ok') return 'ok';
  const { facts, env } = state;
  facts.senderVerifyFailure = failureWord(result);
  const message = result.reply.lines.join('\n');
  if (result.kind === 'fail') state.userMessage = state.logMessage = 'Sender verify failed';
  else if (result.stage === 'route')
    state.userMessage = state.logMessage = 'Could not complete sender verify';
  else state.userMessage = state.logMessage = 'Could not complete sender verify callout';
  const outcome = failure(state, test, result, warns);
  if (outcome === 'ok') return outcome;
  const address = formatAddress(subject);
  const earlier = env.memory.senderFailure;
  if (earlier?.address !== address)
    env.memory.senderFailure = {
      address,
      kind: result.kind,
      message,
      logReason: result.logReason,
      told: test.noDetails,
    };
  else if (test.noDetails) earlier.told = true;
  return outcome;
}

function failure(
  state: AclState,
  test: VerifyTest,
  result: Exclude<VerifyResult, { kind: 'ok' }>,
  warns: boolean,
): Outcome {
  if (result.kind === 'defer') {
    const ofCallout = result.stage !== 'route';
    if (test.deferOk || (ofCallout && test.callout?.deferOk === true)) {
      state.userMessage = state.logMessage = undefined;
      return 'ok';
    }
    // What a redirection or a callout says may be told; the verifier's reply names nothing else.
    if (ofCallout || test.what === 'recipient') state.showDeferral = true;
  }
  if (state.userMessage !== undefined) state.facts.verifyMessage = state.userMessage;
  if (warns) state.userMessage = undefined;
  return result.kind;
}

function failureWord(result: Exclude<VerifyResult, { kind: 'ok' }>): string {
  if (result.stage === 'route') return 'route';
  return result.stage === 'rcpt' ? 'recipient' : 'mail';
}

function request(state: AclState, test: VerifyTest, address: Address): VerifyRequest {
  return test.callout === undefined ? { address } : { address, callout: calloutOptions(state, test.callout) };
}

function calloutOptions({ scope }: AclState, { mailFrom, ...given }: CalloutTest): CalloutOptions {
  const declared = scope.message?.declaredSize ?? -1;
  const callout = declared < 0 ? given : { ...given, sizeOctets: declared };
  if (mailFrom === 'null') return { ...callout, sender: null };
  if (mailFrom === 'sender') return { ...callout, sender: scope.message?.sender ?? null };
  return {
    ...callout,
    sender: { local: 'postmaster' as LocalPart, domain: scope.main.qualifyDomain as Domain },
  };
}
