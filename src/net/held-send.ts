/**
 * A message handed over in a transaction that was begun before there was any content: RCPTs first, as they come, then all the
 * rest. The dialogues are the protocol's.
 */
import type { Envelope, Recipient } from '../mail/envelope.ts';
import { errorText } from '../mail/error-text.ts';
import { sameAddress, samePath } from '../mail/address.ts';
import { MailError } from '../mail/mail-error.ts';
import type { RcptAnswer, RcptAnswers } from '../mail/rcpt-answer.ts';
import { isPositive, type Reply } from '../mail/reply.ts';
import type { Exchange, ExchangeResult } from './client-connection.ts';
import { flyOn } from './fly.ts';
import { HeldSession, type HeldTerms } from './held-session.ts';
import { SessionError } from './open-session.ts';
import type { PooledOutcome, PooledResult } from './run-pooled.ts';
import type { PoolSession } from './session-pool.ts';

type Dialogue<R> = Generator<Exchange, R, ExchangeResult>;

/** What a protocol brings. */
export interface HeldDialogues<S, M, O, T> {
  /**
   * @param envelope where MAIL is still to be said
   * @param last nobody else is asked about: where it saves a flight, DATA goes with it
   */
  ask(
    session: S,
    envelope: Omit<Envelope, 'recipients'> | undefined,
    recipients: readonly Recipient[],
    last: boolean,
    options: O,
  ): Dialogue<RcptAnswers>;
  /** The content of a message to recipients who were all taken. @param data what `ask` gave */
  rest(session: S, message: M, data: Reply | undefined, options: O): Dialogue<T>;
  /** Whether a transaction was lost before a server can have taken anything of its content. */
  nothingSent(result: T): boolean;
}

export interface HeldSendTerms<S extends PoolSession, M, O, T> extends HeldTerms<S> {
  readonly dialogues: HeldDialogues<S, M, O, T>;
  readonly envelope: Omit<Envelope, 'recipients'>;
  readonly options: O;
}

interface Waiting {
  readonly recipient: Recipient;
  readonly last: boolean;
  readonly answer: (answer: RcptAnswer) => void;
}

/** See {@link ClientPool.hold}. */
export interface HeldSend<M, O, T> {
  /**
   * Whoever comes in one turn of the event loop is asked about in one flight. Never rejects.
   *
   * @param last nobody else is to be asked about, and the content follows
   */
  rcpt(recipient: Recipient, last?: boolean): Promise<RcptAnswer>;
  /**
   * Positions of the given recipients in the order of their RCPTs. Undefined where this transaction is not the one that
   * would be begun for them: others were accepted too, or the envelope is another one, or the connection is lost.
   */
  order(
    envelope: Omit<Envelope, 'recipients'>,
    recipients: readonly Recipient[],
  ): readonly number[] | undefined;
  /**
   * Sends the content to the accepted recipients, which the message has in the order of their RCPTs; ends the transaction.
   * Undefined: the connection was lost before any of it was sent. Rejects only with MailError ABORTED.
   */
  send(message: M, options: O, signal: AbortSignal): Promise<PooledOutcome<T> | undefined>;
  /** Takes back what was not sent and gives the connection back. May be called at any time, also again. */
  end(): void;
}

export class HeldTransaction<S extends PoolSession, M, O, T extends PooledResult>
  implements HeldSend<M, O, T>
{
  readonly #terms: HeldSendTerms<S, M, O, T>;
  readonly #held: HeldSession<S>;
  readonly #accepted: Recipient[] = [];
  #waiting: Waiting[] = [];
  #state: 'new' | 'flying' | 'open' | 'sending' | 'over' = 'new';
  #scheduled = false;
  /** The reply to DATA, where that was said with the last RCPT. */
  #data: Reply | undefined;

  constructor(terms: HeldSendTerms<S, M, O, T>) {
    this.#terms = terms;
    this.#held = new HeldSession(terms);
  }

  rcpt(recipient: Recipient, last = false): Promise<RcptAnswer> {
    if (this.#state === 'over' || this.#state === 'sending' || this.#data !== undefined)
      return Promise.resolve(lost);
    return new Promise((answer) => {
      this.#waiting.push({ recipient, last, answer });
      if (this.#scheduled || this.#state === 'flying') return;
      this.#scheduled = true;
      setImmediate(() => void this.#fly());
    });
  }

  order(
    envelope: Omit<Envelope, 'recipients'>,
    recipients: readonly Recipient[],
  ): readonly number[] | undefined {
    const accepted = this.#accepted;
    if (this.#waiting.length > 0) return undefined;
    if (this.#state !== 'open' || this.#held.session?.connection.settled !== true) return undefined;
    if (recipients.length !== accepted.length || !sameEnvelope(this.#terms.envelope, envelope))
      return undefined;
    const order = accepted.map((one, i) => {
      const here = recipients[i];
      // Most come in the same order.
      return here !== undefined && sameRecipient(one, here)
        ? i
        : recipients.findIndex((r) => sameRecipient(one, r));
    });
    return order.includes(-1) || new Set(order).size < order.length ? undefined : order;
  }

  async send(message: M, options: O, signal: AbortSignal): Promise<PooledOutcome<T> | undefined> {
    const { session } = this.#held;
    if (this.#state !== 'open' || session === undefined) return undefined;
    this.#state = 'sending';
    const { dialogues } = this.#terms;
    const { connection } = session;
    const { local } = connection;
    let how: PooledResult['end'] = 'broken';
    let result: T;
    try {
      result = await flyOn(connection, dialogues.rest(session, message, this.#data, options), signal);
      if (connection.fault === undefined) how = result.end;
    } finally {
      this.#state = 'over';
      this.#held.end(how);
    }
    const { fault } = connection;
    if (fault?.kind === 'aborted' && result.told !== true) throw new MailError('ABORTED', 'aborted');
    if (fault !== undefined && fault.kind !== 'timeout' && dialogues.nothingSent(result)) return undefined;
    return { kind: 'done', result, session: 'reused', ...(local === undefined ? {} : { local }) };
  }

  end(): void {
    if (this.#state === 'over' || this.#state === 'sending') return;
    const dead = this.#held.session?.connection.fault !== undefined;
    // After 354 closing is the only way to take the transaction back.
    const open = this.#state === 'open' && this.#data?.code !== 354 && !dead;
    this.#state = 'over';
    this.#held.end(open ? 'open' : 'broken');
    this.#answerWaiting();
  }

  #answerWaiting(): void {
    const left = this.#waiting;
    this.#waiting = [];
    for (const { answer } of left) answer(lost);
  }

  async #fly(): Promise<void> {
    this.#scheduled = false;
    const flight = this.#waiting;
    if (flight.length === 0 || (this.#state !== 'new' && this.#state !== 'open')) return;
    const first = this.#state === 'new';
    this.#waiting = [];
    this.#state = 'flying';
    const recipients = flight.map((w) => w.recipient);
    const { answers, data } = await this.#ask(recipients, first, flight.at(-1)?.last === true);
    const given = this.#ended();
    if (!given) {
      this.#state = 'open';
      this.#data = data;
    }
    for (const [i, { recipient, answer }] of flight.entries()) {
      const said = (given ? undefined : answers[i]) ?? lost;
      if (said.kind === 'reply' && said.stage === 'rcpt' && isPositive(said.reply))
        this.#accepted.push(recipient);
      answer(said);
    }
    if (given) return;
    // Without MAIL, or without a connection, nothing more can be asked; nor where content is awaited that nobody would get.
    const goesOn = answers.every((a) => a.kind === 'reply' && a.stage === 'rcpt');
    if (!goesOn || (data?.code === 354 && this.#accepted.length === 0)) this.end();
    // Behind DATA there are no commands: who came too late is asked about elsewhere.
    else if (data !== undefined) this.#answerWaiting();
    else if (this.#waiting.length > 0) void this.#fly();
  }

  #ended(): boolean {
    return this.#state === 'over';
  }

  async #ask(recipients: readonly Recipient[], first: boolean, last: boolean): Promise<RcptAnswers> {
    const { dialogues, envelope, options, pool, key } = this.#terms;
    const { session } = this.#held;
    const all = (answer: RcptAnswer): RcptAnswers => ({ answers: recipients.map(() => answer) });
    try {
      if (session !== undefined)
        return await flyOn(session.connection, dialogues.ask(session, undefined, recipients, last, options));
      if (!first) return all(lost);
      if (!pool.hasRoom(key)) return all(noRoom);
      return await this.#held.begin(
        (s) => dialogues.ask(s, envelope, recipients, last, options),
        ({ answers }, { connection }) =>
          answers.some((a) => a.kind === 'unanswered') && connection.fault?.kind !== 'timeout',
      );
    } catch (error) {
      return all(
        error instanceof SessionError
          ? { kind: 'no-session', ...error.failure }
          : { kind: 'no-session', fault: { kind: 'io', text: errorText(error) } },
      );
    }
  }
}

const lost: RcptAnswer = { kind: 'unanswered', stage: 'rcpt', fault: { kind: 'closed' } };
const noRoom: RcptAnswer = { kind: 'no-session', fault: { kind: 'io', text: 'all connections are in use' } };

/** Apart from the size, which nobody knows when MAIL is said. */
function sameEnvelope(a: Omit<Envelope, 'recipients'>, b: Omit<Envelope, 'recipients'>): boolean {
  return (
    samePath(a.sender, b.sender) &&
    a.body === b.body &&
    a.smtputf8 === b.smtputf8 &&
    a.ret === b.ret &&
    a.envid === b.envid &&
    a.transfer === b.transfer
  );
}

function sameRecipient(a: Recipient, b: Recipient): boolean {
  return (
    sameAddress(a.address, b.address) &&
    a.transferNumber === b.transferNumber &&
    a.orcpt === b.orcpt &&
    String(a.notify) === String(b.notify)
  );
}
