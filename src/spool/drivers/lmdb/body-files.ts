import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { MailError } from '../../../mail/mail-error.ts';
import type { MessageSource } from '../../../mail/message-source.ts';
import type { QueueId } from '../../../mail/message-id.ts';
import { syncDirectory as makeDurable } from './environment.ts';

const fsync = promisify(fs.fsync);
const unlink = promisify(fs.unlink);
const writeAt = promisify(fs.write);

const blockBytes = 256 * 1024;
const readBytes = 64 * 1024;

/** A content file being written. Its name says which owner makes it, so that orphans can be told from work under way. */
export interface BodyWriter {
  /** Copies the chunk. A returned promise means: both blocks are in use, wait. Faults are kept for `finish`. */
  write(chunk: Uint8Array): void | Promise<void>;
  /** Resolves when all that was written is in the file, on disk or not. Throws MailError NO_SPACE or IO. */
  settle(): Promise<void>;
  /** Resolves when file and directory entry are on disk. On a fault removes the file and throws MailError NO_SPACE or IO. */
  finish(): Promise<void>;
  /** Removes the file. */
  discard(): Promise<void>;
}

/** The folder of content files: `body/ID.OWNER`. */
export interface BodyFiles {
  create(id: QueueId, owner: number): BodyWriter;
  source(id: QueueId, owner: number, size: number): MessageSource;
  /** Undefined for a missing file. */
  sizeOf(id: QueueId, owner: number): number | undefined;
  /** Removes a file; one that is gone already is no fault. */
  remove(id: QueueId, owner: number): Promise<void>;
  /** Removes every file for which `isOrphan` holds; gives how many. Files of other names are left alone. */
  removeOrphans(isOrphan: (id: QueueId, owner: number) => boolean): number;
}

export function openBodyFiles(spoolDirectory: string): BodyFiles {
  const directory = path.join(spoolDirectory, 'body');
  fs.mkdirSync(directory, { recursive: true, mode: 0o750 });
  makeDurable(spoolDirectory);
  const syncDirectory = sharedSync(directory);
  const fileOf = (id: QueueId, owner: number): string => path.join(directory, `${id}.${owner}`);

  const remove = async (id: QueueId, owner: number): Promise<void> => {
    try {
      await unlink(fileOf(id, owner));
    } catch (cause) {
      if (errorCode(cause) !== 'ENOENT') throw new MailError('IO', 'cannot remove a content file', { cause });
    }
  };

  return {
    create: (id, owner) => writeBody(fileOf(id, owner), syncDirectory, () => remove(id, owner)),
    source: (id, owner, size) => fileSource(fileOf(id, owner), size),
    sizeOf: (id, owner) => fs.statSync(fileOf(id, owner), { throwIfNoEntry: false })?.size,
    remove,
    removeOrphans: (isOrphan) => {
      let removed = 0;
      for (const name of fs.readdirSync(directory)) {
        const parts = /^([0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2})\.(\d+)$/.exec(name);
        if (parts?.[1] === undefined || !isOrphan(parts[1] as QueueId, Number(parts[2]))) continue;
        fs.rmSync(path.join(directory, name), { force: true });
        removed++;
      }
      return removed;
    },
  };
}

/** Double-buffered: one block is filled while the other is on its way to the file, so memory is bounded by two. */
function writeBody(
  file: string,
  syncDirectory: () => Promise<void>,
  remove: () => Promise<void>,
): BodyWriter {
  let fd: number | undefined;
  let fault: unknown;
  try {
    fd = fs.openSync(file, fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_WRONLY, 0o640);
  } catch (e) {
    fault = e;
  }
  let filling: Buffer = Buffer.allocUnsafeSlow(blockBytes);
  let spare: Buffer | undefined = Buffer.allocUnsafeSlow(blockBytes);
  let filled = 0;
  let underWay: Promise<void> | undefined;

  const writeBlock = async (block: Buffer, length: number): Promise<void> => {
    try {
      for (let done = 0; done < length && fd !== undefined; ) {
        done += (await writeAt(fd, block, done, length - done, null)).bytesWritten;
      }
    } catch (e) {
      fault ??= e;
    } finally {
      spare = block;
      underWay = undefined;
    }
  };

  const flush = (): void => {
    const block = filling;
    const length = filled;
    filling = spare ?? Buffer.allocUnsafeSlow(blockBytes);
    spare = undefined;
    filled = 0;
    underWay = writeBlock(block, length);
  };

  const append = (chunk: Uint8Array, from: number): void | Promise<void> => {
    for (let at = from; at < chunk.length && fault === undefined; ) {
      if (filled === blockBytes) {
        // Both blocks are full: the rest waits for the disk.
        if (underWay !== undefined) return underWay.then(() => append(chunk, at));
        flush();
      }
      const part = Math.min(chunk.length - at, blockBytes - filled);
      filling.set(part === chunk.length ? chunk : chunk.subarray(at, at + part), filled);
      filled += part;
      at += part;
    }
    if (filled === blockBytes && underWay === undefined && fault === undefined) flush();
    return undefined;
  };

  const close = (): void => {
    if (fd === undefined) return;
    const open = fd;
    fd = undefined;
    fs.closeSync(open);
  };

  const discard = async (): Promise<void> => {
    await underWay;
    const made = fd !== undefined;
    close();
    if (made) await remove();
  };

  const writeOut = async (): Promise<void> => {
    await underWay;
    if (fault === undefined && filled > 0) {
      flush();
      await underWay;
    }
    if (fault !== undefined) throw fault;
  };

  return {
    write: (chunk) => append(chunk, 0),
    settle: async () => {
      try {
        await writeOut();
      } catch (cause) {
        throw storageError(cause);
      }
    },
    finish: async () => {
      try {
        await writeOut();
        if (fd !== undefined) await fsync(fd);
        await syncDirectory();
      } catch (cause) {
        await discard();
        throw storageError(cause);
      }
      close();
    },
    discard,
  };
}

/** One fsync of the directory serves all who asked before it began. */
function sharedSync(directory: string): () => Promise<void> {
  let running: Promise<void> | undefined;
  let queued: Promise<void> | undefined;
  const sync = async (): Promise<void> => {
    const fd = fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    try {
      await fsync(fd);
    } finally {
      fs.closeSync(fd);
    }
  };
  const start = async (): Promise<void> => {
    running = sync();
    try {
      await running;
    } finally {
      running = undefined;
    }
  };
  return () => {
    if (running === undefined) return start();
    queued ??= running
      .catch(() => undefined)
      .then(() => {
        queued = undefined;
        return start();
      });
    return queued;
  };
}

function fileSource(file: string, size: number): MessageSource {
  return {
    size,
    open: async function* (signal) {
      let handle: fs.promises.FileHandle | undefined;
      try {
        handle = await fs.promises.open(file, 'r');
        for (let at = 0; at < size; ) {
          if (signal.aborted)
            throw new MailError('ABORTED', 'reading the content was aborted', { cause: signal.reason });
          // A block each time: the reader may keep what it got.
          const block = Buffer.allocUnsafeSlow(Math.min(readBytes, size - at));
          const { bytesRead } = await handle.read(block, 0, block.length, at);
          if (bytesRead === 0) throw new MailError('IO', 'content file is shorter than recorded');
          at += bytesRead;
          yield bytesRead === block.length ? block : block.subarray(0, bytesRead);
        }
      } catch (cause) {
        throw cause instanceof MailError
          ? cause
          : new MailError('IO', 'cannot read a content file', { cause });
      } finally {
        await handle?.close();
      }
    },
  };
}

function storageError(cause: unknown): MailError {
  const code = errorCode(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new MailError('NO_SPACE', 'no space left for the spool', { cause });
  return new MailError('IO', 'cannot write a content file', { cause });
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
