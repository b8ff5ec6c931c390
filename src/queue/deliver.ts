/**
 * One delivery of one message: route the recipients whose time has come, hand them over in groups, record what became
 * of each by position, and only then tell anybody.
 */
import type { ExpandScope } from '../expand/scope.ts';
import { formatAddress } from '../mail/address.ts';
import type { HeaderField } from '../mail/headers.ts';
import { lazy } from '../mail/lazy.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { Held, Routed, RouteEnvironment } from '../router/environment.ts';
import { type Leaf, putOff, routeAll } from '../router/route.ts';
import type { SyntaxReport } from '../router/router.ts';
import type { Claim } from '../spool/spool.ts';
import type { HeldDelivery } from '../transport/transport.ts';
import { groupRecipients, type RecipientGroup, type RoutedRecipient } from './batch.ts';
import { noErrno } from './classify.ts';
import { type DeliveryContext, factsOf } from './context.ts';
import { deliverGroup, type GroupDelivery } from './deliver-group.ts';
import { editContent, editFields, readStart } from './edited-content.ts';
import type { EventRecipient } from './events.ts';
import { type Holds, holdsFor } from './hold.ts';
import { type Attempt, isUntried } from './outcome.ts';
import { recordDelivered, recordFinal, type DeliveryResult } from './record.ts';
import { addressKey, decideRetry } from './retry-decision.ts';
import { spooledBody } from './spooled-body.ts';
import { expandedBefore, noWork, planWork, type Task, type Work } from './work.ts';
import { errorText } from '../mail/error-text.ts';

export interface DeliverOptions {
  /** Also recipients and hosts whose time has not come (`-qf`). */
  readonly force: boolean;
  /** It belongs to a queue run: what waits for one is delivered. */
  readonly queueRun?: boolean;
  /**
   * The message is not in the spool yet: nothing is recorded on the way, and recipients whose mail does not go to another
   * server stay untried.
   */
  readonly direct?: boolean;
  /** Transactions that were begun for the message. */
  readonly held?: readonly HeldDelivery[];
  /** Aborted: stop soon, record what is known, give the message back. */
  readonly signal: AbortSignal;
}

/** How many recipients are routed at a time; names may have to be looked up. */
const routingWidth = 32;
/** Owners of lists who are told of errors on account of one message. */
const maxReports = 100;
/** How many of the addresses that one recipient was redirected to are routed at a time. */
const childWidth = 16;

/** Never rejects for what peers, configuration or the message do; rejects only where nothing can be recorded any more. */
export async function deliverMessage(
  context: DeliveryContext,
  claim: Claim,
  options: DeliverOptions,
): Promise<DeliveryResult> {
  const work = await attemptDelivery(context, claim, options);
  return work === 'lost' ? 'lost' : recordFinal(context, claim, work, options.signal);
}

/** All of it but the last record; `lost`: the message is somebody else's by now. */
export async function attemptDelivery(
  context: DeliveryContext,
  claim: Claim,
  options: DeliverOptions,
): Promise<Work | 'lost'> {
  const { entry } = claim;
  const nowMs = context.nowMs();
  const due: number[] = [];
  for (let i = 0; i < entry.states.length; i++) {
    const state = entry.states[i];
    if (state?.kind === 'pending' && (options.force || isUntried(state) || state.nextAttemptAtMs <= nowMs))
      due.push(i);
  }
  if (due.length === 0) return noWork;

  const reports: SyntaxReport[] = [];
  const facts = await routeEnvironment(context, claim, options.signal);
  const scope = retryScope(context, facts);
  const holds = holdsFor(context, entry, scope, options);
  const environment: RouteEnvironment = {
    ...facts,
    ...(holds.unrouted === undefined ? undefined : { held: holds.unrouted }),
    report: (report) => {
      if (reports.length < maxReports) reports.push(report);
    },
  };
  const found: { position: number; leaves: readonly Leaf[] }[] = [];
  for (let from = 0; from < due.length; from += routingWidth) {
    const positions = due.length === 1 ? due : due.slice(from, from + routingWidth);
    const results = await Promise.all(
      positions.map((position) => routeOne(context, claim, environment, position, options.signal)),
    );
    for (const [i, position] of positions.entries()) {
      const leaves = results[i];
      if (leaves !== undefined) found.push({ position, leaves });
    }
  }
  // Where the owner of a list is to be told of its errors, the record of a queued message does it.
  if (options.direct === true && reports.length > 0) return noWork;
  const work = planWork(entry, found, reports, nowMs, options.force);
  const routed: RoutedRecipient[] = [];
  for (const [number, task] of work.tasks.entries()) {
    const recipient = entry.envelope.recipients[task.position];
    const result = task.leaf.routed;
    if (recipient === undefined) continue;
    const { position, before, who } = task;
    if (result.kind === 'routed')
      routed.push({ position, task: number, key: task.leaf.key, before, who, recipient, routed: result });
    else work.attempts.set(number, await settled(context, claim, scope, task, result));
  }

  const groups = await withoutHeld(
    groupRecipients(routed, entry.envelope.sender, (name) =>
      Math.max(1, context.transports.get(name)?.transport.maxRecipients ?? 1),
    ),
    holds,
    work,
  );
  const now = options.direct === true ? groups.filter((group) => toServer(context, group)) : groups;
  const recorded = await runGroups(context, claim, now, work, scope, options);
  return recorded === 'lost' ? 'lost' : work;
}

/** As in Exim, one recipient that waits for a queue run holds up all that would go with it. */
async function withoutHeld(
  groups: readonly RecipientGroup[],
  { routed }: Holds,
  { attempts }: Work,
): Promise<readonly RecipientGroup[]> {
  if (routed === undefined) return groups;
  const open: RecipientGroup[] = [];
  for (const group of groups) {
    let held: Held | undefined;
    if (!group.members[0].routed.local)
      for (const { who } of group.members) held ??= await routed(who.address);
    if (held === undefined) open.push(group);
    else for (const { task, who } of group.members) attempts.set(task, waiting(who, held));
  }
  return open;
}

/** Whether there is a server at the other end, which answers for each recipient. */
function toServer(context: DeliveryContext, { transport, hosts }: RecipientGroup): boolean {
  const target = context.transports.get(transport)?.transport.calloutTarget(hosts);
  return target !== undefined && !('kind' in target);
}

/** It waits, and nothing failed. */
function waiting(who: EventRecipient, { text, errno, untilMs, routing = false }: Held): Attempt {
  const status = { text };
  return {
    kind: 'deferred',
    who,
    status,
    errno,
    skipped: false,
    held: { routing },
    nextAttemptAtMs: untilMs,
  };
}

/** One message is recorded about so many times while it is under way, and what ended this long after the last record at once. */
const recordsOfOne = 500;
/** A child's state has its name with it. */
const childWeight = 3;
const recordWithinMs = 1000;

/**
 * Runs the groups, a few at a time. Where others are still under way, deliveries that are done are recorded at once, so
 * that a crash does not repeat them.
 */
async function runGroups(
  context: DeliveryContext,
  claim: Claim,
  groups: readonly RecipientGroup[],
  work: Work,
  scope: ExpandScope,
  options: DeliverOptions,
): Promise<'done' | 'lost'> {
  const { attempts, recorded } = work;
  const contents = contentsOf(claim, options.signal);
  // A record costs time with the number of all addresses: of very many, not each is recorded by itself.
  const children = work.tasks.length > work.plans.size ? work.tasks.length : 0;
  const weight = Math.max(claim.entry.states.length, childWeight * children);
  const enough = Math.max(1, Math.floor(weight / recordsOfOne));
  let unrecorded: number[] = [];
  let recordedAtMs = context.nowMs();
  let lost = false;
  let running = groups.length;
  const run = async (group: RecipientGroup): Promise<void> => {
    const delivery: GroupDelivery = {
      context,
      claim,
      group,
      message: () => contents(group),
      scope,
      force: options.force,
      ...(options.held === undefined ? undefined : { held: options.held }),
      signal: options.signal,
    };
    const results = await deliverGroup(delivery);
    for (const [i, member] of group.members.entries()) {
      const result = results[i];
      if (result !== undefined) attempts.set(member.task, result);
    }
    running--;
    if (running === 0 || lost || options.direct === true) return;
    const delivered = group.members
      .map((m) => m.task)
      .filter((task) => {
        const a = attempts.get(task);
        // What a delivery made is stored with its outcome, at the end.
        return a?.kind === 'delivered' && a.outcome.generated === undefined;
      });
    unrecorded.push(...delivered);
    const late = context.nowMs() - recordedAtMs >= recordWithinMs;
    if (unrecorded.length === 0 || (unrecorded.length < enough && !late)) return;
    const tasks = unrecorded;
    unrecorded = [];
    recordedAtMs = context.nowMs();
    if ((await recordDelivered(context, claim, work, tasks, options.signal)) === 'lost') lost = true;
    for (const task of tasks) recorded.add(task);
  };
  if (groups.length === 1 && groups[0] !== undefined) await run(groups[0]);
  else {
    const queue = groups.values();
    const worker = async (): Promise<void> => {
      for (const group of queue) {
        if (options.signal.aborted || lost) return;
        await run(group);
      }
    };
    await Promise.all(
      Array.from({ length: Math.min(Math.max(1, context.maxParallelBatches), groups.length) }, worker),
    );
  }
  if (!lost) return 'done';
  const delivered = [...attempts.values()].filter((a) => a.kind === 'delivered').length;
  context.emit({ kind: 'lease-lost', id: claim.entry.id, atMs: context.nowMs(), delivered });
  return 'lost';
}

async function routeOne(
  context: DeliveryContext,
  claim: Claim,
  environment: RouteEnvironment,
  position: number,
  signal: AbortSignal,
): Promise<readonly Leaf[] | undefined> {
  const address = claim.entry.envelope.recipients[position]?.address;
  if (address === undefined || signal.aborted) return undefined;
  try {
    const expanded = expandedBefore(claim.entry.states[position]);
    return await routeAll(address, environment, signal, {
      width: childWidth,
      ...(expanded === undefined ? undefined : { expanded }),
    });
  } catch (failure) {
    if (signal.aborted) return undefined;
    const text = `routing of ${formatAddress(address)} failed: ${errorText(failure)}`;
    context.emit({ kind: 'problem', id: claim.entry.id, atMs: context.nowMs(), text });
    return [putOff(address, 'internal error while routing')];
  }
}

/** An address that goes nowhere: discarded, failed or put off by a router. */
async function settled(
  context: DeliveryContext,
  claim: Claim,
  scope: ExpandScope,
  { who, before, leaf }: Task,
  result: Exclude<Routed, { kind: 'routed' }>,
): Promise<Attempt> {
  if (result.kind === 'discard')
    return {
      kind: 'discarded',
      who,
      ...(result.bypassed === undefined ? undefined : { bypassed: result.bypassed }),
    };
  const errors = leaf.errorsTo === undefined ? undefined : { errorsTo: leaf.errorsTo };
  if (result.kind === 'defer' && result.held !== undefined) return waiting(who, result.held);
  if (result.kind === 'fail')
    return { kind: 'failed', who, status: result.reason, timedOut: false, ...errors };
  return decideRetry(context, claim.entry, scope, before, {
    who,
    status: result.reason,
    error: isLookupFailure(result.reason.code) ? { kind: 'plain', name: 'lookup' } : { kind: 'other' },
    errno: noErrno,
    key: result.retryUseLocalPart ? addressKey(who) : result.facts.domain,
    ...(result.freeze ? { freeze: result.reason.text } : undefined),
    ...errors,
  });
}

function isLookupFailure(code: string | undefined): boolean {
  return code === '4.4.3' || code === '4.4.4';
}

async function routeEnvironment(
  context: DeliveryContext,
  claim: Claim,
  signal: AbortSignal,
): Promise<RouteEnvironment> {
  const { entry, content } = claim;
  // `$h_` variables are read at once where they occur, so header lines that are not in memory are fetched before.
  const section =
    content.bytes === undefined
      ? await readStart(content, entry.headerSize, signal).catch(() => undefined)
      : undefined;
  const headers = lazy((): readonly HeaderField[] => {
    const { bytes } = content;
    const octets =
      section ??
      (bytes === undefined ? Buffer.alloc(0) : Buffer.from(bytes.buffer, bytes.byteOffset, entry.headerSize));
    return editFields(octets.toString('latin1'), entry.headerEdits);
  });
  const body = spooledBody(claim, context.main.messageBodyVisible ?? 500, signal);
  const facts = factsOf(entry, { headers, body });
  return {
    routers: context.routers,
    ...(context.rewriteChild === undefined ? undefined : { rewriteChild: context.rewriteChild }),
    main: context.main,
    services: context.services,
    mode: 'deliver',
    sender: entry.envelope.sender,
    ...facts,
    transport: (name) => context.transports.get(name),
    note: (text) => context.emit({ kind: 'note', id: entry.id, atMs: context.nowMs(), text }),
    problem: (text) => context.emit({ kind: 'problem', id: entry.id, atMs: context.nowMs(), text }),
  };
}

function retryScope(context: DeliveryContext, environment: RouteEnvironment): ExpandScope {
  const { message, connection } = environment;
  return {
    main: context.main,
    services: context.services,
    ...(connection === undefined ? undefined : { connection }),
    ...(message === undefined ? undefined : { message }),
  };
}

/** Edited contents, made once for each set of edits. */
function contentsOf(claim: Claim, signal: AbortSignal): (group: RecipientGroup) => Promise<MessageSource> {
  const { entry, content } = claim;
  let plain: Promise<MessageSource> | undefined;
  return (group) => {
    const edits = group.members[0].routed.headerEdits;
    if (edits.length > 0)
      return editContent(content, entry.headerSize, [...entry.headerEdits, ...edits], signal);
    plain ??= editContent(content, entry.headerSize, entry.headerEdits, signal);
    return plain;
  };
}
