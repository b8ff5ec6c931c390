/**
 * Routing: an address runs through the configured routers until one takes it (Exim manual, "Running an individual
 * router"). Delivery and verification use the same function with another mode.
 */
import { expandText } from '../expand/expand.ts';
import type { AddressFacts, ExpandScope } from '../expand/scope.ts';
import { type Address, formatAddress, type LocalPart, type ReversePath } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';
import { chooseTransport, expandErrorsTo, expandHeaderEdits, noEdits } from './accepted.ts';
import { findAffixes } from './affix.ts';
import type { Routed, RouteEnvironment } from './environment.ts';
import { type ConfiguredRouter, retryUsesLocalPart } from './options.ts';
import { checkPreconditions, servesMode } from './preconditions.ts';
import type { RouteOutcome, SelfAction } from './router.ts';

type Scope = ExpandScope & { readonly address: AddressFacts };

/** An address on the way here and the router that replaced it. */
interface Ancestor {
  readonly address: Address;
  readonly router: string;
}

const freezeSelf: SelfAction = { kind: 'freeze' };
const noAncestors: readonly Ancestor[] = [];
/** Reroutings one after the other; Exim's own bound on ancestors. */
const maxGenerations = 100;

/**
 * Routes one address.
 *
 * @param address as it stands in the envelope, qualified
 * @returns never rejects for what configuration, lookups or DNS do: that is `defer`. Rejects when aborted.
 */
export function route(address: Address, env: RouteEnvironment, signal: AbortSignal): Promise<Routed> {
  return routeFrom(address, env, noAncestors, signal);
}

async function routeFrom(
  address: Address,
  env: RouteEnvironment,
  ancestors: readonly Ancestor[],
  signal: AbortSignal,
): Promise<Routed> {
  const lowered = address.local.toLowerCase();
  const facts: AddressFacts = { local: lowered, domain: address.domain.toLowerCase() };
  const scope = scopeOf(env, facts);
  const verifying = env.mode === 'verify-recipient' || env.mode === 'verify-sender';
  const parent = ancestors.at(-1);
  if (parent !== undefined) {
    facts.parent = parent.address;
    facts.original = ancestors[0]?.address ?? parent.address;
  }
  let last: ConfiguredRouter | undefined;
  for (let i = 0; i < env.routers.length; ) {
    const router = env.routers[i];
    if (router === undefined) break;
    i++;
    const o = router.options;
    last = router;
    if (ancestors.length > 0 && isOwnAncestor(ancestors, address, o.name)) continue;
    const affixes = findAffixes(o, lowered);
    if (affixes === undefined) continue;
    const { prefixLength, suffixLength } = affixes;
    setLocal(facts, o.casefulLocalPart === true ? address.local : lowered, prefixLength, suffixLength);
    if (!servesMode(o, env)) continue;
    facts.router = o.name;
    const met = await checkPreconditions(o, scope, env);
    if (met === 'unmet') continue;
    if (met !== 'met') return deferred(router, { text: met.defer }, facts);
    let outcome: RouteOutcome;
    const declined = o.addressData === undefined ? false : await setAddressData(o.addressData, router, scope);
    if (typeof declined === 'object') return deferred(router, declined, facts);
    if (declined) outcome = { kind: 'decline' };
    else {
      const pending = router.driver.route({
        router: o.name,
        address,
        scope,
        verifying,
        self: o.self ?? freezeSelf,
        passOnTimeout: o.passOnTimeout === true,
        transport: (name) => chooseTransport(name, o, scope, env),
        signal,
      });
      outcome = pending instanceof Promise ? await pending : pending;
    }
    switch (outcome.kind) {
      case 'routed': {
        if (
          env.mode === 'verify-recipient'
            ? o.failVerifyRecipient === true
            : env.mode === 'verify-sender' && o.failVerifySender === true
        )
          return {
            kind: 'fail',
            reason: { text: 'Unrouteable address', code: '5.1.1' },
            router: o.name,
            facts,
          };
        return accept(router, outcome, stripped(address, prefixLength, suffixLength), scope, env, signal);
      }
      case 'rerouted':
        if (ancestors.length >= maxGenerations)
          return deferred(router, { text: 'too many reroutings' }, facts);
        return routeFrom(outcome.address, env, [...ancestors, { address, router: o.name }], signal);
      case 'discard':
        return { kind: 'discard', router: o.name, facts };
      case 'fail':
        return { kind: 'fail', reason: outcome.reason, router: o.name, facts };
      case 'defer':
        return deferred(router, outcome.reason, facts, outcome.freeze === true);
      case 'pass': {
        const wanted = o.passRouter;
        if (wanted === undefined) break;
        const at = env.routers.findIndex((r, index) => index >= i && r.options.name === wanted);
        if (at < 0)
          return deferred(router, { text: `pass_router "${wanted}" does not follow ${o.name}` }, facts);
        i = at;
        break;
      }
      case 'decline': {
        const more = o.more === undefined ? true : await expandMore(o.more, o.name, scope);
        if (typeof more === 'string') return deferred(router, { text: more }, facts);
        if (!more) return unrouteable(router, scope, env);
      }
    }
  }
  return unrouteable(last, scope, env);
}

function scopeOf(env: RouteEnvironment, address: AddressFacts): Scope {
  return {
    main: env.main,
    services: env.services,
    ...(env.connection === undefined ? undefined : { connection: env.connection }),
    ...(env.message === undefined ? undefined : { message: env.message }),
    address,
  };
}

function setLocal(facts: AddressFacts, local: string, prefixLength: number, suffixLength: number): void {
  if (prefixLength > 0) facts.prefix = local.slice(0, prefixLength);
  else if (facts.prefix !== undefined) delete facts.prefix;
  if (suffixLength > 0) facts.suffix = local.slice(local.length - suffixLength);
  else if (facts.suffix !== undefined) delete facts.suffix;
  facts.local =
    prefixLength + suffixLength === 0 ? local : local.slice(prefixLength, local.length - suffixLength);
}

function stripped(address: Address, prefixLength: number, suffixLength: number): Address {
  if (prefixLength + suffixLength === 0) return address;
  return {
    local: address.local.slice(prefixLength, address.local.length - suffixLength) as LocalPart,
    domain: address.domain,
  };
}

/** A router ignores an address of which it has already replaced an ancestor of the same name. */
function isOwnAncestor(ancestors: readonly Ancestor[], address: Address, router: string): boolean {
  const text = formatAddress(address).toLowerCase();
  return ancestors.some((a) => a.router === router && formatAddress(a.address).toLowerCase() === text);
}

function deferred(router: ConfiguredRouter, reason: Status, facts: AddressFacts, freeze = false): Routed {
  return {
    kind: 'defer',
    reason,
    router: router.options.name,
    freeze,
    retryUseLocalPart: retryUsesLocalPart(router.options),
    facts,
  };
}

/** True: the expansion was forced to fail, and the router declines. A status: it cannot be done now. */
async function setAddressData(
  text: string,
  router: ConfiguredRouter,
  scope: Scope,
): Promise<boolean | Status> {
  const expanded = await expandText(text, scope);
  if (expanded.kind === 'ok') {
    scope.address.addressData = expanded.text;
    return false;
  }
  if (expanded.kind === 'forced-fail') return true;
  return { text: `expansion of "${text}" failed in ${router.options.name} router: ${expanded.reason}` };
}

/** A text says why there is no answer. */
async function expandMore(text: string, router: string, scope: Scope): Promise<boolean | string> {
  const expanded = await expandText(text, scope);
  if (expanded.kind === 'forced-fail') return true;
  if (expanded.kind !== 'ok') return `failed to expand "more" in ${router} router: ${expanded.reason}`;
  switch (expanded.text.toLowerCase()) {
    case 'yes':
    case 'true':
      return true;
    case 'no':
    case 'false':
      return false;
    default:
      return `"${expanded.text}" is not a valid value for the "more" option in the ${router} router`;
  }
}

async function unrouteable(
  last: ConfiguredRouter | undefined,
  scope: Scope,
  env: RouteEnvironment,
): Promise<Routed> {
  let text = 'Unrouteable address';
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

async function accept(
  router: ConfiguredRouter,
  outcome: Extract<RouteOutcome, { kind: 'routed' }>,
  address: Address,
  scope: Scope,
  env: RouteEnvironment,
  signal: AbortSignal,
): Promise<Routed> {
  const o = router.options;
  const facts = scope.address;
  const verifying = env.mode === 'verify-recipient' || env.mode === 'verify-sender';
  let errorsTo: ReversePath | undefined;
  if (o.errorsTo !== undefined) {
    const errors = await expandErrorsTo(o, scope, env);
    if (errors !== undefined && 'defer' in errors) return deferred(router, errors.defer, facts);
    if (
      errors !== undefined &&
      (errors.path === null || verifying || (await verifies(errors.path, env, signal)))
    )
      errorsTo = errors.path;
  }
  const edits = verifying ? noEdits : await expandHeaderEdits(o, scope);
  if ('defer' in edits) return deferred(router, edits.defer, facts);
  let local = false;
  if (outcome.transport !== undefined) {
    facts.transport = outcome.transport;
    local = env.transport(outcome.transport)?.local === true;
  } else if (!verifying)
    return deferred(router, { text: `error in ${o.name} router: transport is not set` }, facts);
  return {
    kind: 'routed',
    router: o.name,
    ...(outcome.transport === undefined ? undefined : { transport: outcome.transport }),
    local,
    hosts: outcome.hosts,
    unordered: outcome.unordered === true,
    address,
    ...(errorsTo === undefined ? undefined : { errorsTo }),
    headerEdits: edits,
    logAsLocal: o.logAsLocal ?? router.driver.driver === 'accept',
    facts,
  };
}

/** `errors_to` counts only where the address verifies; it is verified with a null sender. */
async function verifies(address: Address, env: RouteEnvironment, signal: AbortSignal): Promise<boolean> {
  const routed = await routeFrom(
    address,
    { ...env, mode: 'verify-recipient', sender: null },
    noAncestors,
    signal,
  );
  return routed.kind === 'routed' || routed.kind === 'discard';
}
