/** Hands one group of recipients to its transport and says what became of each, in the group's order. */
import type { ExpandScope } from '../expand/scope.ts';
import type { RecipientOutcome } from '../mail/outcome.ts';
import type { RouteHost } from '../mail/route-host.ts';
import type { RetryRule } from '../retry/rules.ts';
import type { Claim } from '../spool/spool.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { Batch, HeldDelivery } from '../transport/transport.ts';
import type { RecipientGroup, RoutedRecipient } from './batch.ts';
import { classify, hostRetryErrno } from './classify.ts';
import type { DeliveryContext } from './context.ts';
import type { GateOpen } from './host-gate.ts';
import type { Attempt } from './outcome.ts';
import { transferName, transferNumber } from './transfer.ts';
import { addressKey, decideRetry, type Failure, ruleFor, timedOut } from './retry-decision.ts';
import { errorText } from '../mail/error-text.ts';

export interface GroupDelivery {
  readonly context: DeliveryContext;
  readonly claim: Claim;
  readonly group: RecipientGroup;
  /** The content with all edits, read when the transport is about to run. */
  message(): Promise<MessageSource>;
  /** Facts for matching retry rules. */
  readonly scope: ExpandScope;
  readonly force: boolean;
  /** Transactions that were begun for the message. */
  readonly held?: readonly HeldDelivery[];
  readonly signal: AbortSignal;
}

/** Never rejects for what a peer, a transport or storage does. An abort leaves outcomes unknown. */
export async function deliverGroup(d: GroupDelivery): Promise<readonly Attempt[]> {
  const attempts = await deliverTo(d);
  const left = attempts.flatMap((a, i) => (a.kind === 'deferred' && a.freeze === undefined ? [i] : []));
  return left.length === 0 ? attempts : fallBack(d, attempts, left);
}

/** Recipients that were put off go to the hosts to fall back on, where there are any (Exim manual, `fallback_hosts`). */
async function fallBack(
  d: GroupDelivery,
  attempts: readonly Attempt[],
  left: readonly number[],
): Promise<readonly Attempt[]> {
  const { group, context } = d;
  const [first, ...others] = left.flatMap((i) => group.members[i] ?? []);
  const hosts = await context.transports.get(group.transport)?.fallback?.(group.fallback);
  if (first === undefined || hosts === undefined || hosts.length === 0 || d.signal.aborted) return attempts;
  if (typeof hosts === 'string') {
    context.emit({
      kind: 'note',
      id: d.claim.entry.id,
      atMs: context.nowMs(),
      text: `fallback_hosts: ${hosts}`,
    });
    return attempts;
  }
  const again = await deliverTo({
    ...d,
    group: { ...group, hosts, fallenBack: true, members: [first, ...others] },
  });
  const out = [...attempts];
  for (const [n, i] of left.entries()) {
    const before = attempts[i];
    const now = again[n];
    if (now === undefined || before === undefined) continue;
    // Whichever host's time comes first.
    out[i] =
      now.kind === 'deferred' && before.kind === 'deferred'
        ? { ...now, nextAttemptAtMs: Math.min(now.nextAttemptAtMs, before.nextAttemptAtMs) }
        : now;
  }
  return out;
}

async function deliverTo(d: GroupDelivery): Promise<readonly Attempt[]> {
  const { context, group } = d;
  const configured = context.transports.get(group.transport);
  if (configured === undefined)
    return everyone(d, { text: `transport "${group.transport}" is not configured` });
  const receivedAtMs = d.claim.entry.reception.receivedAtMs;
  let { force } = d;
  let untriedSinceMs: number | undefined;
  for (;;) {
    const nowMs = context.nowMs();
    const gate = context.gate.ask(group.transport, group.hosts, nowMs, force, untriedSinceMs);
    if (gate.kind === 'open') return attempt(d, gate);
    if (gate.kind === 'probing') {
      const settled = await untilSettled(gate.done, d.signal);
      if (d.signal.aborted) return group.members.map((m): Attempt => ({ kind: 'unknown', who: m.who }));
      // A host that does not even refuse must not hold up messages for others.
      if (!settled) return group.members.map((m) => notTried(m, context.nowMs() + probeRetryMs, false));
      // Only one delivery finds out at a time; without the force of a queue run the rest does as it is told.
      force = false;
      continue;
    }
    // A message that has outlived its rule is tried once more whatever the host's time is, and so is a local
    // delivery to a place that was given up.
    if (nowMs - receivedAtMs > gate.lastCutoffMs || (gate.expired && configured.local)) {
      force = true;
      continue;
    }
    // Hosts that were given up before this message came are asked once more for it (Exim manual, `delay_after_cutoff`).
    if (gate.expired && configured.delayAfterCutoff === false && untriedSinceMs === undefined) {
      untriedSinceMs = receivedAtMs;
      continue;
    }
    return group.members.map((m) => notTried(m, gate.untilMs, gate.expired));
  }
}

function notTried(member: RoutedRecipient, untilMs: number, expired: boolean): Attempt {
  const who = member.who;
  if (expired) {
    const status = { text: 'retry time not reached for any host after a long failure period' };
    return timedOut({ who, status, ...errorsTo(member) });
  }
  const text = `retry time not reached for any host for '${member.routed.facts.domain}'`;
  return {
    kind: 'deferred',
    who,
    status: { text, code: '4.4.1' },
    errno: hostRetryErrno,
    skipped: true,
    nextAttemptAtMs: untilMs,
  };
}

async function attempt(d: GroupDelivery, gate: GateOpen): Promise<readonly Attempt[]> {
  const startedAtMs = d.context.nowMs();
  // Its sender takes as long as he likes, and nobody must wait for him.
  if (d.claim.content.growing === true) gate.probe?.end();
  try {
    const outcomes = await hand(d, gate.hosts);
    if (outcomes === 'unknown') return d.group.members.map((m): Attempt => ({ kind: 'unknown', who: m.who }));
    return await judge(d, gate.hosts, outcomes, startedAtMs, d.signal.aborted);
  } finally {
    gate.probe?.end();
  }
}

async function hand(
  d: GroupDelivery,
  hosts: readonly RouteHost[],
): Promise<readonly RecipientOutcome[] | 'unknown'> {
  const { context, claim, group, signal } = d;
  const configured = context.transports.get(group.transport);
  const { sender: _, recipients: __, ...envelope } = claim.entry.envelope;
  const { longestLine } = claim.entry.reception;
  if (configured === undefined) return [];
  let message: MessageSource;
  try {
    message = await d.message();
  } catch (failure) {
    if (signal.aborted) return 'unknown';
    return same(group, {
      kind: 'deferred',
      status: { text: `cannot read the message: ${errorText(failure)}`, code: '4.3.0' },
      scope: 'message',
    });
  }
  try {
    const batch: Batch = {
      id: claim.entry.id,
      sender: group.sender,
      recipients: group.members.map((m) => ({
        ...m.recipient,
        address: m.routed.address,
        transferNumber: transferNumber(m.recipient.transferNumber ?? String(m.position), m.key),
      })),
      envelope:
        context.instance === undefined
          ? envelope
          : { ...envelope, transfer: transferName(context.instance, claim.entry.id) },
      hosts,
      ...(group.fallenBack === true ? { fallback: true } : undefined),
      ...(group.members[0].routed.unordered ? { randomized: true } : undefined),
      ...(d.held === undefined ? undefined : { held: d.held }),
      message,
      ...(longestLine === undefined ? undefined : { longestLine }),
      ...(group.members[0].routed.delivery === undefined
        ? undefined
        : { delivery: group.members[0].routed.delivery }),
    };
    const { deliver, transport } = configured;
    if (deliver === undefined) return await transport.deliver(batch, signal);
    const [first] = group.members;
    return await deliver(
      {
        batch,
        claim,
        members: group.members,
        scope: { ...d.scope, address: { ...first.routed.facts, returnPath: group.sender } },
        problem: (text) => context.emit({ kind: 'problem', id: claim.entry.id, atMs: context.nowMs(), text }),
      },
      signal,
    );
  } catch (failure) {
    if (signal.aborted) return 'unknown';
    const text = `${group.transport} transport failed: ${errorText(failure)}`;
    context.emit({ kind: 'problem', id: claim.entry.id, atMs: context.nowMs(), text });
    return same(group, { kind: 'deferred', status: { text, code: '4.3.0' }, scope: 'message' });
  }
}

/** Outcomes to attempts; the hosts' records are brought up to date on the way. */
async function judge(
  d: GroupDelivery,
  hosts: readonly RouteHost[],
  outcomes: readonly RecipientOutcome[],
  startedAtMs: number,
  aborted = false,
): Promise<readonly Attempt[]> {
  const { context, claim, group } = d;
  const nowMs = context.nowMs();
  const deliveryMs = nowMs - startedAtMs;
  // Stopped in the middle: of those nobody has said anything about, nothing is known.
  const open = (o: RecipientOutcome): boolean =>
    aborted && o.kind === 'deferred' && o.status.reply === undefined;
  const hostFault = outcomes.find((o) => o.kind === 'deferred' && o.scope === 'host' && !open(o));
  const answered = hosts.filter((h) => outcomes.some((o) => answeredBy(o, h)));
  if (hostFault === undefined) {
    // Without a word of the peer (our own fault, say) nothing is known about the host.
    if (outcomes.some((o) => fromPeer(o, hosts)))
      context.gate.succeeded(group.transport, answered.length === 0 ? hosts : answered, nowMs);
  } else if (hosts.length > 1 && answered.length > 0)
    context.gate.succeeded(group.transport, answered, nowMs);
  const hostRetry =
    hostFault?.kind === 'deferred'
      ? await hostFailure(d, hosts, answered, hostFault, startedAtMs)
      : undefined;
  const attempts: Attempt[] = [];
  const [nominal] = context.transports.get(group.transport)?.local === true ? hosts : [];
  const routedTo = nominal === undefined ? undefined : { routedTo: nominal };
  const byDomain = context.transports.get(group.transport)?.retryByDomain === true;
  let first = true;
  for (const [i, member] of group.members.entries()) {
    const who = member.who;
    const outcome = outcomes[i] ?? missingOutcome;
    if (open(outcome)) {
      attempts.push({ kind: 'unknown', who });
      continue;
    }
    if (outcome.kind === 'delivered') {
      attempts.push({
        kind: 'delivered',
        who,
        outcome,
        ...routedTo,
        first,
        sender: group.sender,
        deliveryMs,
      });
      first = false;
      continue;
    }
    const { status } = outcome;
    if (outcome.kind === 'failed') {
      attempts.push({ kind: 'failed', who, status, timedOut: false, ...errorsTo(member) });
      continue;
    }
    const { error, errno } = classify(outcome);
    if (outcome.scope === 'host' && hostRetry !== undefined) {
      const { nextTryAtMs, expired } = hostRetry;
      attempts.push(
        expired
          ? timedOut({ who, status, ...errorsTo(member) })
          : { kind: 'deferred', who, status, errno, skipped: false, nextAttemptAtMs: nextTryAtMs },
      );
      continue;
    }
    const host =
      outcome.scope === 'message' ? (hosts[0]?.address === undefined ? undefined : hosts[0].name) : undefined;
    const failure: Failure = {
      who,
      status,
      error,
      errno,
      key: host ?? (byDomain ? member.routed.facts.domain : addressKey(who)),
      ...(host === undefined ? undefined : { alternate: member.routed.facts.domain }),
      ...(outcome.freeze === true ? { freeze: status.text } : undefined),
      ...errorsTo(member),
    };
    attempts.push(await decideRetry(context, claim.entry, d.scope, member.before, failure));
  }
  return attempts;
}

/** Records that hosts are down. */
async function hostFailure(
  d: GroupDelivery,
  hosts: readonly RouteHost[],
  answered: readonly RouteHost[],
  fault: Extract<RecipientOutcome, { kind: 'deferred' }>,
  startedAtMs: number,
): Promise<{ readonly nextTryAtMs: number; readonly expired: boolean }> {
  const { context, claim, group } = d;
  const { error } = classify(fault);
  const down = hosts.length > 1 ? hosts.filter((h) => !answered.includes(h)) : hosts;
  const [member] = group.members;
  const { domain } = member.routed.facts;
  const rules = new Map<string, RetryRule | undefined>();
  const keyOf = (host: RouteHost | undefined): string =>
    host?.address === undefined ? addressKey(member.who) : host.name;
  for (const host of down.length === 0 ? [undefined] : down) {
    const key = keyOf(host);
    if (!rules.has(key))
      rules.set(key, await ruleFor(context, claim.entry, d.scope, { key, alternate: domain, error }));
  }
  const nowMs = context.nowMs();
  const retry = context.gate.failed({
    transport: group.transport,
    hosts: down,
    startedAtMs,
    nowMs,
    text: fault.status.text,
    rule: (host) => rules.get(keyOf(host)),
  });
  const lastCutoffMs = Math.max(0, ...[...rules.values()].map((r) => r?.algorithms.at(-1)?.cutoffMs ?? 0));
  return {
    nextTryAtMs: retry.nextTryAtMs,
    expired: retry.expired || nowMs - claim.entry.reception.receivedAtMs > lastCutoffMs,
  };
}

const missingOutcome: RecipientOutcome = {
  kind: 'deferred',
  status: { text: 'the transport gave no outcome for this recipient', code: '4.3.0' },
  scope: 'message',
};

/** A remote transport may fail a message without asking anybody. */
function fromPeer(outcome: RecipientOutcome, hosts: readonly RouteHost[]): boolean {
  if (outcome.kind === 'failed' && hosts[0]?.address !== undefined) return outcome.status.peer !== undefined;
  return outcome.kind !== 'deferred' || outcome.status.reply !== undefined;
}

/** Was it this host that answered? A status names its peer as `name [address]`. */
function answeredBy(outcome: RecipientOutcome, host: RouteHost): boolean {
  if (host.address === undefined) return false;
  if (outcome.kind === 'delivered') return outcome.host?.address === host.address;
  if (outcome.kind === 'deferred' && outcome.scope === 'host') return false;
  return outcome.status.peer?.includes(`[${host.address}]`) === true;
}

function errorsTo(member: RoutedRecipient): Pick<Failure, 'errorsTo'> {
  return member.routed.errorsTo === undefined ? {} : { errorsTo: member.routed.errorsTo };
}

function same(group: RecipientGroup, outcome: RecipientOutcome): readonly RecipientOutcome[] {
  return group.members.map(() => outcome);
}

function everyone(d: GroupDelivery, status: { readonly text: string }): Promise<readonly Attempt[]> {
  return judge(d, [], same(d.group, { kind: 'deferred', status, scope: 'message' }), d.context.nowMs());
}

/** How long others wait for the delivery that finds out about a host, and when they come back where it takes longer. */
const probeWaitMs = 2000;
const probeRetryMs = 15_000;

/** True once the promise resolves; false where the signal aborts or it takes longer than others should wait. */
async function untilSettled(promise: Promise<void>, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  let timer: NodeJS.Timeout | undefined;
  let stop = (): void => {};
  const given = new Promise<boolean>((resolve) => {
    stop = () => resolve(false);
    timer = setTimeout(stop, probeWaitMs);
    signal.addEventListener('abort', stop, { once: true });
  });
  const settled = await Promise.race([promise.then(() => true), given]);
  clearTimeout(timer);
  signal.removeEventListener('abort', stop);
  return settled;
}
