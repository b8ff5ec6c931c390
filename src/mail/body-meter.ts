/** What `$message_body` and its relatives tell, measured while the message goes by. */

/** Facts of a body that has been received. Octets as in the spool of Exim: lines end in LF. */
export interface BodyFacts {
  /** The first and the last `message_body_visible` octets. */
  readonly start: string;
  readonly end: string;
  readonly octets: number;
  readonly lines: number;
  readonly zeroOctets: number;
  /** The longest line of the whole message, its end not counted. */
  readonly longestLine: number;
  /** A blank line stands between header section and body, and counts among the lines of the message. */
  readonly blankLine: boolean;
}

export interface BodyMeter {
  /** Octets of the message so far. */
  octets(): number;
  /** Line ends of the message so far. */
  lines(): number;
  /** Octets of the longest line so far, its end not counted. */
  longestLine(): number;
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
    octets: () => octets,
    lines: () => lines,
    // The CR of the longest line was counted.
    longestLine: () => Math.max(0, longestLine - 1),
    take(chunk) {
      const part = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      const before = octets;
      octets += part.length;
      if (bodyAt === undefined) {
        const size = headerSize();
        if (size !== undefined && size <= octets) bodyAt = size;
      }
      const bodyStart = bodyAt === undefined ? part.length : Math.max(0, bodyAt - before);
      // This loop is most of what a message costs here: plain locals only.
      let count = 0;
      let ofHead = 0;
      let longest = longestLine;
      let start = lineStart - before;
      for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, start)) {
        count++;
        if (at < bodyStart) ofHead++;
        if (at - start > longest) longest = at - start;
        start = at + 1;
      }
      lines += count;
      headLines += ofHead;
      longestLine = longest;
      lineStart = start + before;
      if (bodyStart < part.length) takeBody(bodyStart === 0 ? part : part.subarray(bodyStart));
    },
    facts() {
      const bodyLines = bodyAt === undefined ? 0 : lines - headLines;
      return {
        start: withLf(Buffer.concat(head)).slice(0, visibleOctets),
        end: visibleOctets === 0 ? '' : withLf(Buffer.concat(tail)).slice(-visibleOctets),
        octets: bodyAt === undefined ? 0 : octets - bodyAt - bodyLines,
        lines: bodyLines,
        zeroOctets,
        longestLine: Math.max(0, longestLine - 1),
        blankLine: bodyAt !== undefined,
      };
    },
  };
}

function withLf(octets: Buffer): string {
  return octets.toString('latin1').replaceAll('\r\n', '\n');
}

/** Octets of the longest line of a whole message, whose lines end in CRLF. */
export function longestLineOf(content: Uint8Array): number {
  const octets = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  let longest = 0;
  let start = 0;
  for (let at = octets.indexOf('\r\n'); at >= 0; at = octets.indexOf('\r\n', start)) {
    if (at - start > longest) longest = at - start;
    start = at + 2;
  }
  return Math.max(longest, octets.length - start);
}
