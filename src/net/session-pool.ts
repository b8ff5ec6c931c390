/** Connections kept for the next use: greeted, in a clean state, few, and not for long. */
import { MailError } from '../mail/mail-error.ts';
import type { ClientConnection } from './client-connection.ts';

export interface PoolSession {
  readonly connection: ClientConnection;
}

/** Bounds of a pool. */
export interface PoolOptions {
  /** Connections to one endpoint at a time; further users wait in order. */
  readonly maxPerEndpoint: number;
  /** How long an unused connection is kept, milliseconds; 0 closes it at once. */
  readonly idleTimeoutMs: number;
  /** A connection is closed after this many uses; 0 for no bound (Exim: `connection_max_messages`). */
  readonly maxUses: number;
  /** Users that may wait for a connection to one endpoint; one more is refused with MailError LIMIT. */
  readonly maxWaiting: number;
}

export const defaultPoolOptions: PoolOptions = {
  maxPerEndpoint: 16,
  idleTimeoutMs: 5000,
  maxUses: 500,
  maxWaiting: 10_000,
};

/** The right to use a session until it is given back with {@link SessionPool.release}. */
export interface Lease<S> {
  readonly key: string;
  readonly session: S;
  /** True where it had served before: it may have been closed by the peer without our knowing yet. */
  reused: boolean;
  uses: number;
  idleSinceMs: number;
}

/** What a waiting user is given: a session, or leave to open one (already counted), or notice that the pool closed. */
type Offer<S> = Lease<S> | 'open' | 'closed';

interface Place<S> {
  /** Last used last. */
  readonly idle: Lease<S>[];
  /** In use, idle or being opened. */
  count: number;
  readonly waiting: Set<(offer: Offer<S>) => void>;
}

export class SessionPool<S extends PoolSession> {
  readonly #options: PoolOptions;
  readonly #places = new Map<string, Place<S>>();
  readonly #closing = new Set<Promise<void>>();
  #sweep: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /**
   * An idle session, at once; else a new one made by `open`, or the next that is given back.
   * @param open makes a session; what it rejects with is passed on
   * @param fresh do not take an idle one: close those there are, since the peer seems to have gone away
   * Rejects with MailError: LIMIT, ABORTED, UNAVAILABLE once the pool is closed.
   */
  acquire(
    key: string,
    open: () => Promise<S>,
    signal?: AbortSignal,
    fresh = false,
  ): Lease<S> | Promise<Lease<S>> {
    if (this.#closed) return Promise.reject(poolClosed());
    const place = this.#place(key);
    if (fresh) for (const lease of place.idle.splice(0)) this.#drop(place, lease);
    const idle = this.#takeIdle(place);
    if (idle !== undefined) return idle;
    if (place.count >= this.#options.maxPerEndpoint) return this.#wait(key, place, open, signal);
    place.count++;
    return this.#open(key, place, open);
  }

  /** Gives a session back. @param reusable false closes it */
  release(lease: Lease<S>, reusable: boolean): void {
    const place = this.#place(lease.key);
    const { maxUses, idleTimeoutMs } = this.#options;
    lease.uses++;
    if (
      !reusable ||
      this.#closed ||
      !lease.session.connection.settled ||
      (maxUses > 0 && lease.uses >= maxUses) ||
      (idleTimeoutMs === 0 && place.waiting.size === 0)
    ) {
      this.#drop(place, lease);
    } else {
      lease.reused = true;
      lease.idleSinceMs = performance.now();
      place.idle.push(lease);
      lease.session.connection.rest(() => this.#lost(place, lease));
      this.#sweep ??= setTimeout(() => this.#sweepIdle(), idleTimeoutMs).unref();
    }
    this.#offer(place);
  }

  /** Whether {@link acquire} would not have to wait. */
  hasRoom(key: string): boolean {
    const place = this.#places.get(key);
    return place === undefined || place.idle.length > 0 || place.count < this.#options.maxPerEndpoint;
  }

  /** Idle and busy sessions of all endpoints. */
  get size(): number {
    let count = 0;
    for (const place of this.#places.values()) count += place.count;
    return count;
  }

  /** Closes what is idle and refuses further use; sessions in use are closed when they are given back. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#sweep);
    for (const place of this.#places.values()) {
      for (const lease of place.idle.splice(0)) this.#drop(place, lease);
      for (const take of place.waiting) take('closed');
    }
    await Promise.all(this.#closing);
  }

  #place(key: string): Place<S> {
    let place = this.#places.get(key);
    if (place === undefined) {
      place = { idle: [], count: 0, waiting: new Set() };
      this.#places.set(key, place);
    }
    return place;
  }

  #takeIdle(place: Place<S>): Lease<S> | undefined {
    const lease = place.idle.pop();
    lease?.session.connection.rouse();
    return lease;
  }

  /** The place is counted already. */
  async #open(key: string, place: Place<S>, open: () => Promise<S>): Promise<Lease<S>> {
    try {
      const lease: Lease<S> = { key, session: await open(), reused: false, uses: 0, idleSinceMs: 0 };
      if (!this.#closed) return lease;
      await lease.session.connection.close();
      throw poolClosed();
    } catch (error) {
      place.count--;
      this.#offer(place);
      this.#forgetEmpty(key, place);
      throw error;
    }
  }

  async #wait(
    key: string,
    place: Place<S>,
    open: () => Promise<S>,
    signal: AbortSignal | undefined,
  ): Promise<Lease<S>> {
    if (place.waiting.size >= this.#options.maxWaiting) {
      throw new MailError('LIMIT', 'too many deliveries wait for a connection');
    }
    if (signal?.aborted === true) throw new MailError('ABORTED', 'aborted');
    const { promise, resolve, reject } = Promise.withResolvers<Offer<S>>();
    const take = (offer: Offer<S>): void => {
      place.waiting.delete(take);
      resolve(offer);
    };
    const onAbort = (): void => {
      place.waiting.delete(take);
      reject(new MailError('ABORTED', 'aborted'));
    };
    place.waiting.add(take);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const offer = await promise;
      if (offer === 'closed') throw poolClosed();
      return offer === 'open' ? await this.#open(key, place, open) : offer;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Serves those who wait, as far as there are sessions or room for new ones. */
  #offer(place: Place<S>): void {
    for (const take of place.waiting) {
      const idle = this.#takeIdle(place);
      if (idle !== undefined) take(idle);
      else if (place.count < this.#options.maxPerEndpoint) {
        place.count++;
        take('open');
      } else return;
    }
  }

  #drop(place: Place<S>, lease: Lease<S>): void {
    place.count--;
    const closing = lease.session.connection.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    this.#forgetEmpty(lease.key, place);
  }

  #lost(place: Place<S>, lease: Lease<S>): void {
    const at = place.idle.indexOf(lease);
    if (at < 0) return;
    place.idle.splice(at, 1);
    place.count--;
    this.#offer(place);
    this.#forgetEmpty(lease.key, place);
  }

  #forgetEmpty(key: string, place: Place<S>): void {
    if (place.count === 0 && place.waiting.size === 0) this.#places.delete(key);
  }

  #sweepIdle(): void {
    const now = performance.now();
    const { idleTimeoutMs } = this.#options;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const place of this.#places.values()) {
      while (place.idle[0] !== undefined && now - place.idle[0].idleSinceMs >= idleTimeoutMs) {
        const lease = place.idle.shift();
        if (lease !== undefined) this.#drop(place, lease);
      }
      const oldest = place.idle[0];
      if (oldest !== undefined) nextMs = Math.min(nextMs, oldest.idleSinceMs + idleTimeoutMs - now);
    }
    this.#sweep =
      nextMs === Number.POSITIVE_INFINITY
        ? undefined
        : setTimeout(() => this.#sweepIdle(), Math.ceil(nextMs)).unref();
  }
}

function poolClosed(): MailError {
  return new MailError('UNAVAILABLE', 'the connection pool is closed');
}
