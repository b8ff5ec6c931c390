/** The pool behind both clients, SMTP and LMTP: they differ in the dialogues they bring. */
import type { Address, ReversePath } from '../mail/address.ts';
import { type Endpoint, endpointKey } from '../mail/endpoint.ts';
import type { Exchange, ExchangeResult } from './client-connection.ts';
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
  const close = (): Promise<void> => pool.close();
  const run = <R extends PooledResult>(
    endpoint: Endpoint,
    o: O,
    signal: AbortSignal | undefined,
    dialogue: (session: S) => Dialogue<R>,
  ): Promise<PooledOutcome<R>> =>
    runPooled({
      pool,
      key: endpointKey(endpoint) + (dialogues.variant?.(o) ?? ''),
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
    get size(): number {
      return pool.size;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
