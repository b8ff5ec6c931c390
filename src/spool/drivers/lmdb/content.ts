import { MailError } from '../../../mail/mail-error.ts';
import type { MessageSource } from '../../../mail/message-source.ts';

const chunkBytes = 64 * 1024;
const blankLine = Buffer.from('\r\n\r\n', 'latin1');

/** A source over content in memory. */
export function memorySource(bytes: Uint8Array): MessageSource {
  return {
    size: bytes.length,
    bytes,
    // An async iterable by the port's type, with nothing to wait for.
    open: async function* (signal) {
      for (let at = 0; at < bytes.length; at += chunkBytes) {
        if (signal.aborted)
          throw new MailError('ABORTED', 'reading the content was aborted', { cause: signal.reason });
        yield bytes.subarray(at, Math.min(at + chunkBytes, bytes.length));
      }
    },
  };
}

/** Finds the end of the header section (RFC 5322 §2.1) in content that comes in parts. */
export interface HeaderScanner {
  feed(chunk: Uint8Array): void;
  /** Octets of the header section with its blank line; all octets where there is no blank line. */
  end(): number;
}

/** The same for content in one piece. */
export function headerLength(content: Buffer): number {
  if (content[0] === 0x0d && content[1] === 0x0a) return 2;
  const at = content.indexOf(blankLine);
  return at < 0 ? content.length : at + 4;
}

export function headerScanner(): HeaderScanner {
  let seen = 0;
  let found: number | undefined;
  // A message may begin with its blank line; a line end before the first octet makes that the same case.
  let tail: Buffer = Buffer.from('\r\n', 'latin1');
  return {
    feed: (chunk) => {
      if (found === undefined && chunk.length > 0) {
        const part = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
        const seam = Buffer.concat([tail, part.subarray(0, 3)]);
        const across = seam.indexOf(blankLine);
        const within = part.indexOf(blankLine);
        if (across >= 0) found = seen - tail.length + across + 4;
        else if (within >= 0) found = seen + within + 4;
        tail = part.length >= 3 ? Buffer.from(part.subarray(-3)) : seam.subarray(-3);
      }
      seen += chunk.length;
    },
    end: () => found ?? seen,
  };
}
