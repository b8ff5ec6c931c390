/** Gathers the header section of a message that arrives in parts of any size (RFC 5322 §2.1), up to a bound. */
export interface HeaderSection {
  take(chunk: Uint8Array): void;
  /**
   * The section without its blank line, one octet a character; all of the content where it has no blank line. Undefined
   * where it is longer than the bound. Asked for when the content is complete.
   */
  text(): string | undefined;
  /** Octets of the section with its blank line, once that has come; undefined where the section is longer than the bound. */
  size(): number | undefined;
}

const blankLine = '\r\n\r\n';

/** @param maxOctets longest section, blank line included (Exim: `header_maxsize`) */
export function headerSection(maxOctets: number): HeaderSection {
  let held: Buffer = Buffer.alloc(0);
  let length = 0;
  let text: string | undefined;
  let size: number | undefined;
  let state: 'open' | 'complete' | 'too-long' = 'open';

  /** Looks at `octets[0, end)`, of which everything before `from` is known to hold no blank line. */
  function look(octets: Buffer, from: number, end: number): void {
    const at = octets[0] === 13 && octets[1] === 10 ? -2 : octets.subarray(0, end).indexOf(blankLine, from);
    if (at === -1) {
      if (end > maxOctets) state = 'too-long';
      return;
    }
    state = at + blankLine.length > maxOctets ? 'too-long' : 'complete';
    if (state !== 'complete') return;
    text = octets.toString('latin1', 0, at + 2);
    size = at + blankLine.length;
  }

  return {
    take(chunk) {
      if (state !== 'open' || chunk.length === 0) return;
      const part = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      // Most sections come whole.
      if (length === 0 && part.length > 1) look(part, 0, part.length);
      if (state !== 'open') return;
      const before = length;
      length += part.length;
      if (length > held.length) {
        const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * held.length));
        held.copy(grown, 0, 0, before);
        held = grown;
      }
      part.copy(held, before);
      if (before > 0 && length > 1) look(held, Math.max(0, before - blankLine.length + 1), length);
      if (state !== 'open') held = Buffer.alloc(0);
    },
    size: () => size,
    text() {
      if (state === 'too-long') return undefined;
      return text ?? held.toString('latin1', 0, length);
    },
  };
}
