/** One connection to a server: commands out, replies in, in order, every wait with a deadline. */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import type { Endpoint } from '../mail/endpoint.ts';
import type { Reply } from '../mail/reply.ts';
import { timerMs } from '../mail/time-interval.ts';
import type { ByteStream, ByteStreamListener, LocalEnd } from './byte-stream.ts';
import type { ClientTls } from './client-tls.ts';
import { errorText } from '../mail/error-text.ts';

/** Turns octets into replies; `protocol/reply-parser.ts` is the one there is. */
export interface ReplyDecoder {
  push(octets: Uint8Array): void;
  next(): Reply | undefined;
  /** Printable text of what was no reply. */
  readonly fault: string | undefined;
  /** True while part of a reply is held. */
  readonly pending: boolean;
}

/** What to send and how many replies to wait for; see `protocol/flight.ts`, whose flights have this shape. */
export interface Exchange {
  readonly commands: string;
  readonly body?: readonly Uint8Array[] | ((signal: AbortSignal) => AsyncIterable<Uint8Array>);
  readonly expect: number;
  readonly allow?: number;
  readonly timeoutMs: number;
  readonly blockTimeoutMs?: number;
}

export interface ExchangeResult {
  readonly replies: readonly Reply[];
  /** Set where fewer replies came than expected. */
  readonly fault?: DialogueFault;
}

/** Commands and content up to this size go out in one write; copying is cheaper than a second system call. */
const oneWriteOctets = 65_536;

interface Waiter {
  readonly expect: number;
  readonly resolve: (result: ExchangeResult) => void;
}

export class ClientConnection implements AsyncDisposable {
  readonly endpoint: Endpoint;
  /** Called when the connection is lost while {@link rest}ing. */
  onLost: (() => void) | undefined;
  #stream: ByteStream;
  readonly #listener: ByteStreamListener;
  readonly #decoder: ReplyDecoder;
  #queue: Reply[] = [];
  /** Replies that may be in the queue; one more is unsolicited. */
  #allow = 1;
  #fault: DialogueFault | undefined;
  #waiter: Waiter | undefined;
  /** Resumes a streamed body: the stream drained, failed, or a reply came. */
  #wake: (() => void) | undefined;
  #streaming = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = 0;
  #deadline = Number.POSITIVE_INFINITY;
  #timeoutMs = 0;
  #octetsSent = 0;
  readonly #ended = Promise.withResolvers<void>();

  /** The server is expected to speak first: until the first exchange one reply may come. */
  constructor(endpoint: Endpoint, stream: ByteStream, decoder: ReplyDecoder) {
    this.endpoint = endpoint;
    this.#stream = stream;
    this.#decoder = decoder;
    this.#listener = {
      received: (octets) => this.#received(octets),
      drained: () => this.#wake?.(),
      ended: (failure) => {
        this.#fail(failure === undefined ? { kind: 'closed' } : { kind: 'io', text: failure });
        this.#ended.resolve();
      },
    };
    stream.listen(this.#listener);
  }

  /** Our end of a TCP connection. */
  get local(): LocalEnd | undefined {
    return this.#stream.local;
  }

  /** Why nothing more can be asked; undefined while the connection is good. */
  get fault(): DialogueFault | undefined {
    return this.#fault;
  }

  /** True where the connection is good and every reply that came was taken. */
  get settled(): boolean {
    return (
      this.#fault === undefined &&
      this.#queue.length === 0 &&
      !this.#decoder.pending &&
      this.#waiter === undefined &&
      !this.#streaming
    );
  }

  /** Octets of content and commands written so far. */
  get octetsSent(): number {
    return this.#octetsSent;
  }

  /**
   * Sends and waits for replies; gives the result at once where the replies are there already. Never rejects: what goes
   * wrong is the result's fault, after the replies that came before it. One exchange at a time.
   */
  exchange(x: Exchange): ExchangeResult | Promise<ExchangeResult> {
    if (this.#waiter !== undefined || this.#streaming) throw new Error('an exchange is under way');
    const sends = x.commands !== '' || x.body !== undefined;
    if (sends && this.#queue.length + (this.#decoder.pending ? 1 : 0) > 0) {
      this.#fail({ kind: 'unsolicited', text: this.#queue[0] === undefined ? '' : shown(this.#queue[0]) });
    }
    if (sends && this.#fault !== undefined) return { replies: [], fault: this.#fault };
    this.#allow = x.allow ?? x.expect;
    if (typeof x.body === 'function') return this.#streamed(x, x.body);
    if (sends) this.#send(x.commands, x.body ?? []);
    return this.#replies(x.expect, x.timeoutMs);
  }

  /**
   * Goes on inside TLS, after the 220 to STARTTLS. Never rejects: {@link fault} says what went wrong. What the peer said
   * before the handshake and was not asked for ends the connection, since anybody may have put it in (RFC 3207 §6).
   */
  async secure(tls: ClientTls, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (!this.settled) this.#fail({ kind: 'unsolicited', text: 'before the TLS handshake' });
    if (this.#fault !== undefined) return;
    try {
      if (this.#stream.secure === undefined) throw new Error('no TLS on a pipe');
      this.#stream = await this.#stream.secure(tls, timeoutMs, signal);
      this.#stream.listen(this.#listener);
    } catch (error) {
      this.#fail(signal?.aborted === true ? { kind: 'aborted' } : { kind: 'io', text: errorText(error) });
      this.#ended.resolve();
    }
  }

  /** Lets the connection lie idle: it no longer keeps the process alive, and anything that comes ends it. */
  rest(onLost: () => void): void {
    this.#allow = 0;
    this.onLost = onLost;
    this.#stream.hold(false);
  }

  /** Takes the connection up again. */
  rouse(): void {
    this.onLost = undefined;
    this.#stream.hold(true);
  }

  /** Ends every wait with `aborted` when the signal fires; the returned function takes that back. */
  abortWith(signal: AbortSignal): () => void {
    if (signal.aborted) this.#fail({ kind: 'aborted' });
    const onAbort = (): void => this.#fail({ kind: 'aborted' });
    signal.addEventListener('abort', onAbort, { once: true });
    return () => signal.removeEventListener('abort', onAbort);
  }

  /** Closes at once. */
  destroy(): void {
    this.#fail({ kind: 'closed' });
  }

  /** Says QUIT where the dialogue allows it, closes, and resolves when the connection is gone (at most some seconds). */
  async close(): Promise<void> {
    if (this.settled) {
      this.rouse();
      this.#fault = { kind: 'closed' };
      clearTimeout(this.#timer);
      this.#stream.finish('QUIT\r\n');
    } else this.destroy();
    await this.#ended.promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #send(commands: string, body: readonly Uint8Array[]): void {
    let octets = commands.length;
    for (const part of body) octets += part.length;
    this.#octetsSent += octets;
    if (body.length === 0) {
      this.#stream.write(commands);
      return;
    }
    if (octets > oneWriteOctets) {
      if (commands !== '') this.#stream.write(commands);
      for (const part of body) this.#stream.write(part);
      return;
    }
    const all = Buffer.allocUnsafe(octets);
    let at = all.write(commands, 0, 'latin1');
    for (const part of body) {
      all.set(part, at);
      at += part.length;
    }
    this.#stream.write(all);
  }

  #replies(expect: number, timeoutMs: number): ExchangeResult | Promise<ExchangeResult> {
    const ready = this.#take(expect);
    if (ready !== undefined) return ready;
    this.#waitUntil(timeoutMs);
    return new Promise((resolve) => {
      this.#waiter = { expect, resolve };
    });
  }

  #take(expect: number): ExchangeResult | undefined {
    if (this.#queue.length >= expect) {
      if (this.#queue.length === expect) {
        const replies = this.#queue;
        this.#queue = [];
        return { replies };
      }
      return { replies: this.#queue.splice(0, expect) };
    }
    if (this.#fault === undefined) return undefined;
    const replies = this.#queue;
    this.#queue = [];
    return { replies, fault: this.#fault };
  }

  async #streamed(
    x: Exchange,
    body: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
  ): Promise<ExchangeResult> {
    const abort = new AbortController();
    this.#streaming = true;
    let early = false;
    if (x.commands !== '') this.#send(x.commands, []);
    try {
      for await (const chunk of body(abort.signal)) {
        early = this.#queue.length > 0;
        if (early || this.#fault !== undefined) break;
        this.#octetsSent += chunk.length;
        if (!this.#stream.write(chunk)) await this.#drain(x.blockTimeoutMs ?? x.timeoutMs);
      }
    } catch (error) {
      this.#fail({ kind: 'source', text: errorText(error) });
    } finally {
      this.#streaming = false;
      abort.abort();
    }
    const reply = this.#queue[0];
    if (!early || reply === undefined) return this.#replies(x.expect, x.timeoutMs);
    // An answer to half a message: a refusal can be believed, a 2xx cannot.
    this.#queue = [];
    const fault: DialogueFault = this.#fault ?? { kind: 'unsolicited', text: shown(reply) };
    this.#fail(fault);
    return { replies: reply.code >= 400 ? [reply] : [], fault };
  }

  async #drain(timeoutMs: number): Promise<void> {
    this.#waitUntil(timeoutMs);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    this.#deadline = Number.POSITIVE_INFINITY;
  }

  #received(octets: Uint8Array): void {
    if (this.#fault !== undefined) return;
    this.#decoder.push(octets);
    for (let reply = this.#decoder.next(); reply !== undefined; reply = this.#decoder.next()) {
      if (reply.code === 421) {
        if (this.#queue.length < this.#allow) this.#queue.push(reply);
        this.#fail({ kind: 'shutdown', reply });
        return;
      }
      if (this.#queue.length >= this.#allow) {
        this.#fail({ kind: 'unsolicited', text: shown(reply) });
        return;
      }
      this.#queue.push(reply);
      // The deadline is for the next reply, and one has come.
      if (this.#waiter !== undefined) this.#deadline = performance.now() + this.#timeoutMs;
    }
    if (this.#decoder.fault !== undefined) this.#fail({ kind: 'malformed', text: this.#decoder.fault });
    else if (this.#allow === 0 && this.#decoder.pending) this.#fail({ kind: 'unsolicited', text: '' });
    else this.#settle();
  }

  /** Gives the waiter what there is, if it is enough or all that will come. */
  #settle(): void {
    if (this.#queue.length > 0) this.#wake?.();
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    const result = this.#take(waiter.expect);
    if (result === undefined) return;
    this.#waiter = undefined;
    this.#deadline = Number.POSITIVE_INFINITY;
    waiter.resolve(result);
  }

  #fail(fault: DialogueFault): void {
    if (this.#fault !== undefined) return;
    this.#fault = fault;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stream.destroy();
    this.#wake?.();
    this.#settle();
    const lost = this.onLost;
    this.onLost = undefined;
    lost?.();
  }

  /** One timer serves many waits: it is set anew only when it would ring too late, and looks at the deadline when it rings. */
  #waitUntil(timeoutMs: number): void {
    this.#timeoutMs = timeoutMs;
    this.#deadline = performance.now() + timeoutMs;
    if (this.#timer !== undefined && this.#timerAt <= this.#deadline) return;
    clearTimeout(this.#timer);
    this.#setTimer(timeoutMs);
  }

  #setTimer(inMs: number): void {
    this.#timerAt = performance.now() + inMs;
    // What keeps the process alive during a wait is the stream.
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const leftMs = this.#deadline - performance.now();
      if (leftMs <= 0) this.#fail({ kind: 'timeout', timeoutMs: this.#timeoutMs });
      else if (this.#deadline !== Number.POSITIVE_INFINITY) this.#setTimer(Math.ceil(leftMs));
    }, timerMs(inMs));
    this.#timer.unref();
  }
}

function shown(reply: Reply): string {
  return `${reply.code} ${reply.lines[0]}`.slice(0, 128);
}
