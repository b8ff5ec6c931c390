/**
 * What one delivery of a message has to do: a task for every recipient that is due, or for each of the addresses it was
 * redirected to. A recipient is done when all of its tasks are; what became of each is part of its state.
 */
import { formatAddress } from '../mail/address.ts';
import { type Expanded, type Leaf, recipientKey } from '../router/route.ts';
import type { SyntaxReport } from '../router/router.ts';
import type { ChildState, ListedAddress, RecipientState, SpoolEntry } from '../spool/spool.ts';
import type { EventRecipient } from './events.ts';
import { type Attempt, isUntried, type PendingState } from './outcome.ts';

/** One address to be dealt with. */
export interface Task {
  readonly position: number;
  readonly leaf: Leaf;
  readonly before: PendingState;
  readonly who: EventRecipient;
}

interface Plan {
  readonly before: Extract<RecipientState, { kind: 'pending' }>;
  readonly leaves: readonly Leaf[];
  /** By key: what is known of a leaf, from before and from now. */
  readonly states: Map<string, ChildState>;
  /** Keys of leaves that are somebody else's task: nothing is known of them here. */
  readonly duplicates: Set<string>;
}

export interface Work {
  readonly tasks: readonly Task[];
  /** By task. */
  readonly attempts: Map<number, Attempt>;
  /** Tasks whose outcome is recorded already. */
  readonly recorded: Set<number>;
  readonly plans: ReadonlyMap<number, Plan>;
  /** Lists with malformed addresses, whose owners get mail. */
  readonly reports: readonly SyntaxReport[];
}

/** Recipients that are due, with what each was routed to, in the order of the envelope. */
export type RoutedPositions = readonly { readonly position: number; readonly leaves: readonly Leaf[] }[];

/**
 * Leaves out what is done already or done for another recipient, and children whose time has not come.
 *
 * @param force also what is not due
 */
export function planWork(
  entry: SpoolEntry,
  routed: RoutedPositions,
  reports: readonly SyntaxReport[],
  nowMs: number,
  force: boolean,
): Work {
  const tasks: Task[] = [];
  const plans = new Map<number, Plan>();
  const known = routed.some(({ leaves }) => leaves.some((l) => l.key !== '')) ? namesOf(entry) : undefined;
  for (const { position, leaves } of routed) {
    const before = entry.states[position];
    const recipient = entry.envelope.recipients[position];
    if (before?.kind !== 'pending' || recipient === undefined) continue;
    const plan: Plan = { before, leaves, states: new Map(), duplicates: new Set() };
    plans.set(position, plan);
    for (const leaf of leaves) {
      const { key } = leaf;
      const own = key === '' ? before : (before.children?.[key] ?? fresh);
      if (known !== undefined && key !== '') {
        const elsewhere = leaf.ancestors.length > 0 && known.has(key);
        known.add(key);
        if (own.kind === 'done') {
          plan.states.set(key, own);
          continue;
        }
        if (elsewhere) {
          plan.duplicates.add(key);
          continue;
        }
        if (!force && own.nextAttemptAtMs > nowMs && !isUntried(own)) {
          plan.states.set(key, own);
          continue;
        }
      }
      if (own.kind === 'pending')
        tasks.push({ position, leaf, before: own, who: whoIs(position, recipient.address, leaf) });
    }
  }
  return { tasks, attempts: new Map(), recorded: new Set(), plans, reports };
}

/** No work: for a message of which nothing is due. */
export const noWork: Work = {
  tasks: [],
  attempts: new Map(),
  recorded: new Set(),
  plans: new Map(),
  reports: [],
};

const fresh: PendingState = { kind: 'pending', nextAttemptAtMs: 0, attempts: 0 };

/** Addresses that need no further delivery: the recipients themselves, and children that are done. */
function namesOf(entry: SpoolEntry): Set<string> {
  const names = new Set(entry.envelope.recipients.map((r) => recipientKey(r.address)));
  for (const state of entry.states) {
    if (state.kind === 'done') for (const key of state.children ?? []) names.add(key);
    else
      for (const [key, child] of Object.entries(state.children ?? {}))
        if (child.kind === 'done') names.add(key);
  }
  return names;
}

function whoIs(position: number, recipient: EventRecipient['address'], leaf: Leaf): EventRecipient {
  const { routed } = leaf;
  const accepted = routed.kind === 'routed';
  const redirected = leaf.ancestors.length > 0;
  // Affixes are taken off for RCPT only; the log and bounces keep the whole address.
  const address = accepted && redirected && leaf.direct === undefined ? routed.address : leaf.address;
  const differs = leaf.direct !== undefined || formatAddress(address) !== formatAddress(recipient);
  return {
    position,
    address,
    ...(redirected && differs ? { original: recipient } : undefined),
    ...(leaf.ancestors.length > 1 ? { parents: leaf.ancestors.slice(0, -1) } : undefined),
    ...(leaf.direct === undefined ? undefined : { target: leaf.direct.text }),
    ...(leaf.hidden ? { hidden: true } : undefined),
    ...(routed.router === undefined || routed.router === '' ? undefined : { router: routed.router }),
    ...(accepted && routed.transport !== undefined ? { transport: routed.transport } : undefined),
    logAsLocal: accepted && routed.logAsLocal,
  };
}

/** Notes what became of a task. */
export function settle(work: Work, task: Task, state: ChildState): void {
  work.plans.get(task.position)?.states.set(task.leaf.key, state);
}

/** The state of a recipient by what is known now; a task that nothing is known of is as it was. */
export function stateOf(work: Work, position: number): RecipientState | undefined {
  const plan = work.plans.get(position);
  if (plan === undefined) return undefined;
  const { before, leaves, states, duplicates } = plan;
  const [only] = leaves;
  const earlier = Object.entries(before.children ?? {}).filter(([, child]) => child.kind === 'done');
  if (only?.key === '') {
    const state = states.get('') ?? before;
    if (state.kind === 'done')
      return earlier.length === 0 ? state : { ...state, children: earlier.map(([key]) => key) };
    return keepOf(before, state);
  }
  const children = Object.fromEntries(earlier);
  for (const { key } of leaves)
    if (!duplicates.has(key)) children[key] = states.get(key) ?? before.children?.[key] ?? untried(before);
  const pending = Object.values(children).filter((c) => c.kind === 'pending');
  if (pending.length === 0) {
    const how = Object.values(children).map((c) => (c.kind === 'done' ? c.how : 'delivered'));
    const worst = how.includes('failed')
      ? 'failed'
      : how.every((h) => h === 'discarded')
        ? 'discarded'
        : 'delivered';
    return { kind: 'done', how: how.length === 0 ? 'delivered' : worst, children: Object.keys(children) };
  }
  const failing = pending.filter((c) => c.firstFailureAtMs !== undefined);
  const lastStatus = failing.findLast((c) => c.lastStatus !== undefined)?.lastStatus;
  const lastAttempt = failing.reduce((latest, c) => Math.max(latest, c.lastAttemptAtMs ?? 0), 0);
  const expanded = expandedOf(plan, children);
  return {
    kind: 'pending',
    nextAttemptAtMs: pending.reduce((least, c) => Math.min(least, c.nextAttemptAtMs), Infinity),
    attempts: pending.reduce((most, c) => Math.max(most, c.attempts), 0),
    ...(failing.length === 0
      ? undefined
      : {
          firstFailureAtMs: failing.reduce(
            (least, c) => Math.min(least, c.firstFailureAtMs ?? least),
            Infinity,
          ),
        }),
    ...(lastAttempt === 0 ? undefined : { lastAttemptAtMs: lastAttempt }),
    ...(lastStatus === undefined ? undefined : { lastStatus }),
    children,
    ...(expanded === undefined ? undefined : { expanded }),
  };
}

function untried(before: PendingState): PendingState {
  return { kind: 'pending', nextAttemptAtMs: before.nextAttemptAtMs, attempts: 0 };
}

/** A recipient that could not be looked into this time keeps what is known of its children. */
function keepOf(before: Plan['before'], state: PendingState): RecipientState {
  const { children, expanded } = before;
  return {
    ...state,
    ...(children === undefined ? undefined : { children }),
    ...(expanded === undefined ? undefined : { expanded }),
  };
}

/** `one_time`: the addresses that are left take the place of the list. */
function expandedOf(
  plan: Plan,
  children: Readonly<Record<string, ChildState>>,
): Readonly<Record<string, readonly ListedAddress[]>> | undefined {
  const out: Record<string, ListedAddress[]> = {};
  let any = false;
  for (const { key, oneTime } of plan.leaves) {
    if (oneTime === undefined) continue;
    any = true;
    const list = (out[oneTime.parent] ??= []);
    if (children[key]?.kind !== 'pending') continue;
    const name = recipientKey(oneTime.address);
    if (list.some((l) => recipientKey(l.address) === name)) continue;
    list.push({
      address: oneTime.address,
      ...(oneTime.errorsTo === undefined ? undefined : { errorsTo: oneTime.errorsTo }),
    });
  }
  return any ? out : undefined;
}

/** What earlier attempts made of a recipient's lists. */
export function expandedBefore(state: RecipientState | undefined): Expanded | undefined {
  if (state?.kind !== 'pending' || state.expanded === undefined) return undefined;
  return new Map(Object.entries(state.expanded));
}
