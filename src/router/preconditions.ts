/** May a router run for this address? The generic preconditions in the manual's order (Exim manual, "Router preconditions"). */
import { expandBoolean, expandText } from '../expand/expand.ts';
import type { AddressFacts, Awaitable, ExpandScope, ListAnswer, MatchKind } from '../expand/scope.ts';
import { formatAddress } from '../mail/address.ts';
import type { RouteEnvironment } from './environment.ts';
import type { RouterOptions } from './options.ts';

export type Preconditions = 'met' | 'unmet' | { readonly defer: string };

type Scope = ExpandScope & { readonly address: AddressFacts };

/** The checks that need neither expansion nor lists: what the router is for, and what is being done. */
export function servesMode(o: RouterOptions, env: RouteEnvironment): boolean {
  switch (env.mode) {
    case 'verify-recipient':
      return o.verifyRecipient !== false;
    case 'verify-sender':
      return o.verifySender !== false;
    case 'address-test':
      return o.addressTest !== false && o.verifyOnly !== true;
    case 'deliver':
      return o.verifyOnly !== true;
  }
}

/** domains, local_parts, senders, condition. Sets `$domain_data` and `$local_part_data` where a list matched. */
export async function checkPreconditions(
  o: RouterOptions,
  scope: Scope,
  env: RouteEnvironment,
): Promise<Preconditions> {
  if (o.domains !== undefined) {
    const pending = inList('domain', o.domains, scope.address.domain, scope, env);
    const answer = pending instanceof Promise ? await pending : pending;
    if (answer.kind === 'no') return 'unmet';
    if (answer.kind === 'defer') return { defer: 'domains check lookup or other defer' };
    if (answer.data !== undefined) scope.address.domainData = answer.data;
  }
  if (o.localParts !== undefined) {
    const pending = inList('local_part', o.localParts, scope.address.local, scope, env);
    const answer = pending instanceof Promise ? await pending : pending;
    if (answer.kind === 'no') return 'unmet';
    if (answer.kind === 'defer') return { defer: 'local_parts check lookup or other defer' };
    if (answer.data !== undefined) scope.address.localPartData = answer.data;
  }
  if (o.senders !== undefined) {
    const answer = await inList('address', o.senders, formatAddress(env.sender), scope, env);
    if (answer.kind === 'no') return 'unmet';
    if (answer.kind === 'defer') return { defer: 'senders check lookup or other defer' };
  }
  for (const condition of o.condition ?? []) {
    const result = await expandBoolean(condition, scope);
    if (result.kind === 'forced-fail') return 'unmet';
    if (result.kind !== 'ok') {
      env.problem?.(`failed to expand condition "${condition}" for ${o.name} router: ${result.reason}`);
      return { defer: 'condition check lookup or other defer' };
    }
    if (!result.value) return 'unmet';
  }
  return 'met';
}

/** A list option: expanded, then matched. A forced failure of the expansion leaves an empty list, which matches nothing. */
export function inList(
  kind: MatchKind,
  list: string,
  subject: string,
  scope: ExpandScope,
  env: { problem?(text: string): void },
): Awaitable<ListAnswer> {
  if (isPlain(list)) return scope.services.matchList(kind, list, subject, scope);
  const expanded = expandText(list, scope);
  const match = (e: Awaited<typeof expanded>): Awaitable<ListAnswer> => {
    if (e.kind === 'ok') return scope.services.matchList(kind, e.text, subject, scope, e.tainted);
    if (e.kind === 'forced-fail') return { kind: 'no' };
    env.problem?.(`failed to expand "${list}" while checking a list: ${e.reason}`);
    return { kind: 'defer', reason: e.reason };
  };
  return expanded instanceof Promise ? expanded.then(match) : match(expanded);
}

/** Is there nothing to expand in it? */
export function isPlain(text: string): boolean {
  return !text.includes('$') && !text.includes('\\');
}
