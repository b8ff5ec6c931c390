/** The conditions of ACLs except `acl` (Exim manual, "ACL conditions"). */
import { formatAddress } from '../mail/address.ts';
import { lowerAscii, unquoteLocalPart } from '../mail/local-part.ts';
import type { AddressFacts, Awaitable, ListAnswer } from '../expand/scope.ts';
import type { Condition } from './ast.ts';
import { withArgument, withText } from './expansion.ts';
import { deferred, fail, setExtra, type AclState, type Outcome } from './state.ts';
import { conditions, phases, type ListCondition } from './tables.ts';
import { runVerify } from './verify.ts';
import { parseVerify } from './verify-test.ts';

/** Tests a condition, its sign apart. `warns`: it stands in a `warn` statement. */
export function testCondition(
  state: AclState,
  condition: Exclude<Condition, { kind: 'acl' }>,
  warns: boolean,
): Awaitable<Outcome> {
  const { phase } = state.env;
  if (conditions.get(condition.name)?.allowed(phase) === false)
    return fail(state, `cannot test ${condition.name} condition in ${phases[phase].title} ACL`);
  switch (condition.kind) {
    case 'list':
      return testList(state, condition.list, condition.text);
    case 'condition':
      return withText(state, condition.template, (text) => truth(state, text));
    case 'verify':
      return withArgument(state, condition.test, parseVerify, (test) => runVerify(state, test, warns));
    case 'authenticated':
      return testString(state, condition.text, authenticator(state));
    case 'encrypted':
      return testString(state, condition.text, cipher(state));
  }
}

/** A number that is not zero, `yes` or `true`; zero, `no`, `false` or nothing; anything else is a mistake. */
function truth(state: AclState, text: string): Outcome {
  if (/^-?\d+$/.test(text)) return /[1-9]/.test(text) ? 'ok' : 'fail';
  switch (text.toLowerCase()) {
    case '':
    case 'no':
    case 'false':
      return 'fail';
    case 'yes':
    case 'true':
      return 'ok';
    default:
      return deferred(state, `invalid "condition" value "${text}"`);
  }
}

function testList(state: AclState, list: ListCondition, text: string): Awaitable<Outcome> {
  const answer = matchList(state, list, text);
  return answer instanceof Promise
    ? answer.then((a) => listOutcome(state, list, a))
    : listOutcome(state, list, answer);
}

function matchList(state: AclState, list: ListCondition, text: string): Awaitable<ListAnswer> {
  const { scope, env } = state;
  const { address } = scope;
  const sender = scope.message?.sender ?? null;
  switch (list) {
    case 'domains':
      return env.lists.matchDomainList(text, address?.domain ?? '', scope);
    case 'local_parts':
      return env.lists.matchLocalPartList(text, unquoteLocalPart(recipientLocal(address)), scope);
    case 'recipients':
      return env.lists.matchAddressList(text, `${recipientLocal(address)}@${address?.domain ?? ''}`, scope);
    case 'senders':
      return env.lists.matchAddressList(text, formatAddress(sender), scope);
    case 'sender_domains':
      return env.lists.matchDomainList(text, sender?.domain ?? '', scope);
    case 'hosts':
      return env.lists.matchHostList(text, scope.connection?.hostAddress ?? '', scope);
  }
}

/** The local part as it came: `$local_part` may be in lower case. */
export function recipientLocal(address: AddressFacts | undefined): string {
  return address?.original?.local ?? address?.local ?? '';
}

function listOutcome(state: AclState, list: ListCondition, answer: ListAnswer): Outcome {
  if (answer.kind === 'defer') return deferred(state, answer.reason);
  keepData(state, list, answer);
  return answer.kind === 'yes' ? 'ok' : 'fail';
}

const extraNames = { hosts: 'host_data', recipients: 'recipient_data', senders: 'sender_data' } as const;

/** `$domain_data` and the like: what matched, until the next test of the kind. */
function keepData(state: AclState, list: ListCondition, answer: ListAnswer): void {
  const data = answer.kind === 'yes' ? answer.data : undefined;
  const tainted = answer.kind === 'yes' && answer.tainted === true;
  const { address } = state.scope;
  switch (list) {
    case 'sender_domains':
      return;
    case 'domains':
      if (address === undefined) return;
      address.domainDataTainted = tainted;
      if (data === undefined) delete address.domainData;
      else address.domainData = data;
      return;
    case 'local_parts':
      if (address === undefined) return;
      address.localPartDataTainted = tainted;
      if (data === undefined) delete address.localPartData;
      else address.localPartData = data;
      return;
    case 'hosts':
    case 'recipients':
    case 'senders': {
      const name = extraNames[list];
      if (data !== undefined) return setExtra(state, name, { text: data, tainted });
      // As in Exim: an address that matches an item without data leaves what an earlier test found.
      const kept = list !== 'hosts' && answer.kind === 'yes' && answer.byDefault !== true;
      if (!kept && state.scope.extra?.has(name) === true) setExtra(state, name, undefined);
    }
  }
}

function testString(state: AclState, list: string, subject: string | undefined): Awaitable<Outcome> {
  if (subject === undefined) return 'fail';
  const outcome = (a: ListAnswer): Outcome =>
    a.kind === 'defer' ? deferred(state, a.reason) : a.kind === 'yes' ? 'ok' : 'fail';
  const answer = state.env.lists.matchLocalPartList(list, lowerAscii(subject), state.scope);
  return answer instanceof Promise ? answer.then(outcome) : outcome(answer);
}

/** The name of the authenticator that succeeded; where only the identity is known, that. */
function authenticator({ scope }: AclState): string | undefined {
  const id = scope.connection?.authenticatedId;
  return id === undefined ? undefined : (scope.extra?.get('sender_host_authenticated')?.text ?? id);
}

function cipher({ scope }: AclState): string | undefined {
  const text = scope.extra?.get('tls_in_cipher')?.text ?? '';
  return text === '' ? undefined : text;
}
