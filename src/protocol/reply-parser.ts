/** The client's side of RFC 5321 §4.2: reads replies out of octets that come in any portions. Sans-IO. */
import type { EnhancedStatus, Reply } from '../mail/reply.ts';

/** Bounds of one reply; a peer that exceeds one is treated as talking nonsense. */
export interface ReplyLimits {
  /** Longest line without its line end, octets. RFC 5321 §4.5.3.1.5 allows 512; many peers send more. */
  readonly maxLineOctets: number;
  readonly maxLines: number;
  /** All lines of a reply together, octets. */
  readonly maxReplyOctets: number;
}

export const defaultReplyLimits: ReplyLimits = { maxLineOctets: 2048, maxLines: 128, maxReplyOctets: 16_384 };

const zero = 0x30;
const hyphen = 0x2d;
const space = 0x20;
const shownOctets = 128;

/**
 * Give octets with {@link push}, then take replies with {@link next} until it gives undefined. A line may end in a bare
 * LF (Exim manual, "Outgoing SMTP and LMTP over TCP/IP": some hosts send no CR). Once something malformed was seen the
 * parser gives no more replies: where the next one would begin is not known.
 */
export class ReplyParser {
  readonly #limits: ReplyLimits;
  /** Octets not yet consumed, from #at on; one octet a character. */
  #text = '';
  #at = 0;
  #code = 0;
  #lines: string[] = [];
  #octets = 0;
  #fault: string | undefined;

  constructor(limits: ReplyLimits = defaultReplyLimits) {
    this.#limits = limits;
  }

  /** What was not a reply, in printable form; undefined while all is well. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** True while octets or lines of an unfinished reply are held. */
  get pending(): boolean {
    return this.#at < this.#text.length || this.#lines.length > 0;
  }

  push(octets: Uint8Array): void {
    if (this.#fault !== undefined) return;
    const text = latin1(octets);
    this.#text = this.#at === this.#text.length ? text : this.#text.slice(this.#at) + text;
    this.#at = 0;
  }

  next(): Reply | undefined {
    while (this.#fault === undefined) {
      const end = this.#text.indexOf('\n', this.#at);
      if (end < 0) {
        // One more than the limit, for the CR of a line whose LF has not come yet.
        if (this.#text.length - this.#at > this.#limits.maxLineOctets + 1)
          this.#refuse(this.#text.slice(this.#at));
        return undefined;
      }
      const stop = end > this.#at && this.#text.charCodeAt(end - 1) === 0x0d ? end - 1 : end;
      const line = this.#text.slice(this.#at, stop);
      this.#at = end + 1;
      const reply = this.#line(line);
      if (reply !== undefined) return reply;
    }
    return undefined;
  }

  #line(line: string): Reply | undefined {
    const code = codeOf(line);
    const separator = line.length === 3 ? space : line.charCodeAt(3);
    const more = separator === hyphen;
    const first = this.#lines.length === 0;
    this.#octets += line.length;
    if (
      code === 0 ||
      (separator !== space && !more) ||
      (!first && code !== this.#code) ||
      line.length > this.#limits.maxLineOctets ||
      this.#octets > this.#limits.maxReplyOctets ||
      this.#lines.length >= this.#limits.maxLines
    ) {
      this.#refuse(line);
      return undefined;
    }
    this.#code = code;
    this.#lines.push(printable(line.slice(4)));
    if (more) return undefined;
    const [head = '', ...rest] = this.#lines;
    this.#lines = [];
    this.#octets = 0;
    return withStatus(code, [head, ...rest]);
  }

  #refuse(line: string): void {
    this.#fault = printable(line.slice(0, shownOctets));
    this.#text = '';
    this.#at = 0;
    this.#lines = [];
  }
}

/** 200 to 599, or 0 for anything else: 1xx and 6xx are no SMTP replies (RFC 5321 §4.2.1). */
function codeOf(line: string): number {
  const a = line.charCodeAt(0) - zero;
  const b = line.charCodeAt(1) - zero;
  const c = line.charCodeAt(2) - zero;
  return a >= 2 && a <= 5 && b >= 0 && b <= 9 && c >= 0 && c <= 9 ? a * 100 + b * 10 + c : 0;
}

/** Control characters become `?`, so that a reply can forge no line of a log or of another reply. */
function printable(text: string): string {
  return /[\x00-\x08\x0a-\x1f\x7f]/.test(text) ? text.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, '?') : text;
}

const statusPattern = /^([245]\.\d{1,3}\.\d{1,3})(?: |$)/;

/** Takes the enhanced status off where every line begins with the same one, of the code's class (RFC 2034 §4). */
function withStatus(code: number, lines: readonly [string, ...string[]]): Reply {
  if (lines[0].charCodeAt(1) !== 0x2e) return { code, lines };
  const status = statusPattern.exec(lines[0])?.[1];
  if (status === undefined || status.charCodeAt(0) - zero !== Math.floor(code / 100)) return { code, lines };
  const stripped: string[] = [];
  for (const line of lines) {
    if (!line.startsWith(status) || (line.length > status.length && line[status.length] !== ' '))
      return { code, lines };
    stripped.push(line.slice(status.length + 1));
  }
  const [head = '', ...rest] = stripped;
  return { code, status: status as EnhancedStatus, lines: [head, ...rest] };
}

function latin1(octets: Uint8Array): string {
  const buffer = Buffer.isBuffer(octets)
    ? octets
    : Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
  return buffer.toString('latin1');
}
