/** `verify = recipient` and `verify = sender` (Exim manual, "Address verification", "Sender address verification reporting"). */
import { formatAddress, type Address, type Domain, type LocalPart } from '../mail/address.ts';
import type { Awaitable } from '../expand/scope.ts';
import type { CalloutOptions, VerifyRequest, VerifyResult } from '../verify/verifier.ts';
import { assertNever } from '../mail/assert-never.ts';
import type { HeaderField } from '../mail/headers.ts';
import { blindFault, headerNameFault, headerSenders } from './header-checks.ts';
import { headerSyntaxFault } from './header-syntax.ts';
import { maxRemembered } from './environment.ts';
import { fail, type AclState, type Outcome } from './state.ts';
import { messagePhases, phases } from './tables.ts';
import type { CalloutTest, VerifyTest } from './verify-test.ts';

export function runVerify(state: AclState, test: VerifyTest, warns: boolean): Awaitable<Outcome> {
  switch (test.what) {
    case 'recipient':
      return verifyRecipient(state, test, warns);
    case 'sender':
      return verifySender(state, test, warns);
    case 'header_sender':
      return verifyHeaderSender(state, test, warns);
    case 'header_syntax':
      return verifyHeader(state, test, headerSyntaxFault);
    case 'header_names_ascii':
      return verifyHeader(state, test, headerNameFault);
    case 'not_blind': {
      const recipients = state.scope.message?.recipients ?? [];
      return verifyHeader(state, test, (fields) => blindFault(fields, recipients, test.caseless));
    }
    case 'helo':
      return verifyHelo(state);
    case 'reverse_host_lookup':
      return verifyReverseLookup(state);
    default:
      return assertNever(test.what);
  }
}

function noHeader(state: AclState, { what }: VerifyTest): Outcome {
  return fail(state, `cannot verify ${what} in ACL for ${phases[state.env.phase].title}`);
}

function verifyHeader(
  state: AclState,
  test: VerifyTest,
  faultOf: (fields: readonly HeaderField[]) => string | undefined,
): Outcome {
  const headers = state.scope.message?.headers;
  if (headers === undefined) return noHeader(state, test);
  const fault = faultOf(headers());
  if (fault === undefined) return 'ok';
  // The client is told only what `message` says.
  state.logMessage = state.facts.verifyMessage = fault;
  return 'fail';
}

/** One of the header lines Sender, Reply-To and From must name somebody to whom a bounce could go. */
async function verifyHeaderSender(state: AclState, test: VerifyTest, warns: boolean): Promise<Outcome> {
  const headers = state.scope.message?.headers;
  if (headers === undefined) return noHeader(state, test);
  let deferred = false;
  for (const one of headerSenders(headers())) {
    if ('fault' in one) {
      state.logMessage = state.facts.verifyMessage = one.fault;
      return 'fail';
    }
    const result = await askAboutSender(state, test, one.address);
    state.facts.senderVerifyFailure = failureWord(result);
    if (result.kind === 'ok') return 'ok';
    if (result.kind === 'defer') {
      if (test.deferOk || (result.stage !== 'route' && test.callout?.deferOk === true)) return 'ok';
      deferred = true;
    }
  }
  state.logMessage = deferred
    ? 'all attempts to verify a sender in a header line deferred'
    : 'there is no valid sender in any header line';
  state.facts.verifyMessage = state.logMessage;
  if (warns) state.userMessage = undefined;
  return deferred ? 'defer' : 'fail';
}

/** Does the name in HELO lead to the client, or the client's address to that name? */
async function verifyHelo({ env, scope }: AclState): Promise<Outcome> {
  const helo = scope.connection?.helo;
  if (helo === undefined || env.client === undefined) return 'fail';
  return (await env.client.isNamed(helo)) ? 'ok' : 'fail';
}

async function verifyReverseLookup(state: AclState): Promise<Outcome> {
  const { client } = state.env;
  if (client === undefined)
    return fail(state, `cannot verify reverse_host_lookup in ACL for ${phases[state.env.phase].title}`);
  const names = await client.names();
  if (names.kind === 'found') return 'ok';
  const why = names.kind === 'defer' ? names.reason : 'failed to find host name from IP address';
  const how = names.kind === 'defer' ? 'deferred' : 'failed';
  state.logMessage = `host lookup ${how} for reverse lookup check (${why})`;
  state.facts.verifyMessage = state.logMessage;
  return names.kind === 'defer' ? 'defer' : 'fail';
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
    if (result.addressData === undefined) delete address.addressData;
    else address.addressData = result.addressData;
    state.facts.recipientVerifyFailure = failureWord(result);
    if (result.kind === 'ok') {
      if (result.known !== undefined) {
        // The place where mail for it goes knows this recipient (Exim manual, "Callout verification").
        address.domainData = result.known.domain;
        address.localPartData = result.known.local;
        address.domainDataTainted = false;
        address.localPartDataTainted = false;
      }
      return 'ok';
    }
    state.logMessage = result.logReason;
    state.userMessage = result.reply.lines.join('\n');
    return failure(state, test, result, warns);
  });
}

function verifySender(state: AclState, test: VerifyTest, warns: boolean): Awaitable<Outcome> {
  const { scope, env } = state;
  if (!messagePhases.has(env.phase))
    return fail(state, `cannot verify sender in ACL for ${phases[env.phase].title}`);
  const subject = test.address === undefined ? (scope.message?.sender ?? null) : test.address;
  // A bounce has no sender to verify.
  if (subject === null) return 'ok';
  if (typeof subject === 'string') return senderOutcome(state, test, subject, nobody, warns);
  const result = askAboutSender(state, test, subject);
  return result instanceof Promise
    ? result.then((r) => senderOutcome(state, test, subject, r, warns))
    : senderOutcome(state, test, subject, result, warns);
}

/** Of a text that is no address. */
const nobody: VerifyResult = {
  kind: 'fail',
  stage: 'route',
  reply: { code: 550, lines: [''] },
  logReason: '',
};

/** Asked once a message for each address and set of options. */
function askAboutSender(state: AclState, test: VerifyTest, subject: Address): Awaitable<VerifyResult> {
  const { memory, verifier, signal } = state.env;
  const key = `${formatAddress(subject)} ${JSON.stringify(test.callout ?? null)}`;
  const known = memory.senders.get(key);
  if (known !== undefined) return known;
  return verifier.verifySender(request(state, test, subject), signal).then((result) => {
    if (memory.senders.size >= maxRemembered) memory.senders.clear();
    memory.senders.set(key, result);
    return result;
  });
}

function senderOutcome(
  state: AclState,
  test: VerifyTest,
  subject: Address | string,
  result: VerifyResult,
  warns: boolean,
): Outcome {
  const { facts, env, scope } = state;
  facts.senderVerifyFailure = failureWord(result);
  if (scope.message !== undefined) {
    if (result.addressData === undefined) delete scope.message.senderAddressData;
    else scope.message.senderAddressData = result.addressData;
  }
  if (result.kind === 'ok') return 'ok';
  const message = result.reply.lines.join('\n');
  if (result.kind === 'fail') state.userMessage = state.logMessage = 'Sender verify failed';
  else if (result.stage === 'route')
    state.userMessage = state.logMessage = 'Could not complete sender verify';
  else state.userMessage = state.logMessage = 'Could not complete sender verify callout';
  const outcome = failure(state, test, result, warns);
  if (outcome === 'ok') return outcome;
  const address = typeof subject === 'string' ? subject : formatAddress(subject);
  const earlier = env.memory.senderFailure;
  // As in Exim, the reasons of routing are told once, those of a callout every time.
  if (earlier?.address !== address || test.callout !== undefined)
    env.memory.senderFailure = {
      address,
      kind: result.kind,
      message,
      logReason: result.logReason,
      stage: result.stage,
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

/** `$sender_verify_failure` and `$recipient_verify_failure`; Exim's leave some of what is temporary unnamed. */
function failureWord(result: VerifyResult): string | undefined {
  // Nothing failed, but the server takes any local part.
  if (result.kind === 'ok')
    return result.random === true ? 'random' : result.forgiven === 'mail' ? 'mail' : undefined;
  if (result.kind === 'defer')
    return result.stage === 'route' || result.stage === 'mail' ? result.stage : undefined;
  switch (result.stage) {
    case 'route':
    case 'mail':
    case 'postmaster':
    case 'quota':
      return result.stage;
    case 'rcpt':
      return 'recipient';
    // Exim's manual counts it as `mail`; the program does not.
    case 'connect':
      return undefined;
    default:
      return assertNever(result.stage);
  }
}

function request(state: AclState, test: VerifyTest, address: Address): VerifyRequest {
  const size = declaredSize(state);
  return {
    address,
    ...(test.callout === undefined ? {} : { callout: calloutOptions(state, test.callout, size) }),
    ...(test.quota === undefined ? {} : { quota: { ...test.quota, ...size } }),
    ...(test.successOnRedirect ? { successOnRedirect: true } : {}),
    ...(state.controls.direct === undefined ? {} : { direct: true }),
  };
}

function declaredSize({ scope }: AclState): { readonly sizeOctets?: number } {
  const declared = scope.message?.declaredSize ?? -1;
  return declared < 0 ? {} : { sizeOctets: declared };
}

function calloutOptions(
  { scope }: AclState,
  { mailFrom, ...given }: CalloutTest,
  size: { readonly sizeOctets?: number },
): CalloutOptions {
  const callout = { ...given, ...size };
  if (mailFrom === 'null') return { ...callout, sender: null };
  if (mailFrom === 'sender') return { ...callout, sender: scope.message?.sender ?? null };
  if (mailFrom !== 'postmaster') return { ...callout, sender: mailFrom };
  return {
    ...callout,
    sender: { local: 'postmaster' as LocalPart, domain: scope.main.qualifyDomain as Domain },
  };
}
