/** The variables that an address has while it is in a router. */
import { expandText } from '../expand/expand.ts';
import type { AddressFacts } from '../expand/scope.ts';
import type { Address, LocalPart } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';
import type { Affixes } from './affix.ts';
import type { RouteEnvironment } from './environment.ts';
import type { Item, RouteScope } from './item.ts';
import type { ConfiguredRouter } from './options.ts';
import { setVariables } from './set-variables.ts';

export function inherit(facts: AddressFacts, { ancestors, inherited }: Item): void {
  const parent = ancestors.at(-1);
  if (parent !== undefined) {
    facts.parent = lowered(parent.address);
    facts.original = lowered(ancestors[0]?.address ?? parent.address);
  }
  if (inherited.addressData !== undefined) {
    facts.addressData = inherited.addressData.text;
    facts.addressDataTainted = inherited.addressData.tainted;
  }
  if (inherited.variables !== undefined) facts.routerVariables = inherited.variables;
}

export function scopeOf(env: RouteEnvironment, address: AddressFacts): RouteScope {
  return {
    main: env.main,
    services: env.services,
    ...(env.connection === undefined ? undefined : { connection: env.connection }),
    ...(env.message === undefined ? undefined : { message: env.message }),
    address,
    extra: new Map(),
  };
}

export function setLocal(facts: AddressFacts, local: string, affixes: Affixes): void {
  const { prefixLength, prefixWild, suffixLength, suffixWild } = affixes;
  if (facts.prefix !== undefined || facts.suffix !== undefined)
    for (const name of ['prefix', 'prefixWild', 'suffix', 'suffixWild'] as const) delete facts[name];
  if (prefixLength > 0) {
    facts.prefix = local.slice(0, prefixLength);
    facts.prefixWild = local.slice(0, prefixWild);
  }
  if (suffixLength > 0) {
    facts.suffix = local.slice(local.length - suffixLength);
    facts.suffixWild = local.slice(local.length - suffixWild, local.length);
  }
  facts.local =
    prefixLength + suffixLength === 0 ? local : local.slice(prefixLength, local.length - suffixLength);
}

export function stripped(address: Address, prefixLength: number, suffixLength: number): Address {
  if (prefixLength + suffixLength === 0) return address;
  return {
    local: address.local.slice(prefixLength, address.local.length - suffixLength) as LocalPart,
    domain: address.domain,
  };
}

/** `set` and `address_data`. True: an expansion was forced to fail, and the router declines. A status: it cannot be done now. */
export async function setFacts(
  { options: o }: ConfiguredRouter,
  scope: RouteScope,
): Promise<boolean | Status> {
  if (o.set !== undefined) {
    const set = await setVariables(o.set, scope);
    if (typeof set === 'string') return { text: `${set} in ${o.name} router` };
    if (!set) return true;
  }
  if (o.addressData === undefined) return false;
  const expanded = await expandText(o.addressData, scope);
  if (expanded.kind === 'ok') {
    scope.address.addressData = expanded.text;
    scope.address.addressDataTainted = expanded.tainted;
    return false;
  }
  if (expanded.kind === 'forced-fail') return true;
  return { text: `expansion of "${o.addressData}" failed in ${o.name} router: ${expanded.reason}` };
}

/** Variables have addresses in small letters. */
function lowered({ local, domain }: Address): Address {
  return { local: local.toLowerCase() as LocalPart, domain: domain.toLowerCase() as Address['domain'] };
}
