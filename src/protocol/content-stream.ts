/** Content too large for memory on its way to a server, as BDAT carries it or as it follows 354. Sans-IO. */
import { MailError } from '../mail/mail-error.ts';
import type { MessageSource } from '../mail/message-source.ts';
import { DotStuffer } from './dot-stuff.ts';

type StreamBody = (signal: AbortSignal) => AsyncIterable<Uint8Array>;

/** The content as it stands. Throws CORRUPT where it is not as long as it says: the server would wait, or take a part for the whole. */
export function contentStream(content: MessageSource): StreamBody {
  return async function* (signal) {
    let sent = 0;
    for await (const chunk of content.open(signal)) {
      sent += chunk.length;
      if (sent > content.size && content.growing !== true) break;
      yield chunk;
    }
    if (content.growing !== true && sent !== content.size)
      throw new MailError('CORRUPT', 'the message is not as long as its size says');
  };
}

/** The content dot-stuffed, and the end of data; the end never comes after a part only. */
export function stuffedStream(content: MessageSource): StreamBody {
  return async function* (signal) {
    const stuffer = new DotStuffer();
    for await (const chunk of contentStream(content)(signal)) yield stuffer.encode(chunk);
    yield stuffer.end();
  };
}
