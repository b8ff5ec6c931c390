import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MailError } from '../../mail/mail-error.ts';
import type { MessageSource } from '../../mail/message-source.ts';

const readOctets = 64 * 1024;

/** A part that is smaller is copied: it would keep all of the block alive that it came in. */
const largeOctets = 16 * 1024;
const blockOctets = 16 * 1024;

/**
 * Collects the content of one message: in memory while it is small, then in a file that has no name any more, so that
 * nothing is left behind whatever happens to the process.
 */
export class ContentBuffer {
  readonly #maxMemoryOctets: number;
  readonly #directory: string | undefined;
  #chunks: Buffer[] = [];
  /** Where the next small part goes; its filled part is the last chunk. */
  #block: Buffer | undefined;
  #filled = 0;
  #size = 0;
  #file: FileHandle | undefined;
  /** File reads under way or possible: the descriptor is closed when the last is done and the message is. */
  #discarded = false;

  constructor(maxMemoryOctets: number, directory: string | undefined) {
    this.#maxMemoryOctets = maxMemoryOctets;
    this.#directory = directory;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds a part. Wait for a returned promise before the next call; rejects with MailError NO_SPACE or IO. */
  write(chunk: Buffer): void | Promise<void> {
    this.#size += chunk.length;
    if (this.#file === undefined && this.#size <= this.#maxMemoryOctets) {
      this.#hold(chunk);
      return undefined;
    }
    return this.#spill(chunk);
  }

  #hold(chunk: Buffer): void {
    // Most messages come in one part.
    if (this.#chunks.length === 0 || chunk.length >= largeOctets) {
      this.#chunks.push(chunk);
      this.#block = undefined;
      return;
    }
    for (let at = 0; at < chunk.length; ) {
      if (this.#block === undefined || this.#filled === blockOctets) {
        this.#block = Buffer.allocUnsafeSlow(blockOctets);
        this.#filled = 0;
        this.#chunks.push(this.#block);
      }
      const copied = chunk.copy(this.#block, this.#filled, at);
      at += copied;
      this.#filled += copied;
      this.#chunks[this.#chunks.length - 1] = this.#block.subarray(0, this.#filled);
    }
  }

  async #spill(chunk: Buffer): Promise<void> {
    try {
      if (this.#file === undefined) {
        const name = path.join(this.#directory ?? tmpdir(), `lmtp.${process.pid}.${randomUUID()}`);
        this.#file = await open(name, 'wx+', 0o600);
        await unlink(name);
      }
      const held = this.#chunks;
      this.#chunks = [];
      for (const part of [...held, chunk]) await writeAll(this.#file, part);
    } catch (cause) {
      throw ioError('cannot write the message to temporary storage', cause);
    }
  }

  /** The whole content. It can be read until {@link discard}. */
  source(): MessageSource {
    const size = this.#size;
    const file = this.#file;
    if (file === undefined) {
      const [only, ...others] = this.#chunks;
      const bytes = only !== undefined && others.length === 0 ? only : Buffer.concat(this.#chunks, size);
      this.#chunks = [bytes];
      return { size, bytes, open: (signal) => readMemory(bytes, signal) };
    }
    return { size, open: (signal) => this.#readFile(file, size, signal) };
  }

  /** Forgets the content and frees what held it. A read still going on ends with an error. */
  discard(): void {
    if (this.#discarded) return;
    this.#discarded = true;
    this.#chunks = [];
    // The file has no name: closing it is all there is to do, and no failure of that is worth a word.
    this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  async *#readFile(file: FileHandle, size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; ) {
      signal.throwIfAborted();
      if (this.#discarded) throw new MailError('CLOSED', 'the message is no longer there');
      const chunk = Buffer.allocUnsafe(Math.min(readOctets, size - at));
      let got: number;
      try {
        got = (await file.read(chunk, 0, chunk.length, at)).bytesRead;
      } catch (cause) {
        throw ioError('cannot read the message back', cause);
      }
      if (got === 0) throw new MailError('IO', 'the temporary file is shorter than what was written');
      at += got;
      yield chunk.subarray(0, got);
    }
  }
}

async function* readMemory(bytes: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += readOctets) {
    signal.throwIfAborted();
    yield bytes.subarray(at, at + readOctets);
  }
}

async function writeAll(file: FileHandle, part: Buffer): Promise<void> {
  for (let at = 0; at < part.length; )
    at += (await file.write(part, at, part.length - at, null)).bytesWritten;
}

function ioError(message: string, cause: unknown): MailError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return new MailError(code === 'ENOSPC' || code === 'EDQUOT' ? 'NO_SPACE' : 'IO', message, { cause });
}
