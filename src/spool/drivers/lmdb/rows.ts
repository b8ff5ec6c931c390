import type { QueueId } from '../../../mail/message-id.ts';
import { MailError } from '../../../mail/mail-error.ts';
import type { RecipientState, SpoolEntry } from '../../spool.ts';
import { encodeDueValue } from './due-index.ts';
import {
  decodeMessage,
  decodeStateHead,
  decodeStates,
  dueKeyOf,
  encodeState,
  encodeStateHead,
} from './encoding.ts';
import type { DecodedMessage, StateHead, StateRow } from './encoding.ts';
import type { SpoolDatabases } from './environment.ts';

/** The token of an entry that was just made. */
export const firstToken = 1;

/** Inside a write transaction: adds an entry. Throws before its first write where the id is taken. */
export function insertEntry(databases: SpoolDatabases, id: QueueId, message: Buffer, row: StateRow): void {
  if (databases.state.doesExist(id)) throw new MailError('IO', `queue id ${id} is in the spool already`);
  databases.message.putSync(id, message);
  databases.state.putSync(id, encodeState(row));
  databases.due.putSync(dueKeyOf(id, row), encodeDueValue(row.dueMs));
}

/** Inside a write transaction: replaces a state row whose recipients changed. */
export function replaceState(
  databases: SpoolDatabases,
  id: QueueId,
  before: StateHead,
  after: StateRow,
): void {
  move(databases, id, before, after);
  databases.state.putSync(id, encodeState(after));
}

/** Inside a write transaction: replaces a state row, recipients as they were. */
export function replaceHead(
  databases: SpoolDatabases,
  id: QueueId,
  before: StateHead,
  after: StateHead,
): void {
  move(databases, id, before, after);
  databases.state.putSync(id, encodeStateHead(after));
}

/** Inside a write transaction: removes an entry; its content file, if any, is the caller's to remove afterwards. */
export function removeEntry(databases: SpoolDatabases, id: QueueId, head: StateHead): void {
  databases.due.removeSync(dueKeyOf(id, head));
  databases.state.removeSync(id);
  databases.message.removeSync(id);
}

function move(
  databases: SpoolDatabases,
  id: QueueId,
  before: StateHead,
  after: Omit<StateRow, 'states'>,
): void {
  const from = dueKeyOf(id, before);
  const to = dueKeyOf(id, after);
  if (!from.equals(to)) databases.due.removeSync(from);
  else if (before.dueMs === after.dueMs) return;
  databases.due.putSync(to, encodeDueValue(after.dueMs));
}

/** Undefined where there is no such entry; throws MailError('CORRUPT') where it cannot be read. */
export function readHead(databases: SpoolDatabases, id: QueueId): StateHead | undefined {
  const value = databases.state.getBinary(id);
  return value === undefined ? undefined : decodeStateHead(value);
}

export interface LoadedEntry {
  readonly entry: SpoolEntry;
  readonly message: DecodedMessage;
  readonly head: StateHead;
}

/** Reads a whole entry. Undefined where there is none; throws MailError('CORRUPT') where it cannot be read. */
export function loadEntry(databases: SpoolDatabases, id: QueueId): LoadedEntry | undefined {
  const head = readHead(databases, id);
  const value = databases.message.getBinary(id);
  if (head === undefined && value === undefined) return undefined;
  if (head === undefined || value === undefined)
    throw new MailError('CORRUPT', 'half of the entry is missing');
  const message = decodeMessage(value);
  const states = decodeStates(head, message.record.envelope.recipients.length);
  return { entry: makeEntry(id, message.record, states, head.frozenAtMs), message, head };
}

export function makeEntry(
  id: QueueId,
  record: Omit<SpoolEntry, 'id' | 'states' | 'frozenAtMs'>,
  states: readonly RecipientState[],
  frozenAtMs: number | undefined,
): SpoolEntry {
  const { envelope, reception, headerEdits, variables, size, headerSize } = record;
  const entry = { envelope, reception, headerEdits, variables, id, size, headerSize, states };
  return frozenAtMs === undefined ? entry : { ...entry, frozenAtMs };
}
