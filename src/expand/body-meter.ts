/** What `$message_body` and its relatives tell, measured while the message goes by. */
import type { BodyFacts } from './scope.ts';

export interface BodyMeter {
  /** Octets of the message so far. */
  readonly octets: number;
  /** Line ends of the message so far. */
  readonly lines: number;
  /** The next part of the message, header section included; lines end in CRLF. Keeps nothing of the chunk itself. */
  take(chunk: Uint8Array): void;
  /** Asked for when the message is complete. */
  facts(): BodyFacts;
}

/**
 * Holds four times `visibleOctets` at the most.
 *
 * @param visibleOctets `message_body_visible`
 * @param headerSize length of the header section with its blank line, octets; asked after every part until it is known,
 *   which it must be no later than the part that holds the section's end
 */
export function createBodyMeter(visibleOctets: number, headerSize: () => number | undefined): BodyMeter {
  // Every octet that is kept may have a CR that does not count.
  const room = 2 * visibleOctets;
  let octets = 0;
  let lines = 0;
  let headLines = 0;
  let longestLine = 0;
  let lineStart = 0;
  let zeroOctets = 0;
  let bodyAt: number | undefined;
  const head: Buffer[] = [];
  let headRoom = room;
  const tail: Buffer[] = [];
  let tailLength = 0;

  function takeBody(part: Buffer): void {
    for (let at = part.indexOf(0); at >= 0; at = part.indexOf(0, at + 1)) zeroOctets++;
    if (headRoom > 0) {
      const start = Buffer.from(part.subarray(0, headRoom));
      head.push(start);
      headRoom -= start.length;
    }
    const end = part.length > room ? part.subarray(part.length - room) : part;
    tail.push(Buffer.from(end));
    tailLength += end.length;
    for (let first = tail[0]; first !== undefined && tailLength - first.length >= room; first = tail[0]) {
      tail.shift();
      tailLength -= first.length;
    }
  }

  return {
    get octets() {
      return octets;
    },
    get lines() {
      return lines;
    },
    take(chunk) {
      const part = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      const before = octets;
      const linesBefore = lines;
      octets += part.length;
      for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, at + 1)) {
        lines++;
        const end = before + at;
        if (end - lineStart > longestLine) longestLine = end - lineStart;
        lineStart = end + 1;
      }
      if (bodyAt === undefined) {
        bodyAt = headerSize();
        if (bodyAt === undefined || bodyAt > octets) {
          bodyAt = undefined;
          return;
        }
        headLines = linesBefore + newlines(part.subarray(0, bodyAt - before));
      }
      const body = bodyAt > before ? part.subarray(bodyAt - before) : part;
      if (body.length > 0) takeBody(body);
    },
    facts() {
      const bodyLines = bodyAt === undefined ? 0 : lines - headLines;
      return {
        start: withLf(Buffer.concat(head)).slice(0, visibleOctets),
        end: visibleOctets === 0 ? '' : withLf(Buffer.concat(tail)).slice(-visibleOctets),
        octets: bodyAt === undefined ? 0 : octets - bodyAt - bodyLines,
        lines: bodyLines,
        zeroOctets,
        // The CR of the longest line was counted.
        longestLine: Math.max(0, longestLine - 1),
        blankLine: bodyAt !== undefined,
      };
    },
  };
}

function newlines(part: Buffer): number {
  let count = 0;
  for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, at + 1)) count++;
  return count;
}

function withLf(octets: Buffer): string {
  return octets.toString('latin1').replaceAll('\r\n', '\n');
}
