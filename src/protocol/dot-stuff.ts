/** Transparency of RFC 5321 §4.5.2, sending side: a line that begins with a dot gets another one. Sans-IO. */

const lf = 0x0a;
const cr = 0x0d;
const dot = 0x2e;
const lineStartDot = Buffer.from('\n.', 'latin1');
const finalDot = Buffer.from('.\r\n', 'latin1');
const lfFinalDot = Buffer.from('\n.\r\n', 'latin1');
const crlfFinalDot = Buffer.from('\r\n.\r\n', 'latin1');

/**
 * A whole message as it goes after 354: parts to be written one after the other, the last of them the final
 * `.\r\n` with what the content lacked of its last CRLF. Content without a dot at a line start is not copied.
 * A dot after a bare LF is doubled too: a peer that takes bare LF for a line end must not see an end of data there.
 */
export function dataParts(content: Uint8Array): readonly [Uint8Array, Uint8Array] {
  const stuffer = new DotStuffer();
  return [stuffer.encode(content), stuffer.end()];
}

/** The same for content that comes in chunks; keeps what it must know of the chunk before. */
export class DotStuffer {
  #previous: number = lf;
  #beforePrevious: number = cr;

  /** The chunk itself where nothing had to be put in. */
  encode(chunk: Uint8Array): Uint8Array {
    const length = chunk.length;
    if (length === 0) return chunk;
    const stuffed = stuff(asBuffer(chunk), this.#previous === lf);
    this.#beforePrevious = length > 1 ? (chunk[length - 2] ?? 0) : this.#previous;
    this.#previous = chunk[length - 1] ?? 0;
    return stuffed;
  }

  /** The end of data. The stuffer is ready for another message afterwards. */
  end(): Uint8Array {
    const end =
      this.#previous === lf && this.#beforePrevious === cr
        ? finalDot
        : this.#previous === cr
          ? lfFinalDot
          : crlfFinalDot;
    this.#previous = lf;
    this.#beforePrevious = cr;
    return end;
  }
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.isBuffer(octets) ? octets : Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
}

function stuff(chunk: Buffer, atLineStart: boolean): Uint8Array {
  const leading = atLineStart && chunk[0] === dot;
  const first = leading ? 0 : dotFrom(chunk, 0);
  if (first < 0) return chunk;
  const places: number[] = [];
  for (let at = first; at >= 0; at = dotFrom(chunk, at)) places.push(at);
  const out = Buffer.allocUnsafe(chunk.length + places.length);
  let from = 0;
  let to = 0;
  for (const at of places) {
    chunk.copy(out, to, from, at);
    to += at - from;
    out[to++] = dot;
    from = at;
  }
  chunk.copy(out, to, from);
  return out;
}

/** Where the next dot at a line start stands, after `at`; -1 for none. */
function dotFrom(chunk: Buffer, at: number): number {
  const found = chunk.indexOf(lineStartDot, at);
  return found < 0 ? -1 : found + 1;
}
