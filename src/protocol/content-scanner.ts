/** Why a message cannot be kept. What follows is read to the real end of the content and dropped. */
export type ContentFault = 'bare-lf' | 'bare-cr' | 'line-too-long' | 'too-big';

/** Bounds of content in octets; 0 for none. */
export interface ContentLimits {
  /** Longest line, CRLF included, before dot-unstuffing. */
  readonly maxDataLineOctets: number;
  readonly maxMessageOctets: number;
}

export const cr = 13;
export const lf = 10;
export const dot = 46;

/** Where in a line the reader stands. A line starts only after a real CRLF, or with the content itself. */
export type LineState = 'start' | 'inside' | 'after-cr' | 'after-dot' | 'after-dot-cr';

/**
 * Follows the lines of a message: that every CR and LF is part of a CRLF (RFC 5321 §2.3.8), where lines begin, and the
 * bounds. Faults are found at the same octet however the content is cut into chunks.
 */
export class ContentScanner {
  state: LineState = 'start';
  /** The first fault of the message; it stays until {@link reset}. */
  fault: ContentFault | undefined;
  /** Content octets accepted by {@link count} so far. */
  octets = 0;
  /** Octets of the line under way that lie before the octets of the next {@link scan}. */
  lineOctets = 0;
  readonly #maxLine: number;
  readonly #maxMessage: number;
  /** Text of a scan that stopped at a dot, for the next, which goes on behind it: made anew each line it costs the square of the chunk. */
  #text:
    | { readonly of: Buffer; readonly from: number; readonly to: number; readonly octets: string }
    | undefined;

  constructor(limits: ContentLimits) {
    this.#maxLine = limits.maxDataLineOctets > 0 ? limits.maxDataLineOctets : Infinity;
    this.#maxMessage = limits.maxMessageOctets > 0 ? limits.maxMessageOctets : Infinity;
  }

  /** A new message begins. */
  reset(): void {
    this.state = 'start';
    this.fault = undefined;
    this.octets = 0;
    this.lineOctets = 0;
    this.#text = undefined;
  }

  /**
   * Walks the lines of buffer[from, to) and gives the index where it stopped: `to`, or with `stopAtDot` the index of a
   * dot at a line start. With {@link fault} set, the index of the octet that showed it, which has not been consumed:
   * `state` is the state before it, so that {@link drain} can go on from there.
   */
  scan(buffer: Buffer, from: number, to: number, stopAtDot: boolean): number {
    let at = from;
    let line = from;
    if (this.state === 'after-cr') {
      if (buffer[at] !== lf) return this.#spoil('bare-cr', from, at, line);
      at++;
      if (this.lineOctets + 1 > this.#maxLine) return this.#endOfLongLine(from, at, line);
      this.state = 'start';
      this.lineOctets = 0;
      line = at;
    }
    // One native copy into a string makes the searches several times cheaper than Buffer.indexOf on short lines.
    const known = this.#text;
    this.#text = undefined;
    const again = known !== undefined && known.of === buffer && known.from <= from && known.to === to;
    const base = again ? known.from : from;
    const text = again ? known.octets : buffer.toString('latin1', from, to);
    while (at < to) {
      if (stopAtDot && this.state === 'start' && buffer[at] === dot) {
        // Not at what may be the end: an idle session keeps nothing.
        if (at + 1 < to && buffer[at + 1] !== cr) this.#text = { of: buffer, from: base, to, octets: text };
        return at;
      }
      const newline = text.indexOf('\n', at - base);
      const carriage = text.indexOf('\r', at - base);
      if (newline < 0 || newline !== carriage + 1 || carriage < 0) {
        if (newline >= 0 && (carriage < 0 || newline < carriage)) {
          this.state = 'inside';
          return this.#spoil('bare-lf', from, newline + base, line);
        }
        this.state = carriage < 0 ? 'inside' : 'after-cr';
        if (carriage >= 0 && carriage + base + 1 < to)
          return this.#spoil('bare-cr', from, carriage + base + 1, line);
        break;
      }
      at = newline + base + 1;
      if (at - line + this.lineOctets > this.#maxLine) return this.#endOfLongLine(from, at, line);
      this.state = 'start';
      this.lineOctets = 0;
      line = at;
    }
    if (to - line + this.lineOctets > this.#maxLine) return this.#spoil('line-too-long', from, to, line);
    this.lineOctets += to - line;
    return to;
  }

  /** Adds scanned octets to the message; false, with the fault set, where it grows too big. */
  count(octets: number): boolean {
    if (this.octets + octets > this.#maxMessage) {
      this.fault = 'too-big';
      return false;
    }
    this.octets += octets;
    return true;
  }

  /** After the last octet of a message without a final dot: a CR with nothing behind it is bare. */
  finish(): void {
    if (this.state === 'after-cr') this.fault ??= 'bare-cr';
  }

  /** Looks for the CRLF.CRLF that ends a spoilt message; the index behind it, or -1 where it is not in buffer[from..]. */
  drain(buffer: Buffer, from: number): number {
    const end = buffer.length;
    let at = from;
    while (at < end) {
      const octet = buffer[at];
      switch (this.state) {
        case 'start':
          this.state = octet === dot ? 'after-dot' : octet === cr ? 'after-cr' : 'inside';
          break;
        case 'after-dot':
          this.state = octet === cr ? 'after-dot-cr' : 'inside';
          break;
        case 'after-dot-cr':
          if (octet === lf) return at + 1;
          this.state = octet === cr ? 'after-cr' : 'inside';
          break;
        case 'after-cr':
          this.state = octet === lf ? 'start' : octet === cr ? 'after-cr' : 'inside';
          break;
        case 'inside': {
          const found = buffer.indexOf('\r\n', at, 'latin1');
          if (found < 0) {
            this.state = buffer[end - 1] === cr ? 'after-cr' : 'inside';
            return -1;
          }
          this.state = 'start';
          at = found + 1;
        }
      }
      at++;
    }
    return -1;
  }

  #endOfLongLine(from: number, at: number, line: number): number {
    this.state = 'start';
    return this.#spoil('line-too-long', from, at, line);
  }

  /** Sets the fault seen at `at`, unless a bound was crossed at an octet before: smaller chunks would have told that first. */
  #spoil(fault: ContentFault, from: number, at: number, line: number): number {
    const tooBigAt = from + this.#maxMessage - this.octets;
    const tooLongAt = line + this.#maxLine - this.lineOctets;
    if (tooLongAt < at && tooLongAt <= tooBigAt) this.fault = 'line-too-long';
    else if (tooBigAt < at) this.fault = 'too-big';
    else this.fault = fault;
    return at;
  }
}
