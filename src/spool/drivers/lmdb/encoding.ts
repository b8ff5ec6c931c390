/**
 * The octets of a spool entry. Two values, because one never changes and the other does at every attempt:
 *
 * message: version, flags, 2 reserved, u32 length of the JSON, u32 owner that made the content file (0: content is
 * here), 4 reserved; the content; the JSON of the submission with `size` and `headerSize`. The JSON stands last so that
 * content can be gathered in place as it arrives.
 *
 * state: version, flags (1: frozen), 2 reserved, u32 owner of the lease (0: none), u32 owner that made the content file,
 * u32 reserved, f64 token, f64 end of the lease, f64 due, f64 frozen at; the JSON of the recipients' states.
 *
 * All numbers little-endian. JSON in UTF-8 keeps latin1 octet strings exactly: U+0080 to U+00FF take two octets.
 */
import type { Submission, RecipientState } from '../../spool.ts';
import { MailError } from '../../../mail/mail-error.ts';
import { encodeDueKey, frozenBucket, unclaimedBucket } from './due-index.ts';

const version = 1;
export const messageHeaderLength = 16;
const stateHeaderLength = 48;

/** What the JSON of a message value holds. */
interface MessageRecord extends Submission {
  readonly size: number;
  readonly headerSize: number;
}

export interface DecodedMessage {
  readonly record: MessageRecord;
  /** The owner whose content file holds the content; 0 where `content` does. */
  readonly bodyOwner: number;
  readonly content: Buffer;
}

export function messageJson(submission: Submission, size: number, headerSize: number): string {
  const { envelope, reception, headerEdits, variables } = submission;
  return JSON.stringify({ envelope, reception, headerEdits, variables, size, headerSize });
}

/**
 * Completes a message value whose content stands already at `messageHeaderLength` and up to `end`; the buffer must have
 * room for the JSON (see {@link jsonRoom}). Gives the value.
 */
export function finishMessage(buffer: Buffer, end: number, json: string, bodyOwner: number): Buffer {
  const jsonLength = buffer.write(json, end, 'utf8');
  buffer[0] = version;
  buffer[1] = 0;
  buffer.writeUInt16LE(0, 2);
  buffer.writeUInt32LE(jsonLength, 4);
  buffer.writeUInt32LE(bodyOwner, 8);
  buffer.writeUInt32LE(0, 12);
  return buffer.subarray(0, end + jsonLength);
}

/** Octets that {@link finishMessage} may need for `json`: UTF-8 takes at most three for a UTF-16 unit. */
export function jsonRoom(json: string): number {
  return json.length * 3;
}

export function encodeMessage(submission: Submission, headerSize: number, content: Uint8Array): Buffer {
  const json = messageJson(submission, content.length, headerSize);
  const end = messageHeaderLength + content.length;
  const buffer = Buffer.allocUnsafe(end + jsonRoom(json));
  buffer.set(content, messageHeaderLength);
  return finishMessage(buffer, end, json, 0);
}

/** The value of a message whose content, `size` octets of it, is in a file of `bodyOwner`. */
export function encodeMessageInFile(
  submission: Submission,
  size: number,
  headerSize: number,
  bodyOwner: number,
): Buffer {
  const json = messageJson(submission, size, headerSize);
  return finishMessage(
    Buffer.allocUnsafe(messageHeaderLength + jsonRoom(json)),
    messageHeaderLength,
    json,
    bodyOwner,
  );
}

/** Throws MailError('CORRUPT') for what is not a message value of this version. `value` may be overwritten afterwards if `content` is not used. */
export function decodeMessage(value: Buffer): DecodedMessage {
  checkVersion('message', value, messageHeaderLength);
  const end = value.length - value.readUInt32LE(4);
  if (end < messageHeaderLength) throw new MailError('CORRUPT', 'message entry is truncated');
  const record = parseJson('message', value, end);
  if (!isMessageRecord(record)) throw new MailError('CORRUPT', 'message entry lacks fields');
  const bodyOwner = value.readUInt32LE(8);
  if (bodyOwner === 0 && end - messageHeaderLength !== record.size) {
    throw new MailError(
      'CORRUPT',
      `message entry has ${end - messageHeaderLength} octets of content, not ${record.size}`,
    );
  }
  return { record, bodyOwner, content: value.subarray(messageHeaderLength, end) };
}

/** The mutable half of an entry. */
export interface StateRow {
  /** 0 where nobody holds a lease. */
  readonly owner: number;
  readonly bodyOwner: number;
  readonly token: number;
  readonly leaseUntilMs: number;
  /** The earliest next attempt of a pending recipient. */
  readonly dueMs: number;
  readonly frozenAtMs: number | undefined;
  readonly states: readonly RecipientState[];
}

/** A state row read without its recipients. */
export interface StateHead extends Omit<StateRow, 'states'> {
  /** The JSON of the states, to be kept or parsed. */
  readonly statesJson: Buffer;
}

export function encodeState(row: StateRow): Buffer {
  const json = JSON.stringify(row.states);
  const buffer = Buffer.allocUnsafe(stateHeaderLength + jsonRoom(json));
  const length = buffer.write(json, stateHeaderLength, 'utf8');
  writeStateHead(buffer, row);
  return buffer.subarray(0, stateHeaderLength + length);
}

/** As {@link encodeState}, with the recipients as they were. */
export function encodeStateHead(head: StateHead): Buffer {
  const buffer = Buffer.allocUnsafe(stateHeaderLength + head.statesJson.length);
  writeStateHead(buffer, head);
  buffer.set(head.statesJson, stateHeaderLength);
  return buffer;
}

function writeStateHead(buffer: Buffer, row: Omit<StateRow, 'states'>): void {
  buffer.fill(0, 0, stateHeaderLength);
  buffer[0] = version;
  buffer[1] = row.frozenAtMs === undefined ? 0 : 1;
  buffer.writeUInt32LE(row.owner, 4);
  buffer.writeUInt32LE(row.bodyOwner, 8);
  buffer.writeDoubleLE(row.token, 16);
  buffer.writeDoubleLE(row.leaseUntilMs, 24);
  buffer.writeDoubleLE(row.dueMs, 32);
  buffer.writeDoubleLE(row.frozenAtMs ?? 0, 40);
}

/** Throws MailError('CORRUPT') for what is not a state value of this version. */
export function decodeStateHead(value: Buffer): StateHead {
  checkVersion('state', value, stateHeaderLength);
  return {
    owner: value.readUInt32LE(4),
    bodyOwner: value.readUInt32LE(8),
    token: value.readDoubleLE(16),
    leaseUntilMs: value.readDoubleLE(24),
    dueMs: value.readDoubleLE(32),
    frozenAtMs: value[1] === 1 ? value.readDoubleLE(40) : undefined,
    statesJson: value.subarray(stateHeaderLength),
  };
}

/** Throws MailError('CORRUPT') where the states are not one a recipient. */
export function decodeStates(head: StateHead, recipients: number): RecipientState[] {
  const states = parseJson('state', head.statesJson, 0);
  if (!Array.isArray(states) || states.length !== recipients || !states.every(isState)) {
    throw new MailError('CORRUPT', 'state entry does not have one state a recipient');
  }
  return states;
}

/** The key under which the index holds this row. */
export function dueKeyOf(id: string, row: Omit<StateRow, 'states'>): Buffer {
  if (row.frozenAtMs !== undefined) return encodeDueKey(frozenBucket, row.frozenAtMs, id);
  if (row.owner !== 0) return encodeDueKey(row.owner, row.leaseUntilMs, id);
  return encodeDueKey(unclaimedBucket, row.dueMs, id);
}

/** The earliest next attempt of a pending recipient; Infinity where all are done. */
export function dueOf(states: readonly RecipientState[]): number {
  let due = Infinity;
  for (const s of states) if (s.kind === 'pending' && s.nextAttemptAtMs < due) due = s.nextAttemptAtMs;
  return due;
}

function checkVersion(what: string, value: Buffer, atLeast: number): void {
  if (value.length < atLeast) throw new MailError('CORRUPT', `${what} entry is truncated`);
  if (value[0] !== version) {
    throw new MailError(
      'CORRUPT',
      `${what} entry has format version ${value[0]}; this program reads version ${version} only`,
    );
  }
}

function parseJson(what: string, value: Buffer, from: number): unknown {
  try {
    return JSON.parse(value.toString('utf8', from));
  } catch (cause) {
    throw new MailError('CORRUPT', `${what} entry is damaged`, { cause });
  }
}

function isMessageRecord(value: unknown): value is MessageRecord {
  if (!isObject(value) || !isObject(value['envelope']) || !isObject(value['reception'])) return false;
  const recipients = value['envelope']['recipients'];
  return (
    Array.isArray(recipients) &&
    recipients.every((r) => isObject(r) && isObject(r['address'])) &&
    Array.isArray(value['headerEdits']) &&
    isObject(value['variables']) &&
    typeof value['size'] === 'number' &&
    typeof value['headerSize'] === 'number'
  );
}

function isState(value: unknown): value is RecipientState {
  if (!isObject(value)) return false;
  const children = value['children'];
  if (value['kind'] === 'done')
    return typeof value['how'] === 'string' && (children === undefined || Array.isArray(children));
  if (children !== undefined && !(isObject(children) && Object.values(children).every(isState))) return false;
  return (
    value['kind'] === 'pending' &&
    typeof value['nextAttemptAtMs'] === 'number' &&
    typeof value['attempts'] === 'number'
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
