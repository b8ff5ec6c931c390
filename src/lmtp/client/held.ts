/** Transactions on pooled sessions that are held open while another transaction, the one that comes in, goes on. */
import { type Endpoint, endpointKey } from '../../mail/endpoint.ts';
import type { Envelope, Recipient } from '../../mail/envelope.ts';
import { errorText } from '../../mail/error-text.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { isPositive } from '../../mail/reply.ts';
import type { ClientConnection } from '../../net/client-connection.ts';
import { flyOn } from '../../net/fly.ts';
import { HeldSession } from '../../net/held-session.ts';
import { SessionError } from '../../net/open-session.ts';
import { defaultPoolOptions, type PoolOptions, SessionPool } from '../../net/session-pool.ts';
import type { Capabilities } from '../../protocol/capabilities.ts';
import {
  contentDialogue,
  forwardingRcptLine,
  type HeldAnswer,
  rcptDialogue,
  startDialogue,
  type XclientState,
} from '../../protocol/held-transaction.ts';
import { type ForwardedClient, xclientShape } from '../../protocol/xclient.ts';
import { connectLmtp, type LmtpConnectOptions } from './connect.ts';
import { Limit } from './limit.ts';

export type { HeldAnswer } from '../../protocol/held-transaction.ts';
export type { ForwardedClient } from '../../protocol/xclient.ts';

export interface HeldOptions {
  /** Our name for LHLO. */
  readonly helo: string;
  /** Limit of making a connection, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Limit of everything that one RCPT causes, and of the wait for all replies after the last octet was taken, milliseconds. */
  readonly timeoutMs: number;
  readonly tls?: NonNullable<LmtpConnectOptions['tls']>;
}

/** Calls are made one after the other; whatever the server does, each gives an answer and never rejects. */
export interface HeldTransaction {
  /** The first one connects and says MAIL. After a fault all further answers are that fault. */
  rcpt(recipient: Recipient): Promise<HeldAnswer>;
  /**
   * One answer for each RCPT that got a 2xx, in order.
   * @param prefix header lines for the front, with their CRLF
   */
  content(prefix: Uint8Array, content: MessageSource, signal: AbortSignal): Promise<readonly HeldAnswer[]>;
  /** Gives the connection back, taking the transaction back where it was not finished. Always the last call. */
  end(): void;
}

export interface HeldPool {
  /** @param signal ends every wait */
  begin(
    endpoint: Endpoint,
    envelope: Omit<Envelope, 'recipients'>,
    client: ForwardedClient,
    options: HeldOptions,
    signal: AbortSignal,
  ): HeldTransaction;
  /** Connections open now. */
  readonly size: number;
  /** Closes idle connections, and those in use when they come back. */
  close(): Promise<void>;
}

interface Session {
  readonly connection: ClientConnection;
  capabilities: Capabilities;
  xclient: XclientState;
}

export function createHeldPool(options: Partial<PoolOptions> = {}): HeldPool {
  const pool = new SessionPool<Session>({ ...defaultPoolOptions, ...options });
  return {
    begin: (endpoint, envelope, client, o, signal) =>
      new Held({ pool, endpoint, envelope, client, options: o, signal }),
    get size() {
      return pool.size;
    },
    close: () => pool.close(),
  };
}

interface Facts {
  readonly pool: SessionPool<Session>;
  readonly endpoint: Endpoint;
  readonly envelope: Omit<Envelope, 'recipients'>;
  readonly client: ForwardedClient;
  readonly options: HeldOptions;
  readonly signal: AbortSignal;
}

class Held implements HeldTransaction {
  readonly #facts: Facts;
  readonly #held: HeldSession<Session>;
  #accepted = 0;
  /** Of the RCPT that connects. */
  #limit: Limit | undefined;
  /** A connection was being made, rather than waited for. */
  #opening = false;
  /** What every further RCPT is told: the connection is lost, or MAIL was refused. */
  #verdict: HeldAnswer | undefined;
  /** What the connection is good for when it is given back. */
  #end: 'clean' | 'open' | 'broken' = 'open';

  constructor(facts: Facts) {
    const { pool, endpoint, client, options } = facts;
    this.#facts = facts;
    this.#held = new HeldSession({
      pool,
      key: `${endpointKey(endpoint)} ${options.tls?.mode ?? 'clear'} ${xclientShape(client)}`,
      open: () => this.#open(),
      resetTimeoutMs: options.timeoutMs,
    });
  }

  async rcpt(recipient: Recipient): Promise<HeldAnswer> {
    if (this.#verdict !== undefined) return this.#verdict;
    const { options, signal } = this.#facts;
    const limit = new Limit(options.timeoutMs, [signal]);
    const { session } = this.#held;
    let answer: HeldAnswer;
    try {
      answer =
        session === undefined
          ? await this.#start(recipient, limit)
          : await this.#another(recipient, session, limit);
    } catch (error) {
      answer = connectFailure(error, this.#opening ? 'connect' : 'pool');
    } finally {
      limit.end();
    }
    answer = limit.explain(answer);
    if (answer.kind !== 'reply' || answer.stage !== 'rcpt') this.#verdict = answer;
    else if (isPositive(answer.reply)) this.#accepted++;
    if (answer.kind === 'unanswered') this.#end = 'broken';
    return answer;
  }

  async content(
    prefix: Uint8Array,
    content: MessageSource,
    signal: AbortSignal,
  ): Promise<readonly HeldAnswer[]> {
    const accepted = this.#accepted;
    if (accepted === 0) return [];
    const { session } = this.#held;
    const verdict = this.#verdict;
    // MAIL was taken, so that a verdict is a fault.
    if (session === undefined || verdict !== undefined) return repeated(verdict ?? notConnected, accepted);
    const { timeoutMs } = this.#facts.options;
    const limit = new Limit(timeoutMs, [signal, this.#facts.signal]);
    const { capabilities, connection } = session;
    // Each chunk that was taken begins the wait anew: a large message takes as long as it takes.
    const watched: MessageSource = content.bytes === undefined ? progressing(content, limit) : content;
    this.#end = 'broken';
    try {
      const answers = await flyOn(
        connection,
        contentDialogue({ capabilities, prefix, content: watched, accepted, timeoutMs }),
        limit.signal,
      );
      if (answers.every((a) => a.kind === 'reply'))
        this.#end = answers.some((a) => a.kind === 'reply' && a.stage === 'data') ? 'open' : 'clean';
      return answers.map((a) => limit.explain(a));
    } finally {
      limit.end();
    }
  }

  end(): void {
    this.#held.end(this.#end);
  }

  /** Nothing is delivered before the content, so that what fails on a kept connection is tried once on a new one. */
  async #start(recipient: Recipient, limit: Limit): Promise<HeldAnswer> {
    const { envelope, client, options } = this.#facts;
    const { helo, timeoutMs } = options;
    this.#limit = limit;
    const start = await this.#held.begin(
      (session) => startDialogue({ ...session, helo, client, envelope, timeoutMs }, recipient),
      ({ answer, xclient }, { connection }) =>
        (answer.kind === 'unanswered' && connection.fault?.kind !== 'timeout') || xclient === 'stale',
      limit.signal,
    );
    const { session } = this.#held;
    if (session !== undefined) {
      session.capabilities = start.capabilities;
      session.xclient = start.xclient;
    }
    return start.answer;
  }

  async #another(recipient: Recipient, session: Session, limit: Limit): Promise<HeldAnswer> {
    const { capabilities, connection } = session;
    const rcpts = {
      recipients: [recipient],
      line: forwardingRcptLine,
      timeoutMs: this.#facts.options.timeoutMs,
    };
    const { answers } = await flyOn(connection, rcptDialogue(rcpts, capabilities), limit.signal);
    return answers[0] ?? notConnected;
  }

  async #open(): Promise<Session> {
    this.#opening = true;
    const { helo, connectTimeoutMs, timeoutMs, tls } = this.#facts.options;
    const { connection, capabilities } = await connectLmtp(this.#facts.endpoint, {
      helo,
      connectTimeoutMs: Math.min(connectTimeoutMs, timeoutMs),
      commandTimeoutMs: timeoutMs,
      ...(tls === undefined ? {} : { tls }),
      ...(this.#limit === undefined ? {} : { signal: this.#limit.signal }),
    });
    return { connection, capabilities, xclient: 'none' };
  }
}

const notConnected: HeldAnswer = { kind: 'unanswered', stage: 'connect', fault: { kind: 'closed' } };

function repeated(answer: HeldAnswer, times: number): readonly HeldAnswer[] {
  return Array.from({ length: times }, () => answer);
}

function connectFailure(error: unknown, stage: 'connect' | 'pool'): HeldAnswer {
  if (error instanceof SessionError) {
    const { fault, reply, after } = error.failure;
    // A refusal before MAIL says nothing of the recipient: its text goes to the log.
    const text =
      reply === undefined ? undefined : `after ${after ?? 'connecting'}: ${reply.code} ${reply.lines[0]}`;
    return { kind: 'unanswered', stage: 'connect', fault: text === undefined ? fault : { kind: 'io', text } };
  }
  return { kind: 'unanswered', stage, fault: { kind: 'io', text: errorText(error) } };
}

function progressing(content: MessageSource, limit: Limit): MessageSource {
  return {
    size: content.size,
    async *open(signal) {
      for await (const chunk of content.open(signal)) {
        yield chunk;
        limit.renew();
      }
    },
  };
}
