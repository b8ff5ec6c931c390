/** Runs a dialogue on a pooled session and sees to the session's state afterwards. */
import { MailError } from '../mail/mail-error.ts';
import type { LocalEnd } from './byte-stream.ts';
import type { ClientConnection, Exchange, ExchangeResult } from './client-connection.ts';
import { flyOn } from './fly.ts';
import { SessionError, type SessionFailure } from './open-session.ts';
import type { Lease, PoolSession, SessionPool } from './session-pool.ts';

export interface PooledResult {
  /**
   * What the connection is good for: the next use; that after RSET; that when the answer to a RSET already sent has
   * come; nothing.
   */
  readonly end: 'clean' | 'open' | 'reset-sent' | 'broken';
  /** The connection ended before the first reply. */
  readonly silent: boolean;
  /** Set where it broke off, but something was learned that must not be forgotten: not even after an abort. */
  readonly told?: true;
}

interface Done<R> {
  readonly kind: 'done';
  readonly result: R;
  readonly session: 'new' | 'reused';
  /** Our end of a TCP connection. */
  readonly local?: LocalEnd;
}

export type PooledOutcome<R> = Done<R> | { readonly kind: 'no-session'; readonly failure: SessionFailure };

export interface PooledRun<S extends PoolSession, R extends PooledResult> {
  readonly pool: SessionPool<S>;
  readonly key: string;
  readonly open: () => Promise<S>;
  readonly dialogue: (session: S) => Generator<Exchange, R, ExchangeResult>;
  /** Limit for putting a connection back into a clean state, which nobody waits for. */
  readonly resetTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * A dialogue that ends on a reused connection before the first reply is run once more on a fresh one: the peer had
 * closed the connection while it lay idle. Rejects only with MailError ABORTED; nothing was learned then.
 */
export async function runPooled<S extends PoolSession, R extends PooledResult>(
  run: PooledRun<S, R>,
): Promise<PooledOutcome<R>> {
  try {
    const first = await once(run, false);
    if (!(first.result.silent && first.session === 'reused')) return first;
    return await once(run, true);
  } catch (error) {
    if (error instanceof SessionError) return { kind: 'no-session', failure: error.failure };
    if (error instanceof MailError && error.code !== 'ABORTED') {
      return { kind: 'no-session', failure: { fault: { kind: 'io', text: error.message } } };
    }
    throw error;
  }
}

async function once<S extends PoolSession, R extends PooledResult>(
  run: PooledRun<S, R>,
  fresh: boolean,
): Promise<Done<R>> {
  const acquired = run.pool.acquire(run.key, run.open, run.signal, fresh);
  const lease = acquired instanceof Promise ? await acquired : acquired;
  const session = lease.reused ? 'reused' : 'new';
  const { connection } = lease.session;
  let result: R;
  try {
    result = await flyOn(connection, run.dialogue(lease.session), run.signal);
    if (connection.fault?.kind === 'aborted' && result.end === 'broken' && result.told !== true)
      throw new MailError('ABORTED', 'aborted');
  } catch (error) {
    connection.destroy();
    run.pool.release(lease, false);
    throw error;
  }
  const { local } = connection;
  giveBack(run, lease, connection.fault === undefined ? result.end : 'broken');
  return { kind: 'done', result, session, ...(local === undefined ? {} : { local }) };
}

/** Releases a lease; where the connection needs it, after its RSET was answered, for which nobody waits. */
export function giveBack<S extends PoolSession>(
  run: { readonly pool: SessionPool<S>; readonly resetTimeoutMs: number },
  lease: Lease<S>,
  end: PooledResult['end'],
): void {
  const { connection } = lease.session;
  if (end === 'broken') connection.destroy();
  if (end === 'clean' || end === 'broken') {
    run.pool.release(lease, end === 'clean');
    return;
  }
  const reset = resetDone(connection, end, run.resetTimeoutMs);
  if (typeof reset === 'boolean') run.pool.release(lease, reset);
  else void reset.then((done) => run.pool.release(lease, done));
}

/** True when the server has said that the transaction is gone. */
function resetDone(
  connection: ClientConnection,
  end: 'open' | 'reset-sent',
  timeoutMs: number,
): boolean | Promise<boolean> {
  const commands = end === 'reset-sent' ? '' : 'RSET\r\n';
  const answer = connection.exchange({ commands, expect: 1, timeoutMs });
  const check = (r: ExchangeResult): boolean => {
    const code = r.replies[0]?.code ?? 0;
    return code >= 200 && code < 300;
  };
  return answer instanceof Promise ? answer.then(check) : check(answer);
}
