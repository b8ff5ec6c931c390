/** The file of one message: its name, its sizes and its content with LF line ends, as it will lie in new/. */
import { write } from 'node:fs';
import type { MessageSource } from '../../../mail/message-source.ts';
import { createFile, discardFile, type FileOrder } from './disk.ts';
import { lineEnds } from './line-ends.ts';
import type { Mailbox } from './mailbox.ts';
import { sizedName, uniqueBase } from './names.ts';

export interface MessageFile {
  /** In tmp/. */
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

/** Up to this size a message is written in one call. */
const maxPreparedBytes = 256 << 10;

/** Converts content that is in memory and small; larger content is streamed through {@link streamFile}. */
export function prepareContent(content: MessageSource): PreparedContent | undefined {
  if (content.bytes === undefined || content.bytes.length > maxPreparedBytes) return undefined;
  const ends = lineEnds();
  const body = ends.convert(content.bytes);
  const rest = ends.finish();
  const bytes = rest.length === 0 ? body : Buffer.concat([body, rest]);
  return { bytes, virtualBytes: ends.virtualBytes() };
}

/** The file of prepared content, still to be written by the order. */
export function preparedFile(
  mailbox: Mailbox,
  trace: string,
  content: PreparedContent,
): { readonly file: MessageFile; readonly order: FileOrder } {
  const head = traceBytes(trace);
  const file = messageFile(mailbox, uniqueBase(), {
    storedBytes: head.bytes.length + content.bytes.length,
    virtualBytes: head.virtualBytes + content.virtualBytes,
  });
  const { fileMode: mode, owner, device, newFd: folderFd } = mailbox;
  const parts = [head.bytes, content.bytes];
  return { file, order: { path: file.path, mode, owner, device, folderFd, parts } };
}

/** A file that is written and not durable yet. */
export interface OpenFile {
  readonly file: MessageFile;
  readonly fd: number;
}

/** Writes content of any size chunk by chunk. Rejects with system errors and aborts; nothing is left of the file then. */
export async function streamFile(
  mailbox: Mailbox,
  trace: string,
  content: MessageSource,
  signal: AbortSignal,
): Promise<OpenFile> {
  const head = traceBytes(trace);
  const base = uniqueBase();
  const fd = createFile(mailbox.tmp + base, mailbox.fileMode, mailbox.owner);
  try {
    const ends = lineEnds();
    await writeAll(fd, head.bytes);
    for await (const chunk of content.open(signal)) {
      signal.throwIfAborted();
      await writeAll(fd, ends.convert(chunk));
    }
    await writeAll(fd, ends.finish());
    const file = messageFile(mailbox, base, {
      storedBytes: head.bytes.length + ends.storedBytes(),
      virtualBytes: head.virtualBytes + ends.virtualBytes(),
    });
    return { file, fd };
  } catch (error) {
    discardFile(fd, mailbox.tmp + base);
    throw error;
  }
}

type Sizes = Pick<MessageFile, 'storedBytes' | 'virtualBytes'>;

function messageFile(mailbox: Mailbox, base: string, sizes: Sizes): MessageFile {
  return {
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
