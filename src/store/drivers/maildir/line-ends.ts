/** CRLF to LF as Dovecot stores mail (`mail_save_crlf = no`), with the count that gives the virtual size. */

export interface LineEnds {
  /** Converts the next part; the answer is valid until the next call. */
  convert(chunk: Uint8Array): Uint8Array;
  /** What was held back at the end: a lone CR, or nothing. */
  finish(): Uint8Array;
  /** Octets given out so far. */
  storedBytes(): number;
  /** The same with CRLF at the end of every line: what `W=` says. */
  virtualBytes(): number;
}

const lf = 0x0a;
const cr = 0x0d;
const nothing = new Uint8Array(0);

/** Each message has its own. A CR that does not stand before LF is kept; of CR CR LF the last CR goes. */
export function lineEnds(): LineEnds {
  let heldCr = false;
  let lastWasCr = false;
  let stored = 0;
  let bare = 0;
  return {
    convert(chunk) {
      if (chunk.length === 0) return nothing;
      const source = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      const out = Buffer.allocUnsafe(source.length + 1);
      let at = 0;
      let start = 0;
      // A CR held back goes in front, unless this part begins with the LF that it belongs to.
      if (heldCr && source[0] !== lf) {
        out[at++] = cr;
        lastWasCr = true;
      }
      heldCr = false;
      for (;;) {
        const i = source.indexOf(lf, start);
        if (i < 0) break;
        const end = i > start && source[i - 1] === cr ? i - 1 : i;
        if (end > start) {
          at += source.copy(out, at, start, end);
          lastWasCr = source[end - 1] === cr;
        }
        if (!lastWasCr) bare++;
        lastWasCr = false;
        out[at++] = lf;
        start = i + 1;
      }
      if (start < source.length) {
        heldCr = source[source.length - 1] === cr;
        const end = heldCr ? source.length - 1 : source.length;
        if (end > start) {
          at += source.copy(out, at, start, end);
          lastWasCr = source[end - 1] === cr;
        }
      }
      stored += at;
      return out.subarray(0, at);
    },
    finish() {
      if (!heldCr) return nothing;
      heldCr = false;
      stored++;
      return Buffer.of(cr);
    },
    storedBytes: () => stored,
    virtualBytes: () => stored + bare,
  };
}
