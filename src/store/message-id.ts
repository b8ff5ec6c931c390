/** The Message-ID of a message, for the log. */
import type { MessageSource } from '../mail/message-source.ts';

const maxHeaderOctets = 64 << 10;
const maxIdOctets = 500;

/** The field's value on one line (`<a@b>`), or undefined where the first 64 KiB have none. Faults of the source are none of ours. */
export async function messageIdOf(content: MessageSource, signal: AbortSignal): Promise<string | undefined> {
  if (content.bytes !== undefined) return messageIdIn(content.bytes);
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
    return messageIdIn(Buffer.concat(parts));
  } catch {
    return undefined;
  }
}

/** The same for content in memory. */
export function messageIdIn(bytes: Uint8Array): string | undefined {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, maxHeaderOctets));
  const end = content.indexOf('\r\n\r\n');
  const header = content.toString('latin1', 0, end < 0 ? content.length : end);
  const found = /(?:^|\r\n)message-id[ \t]*:((?:[^\r\n]|\r\n[ \t])*)/i.exec(header);
  const value = found?.[1]
    ?.replace(/[\x00-\x20\x7f]+/g, ' ')
    .trim()
    .slice(0, maxIdOctets);
  return value === '' ? undefined : value;
}
