/** Whoever reads content that still arrives may take so long for a part: its sender must not wait longer for one server. */
export const longestPartMs = 60_000;

/**
 * The octets of a message: lines end in CRLF, no dot-stuffing, header edits not yet applied unless said otherwise.
 * Can be read any number of times while the claim that gave it is held.
 */
export interface MessageSource {
  /** Total length in octets; of content that is growing only what is thought of it. */
  readonly size: number;
  /** It still arrives: its end comes, or its reading fails. */
  readonly growing?: true;
  /** The whole content where it is held in memory anyway; absent for large messages. */
  readonly bytes?: Uint8Array;
  /** Reads the content from the beginning, in chunks of at most some 64 KiB. Throws MailError('IO') where storage fails. */
  open(signal: AbortSignal): AsyncIterable<Uint8Array>;
}
