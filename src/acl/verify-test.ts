/** `verify = ...` (Exim manual, "ACL conditions", "Address verification", "Additional parameters for callouts"). */
import { isSyntaxError, parseAddress, type Address } from '../mail/address.ts';
import { splitList } from '../mail/list-text.ts';
import { parseTimeInterval } from '../mail/time-interval.ts';

/** A callout as the configuration words it; whose address goes into MAIL is known only when it runs. */
export interface CalloutTest {
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly maxWaitMs: number;
  readonly deferOk: boolean;
  readonly noCache: boolean;
  readonly mailFrom: 'null' | 'sender' | 'postmaster';
}

export interface VerifyTest {
  readonly what: 'recipient' | 'sender' | 'header_syntax';
  /** `sender=address`: verify this in place of the message's sender. */
  readonly address?: Address;
  /** A temporary failure of routing counts as success. */
  readonly deferOk: boolean;
  /** Tell the client nothing about why a sender did not verify. */
  readonly noDetails: boolean;
  readonly callout?: CalloutTest;
}

const defaultTimeoutMs = 30_000;

const otherTests = new Set([
  'arc',
  'certificate',
  'csa',
  'header_names_ascii',
  'header_sender',
  'helo',
  'not_blind',
  'reverse_host_lookup',
]);

/** Reads the condition's value; a text is what is wrong with it, in Exim's words where Exim would refuse it too. */
export function parseVerify(text: string): VerifyTest | string {
  const [first = '', ...options] = splitList(`</${text}`);
  const equals = first.indexOf('=');
  const what = (equals < 0 ? first : first.slice(0, equals)).trim();
  const given = equals < 0 ? undefined : first.slice(equals + 1).trim();
  if (otherTests.has(what)) return `verify = ${what} is not supported`;
  if (what === 'header_syntax') {
    return given === undefined && options.length === 0
      ? { what, deferOk: false, noDetails: false }
      : `unexpected options in ACL condition "verify ${text}"`;
  }
  if (what !== 'recipient' && what !== 'sender')
    return `expected "sender[=address]" or "recipient" at start of ACL condition "verify ${text}"`;
  if (given !== undefined && what === 'recipient')
    return `"=" is not allowed after "recipient" in ACL condition "verify ${text}"`;
  const address = given === undefined ? undefined : readAddress(given);
  if (typeof address === 'string') return `${address} in ACL condition "verify ${text}"`;
  let test: VerifyTest = {
    what,
    deferOk: false,
    noDetails: false,
    ...(address === undefined ? {} : { address }),
  };
  for (const option of options) {
    const next = withOption(test, option, text);
    if (typeof next === 'string') return next;
    test = next;
  }
  return test;
}

function readAddress(text: string): Address | string {
  const a = parseAddress(text.startsWith('<') && text.endsWith('>') ? text.slice(1, -1) : text);
  if (isSyntaxError(a)) return `malformed address "${text}" (${a.text})`;
  return a.domain === '' ? `address "${text}" has no domain` : a;
}

function withOption(test: VerifyTest, option: string, text: string): VerifyTest | string {
  const name = option.split('=', 1)[0]?.trim() ?? '';
  switch (name) {
    case 'defer_ok':
      return { ...test, deferOk: true };
    case 'no_details':
      return { ...test, noDetails: true };
    case 'callout_defer_ok': {
      const callout = test.callout ?? defaultCallout;
      return { ...test, callout: { ...callout, deferOk: true } };
    }
    case 'callout': {
      const callout = readCallout(option.slice(name.length).trimStart(), test, text);
      return typeof callout === 'string' ? callout : { ...test, callout };
    }
    case 'check_postmaster':
    case 'quota':
    case 'success_on_redirect':
      return `option "${name}" is not supported in ACL condition "verify ${text}"`;
    default:
      return `unknown option "${option}" in ACL condition "verify ${text}"`;
  }
}

const defaultCallout: CalloutTest = {
  timeoutMs: defaultTimeoutMs,
  connectTimeoutMs: defaultTimeoutMs,
  maxWaitMs: 4 * defaultTimeoutMs,
  deferOk: false,
  noCache: false,
  mailFrom: 'null',
};

interface CalloutDraft {
  timeoutMs: number;
  connectTimeoutMs?: number;
  maxWaitMs?: number;
  deferOk: boolean;
  noCache: boolean;
  mailFrom: CalloutTest['mailFrom'];
}

/** `value` is empty or begins with `=`. */
function readCallout(value: string, test: VerifyTest, text: string): CalloutTest | string {
  const draft: CalloutDraft = {
    timeoutMs: defaultTimeoutMs,
    deferOk: test.callout?.deferOk ?? false,
    noCache: false,
    mailFrom: 'null',
  };
  const options = value === '' ? [] : splitList(`<,${value.slice(1)}`);
  for (const option of options) {
    const problem = readCalloutOption(draft, option, test.what, text);
    if (problem !== undefined) return problem;
  }
  const { connectTimeoutMs = draft.timeoutMs, maxWaitMs = 4 * draft.timeoutMs } = draft;
  return { ...draft, connectTimeoutMs, maxWaitMs };
}

const unsupportedCallout = new Set(['fullpostmaster', 'hold', 'postmaster', 'postmaster_mailfrom', 'random']);

function readCalloutOption(
  draft: CalloutDraft,
  option: string,
  what: VerifyTest['what'],
  text: string,
): string | undefined {
  const equals = option.indexOf('=');
  const name = (equals < 0 ? option : option.slice(0, equals)).trim();
  const value = equals < 0 ? undefined : option.slice(equals + 1).trim();
  const badTime = `bad time value in ACL condition "verify ${text}"`;
  if (name === 'connect' || name === 'maxwait') {
    const ms = value === undefined ? undefined : parseTimeInterval(value);
    if (ms === undefined) return badTime;
    if (name === 'connect') draft.connectTimeoutMs = ms;
    else draft.maxWaitMs = ms;
  } else if (name === 'mailfrom')
    return `"mailfrom" is allowed as a callout option only for verify=header_sender (detected in ACL condition "${text}")`;
  else if (unsupportedCallout.has(name))
    return `callout option "${name}" is not supported in ACL condition "verify ${text}"`;
  else if (value !== undefined) return badTime;
  else if (name === 'defer_ok') draft.deferOk = true;
  else if (name === 'no_cache') draft.noCache = true;
  else if (name === 'use_sender' || name === 'use_postmaster') {
    if (what === 'sender')
      return `callout option "${name}" is for recipients only (detected in ACL condition "verify ${text}")`;
    draft.mailFrom = name === 'use_sender' ? 'sender' : 'postmaster';
  } else {
    const ms = parseTimeInterval(name);
    if (ms === undefined) return badTime;
    draft.timeoutMs = ms;
  }
  return undefined;
}
