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

const nothing = new Uint8Array(0);

/** Each message has its own. A CR that does not stand before LF is kept; of CR CR LF the last CR goes. */
export function lineEnds(): LineEnds {
  /** A CR whose next octet has not come. */
  let held = '';
  let lastWasCr = false;
  let stored = 0;
  let bare = 0;
  return {
    convert(chunk) {
      // Copies into a string and back are several times cheaper than searches in a Buffer on short lines.
      const text = held + Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1');
      held = text.endsWith('\r') ? '\r' : '';
      const out = (held === '' ? text : text.slice(0, -1)).replaceAll('\r\n', '\n');
      if (out === '') return nothing;
      for (let at = out.indexOf('\n'); at >= 0; at = out.indexOf('\n', at + 1))
        if (at === 0 ? !lastWasCr : out[at - 1] !== '\r') bare++;
      lastWasCr = out.endsWith('\r');
      stored += out.length;
      return Buffer.from(out, 'latin1');
    },
    finish() {
      if (held === '') return nothing;
      held = '';
      stored++;
      return Buffer.of(0x0d);
    },
    storedBytes: () => stored,
    virtualBytes: () => stored + bare,
  };
}
