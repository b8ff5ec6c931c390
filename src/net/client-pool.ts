/** The pool behind both clients, SMTP and LMTP: they differ in the dialogues they bring. */
import type { Address, ReversePath } from '../mail/address.ts';
import { type Endpoint, endpointKey } from '../mail/endpoint.ts';
import type { Envelope } from '../mail/envelope.ts';
import type { Exchange, ExchangeResult } from './client-connection.ts';
import { type HeldDialogues, type HeldSend, HeldTransaction } from './held-send.ts';
import { type PooledOutcome, type PooledResult, runPooled } from './run-pooled.ts';
import { defaultPoolOptions, type PoolOptions, type PoolSession, SessionPool } from './session-pool.ts';

type Dialogue<R> = Generator<Exchange, R, ExchangeResult>;

/** What a protocol brings. `O` are its options for connecting and sending, `M` is a message. */
export interface ClientDialogues<
  S extends PoolSession,
  M,
  O,
  T extends PooledResult,
  Q extends PooledResult,
> {
  open(endpoint: Endpoint, options: O, signal: AbortSignal | undefined): Promise<S>;
  transaction(session: S, message: M, options: O): Dialogue<T>;
  inquiry(session: S, sender: ReversePath, recipients: readonly Address[], options: O): Dialogue<Q>;
  readonly held: HeldDialogues<S, M, O, T>;
  resetTimeoutMs(options: O): number;
  /** What of the options makes connections to one place different things. */
  variant?(options: O): string;
  /** Where the caller gives none. */
  readonly defaults: O;
}

export interface ClientPool<M, O, T, Q> extends AsyncDisposable {
  /** Hands one message over on a kept or a new connection. Rejects only with MailError ABORTED. */
  send(endpoint: Endpoint, message: M, options?: O, signal?: AbortSignal): Promise<PooledOutcome<T>>;
  /**
   * Asks with MAIL and RCPT whether the server would take mail for the recipients, and takes the transaction back.
   * Rejects only with MailError ABORTED.
   */
  inquire(
    endpoint: Endpoint,
    sender: ReversePath,
    recipients: readonly Address[],
    options?: O,
    signal?: AbortSignal,
  ): Promise<PooledOutcome<Q>>;
  /**
   * Begins a transaction whose recipients come one by one, and its content later. Such transactions have connections of their
   * own, as many as the others at the most, so that those who take their time keep nobody from sending; undefined where
   * all are in use.
   *
   * @param envelope as the message will have it; `declaredSize` is what its sender announced
   */
  hold(
    endpoint: Endpoint,
    envelope: Omit<Envelope, 'recipients'>,
    options?: O,
  ): HeldSend<M, O, T> | undefined;
  /** Connections open now. */
  readonly size: number;
  /** Closes idle connections, and those in use when they come back. */
  close(): Promise<void>;
}

export function createClientPool<S extends PoolSession, M, O, T extends PooledResult, Q extends PooledResult>(
  dialogues: ClientDialogues<S, M, O, T, Q>,
  options: Partial<PoolOptions>,
): ClientPool<M, O, T, Q> {
  const pool = new SessionPool<S>({ ...defaultPoolOptions, ...options });
  const heldPool = new SessionPool<S>({ ...defaultPoolOptions, ...options });
  const close = async (): Promise<void> => {
    await Promise.all([pool.close(), heldPool.close()]);
  };
  const keyOf = (endpoint: Endpoint, o: O): string => endpointKey(endpoint) + (dialogues.variant?.(o) ?? '');
  const run = <R extends PooledResult>(
    endpoint: Endpoint,
    o: O,
    signal: AbortSignal | undefined,
    dialogue: (session: S) => Dialogue<R>,
  ): Promise<PooledOutcome<R>> =>
    runPooled({
      pool,
      key: keyOf(endpoint, o),
      open: () => dialogues.open(endpoint, o, signal),
      dialogue,
      resetTimeoutMs: dialogues.resetTimeoutMs(o),
      signal,
    });
  return {
    send: (endpoint, message, o = dialogues.defaults, signal) =>
      run(endpoint, o, signal, (session) => dialogues.transaction(session, message, o)),
    inquire: (endpoint, sender, recipients, o = dialogues.defaults, signal) =>
      run(endpoint, o, signal, (session) => dialogues.inquiry(session, sender, recipients, o)),
    hold(endpoint, envelope, o = dialogues.defaults) {
      const key = keyOf(endpoint, o);
      if (!heldPool.hasRoom(key)) return undefined;
      return new HeldTransaction({
        pool: heldPool,
        key,
        open: () => dialogues.open(endpoint, o, undefined),
        resetTimeoutMs: dialogues.resetTimeoutMs(o),
        dialogues: dialogues.held,
        envelope,
        options: o,
      });
    },
    get size(): number {
      return pool.size + heldPool.size;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
