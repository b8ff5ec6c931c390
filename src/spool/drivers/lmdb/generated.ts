/** Messages made here, which appear in the transaction that caused them. */
import { MailError } from '../../../mail/mail-error.ts';
import type { QueueId } from '../../../mail/message-id.ts';
import type { GeneratedMessage, RecipientState } from '../../spool.ts';
import { headerLength } from './content.ts';
import type { SpoolContext } from './context.ts';
import { encodeMessage, encodeMessageInFile } from './encoding.ts';
import type { StateRow } from './encoding.ts';
import type { SpoolDatabases } from './environment.ts';
import { firstToken, insertEntry } from './rows.ts';

export interface PreparedMessage {
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
  const value = encodeMessageInFile(message, content.length, headerSize, self);
  return { id, value, row: { ...row, bodyOwner: self } };
}

/**
 * Runs `store` with the messages ready to be inserted and their length in octets. Content that went to files is removed
 * again where it throws or stored nothing.
 */
export async function withGenerated<T>(
  context: SpoolContext,
  messages: readonly GeneratedMessage[],
  store: (
    generated: readonly PreparedMessage[],
    bytes: number,
  ) => Promise<{ readonly outcome: T; readonly stored: boolean }>,
): Promise<T> {
  const generated: PreparedMessage[] = [];
  try {
    for (const message of messages) generated.push(await prepareGenerated(context, message));
    const bytes = generated.reduce((sum, g) => sum + g.value.length, 0);
    const { outcome, stored } = await store(generated, bytes);
    if (!stored) await forgetAll(context, generated);
    return outcome;
  } catch (error) {
    await forgetAll(context, generated);
    throw error;
  }
}

/** Inside a write transaction, before its first write: throws where an id is taken. */
export function checkGenerated(databases: SpoolDatabases, generated: readonly PreparedMessage[]): void {
  for (const g of generated) {
    if (databases.state.doesExist(g.id))
      throw new MailError('IO', `queue id ${g.id} is in the spool already`);
  }
}

/** Inside a write transaction, after {@link checkGenerated}. */
export function insertGenerated(databases: SpoolDatabases, generated: readonly PreparedMessage[]): void {
  for (const g of generated) insertEntry(databases, g.id, g.value, g.row);
}

async function forgetAll(context: SpoolContext, generated: readonly PreparedMessage[]): Promise<void> {
  for (const g of generated) {
    if (g.row.bodyOwner > 0) await context.bodies.remove(g.id, g.row.bodyOwner).catch(() => undefined);
  }
}
