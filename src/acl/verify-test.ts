/** `verify = ...` (Exim manual, "ACL conditions", "Address verification", "Additional parameters for callouts"). */
import { isSyntaxError, parseAddress, type Address, type ReversePath } from '../mail/address.ts';
import { splitList } from '../mail/list-text.ts';
import { parseTimeInterval } from '../mail/time-interval.ts';

/** A callout as the configuration words it; whose address goes into MAIL is known only when it runs. */
export interface CalloutTest {
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly maxWaitMs: number;
  readonly deferOk: boolean;
  readonly noCache: boolean;
  readonly random: boolean;
  readonly postmaster?: { readonly sender: ReversePath; readonly full: boolean };
  /** `mailfrom=`, of header_sender. */
  readonly mailFrom: 'null' | 'sender' | 'postmaster' | Address;
}

/** What is verified by routing an address. */
export type AddressSubject = 'recipient' | 'sender' | 'header_sender';
/** What takes no options. */
export type PlainSubject =
  | 'header_syntax'
  | 'header_names_ascii'
  | 'not_blind'
  | 'helo'
  | 'reverse_host_lookup';

export interface VerifyTest {
  readonly what: AddressSubject | PlainSubject;
  /** `sender=address`: verify this in place of the message's sender; null where it is empty, a text where it is no address. */
  readonly address?: Address | string | null;
  /** A temporary failure of routing counts as success. */
  readonly deferOk: boolean;
  /** Tell the client nothing about why a sender did not verify. */
  readonly noDetails: boolean;
  readonly successOnRedirect: boolean;
  /** `not_blind/case_insensitive`. */
  readonly caseless: boolean;
  readonly callout?: CalloutTest;
  /** How long an answer about the quota is kept, by what it is. */
  readonly quota?: { readonly positiveMs: number; readonly negativeMs: number };
}

const defaultTimeoutMs = 30_000;

const addressSubjects: ReadonlySet<string> = new Set<AddressSubject>([
  'recipient',
  'sender',
  'header_sender',
]);
const plainSubjects: ReadonlySet<string> = new Set<PlainSubject>([
  'header_syntax',
  'header_names_ascii',
  'not_blind',
  'helo',
  'reverse_host_lookup',
]);
const refused: ReadonlySet<string> = new Set(['arc', 'certificate', 'csa']);

function isAddressSubject(name: string): name is AddressSubject {
  return addressSubjects.has(name);
}

function isPlainSubject(name: string): name is PlainSubject {
  return plainSubjects.has(name);
}

/** As {@link parseVerify}, for a text that is the same for every message: an address that is none is a mistake. */
export function parseConstantVerify(text: string): VerifyTest | string {
  const test = parseVerify(text);
  if (typeof test === 'string' || typeof test.address !== 'string') return test;
  return `${readAddress(test.address) as string} in ACL condition "verify ${text}"`;
}

/** Reads the condition's value; a text is what is wrong with it, in Exim's words where Exim would refuse it too. */
export function parseVerify(text: string): VerifyTest | string {
  const [first = '', ...options] = splitList(`</${text}`);
  const equals = first.indexOf('=');
  const what = (equals < 0 ? first : first.slice(0, equals)).trim();
  const given = equals < 0 ? undefined : first.slice(equals + 1).trim();
  if (refused.has(what)) return `verify = ${what} is not supported`;
  const unknown = `expected "sender[=address]", "recipient", "helo", "header_syntax", "header_sender", "header_names_ascii" or "reverse_host_lookup" at start of ACL condition "verify ${text}"`;
  const plain = { deferOk: false, noDetails: false, successOnRedirect: false, caseless: false };
  if (isPlainSubject(what)) {
    if (given !== undefined) return unknown;
    if (what === 'not_blind') {
      const [option, ...more] = options;
      if (option === undefined) return { what, ...plain };
      return option === 'case_insensitive' && more.length === 0
        ? { what, ...plain, caseless: true }
        : `unknown option "${option}" in ACL condition "verify ${text}"`;
    }
    // As in Exim, what stands behind reverse_host_lookup is passed over.
    return options.length === 0 || what === 'reverse_host_lookup'
      ? { what, ...plain }
      : `unexpected '/' found in "${text}" (this verify item has no options)`;
  }
  if (!isAddressSubject(what)) return unknown;
  if (given !== undefined && what !== 'sender') return unknown;
  let test: VerifyTest = { what, ...plain, ...(given === undefined ? {} : { address: givenSender(given) }) };
  for (const option of options) {
    const next = withOption(test, option, text);
    if (typeof next === 'string') return next;
    test = next;
  }
  return test;
}

function givenSender(text: string): Address | string | null {
  if (text === '' || text === '<>') return null;
  const address = readAddress(text);
  return typeof address === 'string' ? text : address;
}

function readAddress(text: string): Address | string {
  const a = parseAddress(text.startsWith('<') && text.endsWith('>') ? text.slice(1, -1) : text);
  if (isSyntaxError(a)) return `malformed address "${text}" (${a.text})`;
  return a.domain === '' ? `address "${text}" has no domain` : a;
}

const wordOptions: ReadonlySet<string> = new Set([
  'defer_ok',
  'no_details',
  'success_on_redirect',
  'callout_defer_ok',
  'check_postmaster',
]);

function withOption(test: VerifyTest, option: string, text: string): VerifyTest | string {
  const name = option.split('=', 1)[0]?.trim() ?? '';
  if (wordOptions.has(name) && option.includes('='))
    return `unknown option "${option}" in ACL condition "verify ${text}"`;
  switch (name) {
    case 'defer_ok':
      return { ...test, deferOk: true };
    case 'no_details':
      return { ...test, noDetails: true };
    case 'success_on_redirect':
      return { ...test, successOnRedirect: true };
    case 'callout_defer_ok':
      return { ...test, callout: { ...(test.callout ?? defaultCallout), deferOk: true } };
    case 'check_postmaster': {
      const postmaster = { sender: null, full: false };
      return { ...test, callout: { ...(test.callout ?? defaultCallout), postmaster } };
    }
    case 'callout': {
      const callout = readCallout(option.slice(name.length).trimStart(), test, text);
      return typeof callout === 'string' ? callout : { ...test, callout };
    }
    case 'quota':
      if (test.what !== 'recipient') return 'can only verify quota of recipient';
      return withQuota(test, option.slice(name.length).trimStart(), text);
    default:
      if (name.startsWith('callout')) return `'=' expected after "callout" in ACL condition "${text}"`;
      return `unknown option "${option}" in ACL condition "verify ${text}"`;
  }
}

/** `value` is empty or begins with `=` (Exim manual, "Quota caching"). */
function withQuota(test: VerifyTest, value: string, text: string): VerifyTest | string {
  let quota = { positiveMs: 300_000, negativeMs: 3_600_000 };
  for (const option of value === '' ? [] : splitList(`<,${value.slice(1)}`)) {
    const [name = '', time] = option.split('=').map((t) => t.trim());
    const ms = time === undefined ? undefined : parseTimeInterval(time);
    if (name === 'no_cache' && time === undefined) quota = { positiveMs: 0, negativeMs: 0 };
    else if (name === 'cachepos' && ms !== undefined) quota = { ...quota, positiveMs: ms };
    else if (name === 'cacheneg' && ms !== undefined) quota = { ...quota, negativeMs: ms };
    else
      return `expected cachepos=<time>, cacheneg=<time> or no_cache after "quota" in ACL condition "verify ${text}"`;
  }
  return { ...test, quota };
}

const defaultCallout: CalloutTest = {
  timeoutMs: defaultTimeoutMs,
  connectTimeoutMs: defaultTimeoutMs,
  maxWaitMs: 4 * defaultTimeoutMs,
  deferOk: false,
  noCache: false,
  random: false,
  mailFrom: 'null',
};

interface CalloutDraft {
  timeoutMs: number;
  connectTimeoutMs?: number;
  maxWaitMs?: number;
  deferOk: boolean;
  noCache: boolean;
  random: boolean;
  postmaster?: { readonly sender: ReversePath; readonly full: boolean };
  mailFrom: CalloutTest['mailFrom'];
}

/** `value` is empty or begins with `=`. */
function readCallout(value: string, test: VerifyTest, text: string): CalloutTest | string {
  const draft: CalloutDraft = {
    timeoutMs: defaultTimeoutMs,
    deferOk: test.callout?.deferOk ?? false,
    noCache: false,
    random: false,
    ...(test.callout?.postmaster === undefined ? {} : { postmaster: test.callout.postmaster }),
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

const valueOptions: ReadonlySet<string> = new Set(['connect', 'maxwait', 'mailfrom', 'postmaster_mailfrom']);

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
  if (value === undefined && valueOptions.has(name))
    return `'=' expected after "${name}" in ACL verify condition "${text}"`;
  switch (name) {
    case 'connect':
    case 'maxwait': {
      const ms = parseTimeInterval(value ?? '');
      if (ms === undefined) return badTime;
      if (name === 'connect') draft.connectTimeoutMs = ms;
      else draft.maxWaitMs = ms;
      return undefined;
    }
    case 'mailfrom': {
      if (what !== 'header_sender')
        return `"mailfrom" is allowed as a callout option only for verify=header_sender (detected in ACL condition "${text}")`;
      const address = readAddress(value ?? '');
      if (typeof address === 'string') return `${address} in ACL condition "verify ${text}"`;
      draft.mailFrom = address;
      return undefined;
    }
    case 'postmaster_mailfrom': {
      const sender = value === undefined || value === '' ? null : readAddress(value);
      if (typeof sender === 'string') return `${sender} in ACL condition "verify ${text}"`;
      draft.postmaster = { sender, full: draft.postmaster?.full ?? false };
      return undefined;
    }
  }
  if (value !== undefined) return badTime;
  switch (name) {
    case 'defer_ok':
      draft.deferOk = true;
      return undefined;
    case 'no_cache':
      draft.noCache = true;
      return undefined;
    case 'random':
      draft.random = true;
      return undefined;
    case 'postmaster':
    case 'fullpostmaster':
      draft.postmaster = { sender: null, full: name === 'fullpostmaster' };
      return undefined;
    // Connections are kept for the next question and for the delivery anyway.
    case 'hold':
      return undefined;
    case 'use_sender':
    case 'use_postmaster':
      if (what !== 'recipient')
        return 'use_sender or use_postmaster cannot be used for a sender verify callout';
      if (draft.mailFrom === (name === 'use_sender' ? 'postmaster' : 'sender'))
        return 'only one of use_sender and use_postmaster can be set for a recipient callout';
      draft.mailFrom = name === 'use_sender' ? 'sender' : 'postmaster';
      return undefined;
    default: {
      const ms = parseTimeInterval(name);
      if (ms === undefined) return badTime;
      draft.timeoutMs = ms;
      return undefined;
    }
  }
}
