/** The beginning of a message's header: for its Message-ID in the log, and for how often it was handed on. */
import type { MessageSource } from '../mail/message-source.ts';

const maxHeaderOctets = 64 << 10;
const maxIdOctets = 500;

/** At most the first 64 KiB; undefined where the source fails, which is none of ours. */
export async function headerOf(content: MessageSource, signal: AbortSignal): Promise<string | undefined> {
  if (content.bytes !== undefined) return headerIn(content.bytes);
  try {
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of content.open(signal)) {
      parts.push(chunk.slice());
      length += chunk.length;
      if (
        length >= maxHeaderOctets ||
        Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).includes('\r\n\r\n')
      )
        break;
    }
    return headerIn(Buffer.concat(parts));
  } catch {
    return undefined;
  }
}

function headerIn(bytes: Uint8Array): string {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, maxHeaderOctets));
  const end = content.indexOf('\r\n\r\n');
  return content.toString('latin1', 0, end < 0 ? content.length : end);
}

/** The value of Message-ID on one line (`<a@b>`), or undefined where there is none. */
export function messageIdIn(header: string): string | undefined {
  const found = /(?:^|\r\n)message-id[ \t]*:((?:[^\r\n]|\r\n[ \t])*)/i.exec(header);
  const value = found?.[1]
    ?.replace(/[\x00-\x20\x7f]+/g, ' ')
    .trim()
    .slice(0, maxIdOctets);
  return value === '' ? undefined : value;
}

/** Servers that had the message, by its Received fields (RFC 5321 §6.3). */
export function countReceived(header: string): number {
  return header.match(/(?:^|\r\n)received[ \t]*:/gi)?.length ?? 0;
}
