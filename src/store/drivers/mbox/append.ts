/** Appends letters to a locked mailbox: note how long it is, append, wait for the disk. What fails is cut off again. */
import { fstatSync, ftruncateSync, futimesSync, readSync, write, writeSync, writevSync } from 'node:fs';
import type { StoreDelivery, StoreOutcome } from '../../mail-store.ts';
import type { Durability } from '../maildir/durability.ts';
import { failureOutcome } from '../maildir/failure.ts';
import type { Owner } from '../maildir/walk.ts';
import type { Folder } from './folder.ts';
import { letterText, separatorLine } from './letter.ts';
import type { LockedMailbox } from './lock.ts';
import { openUndo, undoIncomplete, type UndoFile } from './undo.ts';

/** One message for one recipient. */
export interface Letter {
  readonly delivery: StoreDelivery;
  readonly position: number;
  /** The converted content, where it is small. */
  readonly prepared: Buffer | undefined;
  readonly signal: AbortSignal;
  readonly answer: (outcome: StoreOutcome) => void;
}

export interface Mailbox {
  readonly folder: Folder;
  readonly name: string;
  readonly owner: Owner | undefined;
  /** For the log. */
  readonly path: string;
}

/** Up to this size a message is converted in memory, once for all its recipients, and written synchronously (DESIGN §5). */
const maxPreparedOctets = 256 << 10;

/** Content that is in memory and small, as it stands in the file below the trace fields. */
export function prepare({ content }: StoreDelivery): Buffer | undefined {
  if (content.bytes === undefined || content.bytes.length > maxPreparedOctets) return undefined;
  const text = letterText();
  const whole = Buffer.concat([text.convert(content.bytes), text.finish()]);
  const { at, value } = text.contentLength();
  whole.write(value, at, 'latin1');
  return whole;
}

/**
 * Appends the letters in their order and answers each: `stored` when all that came before it and itself are on the disk.
 * The locks are the caller's, before and after. Never throws.
 */
export async function appendLetters(
  box: Mailbox,
  locked: LockedMailbox,
  letters: readonly Letter[],
  durability: Durability,
  nowMs: number,
): Promise<void> {
  const { fd } = locked;
  const outcomes = new Map<Letter, StoreOutcome>();
  let undo: UndoFile | undefined;
  let clean = false;
  try {
    const device = locked.before.dev;
    let length = endMessage(fd, undoIncomplete(box.folder, box.name, fd));
    const begin = length;
    undo = openUndo(box.folder, box.name, box.owner);
    for (const letter of letters) {
      try {
        length = await appendOne(fd, length, letter, nowMs, async (head) => {
          undo?.note(length, head);
          // A note that the disk loses leaves an incomplete message, not two in one: for all but the first it is worth no wait.
          if (undo !== undefined && length === begin) await durability.file({ fd: undo.fd, device });
        });
        outcomes.set(letter, { kind: 'stored' });
      } catch (error) {
        outcomes.set(letter, failureOutcome(error, box.path));
        // Throws for all: nothing may stand behind a part of a message.
        ftruncateSync(fd, length);
      }
    }
    if (length > begin) showAsUnread(fd, locked.before.atimeMs);
    try {
      await durability.file({ fd, device });
      if (locked.created) await box.folder.sync(durability);
    } catch (error) {
      ftruncateSync(fd, begin);
      throw error;
    }
    clean = true;
  } catch (error) {
    const failed = failureOutcome(error, box.path);
    for (const letter of letters)
      if (outcomes.get(letter)?.kind !== 'over-quota') outcomes.set(letter, failed);
  }
  try {
    undo?.close(clean || fstatSync(fd).size <= locked.before.size);
  } catch {
    // What stays of the note cannot make a whole message be cut off.
  }
  for (const letter of letters)
    letter.answer(outcomes.get(letter) ?? { kind: 'unavailable', reason: 'no outcome' });
}

/** Not read yet is, to programs that look at its times, what has changed since it was read. */
function showAsUnread(fd: number, readAtMs: number): void {
  try {
    futimesSync(fd, readAtMs / 1000, Date.now() / 1000);
  } catch {
    // The mail is there all the same.
  }
}

/** The last message must end in an empty line; gives the length then. */
function endMessage(fd: number, length: number): number {
  if (length === 0) return 0;
  const last = Buffer.alloc(2);
  const octets = readSync(fd, last, 0, 2, Math.max(0, length - 2));
  const text = last.toString('latin1', 0, octets);
  const missing = text === '\n\n' || text === '\n' ? '' : text.endsWith('\n') ? '\n' : '\n\n';
  if (missing === '') return length;
  writeWhole(fd, [Buffer.from(missing)], length);
  return length + missing.length;
}

/** Gives the length after it. */
async function appendOne(
  fd: number,
  length: number,
  letter: Letter,
  nowMs: number,
  note: (head: Buffer) => Promise<void>,
): Promise<number> {
  const { delivery, position, prepared, signal } = letter;
  signal.throwIfAborted();
  const trace = delivery.trace(position).replaceAll('\r\n', '\n');
  const head = Buffer.from(separatorLine(delivery.sender, nowMs) + trace, 'latin1');
  await note(head);
  if (prepared !== undefined) return length + writeWhole(fd, [head, prepared, emptyLine], length);
  const text = letterText();
  let at = length + writeWhole(fd, [head], length);
  const begin = at;
  for await (const chunk of delivery.content.open(signal)) {
    signal.throwIfAborted();
    at += await writeLater(fd, text.convert(chunk), at);
  }
  at += writeWhole(fd, [text.finish(), emptyLine], at);
  const field = text.contentLength();
  writeWhole(fd, [Buffer.from(field.value, 'latin1')], begin + field.at);
  return at;
}

const emptyLine = Buffer.from('\n');

/** Small parts. A file system takes less only where it is full. */
function writeWhole(fd: number, parts: readonly Buffer[] | readonly Uint8Array[], at: number): number {
  const octets = parts.reduce((sum, p) => sum + p.length, 0);
  const only = parts.length === 1 ? parts[0] : undefined;
  const written = only === undefined ? writevSync(fd, parts, at) : writeSync(fd, only, 0, only.length, at);
  if (written !== octets) throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
  return octets;
}

async function writeLater(fd: number, bytes: Uint8Array, at: number): Promise<number> {
  for (let done = 0; done < bytes.length; ) {
    done += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, done, bytes.length - done, at + done, (error, written) => {
        if (error === null) resolve(written);
        else reject(error);
      });
    });
  }
  return bytes.length;
}
