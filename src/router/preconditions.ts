/** May a router run for this address? The generic preconditions in the manual's order (Exim manual, "Router preconditions"). */
import { expandBoolean, expandText } from '../expand/expand.ts';
import type {
  AddressFacts,
  Awaitable,
  ExpandScope,
  ExtraValue,
  ListAnswer,
  MatchKind,
} from '../expand/scope.ts';
import { formatAddress } from '../mail/address.ts';
import { unquoteLocalPart } from '../expand/address-text.ts';
import type { RouteEnvironment } from './environment.ts';
import type { RouterOptions } from './options.ts';
import { checkRequiredFiles } from './require-files.ts';
import type { LocalMachine, LocalUser } from './router.ts';

export type Preconditions = 'met' | 'unmet' | { readonly defer: string };

type Scope = ExpandScope & { readonly address: AddressFacts; readonly extra: Map<string, ExtraValue> };

/** What preconditions find out beside their verdict. */
export interface Findings {
  localUser?: LocalUser;
  /** `router_home_directory` */
  home?: string;
}

export function isVerifying(env: RouteEnvironment): boolean {
  return env.mode === 'verify-recipient' || env.mode === 'verify-sender';
}

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

/**
 * domains, local_parts, check_local_user, router_home_directory, senders, require_files, condition, in this order (Exim
 * manual, "Router preconditions"). Sets `$domain_data` and `$local_part_data` where a list matched, and `$home`.
 */
export async function checkPreconditions(
  o: RouterOptions,
  scope: Scope,
  env: RouteEnvironment,
  machine: LocalMachine,
  found: Findings,
): Promise<Preconditions> {
  if (o.domains !== undefined) {
    const pending = inList('domain', o.domains, scope.address.domain, scope, env);
    const answer = pending instanceof Promise ? await pending : pending;
    if (answer.kind === 'no') return 'unmet';
    if (answer.kind === 'defer') return { defer: 'domains check lookup or other defer' };
    if (answer.data !== undefined) scope.address.domainData = answer.data;
  }
  if (o.localParts !== undefined) {
    const pending = inList(
      'local_part',
      o.localParts,
      scope.address.local,
      scope,
      env,
      o.casefulLocalPart === true,
    );
    const answer = pending instanceof Promise ? await pending : pending;
    if (answer.kind === 'no') return 'unmet';
    if (answer.kind === 'defer') return { defer: 'local_parts check lookup or other defer' };
    if (answer.data !== undefined) scope.address.localPartData = answer.data;
  }
  if (o.checkLocalUser === true) {
    const user = machine.users.byName(unquoteLocalPart(scope.address.local));
    if (user === undefined) return 'unmet';
    found.localUser = user;
    scope.address.localPartData = user.name;
    scope.extra.set('home', { text: user.home, tainted: false });
    scope.extra.set('local_user_uid', { text: String(user.uid), tainted: false });
    scope.extra.set('local_user_gid', { text: String(user.gid), tainted: false });
  }
  if (o.routerHomeDirectory !== undefined) {
    const expanded = await expandText(o.routerHomeDirectory, scope);
    if (expanded.kind === 'ok') {
      found.home = expanded.text;
      scope.extra.set('home', { text: expanded.text, tainted: expanded.tainted });
    } else if (expanded.kind !== 'forced-fail')
      return {
        defer: `failed to expand "${o.routerHomeDirectory}" for router_home_directory: ${expanded.reason}`,
      };
  }
  if (o.senders !== undefined) {
    const answer = await inList('address', o.senders, formatAddress(env.sender), scope, env);
    if (answer.kind === 'no') return 'unmet';
    if (answer.kind === 'defer') return { defer: 'senders check lookup or other defer' };
  }
  if (o.requireFiles !== undefined) {
    const answer = await checkRequiredFiles(o.requireFiles, scope, machine);
    if (answer === 'unmet') return 'unmet';
    if (answer !== 'met') return answer;
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
  caseful = false,
): Awaitable<ListAnswer> {
  if (isPlain(list))
    return scope.services.matchList(kind, caseful ? casefulList(list) : list, subject, scope);
  const expanded = expandText(list, scope);
  const match = (e: Awaited<typeof expanded>): Awaitable<ListAnswer> => {
    if (e.kind === 'ok')
      return scope.services.matchList(
        kind,
        caseful ? casefulList(e.text) : e.text,
        subject,
        scope,
        e.tainted,
      );
    if (e.kind === 'forced-fail') return { kind: 'no' };
    env.problem?.(`failed to expand "${list}" while checking a list: ${e.reason}`);
    return { kind: 'defer', reason: e.reason };
  };
  return expanded instanceof Promise ? expanded.then(match) : match(expanded);
}

/** The list with `+caseful` in front (Exim manual, "Case of letters in address lists"). */
function casefulList(list: string): string {
  const separator = /^\s*<([^\w\s])/.exec(list);
  if (separator === null) return `+caseful : ${list}`;
  return `<${separator[1]} +caseful ${separator[1]} ${list.slice(separator[0].length)}`;
}

/** Is there nothing to expand in it? */
export function isPlain(text: string): boolean {
  return !text.includes('$') && !text.includes('\\');
}
