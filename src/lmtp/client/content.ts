import type { MessageSource } from '../../mail/message-source.ts';

/** A message held in memory: lines must end in CRLF. */
export function messageFromBytes(bytes: Uint8Array): MessageSource {
  return {
    size: bytes.length,
    bytes,
    async *open() {
      yield bytes;
    },
  };
}
