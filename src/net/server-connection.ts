import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { deadlines, type Waiter } from './deadlines.ts';
import { acceptTls, tlsFactsOf, tlsFaultText, type TlsFacts } from './tls-accept.ts';

/**
 * Why a read gave no octets: `end` the client closed its side in order, `lost` the connection broke, `timeout` nothing
 * came in time, `stop` the server is shutting down.
 */
export type ReadEnd = 'end' | 'lost' | 'timeout' | 'stop';

/** Received octets not asked for yet; beyond this the socket is not read, and TCP holds the client back. */
const maxQueuedOctets = 64 * 1024;
/** Written octets the client has not taken; beyond this nothing more is read from it until it does. */
const maxUnsentOctets = 64 * 1024;
/** Connections whose replies are sent at the end of this turn of the event loop. */
let due: ServerConnection[] = [];

/** One after the other: a client that is woken by one reply finds the others there, and does not take the processor from us in between. */
function sendDue(): void {
  const now = due;
  due = [];
  for (const connection of now) connection.flush();
}

/** How long a client may take to close after we did, and how much it may still send, so that our last reply is not lost to a reset. */
const lingerMs = 2_000;
const lingerOctets = 1024 * 1024;

export interface PeerAddress {
  /** IPv4-mapped IPv6 addresses are given as IPv4; empty for a UNIX socket. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/**
 * One accepted connection, read by pulling. Nothing here throws or emits: what goes wrong with the socket shows as the
 * result of the next read. Text is written one octet a character.
 */
export class ServerConnection implements Waiter {
  deadlineMs: number = Infinity;
  /** What went wrong with the socket, once something did; for logs. */
  failure: Error | undefined;
  #socket: Socket;
  #queue: Buffer[] = [];
  #queuedOctets = 0;
  /** Octets that came after we closed. */
  #dropped = 0;
  #out = '';
  /** It is among {@link due}, or was when it flushed before its turn. */
  #due = false;
  #ended: 'end' | 'lost' | undefined;
  #stopping = false;
  #closing = false;
  #wakeReader: (() => void) | undefined;
  #readerStops = false;
  #timedOut = false;
  #whenClosed: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    deadlines.add(this);
    this.#follow(socket);
  }

  #follow(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      if (this.#closing) {
        this.#dropped += chunk.length;
        if (this.#dropped > lingerOctets) socket.destroy();
        return;
      }
      this.#queue.push(chunk);
      this.#queuedOctets += chunk.length;
      if (this.#queuedOctets >= maxQueuedOctets) socket.pause();
      this.#wake();
    });
    socket.on('end', () => this.#over('end'));
    socket.on('drain', () => this.#wake());
    socket.on('error', (error) => {
      this.failure ??= error;
    });
    socket.on('close', () => {
      deadlines.remove(this);
      this.#over('lost');
      this.#whenClosed?.();
    });
  }

  /**
   * Sends what was written and goes on over TLS, as its server. A text says why that failed, and nothing more can be
   * done with the connection then: octets that came before the handshake (RFC 3207 §4.2: they would be taken for what
   * came under its protection), a client that speaks no TLS, or the time.
   */
  async startTls(context: SecureContext, timeoutMs: number): Promise<TlsFacts | string> {
    this.flush();
    if (this.hasInput) return 'plain text sent before the TLS handshake';
    const plain = this.#socket;
    plain.removeAllListeners('data').removeAllListeners('end').removeAllListeners('close');
    let facts: TlsFacts | undefined;
    const secure = acceptTls(plain, context, () => {
      facts = tlsFactsOf(secure);
      this.#wake();
    });
    this.#socket = secure;
    this.#follow(secure);
    this.#timedOut = false;
    deadlines.arm(this, timeoutMs);
    while (facts === undefined && this.#ended === undefined && !this.#timedOut) await this.#wait();
    deadlines.disarm(this);
    if (facts !== undefined) return facts;
    secure.destroy();
    if (this.#timedOut) return 'TLS handshake timed out';
    return this.failure === undefined ? 'disconnected during the TLS handshake' : tlsFaultText(this.failure);
  }

  /** Who is at either end; costs two system calls when it is first asked for. */
  get peer(): PeerAddress {
    const socket = this.#socket;
    return {
      remoteAddress: plainAddress(socket.remoteAddress),
      remotePort: socket.remotePort ?? 0,
      localAddress: plainAddress(socket.localAddress),
      localPort: socket.localPort ?? 0,
    };
  }

  /** Whether octets have arrived that were not read yet. */
  get hasInput(): boolean {
    return this.#queue.length > 0;
  }

  /** Takes what has arrived already, without waiting; undefined where that is nothing. */
  tryRead(): Buffer | undefined {
    const chunk = this.#queue.shift();
    if (chunk === undefined) return undefined;
    this.#queuedOctets -= chunk.length;
    if (this.#queuedOctets < maxQueuedOctets && this.#socket.isPaused()) this.#socket.resume();
    return chunk;
  }

  /**
   * Waits for octets. Replies written so far are sent in this turn of the event loop, and while the client does not take them nothing is read.
   * @param timeoutMs most time for the wait as a whole
   * @param stoppable gives `stop` when the server shuts down (between commands, not within a message)
   */
  async read(timeoutMs: number, stoppable: boolean): Promise<Buffer | ReadEnd> {
    this.#flushSoon();
    this.#timedOut = false;
    deadlines.arm(this, timeoutMs);
    try {
      for (;;) {
        if (stoppable && this.#stopping) return 'stop';
        if (this.#socket.writableLength <= maxUnsentOctets || this.#ended === 'lost') {
          const chunk = this.tryRead();
          if (chunk !== undefined) return chunk;
          if (this.#ended !== undefined) return this.#ended;
        }
        if (this.#timedOut) return 'timeout';
        this.#readerStops = stoppable;
        await this.#wait();
      }
    } finally {
      deadlines.disarm(this);
    }
  }

  /** Adds a reply to those that the next flush or read sends together. */
  write(text: string): void {
    this.#out += text;
    // A batch of many long replies must not pile up in memory before it is sent.
    if (this.#out.length > maxUnsentOctets) this.flush();
  }

  /** Sends what was written. */
  flush(): void {
    this.#due = false;
    if (this.#out === '') return;
    const text = this.#out;
    this.#out = '';
    if (this.#socket.writable) this.#socket.write(text, 'latin1');
  }

  #flushSoon(): void {
    if (this.#out === '' || this.#due) return;
    this.#due = true;
    if (due.push(this) === 1) setImmediate(sendDue);
  }

  /** Whether more is waiting to be sent than a client that reads its replies leaves; a read waits until it is not. */
  get isCongested(): boolean {
    return this.#socket.writableLength > maxUnsentOctets;
  }

  /** Sends what was written and resolves in the next turn of the event loop. */
  breathe(): Promise<void> {
    this.flush();
    return new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  /** Waits until the client has taken its replies; false where it does not in time or is gone. */
  async drained(timeoutMs: number): Promise<boolean> {
    this.flush();
    this.#timedOut = false;
    deadlines.arm(this, timeoutMs);
    while (this.isCongested && this.#ended !== 'lost' && !this.#timedOut) await this.#wait();
    deadlines.disarm(this);
    return !this.isCongested;
  }

  /** Sends what was written and closes; resolves when the connection is gone, at the latest after a short grace. */
  close(): Promise<void> {
    if (this.#socket.destroyed) return Promise.resolve();
    this.#closing = true;
    this.#queue = [];
    const text = this.#out;
    this.#out = '';
    if (this.#ended === 'lost' || !this.#socket.writable || this.isCongested) this.#socket.destroy();
    else {
      // Input is still read and dropped: closing over unread input would reset the connection under our last reply.
      this.#socket.resume();
      if (text === '') this.#socket.end();
      else this.#socket.end(text, 'latin1');
      if (this.#ended === 'end' && this.#socket.writableLength === 0) this.#socket.destroySoon();
    }
    deadlines.arm(this, lingerMs);
    return new Promise((resolve) => {
      this.#whenClosed = resolve;
    });
  }

  /** Closes at once, whatever is under way. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Lets the next or a waiting stoppable read give `stop`. */
  stop(): void {
    this.#stopping = true;
    if (this.#readerStops) this.#wake();
  }

  /** Called by the deadline timer only. */
  expired(): void {
    if (this.#closing) {
      this.#socket.destroy();
      return;
    }
    this.#timedOut = true;
    this.#wake();
  }

  #over(how: 'end' | 'lost'): void {
    if (this.#ended === undefined || how === 'lost') this.#ended = how;
    // As the kernel does with what it holds: nobody is there to be answered.
    if (how === 'lost') {
      this.#queue = [];
      this.#queuedOctets = 0;
    }
    if (this.#closing && how === 'end') this.#socket.destroySoon();
    this.#wake();
  }

  #wake(): void {
    const wake = this.#wakeReader;
    this.#wakeReader = undefined;
    this.#readerStops = false;
    wake?.();
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeReader = resolve;
    });
  }
}

function plainAddress(address: string | undefined): string {
  if (address === undefined) return '';
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
