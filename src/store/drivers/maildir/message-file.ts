/** A message written into tmp/ of a Maildir, not yet durable and not yet visible. */
import { closeSync, unlinkSync, write, writevSync } from 'node:fs';
import type { MessageSource } from '../../../mail/message-source.ts';
import { lineEnds } from './line-ends.ts';
import { createInTmp } from './mailbox.ts';
import type { Mailbox } from './mailbox.ts';
import { sizedName, uniqueBase } from './names.ts';

export interface MessageFile {
  readonly fd: number;
  /** Where it is now. */
  readonly path: string;
  /** The name it gets in new/. */
  readonly name: string;
  readonly storedBytes: number;
  readonly virtualBytes: number;
}

/** Content with LF line ends, made once for all files of a transaction; undefined where it is streamed. */
export interface PreparedContent {
  readonly bytes: Uint8Array;
  readonly virtualBytes: number;
}

/** Up to this size a message is written synchronously: that costs less than the thread pool's round trip (DESIGN §5). */
const maxSyncBytes = 256 << 10;

/** Converts content that is in memory and small; larger content is streamed through {@link writeMessage}. */
export function prepareContent(content: MessageSource): PreparedContent | undefined {
  if (content.bytes === undefined || content.bytes.length > maxSyncBytes) return undefined;
  const ends = lineEnds();
  const body = ends.convert(content.bytes);
  const rest = ends.finish();
  const bytes = rest.length === 0 ? body : Buffer.concat([body, rest]);
  return { bytes, virtualBytes: ends.virtualBytes() };
}

/** Writes prepared content in one call. Throws system errors; nothing is left of the file then. */
export function writePrepared(mailbox: Mailbox, trace: string, content: PreparedContent): MessageFile {
  const head = traceBytes(trace);
  const storedBytes = head.bytes.length + content.bytes.length;
  return inTmp(mailbox, (fd) => {
    const written = writevSync(fd, [head.bytes, content.bytes]);
    // The file system takes less only when it is full; the next write would say so, and the message is lost to it anyway.
    if (written !== storedBytes) throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
    return { storedBytes, virtualBytes: head.virtualBytes + content.virtualBytes };
  });
}

/** Writes content of any size chunk by chunk. Rejects with system errors and aborts; nothing is left of the file then. */
export async function writeMessage(
  mailbox: Mailbox,
  trace: string,
  content: MessageSource,
  signal: AbortSignal,
): Promise<MessageFile> {
  const head = traceBytes(trace);
  const base = uniqueBase();
  const fd = createInTmp(mailbox, base);
  try {
    const ends = lineEnds();
    await writeAll(fd, head.bytes);
    for await (const chunk of content.open(signal)) {
      signal.throwIfAborted();
      await writeAll(fd, ends.convert(chunk));
    }
    await writeAll(fd, ends.finish());
    return messageFile(mailbox, base, fd, {
      storedBytes: head.bytes.length + ends.storedBytes(),
      virtualBytes: head.virtualBytes + ends.virtualBytes(),
    });
  } catch (error) {
    discardFile(fd, mailbox.tmp + base);
    throw error;
  }
}

/** Closes and removes; a file that is gone already is no fault. */
export function discardFile(fd: number, path: string): void {
  closeSync(fd);
  removeQuietly(path);
}

export function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // What stays in tmp/ is harmless, and removed after 36 hours.
  }
}

interface Sizes {
  readonly storedBytes: number;
  readonly virtualBytes: number;
}

function inTmp(mailbox: Mailbox, fill: (fd: number) => Sizes): MessageFile {
  const base = uniqueBase();
  const fd = createInTmp(mailbox, base);
  try {
    return messageFile(mailbox, base, fd, fill(fd));
  } catch (error) {
    discardFile(fd, mailbox.tmp + base);
    throw error;
  }
}

function messageFile(mailbox: Mailbox, base: string, fd: number, sizes: Sizes): MessageFile {
  return {
    fd,
    path: mailbox.tmp + base,
    name: sizedName(base, sizes.storedBytes, sizes.virtualBytes),
    ...sizes,
  };
}

/** The trace has CRLF throughout (port `StoreDelivery.trace`), so its virtual size is its length as given. */
function traceBytes(trace: string): { readonly bytes: Buffer; readonly virtualBytes: number } {
  return { bytes: Buffer.from(trace.replaceAll('\r\n', '\n'), 'latin1'), virtualBytes: trace.length };
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, at, bytes.length - at, null, (error, written) => {
        if (error === null) resolve(written);
        else reject(error);
      });
    });
  }
}
