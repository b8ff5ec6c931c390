/** What becomes of an address that a router takes or redirects: transport, errors address, header lines, user, children. */
import type { Address } from '../mail/address.ts';
import type { Status } from '../mail/outcome.ts';
import { type Attached, attachments } from './accepted.ts';
import type { Routed, RouteEnvironment } from './environment.ts';
import {
  deferred,
  type Inherited,
  type Item,
  putOff,
  type RouteScope,
  type Step,
  type StepChild,
} from './item.ts';
import { localDelivery } from './local-delivery.ts';
import type { ConfiguredRouter } from './options.ts';
import { type Findings, isVerifying } from './preconditions.ts';
import type { Child, Redirected, RouteOutcome } from './router.ts';

interface Deferring {
  readonly defer: Status;
}

/** An address in a router, with what has been found out about it. */
export interface Taking {
  readonly router: ConfiguredRouter;
  readonly item: Item;
  readonly scope: RouteScope;
  readonly env: RouteEnvironment;
  readonly found: Findings;
  /** Is an `errors_to` good? */
  readonly verify: (address: Address) => Promise<boolean>;
}

function attach({ router, item, scope, env, verify }: Taking): Promise<Attached | Deferring> | Attached {
  const o = router.options;
  if (o.errorsTo === undefined && o.headersAdd === undefined && o.headersRemove === undefined)
    return item.inherited;
  return attachments(o, scope, env, item.inherited, isVerifying(env) ? undefined : verify);
}

/** @param address without affixes */
export async function accept(
  taking: Taking,
  outcome: Extract<RouteOutcome, { kind: 'routed' }>,
  address: Address,
): Promise<Routed> {
  const { router, scope, env, found } = taking;
  const o = router.options;
  const facts = scope.address;
  const attached = await attach(taking);
  if ('defer' in attached) return putOff(router, attached.defer, facts);
  let local = false;
  if (outcome.transport !== undefined) {
    facts.transport = outcome.transport;
    local = env.transport(outcome.transport)?.local === true;
  } else if (!isVerifying(env))
    return putOff(router, { text: `error in ${o.name} router: transport is not set` }, facts);
  const delivery =
    local && !isVerifying(env) ? await localDelivery(o, scope, router.machine.users, found) : undefined;
  if (delivery !== undefined && 'problem' in delivery)
    return putOff(router, { text: delivery.problem }, facts);
  return {
    kind: 'routed',
    router: o.name,
    ...(outcome.transport === undefined ? undefined : { transport: outcome.transport }),
    local,
    hosts: outcome.hosts,
    unordered: outcome.unordered === true,
    ...(outcome.secondary === true
      ? { fallback: [] }
      : o.fallbackHosts === undefined
        ? undefined
        : { fallback: o.fallbackHosts }),
    address,
    ...(attached.errorsTo === undefined ? undefined : { errorsTo: attached.errorsTo }),
    headerEdits: attached.edits,
    logAsLocal: o.logAsLocal ?? router.driver.driver === 'accept',
    ...(delivery === undefined ? undefined : { delivery }),
    facts,
  };
}

/** Turns the children a driver made into addresses to route and direct deliveries. */
export async function redirect(taking: Taking, outcome: Redirected): Promise<Step> {
  const { router, item, scope, env, found } = taking;
  const o = router.options;
  const facts = scope.address;
  const attached = await attach(taking);
  if ('defer' in attached) return deferred(router, attached.defer, facts);
  const passedOn: Inherited = {
    edits: attached.edits,
    ...(attached.errorsTo === undefined ? undefined : { errorsTo: attached.errorsTo }),
    ...(facts.addressData === undefined
      ? undefined
      : { addressData: { text: facts.addressData, tainted: facts.addressDataTainted !== false } }),
    ...(facts.routerVariables === undefined ? undefined : { variables: facts.routerVariables }),
  };
  const direct = outcome.children.some((c) => c.kind === 'direct');
  const delivery =
    direct && !isVerifying(env) ? await localDelivery(o, scope, router.machine.users, found) : {};
  if (delivery !== undefined && 'problem' in delivery)
    return deferred(router, { text: delivery.problem }, facts);
  const ancestors = [...item.ancestors, { address: item.address, router: o.name }];
  const hide = outcome.hideChild;
  const child = (c: Child): StepChild => {
    if (c.kind === 'address')
      return {
        kind: 'item',
        oneTime: outcome.oneTime,
        hide,
        item: {
          address: c.address,
          ancestors,
          inherited: passedOn,
          ...(o.redirectRouter === undefined ? undefined : { start: o.redirectRouter }),
        },
      };
    const { target, transport } = c;
    if (c.problem !== undefined)
      return { kind: 'direct', target, hide, routed: putOff(router, c.problem, facts) };
    if (transport === undefined)
      return {
        kind: 'direct',
        target,
        hide,
        routed: { kind: 'discard', router: o.name, bypassed: target.text, facts },
      };
    return {
      kind: 'direct',
      target,
      hide,
      routed: {
        kind: 'routed',
        router: o.name,
        transport,
        local: true,
        hosts: [],
        unordered: false,
        address: item.address,
        ...(attached.errorsTo === undefined ? undefined : { errorsTo: attached.errorsTo }),
        headerEdits: attached.edits,
        logAsLocal: false,
        delivery: { ...delivery, target },
        facts: { ...facts, transport },
      },
    };
  };
  const { verdict } = outcome;
  const routed: Routed | undefined =
    verdict === undefined
      ? undefined
      : verdict.kind === 'fail'
        ? { kind: 'fail', reason: verdict.reason, router: o.name, facts }
        : putOff(router, verdict.reason, facts);
  return { ...(routed === undefined ? undefined : { routed }), children: outcome.children.map(child) };
}
