/** How content goes to a worker: each part after its length, and an empty part at the end, so that a broken pipe is no end. */

const head = 4;
export const maxFrameOctets: number = 1024 * 1024;

export function frame(part: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(head + part.length);
  out.writeUInt32BE(part.length, 0);
  out.set(part, head);
  return out;
}

export const endFrame: Buffer = Buffer.alloc(head);

/** The parts of a stream of frames, the first among them. Throws where the stream ends before the empty part. */
export async function* readFrames(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    while (held.length >= head) {
      const length = held.readUInt32BE(0);
      if (length > maxFrameOctets) throw new Error('a part is too long');
      if (length === 0) return;
      if (held.length < head + length) break;
      yield held.subarray(head, head + length);
      held = held.subarray(head + length);
    }
  }
  throw new Error('the message ended early');
}
