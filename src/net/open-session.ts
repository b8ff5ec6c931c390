/** From an endpoint to a greeted session. */
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import type { Endpoint } from '../mail/endpoint.ts';
import { MailError } from '../mail/mail-error.ts';
import type { Reply } from '../mail/reply.ts';
import {
  ClientConnection,
  type Exchange,
  type ExchangeResult,
  type ReplyDecoder,
} from './client-connection.ts';
import type { ClientTls } from './client-tls.ts';
import { connect } from './connect.ts';
import { fly } from './fly.ts';

/** Why there is no session. */
export interface SessionFailure {
  /** Undefined where there was no connection; else what was waited for (`initial connection`, `LHLO edge.example.test`). */
  readonly after?: string;
  /** What the peer said; absent where a fault ended the dialogue. */
  readonly reply?: Reply;
  readonly fault: DialogueFault;
}

/** Carries a {@link SessionFailure} through a pool. */
export class SessionError extends MailError {
  readonly failure: SessionFailure;
  constructor(failure: SessionFailure, cause?: unknown) {
    super('CONNECT', describe(failure), { cause });
    this.name = 'SessionError';
    this.failure = failure;
  }
}

export interface OpenOptions {
  readonly connectTimeoutMs: number;
  /** TLS from the first octet. */
  readonly tls?: ClientTls;
  readonly signal?: AbortSignal;
}

/** What an opening dialogue comes to; `protocol/opening.ts` has one. */
type Opened<G> =
  | G
  | {
      readonly kind: 'failed';
      readonly after: string;
      readonly reply?: Reply;
      readonly fault?: DialogueFault;
    };

/** Connects and greets. Rejects with {@link SessionError}, or MailError ABORTED. */
export async function openSession<X extends Exchange, G extends { readonly kind: 'open' }>(
  endpoint: Endpoint,
  decoder: ReplyDecoder,
  dialogue: Generator<X, Opened<G>, ExchangeResult>,
  options: OpenOptions,
): Promise<{ readonly connection: ClientConnection; readonly opened: G }> {
  const { connectTimeoutMs, tls, signal } = options;
  const stream = await connect(endpoint, {
    timeoutMs: connectTimeoutMs,
    ...(tls === undefined ? {} : { tls }),
    ...(signal === undefined ? {} : { signal }),
  }).catch((error: unknown) => {
    if (!(error instanceof MailError) || error.code === 'ABORTED') throw error;
    throw new SessionError({ fault: connectFault(error, connectTimeoutMs) }, error);
  });
  const connection = new ClientConnection(endpoint, stream, decoder);
  try {
    const opened = await fly(connection, dialogue, signal);
    if (opened.kind === 'open') return { connection, opened };
    const { after, reply, fault } = opened;
    throw new SessionError({
      after,
      ...(reply === undefined ? {} : { reply }),
      fault: fault ?? { kind: 'closed' },
    });
  } catch (error) {
    // A peer that refused us is told goodbye; nobody waits for it.
    void connection.close();
    throw error;
  }
}

function connectFault(error: MailError, timeoutMs: number): DialogueFault {
  return error.code === 'DEADLINE' ? { kind: 'timeout', timeoutMs } : { kind: 'io', text: error.message };
}

function describe(f: SessionFailure): string {
  const what = f.reply === undefined ? f.fault.kind : `${f.reply.code} ${f.reply.lines[0]}`;
  return f.after === undefined ? `cannot connect: ${what}` : `no session after ${f.after}: ${what}`;
}
