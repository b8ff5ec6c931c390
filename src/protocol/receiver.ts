/**
 * The server's side of framing: octets in, events out, no sockets. Strict about line ends (RFC 5321 §2.3.8, §4.1.1.4):
 * only CRLF ends a command and only CRLF.CRLF ends DATA, so no other reading of the same octets can find a message
 * that we did not ("SMTP smuggling"). The same octets give the same events however they are cut into chunks.
 */
import { ContentScanner, cr, dot, lf, type ContentFault, type ContentLimits } from './content-scanner.ts';

/** Why a command line was refused as a whole. The line is dropped up to its CRLF. */
export type CommandFault = 'bare-lf' | 'bare-cr' | 'nul' | 'too-long';

export type ReceiverEvent =
  | { readonly kind: 'need-more' }
  /** A command line without its CRLF, one octet a character. */
  | { readonly kind: 'command'; readonly line: string }
  | { readonly kind: 'command-fault'; readonly fault: CommandFault }
  /** The next part of the content, dot-unstuffed; a view of the chunk that was pushed. */
  | { readonly kind: 'content'; readonly chunk: Buffer }
  /** The message is spoilt: no content event follows until its end. */
  | { readonly kind: 'content-fault'; readonly fault: ContentFault }
  /** The final dot, or the last octet of a BDAT chunk; with the fault of the message so far. */
  | { readonly kind: 'content-end'; readonly fault: ContentFault | undefined };

/** Bounds of a {@link Receiver}. */
export interface ReceiverLimits extends ContentLimits {
  /** Longest command line in octets, CRLF included. */
  readonly maxCommandOctets: number;
}

const needMore: ReceiverEvent = { kind: 'need-more' };
const empty: Buffer = Buffer.alloc(0);

export class Receiver {
  readonly #maxCommandOctets: number;
  readonly #content: ContentScanner;
  #mode: 'command' | 'skip-command' | 'data' | 'chunk' = 'command';
  #buffer: Buffer = empty;
  #at = 0;
  /** Up to here the end of the command line has been looked for in vain. */
  #searched = 0;
  #skipSawCr = false;
  #chunkLeft = 0;
  #faultTold = false;

  constructor(limits: ReceiverLimits) {
    this.#maxCommandOctets = limits.maxCommandOctets;
    this.#content = new ContentScanner(limits);
  }

  /** Whether octets have arrived that no event has covered yet. */
  get hasInput(): boolean {
    return this.#at < this.#buffer.length;
  }

  /** Command lines that have come already behind the one at hand: whole ones, at most `max`, up to the first that is malformed. */
  following(max: number): string[] {
    const lines: string[] = [];
    if (this.#mode !== 'command') return lines;
    const buffer = this.#buffer;
    for (let at = this.#at; lines.length < max; ) {
      const end = buffer.indexOf(lf, at);
      if (end <= at || buffer[end - 1] !== cr || end - at >= this.#maxCommandOctets) break;
      const line = buffer.toString('latin1', at, end - 1);
      if (/[\r\0]/.test(line)) break;
      lines.push(line);
      at = end + 1;
    }
    return lines;
  }

  /** Content octets given out of the message under way, or of the last one. */
  get messageOctets(): number {
    return this.#content.octets;
  }

  /** Takes what arrived. It is kept by reference: the caller must not write into it any more. */
  push(chunk: Buffer): void {
    if (this.hasInput) {
      // Content is always consumed whole, so this copies no more than an unfinished command line.
      this.#buffer = Buffer.concat([this.#buffer.subarray(this.#at), chunk]);
      this.#searched = Math.max(0, this.#searched - this.#at);
    } else {
      this.#buffer = chunk;
      this.#searched = 0;
    }
    this.#at = 0;
  }

  /** A new message begins: its counters and faults start afresh. */
  beginMessage(): void {
    this.#content.reset();
    this.#faultTold = false;
  }

  /** What follows is a message up to CRLF.CRLF. */
  expectData(): void {
    this.beginMessage();
    this.#mode = 'data';
  }

  /** What follows is `octets` octets of the message (RFC 3030); a line may run on from one chunk into the next. */
  expectChunk(octets: number): void {
    this.#chunkLeft = octets;
    this.#mode = 'chunk';
  }

  /** After the last chunk: the fault of the message as a whole. */
  endOfChunks(): ContentFault | undefined {
    this.#content.finish();
    return this.#content.fault;
  }

  /** The next event; `need-more` when only {@link push} can bring one. */
  next(): ReceiverEvent {
    switch (this.#mode) {
      case 'command':
        return this.#command();
      case 'skip-command':
        return this.#skipCommand() ? this.#command() : needMore;
      case 'data':
        return this.#data();
      case 'chunk':
        return this.#chunk();
    }
  }

  #command(): ReceiverEvent {
    const buffer = this.#buffer;
    const start = this.#at;
    if (start >= buffer.length) {
      // An idle session holds on to no memory of its last input.
      this.#buffer = empty;
      this.#at = this.#searched = 0;
      return needMore;
    }
    const end = buffer.indexOf(lf, Math.max(start, this.#searched));
    if ((end < 0 ? buffer.length : end) - start >= this.#maxCommandOctets) {
      return this.#skipFrom(start + this.#maxCommandOctets, 'too-long');
    }
    if (end < 0) {
      this.#searched = buffer.length;
      return needMore;
    }
    if (end === start || buffer[end - 1] !== cr) return this.#skipFrom(end + 1, 'bare-lf');
    const line = buffer.toString('latin1', start, end - 1);
    this.#at = this.#searched = end + 1;
    if (line.includes('\r')) return { kind: 'command-fault', fault: 'bare-cr' };
    if (line.includes('\0')) return { kind: 'command-fault', fault: 'nul' };
    return { kind: 'command', line };
  }

  #skipFrom(at: number, fault: CommandFault): ReceiverEvent {
    this.#skipSawCr = this.#buffer[at - 1] === cr;
    this.#at = at;
    this.#mode = 'skip-command';
    return { kind: 'command-fault', fault };
  }

  /** Drops the rest of a refused line; true when its CRLF has come. */
  #skipCommand(): boolean {
    const buffer = this.#buffer;
    const start = this.#at;
    if (start >= buffer.length) return false;
    let end = this.#skipSawCr && buffer[start] === lf ? start + 1 : -1;
    if (end < 0) {
      const found = buffer.indexOf('\r\n', start, 'latin1');
      if (found >= 0) end = found + 2;
    }
    if (end < 0) {
      this.#skipSawCr = buffer[buffer.length - 1] === cr;
      this.#at = buffer.length;
      return false;
    }
    this.#at = this.#searched = end;
    this.#mode = 'command';
    return true;
  }

  #data(): ReceiverEvent {
    const content = this.#content;
    const buffer = this.#buffer;
    while (content.fault === undefined) {
      const octet = buffer[this.#at];
      if (octet === undefined) return needMore;
      if (content.state === 'start' && octet === dot) {
        content.state = 'after-dot';
        content.lineOctets = 1;
        this.#at++;
      } else if (content.state === 'after-dot' && octet === cr) {
        content.state = 'after-dot-cr';
        this.#at++;
      } else if (content.state === 'after-dot-cr') {
        if (octet === lf) return this.#endData(this.#at + 1);
        content.state = 'after-cr';
        content.fault = 'bare-cr';
      } else {
        if (content.state === 'after-dot') content.state = 'inside';
        const chunk = this.#lines();
        if (chunk !== undefined) return { kind: 'content', chunk };
      }
    }
    if (!this.#faultTold) return this.#tellFault(content.fault);
    const end = content.drain(buffer, this.#at);
    this.#at = buffer.length;
    return end < 0 ? needMore : this.#endData(end);
  }

  /**
   * Content up to a dot that may be the final one, or to the end of what there is; undefined for a fault. Only where
   * stuffed dots are taken out is it copied: an event for each line with a dot would let a client make us work by the line.
   */
  #lines(): Buffer | undefined {
    const content = this.#content;
    const buffer = this.#buffer;
    const parts: Buffer[] = [];
    for (;;) {
      const first = this.#at;
      this.#at = content.scan(buffer, first, buffer.length, true);
      if (content.fault !== undefined || !content.count(this.#at - first)) return undefined;
      const part = buffer.subarray(first, this.#at);
      const behindDot = buffer[this.#at + 1];
      if (behindDot === undefined || behindDot === cr)
        return parts.length === 0 ? part : Buffer.concat([...parts, part]);
      parts.push(part);
      content.state = 'inside';
      content.lineOctets = 1;
      this.#at++;
    }
  }

  #endData(at: number): ReceiverEvent {
    this.#mode = 'command';
    this.#at = this.#searched = at;
    return { kind: 'content-end', fault: this.#content.fault };
  }

  #chunk(): ReceiverEvent {
    const content = this.#content;
    const first = this.#at;
    const end = Math.min(this.#buffer.length, first + this.#chunkLeft);
    if (end > first) {
      this.#chunkLeft -= end - first;
      this.#at = end;
      if (content.fault === undefined) {
        content.scan(this.#buffer, first, end, false);
        if (content.fault === undefined && content.count(end - first)) {
          return { kind: 'content', chunk: this.#buffer.subarray(first, end) };
        }
      }
    }
    if (content.fault !== undefined && !this.#faultTold) return this.#tellFault(content.fault);
    if (this.#chunkLeft > 0) return needMore;
    this.#mode = 'command';
    this.#searched = this.#at;
    return { kind: 'content-end', fault: content.fault };
  }

  #tellFault(fault: ContentFault): ReceiverEvent {
    this.#faultTold = true;
    return { kind: 'content-fault', fault };
  }
}
