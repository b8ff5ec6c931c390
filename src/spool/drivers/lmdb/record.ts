import { MailError } from '../../../mail/mail-error.ts';
import type { QueueId } from '../../../mail/message-id.ts';
import type { Claim, GeneratedMessage, OutcomeRecord, RecipientState, SpoolUpdate } from '../../spool.ts';
import { headerLength } from './content.ts';
import type { SpoolContext } from './context.ts';
import {
  decodeStates,
  dueOf,
  encodeMessage,
  finishMessage,
  jsonRoom,
  messageHeaderLength,
  messageJson,
} from './encoding.ts';
import type { StateHead, StateRow } from './encoding.ts';
import { insertEntry, readHead, removeEntry, replaceHead, replaceState } from './rows.ts';
import { firstToken } from './writer.ts';

/** Spool.record: checks the token, writes the states, adds generated messages and removes what is done, in one transaction. */
export async function recordOutcomes(
  context: SpoolContext,
  claim: Claim,
  update: SpoolUpdate,
): Promise<'recorded' | 'lost'> {
  const { id, envelope } = claim.entry;
  const recipients = envelope.recipients.length;
  for (const { recipient } of update.outcomes) {
    if (!(recipient >= 0 && recipient < recipients))
      throw new RangeError(`message ${id} has no recipient ${recipient}`);
  }
  const generated: PreparedMessage[] = [];
  try {
    for (const message of update.generated ?? []) generated.push(await prepareGenerated(context, message));
    const bytes = generated.reduce((sum, g) => sum + g.value.length, 0);
    const result = await context.group.run('required', bytes, () => apply(context, claim, update, generated));
    if (result === 'lost') await forgetAll(context, generated);
    // A file that stays behind here (crash, fault) is an orphan for the next opening.
    else if (result.removedBodyOwner > 0)
      await context.bodies.remove(id, result.removedBodyOwner).catch(() => undefined);
    return result === 'lost' ? 'lost' : 'recorded';
  } catch (error) {
    await forgetAll(context, generated);
    throw error;
  }
}

function apply(
  context: SpoolContext,
  claim: Claim,
  update: SpoolUpdate,
  generated: readonly PreparedMessage[],
): 'lost' | { readonly removedBodyOwner: number } {
  const { databases } = context;
  const { id, envelope } = claim.entry;
  const head = readHead(databases, id);
  if (head === undefined || String(head.token) !== claim.token) return 'lost';
  for (const g of generated) {
    if (databases.state.doesExist(g.id))
      throw new MailError('IO', `queue id ${g.id} is in the spool already`);
  }
  const recipients = envelope.recipients.length;
  // The usual case, all done at once, needs no look at the states there were.
  const states = allDone(update.outcomes, recipients)
    ? undefined
    : merged(decodeStates(head, recipients), update.outcomes);
  for (const g of generated) insertEntry(databases, g.id, g.value, g.row);
  if (states?.some((s) => s.kind === 'pending') !== true) {
    removeEntry(databases, id, head);
    return { removedBodyOwner: head.bodyOwner };
  }
  const frozenAtMs = update.frozenAtMs === undefined ? head.frozenAtMs : (update.frozenAtMs ?? undefined);
  replaceState(databases, id, head, {
    owner: update.release ? 0 : head.owner,
    bodyOwner: head.bodyOwner,
    // After a release the claim that gave it is stale like any other.
    token: update.release ? head.token + 1 : head.token,
    leaseUntilMs: update.release ? 0 : head.leaseUntilMs,
    dueMs: dueOf(states),
    frozenAtMs,
    states,
  });
  return { removedBodyOwner: 0 };
}

/** Spool.renew. A lease that ran out is taken up again as long as nobody claimed the message since. */
export function renewLease(
  context: SpoolContext,
  claim: Claim,
  leaseMs: number,
  nowMs: number,
): Promise<'renewed' | 'lost'> {
  const { id } = claim.entry;
  return context.group.run('required', 0, () => {
    const head = readHead(context.databases, id);
    if (head === undefined || String(head.token) !== claim.token) return 'lost';
    const renewed: StateHead = { ...head, owner: context.owners.self, leaseUntilMs: nowMs + leaseMs };
    replaceHead(context.databases, id, head, renewed);
    return 'renewed';
  });
}

function allDone(outcomes: readonly OutcomeRecord[], recipients: number): boolean {
  if (outcomes.length !== recipients) return false;
  return outcomes.every((o, i) => o.recipient === i && o.state.kind === 'done');
}

function merged(states: RecipientState[], outcomes: readonly OutcomeRecord[]): readonly RecipientState[] {
  for (const o of outcomes) states[o.recipient] = o.state;
  return states;
}

interface PreparedMessage {
  readonly id: QueueId;
  readonly value: Buffer;
  readonly row: StateRow;
}

/** Encodes a generated message; content above the inline limit goes to a file first, durable before the transaction. */
async function prepareGenerated(context: SpoolContext, message: GeneratedMessage): Promise<PreparedMessage> {
  const { id } = message;
  const content = Buffer.from(message.content.buffer, message.content.byteOffset, message.content.length);
  if (message.envelope.recipients.length === 0)
    throw new RangeError('a message in the spool needs a recipient');
  const headerSize = headerLength(content);
  const dueMs = message.reception.receivedAtMs;
  const row = {
    owner: 0,
    bodyOwner: 0,
    token: firstToken,
    leaseUntilMs: 0,
    dueMs,
    frozenAtMs: undefined,
    states: message.envelope.recipients.map(
      (): RecipientState => ({ kind: 'pending', nextAttemptAtMs: dueMs, attempts: 0 }),
    ),
  };
  if (content.length <= context.inlineLimitBytes)
    return { id, value: encodeMessage(message, headerSize, content), row };
  const self = context.owners.self;
  const file = context.bodies.create(id, self);
  await file.write(content);
  await file.finish();
  const json = messageJson(message, content.length, headerSize);
  const value = finishMessage(
    Buffer.allocUnsafe(messageHeaderLength + jsonRoom(json)),
    messageHeaderLength,
    json,
    self,
  );
  return { id, value, row: { ...row, bodyOwner: self } };
}

async function forgetAll(context: SpoolContext, generated: readonly PreparedMessage[]): Promise<void> {
  for (const g of generated) {
    if (g.row.bodyOwner > 0) await context.bodies.remove(g.id, g.row.bodyOwner).catch(() => undefined);
  }
}
