import type { ClientTls } from './client-tls.ts';

export interface LocalEnd {
  readonly address: string;
  readonly port: number;
}

/** What a client connection needs of a socket or of a child process's pipes. */
export interface ByteStream {
  /** False: wait for `drained` before writing more. Text is written one octet a character. */
  write(octets: Uint8Array | string): boolean;
  /** Writes a last text and closes our side; the stream destroys itself soon afterwards even if the peer does not. */
  finish(text: string): void;
  destroy(): void;
  /** Our end of a TCP connection. */
  readonly local?: LocalEnd;
  /** Whether an otherwise idle process stays alive for this stream. */
  hold(alive: boolean): void;
  /** Set once, before control returns to the event loop; what came earlier is handed over at once. */
  listen(listener: ByteStreamListener): void;
  /**
   * Makes a stream inside TLS of this one, of which nothing more is heard. Absent where that is impossible (pipes).
   * Rejects with MailError: CONNECT, DEADLINE, ABORTED; the stream is destroyed then.
   */
  secure?(tls: ClientTls, timeoutMs: number, signal?: AbortSignal): Promise<ByteStream>;
}

export interface ConnectOptions {
  /** TLS from the first octet. */
  readonly tls?: ClientTls;
  /** Limit of the connection being made (or the command being started), milliseconds; 0 leaves it to the system. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface ByteStreamListener {
  /** The octets are only good during the call: the buffer is used again. */
  received(octets: Uint8Array): void;
  drained(): void;
  /** Once, last. The text says why, where it was not an orderly end. */
  ended(failure: string | undefined): void;
}

/** Keeps what arrives before somebody listens. */
export class Inlet {
  #listener: ByteStreamListener | undefined;
  #early: Uint8Array[] = [];
  #end: { readonly failure: string | undefined } | undefined;

  listen(listener: ByteStreamListener): void {
    this.#listener = listener;
    for (const octets of this.#early) listener.received(octets);
    this.#early = [];
    if (this.#end !== undefined) listener.ended(this.#end.failure);
  }

  received(octets: Uint8Array): void {
    if (this.#listener === undefined) this.#early.push(Buffer.from(octets));
    else this.#listener.received(octets);
  }

  drained(): void {
    this.#listener?.drained();
  }

  ended(failure: string | undefined): void {
    if (this.#end !== undefined) return;
    this.#end = { failure };
    this.#listener?.ended(failure);
  }
}
