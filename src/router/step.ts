/** One address through the routers, up to the first one that takes it (Exim manual, "Running an individual router"). */
import { expandText } from '../expand/expand.ts';
import type { AddressFacts, ExpandScope } from '../expand/scope.ts';
import { type Address, formatAddress } from '../mail/address.ts';
import { chooseTransport } from './accepted.ts';
import { findAffixes } from './affix.ts';
import type { Routed, RouteEnvironment } from './environment.ts';
import { inherit, scopeOf, setFacts, setLocal, stripped } from './facts.ts';
import {
  type Ancestor,
  deferred,
  type Inherited,
  type Item,
  type RouteScope,
  type Step,
  type StepChild,
} from './item.ts';
import type { ConfiguredRouter, RouterOptions } from './options.ts';
import { checkPreconditions, type Findings, inList, isVerifying, servesMode } from './preconditions.ts';
import type { Child, Redirected, RouteOutcome, SelfAction } from './router.ts';
import { accept, redirect, type Taking } from './take.ts';

const freezeSelf: SelfAction = { kind: 'freeze' };
/** Reroutings one after the other; Exim's own bound on ancestors. */
const maxGenerations = 100;

export async function routeStep(item: Item, env: RouteEnvironment, signal: AbortSignal): Promise<Step> {
  const { address, ancestors } = item;
  const lowered = address.local.toLowerCase();
  const facts: AddressFacts = { local: lowered, domain: address.domain.toLowerCase() };
  inherit(facts, item);
  const scope = scopeOf(env, facts);
  const verifying = isVerifying(env);
  let last: ConfiguredRouter | undefined;
  let why: string | undefined;
  const start = item.start === undefined ? 0 : env.routers.findIndex((r) => r.options.name === item.start);
  for (let i = start < 0 ? env.routers.length : start; i < env.routers.length; ) {
    const router = env.routers[i];
    if (router === undefined) break;
    i++;
    const o = router.options;
    last = router;
    if (ancestors.length > 0 && skipsDescendant(ancestors, address, router)) continue;
    const affixes = findAffixes(o, lowered);
    if (affixes === undefined) continue;
    const { prefixLength, suffixLength } = affixes;
    setLocal(facts, o.casefulLocalPart === true ? address.local : lowered, affixes);
    if (!servesMode(o, env)) continue;
    facts.router = o.name;
    if (scope.extra.size > 0) scope.extra.clear();
    const found: Findings = {};
    const met = await checkPreconditions(o, scope, env, router.machine, found);
    if (met === 'unmet') continue;
    if (met !== 'met') return deferred(router, { text: met.defer }, facts);
    const declined = await setFacts(router, scope);
    if (typeof declined === 'object') return deferred(router, declined, facts);
    let outcome: RouteOutcome;
    if (declined) outcome = { kind: 'decline' };
    else {
      const pending = router.driver.route({
        router: o.name,
        address,
        scope,
        verifying,
        self: o.self ?? freezeSelf,
        passOnTimeout: o.passOnTimeout === true,
        ancestors: [...ancestors.map((a) => a.address), address].toReversed(),
        ...(found.localUser === undefined ? undefined : { localUser: found.localUser }),
        ...(o.ignoreTargetHosts === undefined
          ? undefined
          : { ignoreHost: ignoreHosts(o.ignoreTargetHosts, scope, env) }),
        inDomains: (list) => inDomains(list, scope, env),
        note: (text) => env.note?.(text),
        ...(env.report === undefined ? undefined : { report: env.report }),
        transport: (name) => chooseTransport(name, o, scope, env),
        signal,
      });
      outcome = pending instanceof Promise ? await pending : pending;
    }
    const taking: Taking = {
      router,
      item,
      scope,
      env,
      found,
      verify: (errorsTo) => verifies(errorsTo, env, signal),
    };
    switch (outcome.kind) {
      case 'routed': {
        if (failsVerification(o, env))
          return {
            routed: {
              kind: 'fail',
              reason: { text: 'Unrouteable address', code: '5.1.1' },
              router: o.name,
              facts,
            },
          };
        const short = stripped(address, prefixLength, suffixLength);
        const routed = await accept(taking, outcome, short);
        if (routed.kind !== 'routed') return { routed };
        return withClone({ routed }, item, router, i, scope, env);
      }
      case 'rerouted':
      case 'redirected': {
        if (ancestors.length >= maxGenerations)
          return deferred(router, { text: 'too many reroutings' }, facts);
        const redirected: Redirected =
          outcome.kind === 'redirected'
            ? outcome
            : {
                kind: 'redirected',
                children: [{ kind: 'address', address: outcome.address }],
                oneTime: false,
                hideChild: false,
                rewrite: false,
              };
        const step = await redirect(taking, await rewritten(redirected, scope, env));
        if (step.routed !== undefined) return step;
        return withClone(step, item, router, i, scope, env);
      }
      case 'discard':
        return { routed: { kind: 'discard', router: o.name, facts } };
      case 'fail':
        return { routed: { kind: 'fail', reason: outcome.reason, router: o.name, facts } };
      case 'defer':
        return deferred(router, outcome.reason, facts, outcome.freeze === true);
      case 'pass': {
        why = outcome.text ?? why;
        const wanted = o.passRouter;
        if (wanted === undefined) break;
        const at = env.routers.findIndex((r, index) => index >= i && r.options.name === wanted);
        if (at < 0)
          return deferred(router, { text: `pass_router "${wanted}" does not follow ${o.name}` }, facts);
        i = at;
        break;
      }
      case 'decline': {
        why = outcome.text ?? why;
        const more = o.more === undefined ? true : await expandSwitch('more', o.more, true, o.name, scope);
        if (typeof more === 'string') return deferred(router, { text: more }, facts);
        if (!more) return { routed: await unrouteable(router, why, scope, env) };
      }
    }
  }
  return { routed: await unrouteable(last, why, scope, env) };
}

/** Children by the rewriting rules (Exim manual, "When does rewriting happen?"). */
async function rewritten(outcome: Redirected, scope: RouteScope, env: RouteEnvironment): Promise<Redirected> {
  const { rewriteChild } = env;
  if (rewriteChild === undefined || outcome.rewrite === false) return outcome;
  const children: Child[] = [];
  for (const child of outcome.children)
    children.push(
      child.kind === 'address' ? { ...child, address: await rewriteChild(child.address, scope) } : child,
    );
  return { ...outcome, children };
}

function failsVerification(o: RouterOptions, env: RouteEnvironment): boolean {
  if (env.mode === 'verify-recipient') return o.failVerifyRecipient === true;
  return env.mode === 'verify-sender' && o.failVerifySender === true;
}

/** A router ignores an address of which it has already replaced an ancestor of the same name, or any ancestor with `repeat_use = false`. */
function skipsDescendant(
  ancestors: readonly Ancestor[],
  address: Address,
  { options, driver }: ConfiguredRouter,
): boolean {
  const text = formatAddress(address).toLowerCase();
  return ancestors.some(
    (a) =>
      a.router === options.name && (driver.once === true || formatAddress(a.address).toLowerCase() === text),
  );
}

/** An option that expands to yes or no; a text says why there is no answer. */
async function expandSwitch(
  option: string,
  text: string,
  otherwise: boolean,
  router: string,
  scope: ExpandScope,
): Promise<boolean | string> {
  const expanded = await expandText(text, scope);
  if (expanded.kind === 'forced-fail') return otherwise;
  if (expanded.kind !== 'ok') return `failed to expand "${option}" in ${router} router: ${expanded.reason}`;
  switch (expanded.text.toLowerCase()) {
    case 'yes':
    case 'true':
      return true;
    case 'no':
    case 'false':
      return false;
    default:
      return `"${expanded.text}" is not a valid value for the "${option}" option in the ${router} router`;
  }
}

async function inDomains(
  list: string,
  scope: RouteScope,
  env: RouteEnvironment,
): Promise<boolean | { readonly problem: string }> {
  const answer = await inList('domain', list, scope.address.domain, scope, env);
  return answer.kind === 'defer' ? { problem: answer.reason } : answer.kind === 'yes';
}

/** `ignore_target_hosts`; `$host_address` is the address in question while the list is expanded. */
function ignoreHosts(
  list: string,
  scope: RouteScope,
  env: RouteEnvironment,
): (address: string) => Promise<boolean | { readonly problem: string }> {
  return async (address) => {
    const answer = await inList(
      'host',
      list,
      address,
      { ...scope, address: { ...scope.address, hostAddress: address } },
      env,
    );
    if (answer.kind === 'defer') return { problem: `ignore_target_hosts: ${answer.reason}` };
    return answer.kind === 'yes';
  };
}

async function unrouteable(
  last: ConfiguredRouter | undefined,
  why: string | undefined,
  scope: RouteScope,
  env: RouteEnvironment,
): Promise<Routed> {
  let text = why ?? 'Unrouteable address';
  const option = last?.options.cannotRouteMessage;
  if (option !== undefined) {
    const expanded = await expandText(option, scope);
    if (expanded.kind === 'ok' && expanded.text !== '') text = expanded.text;
    else if (expanded.kind === 'error' || expanded.kind === 'defer')
      env.problem?.(
        `failed to expand cannot_route_message of ${last?.options.name} router: ${expanded.reason}`,
      );
  }
  return { kind: 'fail', reason: { text, code: '5.1.1' }, facts: scope.address };
}

/** `unseen`: a copy of the address goes on to the router after this one, with nothing attached here. */
async function withClone(
  step: Step,
  item: Item,
  router: ConfiguredRouter,
  next: number,
  scope: RouteScope,
  env: RouteEnvironment,
): Promise<Step> {
  const { unseen, name } = router.options;
  const start = env.routers[next]?.options.name;
  if (unseen === undefined || isVerifying(env)) return step;
  const wanted = await expandSwitch('unseen', unseen, false, name, scope);
  if (typeof wanted === 'string') return deferred(router, { text: wanted }, scope.address);
  if (!wanted || start === undefined) return step;
  const clone: Item = {
    address: item.address,
    ancestors: [...item.ancestors, { address: item.address, router: name }],
    inherited: { ...item.inherited, edits: [] },
    start,
  };
  const copy: Ancestor = { address: item.address, router: '' };
  const below = (child: StepChild): StepChild => {
    if (child.kind === 'direct') return child;
    const ancestors = child.item.ancestors.toSpliced(item.ancestors.length, 0, copy);
    return { ...child, item: { ...child.item, ancestors } };
  };
  const children = (step.children ?? []).map(below);
  return {
    ...step,
    unseen: name,
    children: [{ kind: 'item', item: clone, oneTime: false, hide: false }, ...children],
  };
}

const nothing: Inherited = { edits: [] };

/** `errors_to` counts only where the address verifies; it is verified with a null sender. */
async function verifies(address: Address, env: RouteEnvironment, signal: AbortSignal): Promise<boolean> {
  const { report: _, ...quiet } = env;
  const asked: RouteEnvironment = { ...quiet, mode: 'verify-recipient', sender: null };
  let item: Item = { address, ancestors: [], inherited: nothing };
  for (;;) {
    const { routed, children } = await routeStep(item, asked, signal);
    if (routed !== undefined) return routed.kind === 'routed' || routed.kind === 'discard';
    const [only, ...others] = children ?? [];
    if (only?.kind !== 'item' || others.length > 0) return true;
    ({ item } = only);
  }
}
