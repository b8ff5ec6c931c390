/**
 * What lies beside a mailbox while something is appended to it: the length it had, and how the new message begins. After a
 * crash the next delivery sees by it whether an incomplete message of ours stands at the end, and cuts it off.
 *
 * The file is removed before the message is answered, yet a crash of the machine may bring it back. So it alone never makes
 * anything be cut off: only a message that begins as noted, where noted, whose header or body is not all there, which no
 * mail program has touched and after which nobody has appended anything.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import type { Owner } from '../maildir/walk.ts';
import type { Folder } from './folder.ts';
import { lengthLine, lengthLineOctets } from './letter.ts';
import { createSideFile, unlinkIfThere } from './side-file.ts';

export interface UndoFile {
  readonly fd: number;
  /** Notes that `head` is about to be written at `length`, the end of the mailbox. */
  note(length: number, head: Uint8Array): void;
  /** Removes the file, or leaves it to the next delivery. */
  close(remove: boolean): void;
}

const maxHeadOctets = 4096;
const maxFileOctets = 2 * maxHeadOctets;

function undoName(name: string): string {
  return `.${name}.mailchute.lock`;
}

/** Makes the file anew; one that a crash left must have been judged by {@link undoIncomplete} before. Throws system errors. */
export function openUndo(folder: Folder, name: string, owner: Owner | undefined): UndoFile {
  const file = folder.name(undoName(name));
  const fd = createSideFile(file, owner);
  return {
    fd,
    note(length, head) {
      const text = noteText(length, head.subarray(0, maxHeadOctets));
      // Whatever of an older, longer note follows it is not part of it.
      if (writeSync(fd, text, 0, text.length, 0) !== text.length) throw noSpace();
    },
    close(remove) {
      closeSync(fd);
      if (remove) unlinkIfThere(file);
    },
  };
}

/** A digest in front tells a note that was written half. */
function noteText(length: number, head: Uint8Array): Buffer {
  const text = Buffer.concat([Buffer.from(`${length} ${head.length}\n`), head]);
  return Buffer.concat([Buffer.from(`${digestOf(text)} `), text]);
}

function digestOf(text: Uint8Array): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

interface Note {
  readonly length: number;
  readonly head: Buffer;
}

function readNote(folder: Folder, name: string): Note | undefined {
  const file = folder.name(undoName(name));
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() !== true) return undefined;
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!fstatSync(fd).isFile()) return undefined;
    const buffer = Buffer.alloc(maxFileOctets);
    const found = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0));
    const m = /^([0-9a-f]{32}) (\d{1,15}) (\d{1,4})\n/.exec(found.toString('latin1', 0, 64));
    if (m === null) return undefined;
    const end = m[0].length + Number(m[3]);
    if (digestOf(found.subarray(33, end)) !== m[1]) return undefined;
    return { length: Number(m[2]), head: found.subarray(m[0].length, end) };
  } finally {
    closeSync(fd);
  }
}

/** Cuts off what a crash left incomplete; the mailbox must be locked. Gives its length now. Throws system errors. */
export function undoIncomplete(folder: Folder, name: string, mailbox: number): number {
  const { size } = fstatSync(mailbox);
  const note = readNote(folder, name);
  if (note === undefined || !isIncomplete(mailbox, size, note)) return size;
  ftruncateSync(mailbox, note.length);
  return note.length;
}

function isIncomplete(mailbox: number, size: number, { length, head }: Note): boolean {
  if (size <= length) return false;
  const found = Buffer.alloc(Math.min(head.length, size - length));
  readSync(mailbox, found, 0, found.length, length);
  if (!found.equals(head.subarray(0, found.length))) return false;
  const headerEnd = find(mailbox, Buffer.from('\n\n'), length, size);
  if (headerEnd !== undefined) {
    const from = Math.max(length, headerEnd + 2 - lengthLineOctets - 1);
    const last = Buffer.alloc(headerEnd + 1 - from);
    readSync(mailbox, last, 0, last.length, from);
    const digits = lengthLine.exec(last.toString('latin1'))?.[1];
    // Another last field: a mail program has added its own.
    if (digits === undefined) return false;
    if (digits !== '' && headerEnd + 2 + Number(digits) + 1 <= size) return false;
  }
  return !hasSeparator(mailbox, length + 1, size);
}

const separator = Buffer.from('\nFrom ');
/** As mail programs take it for one: a sender, a time, a year. */
const separatorForm = /^\nFrom [^\n]* \d\d:\d\d[^\n]* \d{4}[^\n]*(?:\n|$)/;

function hasSeparator(mailbox: number, from: number, size: number): boolean {
  const line = Buffer.alloc(512);
  for (let at: number | undefined = from; ; at += 1) {
    at = find(mailbox, separator, at, size);
    if (at === undefined) return false;
    const octets = readSync(mailbox, line, 0, line.length, at);
    if (separatorForm.test(line.toString('latin1', 0, octets))) return true;
  }
}

/** Where `what` stands first between two offsets of a file. */
function find(fd: number, what: Buffer, from: number, to: number): number | undefined {
  const part = Buffer.allocUnsafe(65_536);
  for (let at = from; at < to; ) {
    const octets = readSync(fd, part, 0, Math.min(part.length, to - at), at);
    if (octets < what.length) return undefined;
    const i = part.subarray(0, octets).indexOf(what);
    if (i >= 0) return at + i;
    at += octets - what.length + 1;
  }
  return undefined;
}

function noSpace(): Error {
  return Object.assign(new Error('short write'), { code: 'ENOSPC' });
}
