/**
 * One delivery of one message: route the recipients whose time has come, hand them over in groups, record what became
 * of each by position, and only then tell anybody.
 */
import type { ExpandScope } from '../expand/scope.ts';
import { formatAddress } from '../mail/address.ts';
import type { Recipient } from '../mail/envelope.ts';
import { parseHeaderFields } from '../mail/headers.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { Routed, RouteEnvironment } from '../router/environment.ts';
import { route } from '../router/route.ts';
import type { Claim } from '../spool/spool.ts';
import { groupRecipients, type RecipientGroup, type RoutedRecipient } from './batch.ts';
import { noErrno } from './classify.ts';
import { type DeliveryContext, factsOf } from './context.ts';
import { deliverGroup, type GroupDelivery } from './deliver-group.ts';
import { editContent, readStart } from './edited-content.ts';
import type { EventRecipient } from './events.ts';
import type { Attempt, PendingState } from './outcome.ts';
import { recordDelivered, recordFinal, type DeliveryResult } from './record.ts';
import { addressKey, decideRetry } from './retry-decision.ts';

export interface DeliverOptions {
  /** Also recipients and hosts whose time has not come (`-qf`). */
  readonly force: boolean;
  /** Aborted: stop soon, record what is known, give the message back. */
  readonly signal: AbortSignal;
}

/** How many recipients are routed at a time; names may have to be looked up. */
const routingWidth = 32;

/** Never rejects for what peers, configuration or the message do; rejects only where nothing can be recorded any more. */
export async function deliverMessage(
  context: DeliveryContext,
  claim: Claim,
  options: DeliverOptions,
): Promise<DeliveryResult> {
  const { entry } = claim;
  const nowMs = context.nowMs();
  const due: number[] = [];
  for (let i = 0; i < entry.states.length; i++) {
    const state = entry.states[i];
    if (state?.kind === 'pending' && (options.force || state.nextAttemptAtMs <= nowMs)) due.push(i);
  }
  const attempts = new Map<number, Attempt>();
  if (due.length === 0) return recordFinal(context, claim, attempts, new Set(), options.signal);

  const environment = await routeEnvironment(context, claim, options.signal);
  const scope = retryScope(context, environment);
  const routed: RoutedRecipient[] = [];
  for (let from = 0; from < due.length; from += routingWidth) {
    const positions = due.length === 1 ? due : due.slice(from, from + routingWidth);
    const results = await Promise.all(
      positions.map((position) => routeOne(context, claim, environment, position, options.signal)),
    );
    for (const [i, position] of positions.entries()) {
      const recipient = entry.envelope.recipients[position];
      const result = results[i];
      if (recipient === undefined || result === undefined) continue;
      if (result.kind === 'routed') routed.push({ position, recipient, routed: result });
      else attempts.set(position, await settled(context, claim, scope, position, recipient, result));
    }
  }

  const groups = groupRecipients(routed, entry.envelope.sender, (name) =>
    Math.max(1, context.transports.get(name)?.transport.maxRecipients ?? 1),
  );
  const recorded = await runGroups(context, claim, groups, attempts, scope, options);
  return recorded === 'lost' ? 'lost' : recordFinal(context, claim, attempts, recorded, options.signal);
}

/**
 * Runs the groups, a few at a time. Where others are still under way, deliveries that are done are recorded at once, so
 * that a crash does not repeat them. Gives the positions recorded so far.
 */
async function runGroups(
  context: DeliveryContext,
  claim: Claim,
  groups: readonly RecipientGroup[],
  attempts: Map<number, Attempt>,
  scope: ExpandScope,
  options: DeliverOptions,
): Promise<ReadonlySet<number> | 'lost'> {
  const recorded = new Set<number>();
  const contents = contentsOf(claim, options.signal);
  let lost = false;
  let running = groups.length;
  const run = async (group: RecipientGroup): Promise<void> => {
    const delivery: GroupDelivery = {
      context,
      claim,
      group,
      message: () => contents(group),
      who: eventRecipient,
      scope,
      force: options.force,
      signal: options.signal,
    };
    const results = await deliverGroup(delivery);
    for (const [i, member] of group.members.entries()) {
      const result = results[i];
      if (result !== undefined) attempts.set(member.position, result);
    }
    running--;
    if (running === 0 || lost) return;
    const delivered = group.members
      .map((m) => m.position)
      .filter((p) => attempts.get(p)?.kind === 'delivered');
    if (delivered.length === 0) return;
    if ((await recordDelivered(context, claim, delivered, options.signal)) === 'lost') lost = true;
    for (const position of delivered) recorded.add(position);
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
  if (!lost) return recorded;
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
): Promise<Routed | undefined> {
  const address = claim.entry.envelope.recipients[position]?.address;
  if (address === undefined || signal.aborted) return undefined;
  try {
    return await route(address, environment, signal);
  } catch (failure) {
    if (signal.aborted) return undefined;
    const text = `routing of ${formatAddress(address)} failed: ${failure instanceof Error ? failure.message : String(failure)}`;
    context.emit({ kind: 'problem', id: claim.entry.id, atMs: context.nowMs(), text });
    const facts = { local: address.local, domain: address.domain };
    return {
      kind: 'defer',
      reason: { text: 'internal error while routing' },
      router: '',
      freeze: false,
      retryUseLocalPart: true,
      facts,
    };
  }
}

/** An address that goes nowhere: discarded, failed or put off by a router. */
async function settled(
  context: DeliveryContext,
  claim: Claim,
  scope: ExpandScope,
  position: number,
  recipient: Recipient,
  result: Exclude<Routed, { kind: 'routed' }>,
): Promise<Attempt> {
  const who: EventRecipient = {
    position,
    address: recipient.address,
    ...(result.router === undefined || result.router === '' ? undefined : { router: result.router }),
    logAsLocal: false,
  };
  if (result.kind === 'discard') return { kind: 'discarded', who };
  if (result.kind === 'fail') return { kind: 'failed', who, status: result.reason, timedOut: false };
  const before = claim.entry.states[position];
  return decideRetry(context, claim.entry, scope, before?.kind === 'pending' ? before : fresh, {
    who,
    status: result.reason,
    error: isLookupFailure(result.reason.code) ? { kind: 'plain', name: 'lookup' } : { kind: 'other' },
    errno: noErrno,
    key: result.retryUseLocalPart ? addressKey(who) : result.facts.domain,
    ...(result.freeze ? { freeze: result.reason.text } : undefined),
  });
}

const fresh: PendingState = { kind: 'pending', nextAttemptAtMs: 0, attempts: 0 };

function isLookupFailure(code: string | undefined): boolean {
  return code === '4.4.3' || code === '4.4.4';
}

function eventRecipient(member: RoutedRecipient): EventRecipient {
  const { position, recipient, routed } = member;
  const rerouted = routed.facts.original !== undefined;
  // Affixes are taken off for RCPT only; the log and bounces keep the whole address.
  return {
    position,
    address: rerouted ? routed.address : recipient.address,
    ...(rerouted ? { original: recipient.address } : undefined),
    router: routed.router,
    ...(routed.transport === undefined ? undefined : { transport: routed.transport }),
    logAsLocal: routed.logAsLocal,
  };
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
  const facts = factsOf(entry, () => {
    const { bytes } = content;
    const octets =
      section ??
      (bytes === undefined ? Buffer.alloc(0) : Buffer.from(bytes.buffer, bytes.byteOffset, entry.headerSize));
    return parseHeaderFields(octets.toString('latin1'));
  });
  return {
    routers: context.routers,
    main: context.main,
    services: context.services,
    mode: 'deliver',
    sender: entry.envelope.sender,
    ...facts,
    transport: (name) => context.transports.get(name),
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
