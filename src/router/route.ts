/**
 * Routing: an address runs through the configured routers until one takes it or makes others of it (Exim manual, "How
 * Exim receives and delivers mail"). Delivery, address testing and verification use the same step with another mode.
 */
import { type Address, formatAddress, type ReversePath } from '../mail/address.ts';
import type { DirectTarget } from '../mail/local-delivery.ts';
import type { Held, Routed, RouteEnvironment, VerifiedRoute } from './environment.ts';
import type { Inherited, Item, Step, StepChild } from './item.ts';
import { routeStep } from './step.ts';

const nothing: Inherited = { edits: [] };

/**
 * Routes one address for verification: what it is redirected to is followed as long as it is one address.
 *
 * @param address as it stands in the envelope, qualified
 * @param stopAtRedirect do not follow even one address
 * @returns never rejects for what configuration, lookups or DNS do: that is `defer`. Rejects when aborted.
 */
export async function route(
  address: Address,
  env: RouteEnvironment,
  signal: AbortSignal,
  stopAtRedirect = false,
): Promise<VerifiedRoute> {
  let item: Item = { address, ancestors: [], inherited: nothing };
  for (;;) {
    const step = await routeStep(item, env, signal);
    if (step.routed !== undefined)
      return item.ancestors.length === 0 ? step.routed : { ...step.routed, key: uniqueName(item) };
    const [only, ...others] = step.children ?? [];
    if (only?.kind !== 'item' || others.length > 0 || stopAtRedirect)
      return {
        kind: 'redirected',
        facts: { local: item.address.local.toLowerCase(), domain: item.address.domain.toLowerCase() },
      };
    ({ item } = only);
  }
}

/** One end of an address: the address itself, or one of those it was turned into. */
export interface Leaf {
  /**
   * Exim's unique name of it, by which duplicates are told and what is done is remembered; empty for the recipient
   * itself.
   */
  readonly key: string;
  /** What was routed, affixes included; for a direct delivery, the address that was turned into it. */
  readonly address: Address;
  /** What the address came from, nearest first. */
  readonly ancestors: readonly Address[];
  readonly direct?: DirectTarget;
  /** `hide_child_in_errmsg` of a router on the way. */
  readonly hidden: boolean;
  /** Where its errors go, where a router before said so; what `routed` says of an accepted address goes first. */
  readonly errorsTo?: ReversePath;
  /** The address of a `one_time` list that it came from, which stands for it in later attempts. */
  readonly oneTime?: OneTime;
  readonly routed: Routed;
}

/** A child that is not generated again: key of the address that was redirected, and what it was turned into. */
export interface OneTime {
  readonly parent: string;
  readonly address: Address;
  readonly errorsTo?: ReversePath;
}

/** What earlier attempts made of addresses on a `one_time` list. */
export type Expanded = ReadonlyMap<string, readonly Omit<OneTime, 'parent'>[]>;

/** How many addresses one recipient may become. */
const maxAddresses = 20_000;

export interface RouteAllOptions {
  /** How many addresses are routed at a time; with 1 the order is Exim's for `-bt`. */
  readonly width: number;
  readonly expanded?: Expanded;
  /** Equal addresses are routed each, as `-bt` shows them. */
  readonly duplicates?: boolean;
}

interface Waiting {
  readonly item: Item;
  readonly key: string;
  readonly hidden: boolean;
  readonly oneTime: OneTime | undefined;
}

const noneExpanded: Expanded = new Map();

/** Routes an address with all that comes of it. Equal addresses of one tree are routed once. */
export async function routeAll(
  address: Address,
  env: RouteEnvironment,
  signal: AbortSignal,
  { width, expanded = noneExpanded, duplicates = false }: RouteAllOptions,
): Promise<readonly Leaf[]> {
  const root: Item = { address, ancestors: [], inherited: nothing };
  const start: Waiting = { item: root, key: uniqueName(root), hidden: false, oneTime: undefined };
  const stack: (Waiting | Leaf)[] = [start];
  const seen = new Set([start.key]);
  const leaves: Leaf[] = [];
  let count = 1;
  /** False for what is there already. */
  const isNew = (key: string): boolean => {
    count++;
    if (duplicates) return true;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  };
  while (stack.length > 0) {
    const taken = stack.splice(Math.max(0, stack.length - width)).toReversed();
    const steps = await Promise.all(
      taken.map(async (w): Promise<Step | undefined> => {
        if ('routed' in w) return undefined;
        const held = env.held === undefined ? undefined : await env.held(w.item.address);
        if (held !== undefined) return { routed: heldBack(w.item.address, held) };
        const known = expanded.get(w.key);
        return known === undefined ? routeStep(w.item, env, signal) : { children: known.map(again(w)) };
      }),
    );
    const next: (Waiting | Leaf)[] = [];
    for (const [i, parent] of taken.entries()) {
      const step = steps[i];
      if ('routed' in parent) leaves.push(parent);
      else if (step !== undefined) {
        if (step.routed !== undefined) leaves.push(ownLeaf(parent, step, step.routed));
        for (const child of step.children ?? []) {
          const waiting = child.kind === 'direct' ? directLeaf(child, parent) : waitingFor(child, parent);
          if (isNew(waiting.key)) next.push(waiting);
        }
      }
    }
    for (const waiting of next.toReversed()) stack.push(waiting);
    if (count > maxAddresses) return [putOff(address, `redirected to more than ${maxAddresses} addresses`)];
  }
  // An address must never vanish.
  if (leaves.length === 0 && expanded.size === 0) return [putOff(address, 'redirected to nothing')];
  return leaves;
}

function ownLeaf(waiting: Waiting, step: Step, routed: Routed): Leaf {
  const recipient = waiting.item.ancestors.length === 0 && step.children === undefined;
  const key = step.unseen === undefined ? waiting.key : `${waiting.key}/${step.unseen}`;
  const leaf = leafOf(waiting, recipient ? '' : key, waiting.item, waiting.hidden, routed);
  // One of two copies is a child of the address, as the other one is.
  return step.unseen === undefined ? leaf : { ...leaf, ancestors: ancestorsOf(waiting.item, true) };
}

function directLeaf(child: Extract<StepChild, { kind: 'direct' }>, parent: Waiting): Leaf {
  const { item } = parent;
  return {
    ...leafOf(parent, `${child.target.text}:${parent.key}`, item, parent.hidden || child.hide, child.routed),
    ancestors: ancestorsOf(item, true),
    direct: child.target,
  };
}

function leafOf(parent: Waiting, key: string, item: Item, hidden: boolean, routed: Routed): Leaf {
  return {
    key,
    address: item.address,
    ancestors: ancestorsOf(item, false),
    hidden,
    ...(item.inherited.errorsTo === undefined ? undefined : { errorsTo: item.inherited.errorsTo }),
    ...(parent.oneTime === undefined ? undefined : { oneTime: parent.oneTime }),
    routed,
  };
}

function ancestorsOf(item: Item, andItself: boolean): readonly Address[] {
  const ancestors = item.ancestors.map((a) => a.address);
  if (andItself) ancestors.push(item.address);
  return ancestors.toReversed();
}

function waitingFor(child: Extract<StepChild, { kind: 'item' }>, parent: Waiting): Waiting {
  const { item } = child;
  const { errorsTo } = item.inherited;
  return {
    item,
    key: uniqueName(item),
    hidden: parent.hidden || child.hide,
    oneTime: child.oneTime
      ? { parent: parent.key, address: item.address, ...(errorsTo === undefined ? undefined : { errorsTo }) }
      : parent.oneTime,
  };
}

/** A child of a `one_time` list as an earlier attempt found it. */
function again({ item }: Waiting): (known: Omit<OneTime, 'parent'>) => StepChild {
  return ({ address, errorsTo }) => ({
    kind: 'item',
    oneTime: true,
    hide: false,
    item: {
      address,
      ancestors: [...item.ancestors, { address: item.address, router: '' }],
      inherited: errorsTo === undefined ? nothing : { edits: [], errorsTo },
    },
  });
}

/** Exim's: the address with its domain in small letters; one that is its own ancestor is told apart by a number. */
export function uniqueName({ address, ancestors }: Pick<Item, 'address' | 'ancestors'>): string {
  const name = recipientKey(address);
  const same = ancestors.filter((a) => recipientKey(a.address) === name).length;
  return same === 0 ? name : `\\${same - 1}\\${name}`;
}

/** The unique name of an address that came from nowhere else. */
export function recipientKey(address: Address): string {
  return formatAddress({ local: address.local, domain: address.domain.toLowerCase() as Address['domain'] });
}

function heldBack(address: Address, held: Held): Routed {
  const { text } = held;
  const facts = { local: address.local, domain: address.domain };
  return { kind: 'defer', reason: { text }, router: '', freeze: false, retryUseLocalPart: true, held, facts };
}

/** An address that cannot be dealt with now. */
export function putOff(address: Address, text: string): Leaf {
  const facts = { local: address.local, domain: address.domain };
  const reason = { text };
  return {
    key: '',
    address,
    ancestors: [],
    hidden: false,
    routed: { kind: 'defer', reason, router: '', freeze: false, retryUseLocalPart: true, facts },
  };
}
