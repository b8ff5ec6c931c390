/**
 * A message handed over in a transaction that was begun before there was any content: RCPTs first, as they come, then all the
 * rest. The dialogues are the protocol's.
 */
import type { Envelope, Recipient } from '../mail/envelope.ts';
import { errorText } from '../mail/error-text.ts';
import { formatPath } from '../mail/address.ts';
import { MailError } from '../mail/mail-error.ts';
import type { RcptAnswer } from '../mail/rcpt-answer.ts';
import { isPositive } from '../mail/reply.ts';
import type { Exchange, ExchangeResult } from './client-connection.ts';
import { flyOn } from './fly.ts';
import { HeldSession, type HeldTerms } from './held-session.ts';
import { SessionError } from './open-session.ts';
import type { PooledOutcome, PooledResult } from './run-pooled.ts';
import type { PoolSession } from './session-pool.ts';

type Dialogue<R> = Generator<Exchange, R, ExchangeResult>;

/** What a protocol brings. */
export interface HeldDialogues<S, M, O, T> {
  /** @param envelope where MAIL is still to be said */
  ask(
    session: S,
    envelope: Omit<Envelope, 'recipients'> | undefined,
    recipients: readonly Recipient[],
    options: O,
  ): Dialogue<readonly RcptAnswer[]>;
  /** The content of a message to recipients who were all taken. */
  rest(session: S, message: M, options: O): Dialogue<T>;
}

/** See {@link ClientPool.hold}. */
export interface HeldSend<M, O, T> {
  /** Whoever comes in one turn of the event loop is asked about in one flight. Never rejects. */
  rcpt(recipient: Recipient): Promise<RcptAnswer>;
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

export function heldSend<S extends PoolSession, M, O, T extends PooledResult>(
  terms: Omit<HeldTerms<S>, 'open'> & { readonly open: (signal: AbortSignal) => Promise<S> },
  dialogues: HeldDialogues<S, M, O, T>,
  envelope: Omit<Envelope, 'recipients'>,
  options: O,
  /** Whether a transaction ended before a server can have taken anything of the content. */
  nothingSent: (result: T) => boolean,
): HeldSend<M, O, T> {
  const opening = new AbortController();
  const held = new HeldSession<S>({ ...terms, open: () => terms.open(opening.signal) });
  const accepted: Recipient[] = [];
  let waiting: { readonly recipient: Recipient; readonly answer: (answer: RcptAnswer) => void }[] = [];
  let state: 'new' | 'flying' | 'open' | 'sending' | 'over' = 'new';
  let scheduled = false;

  async function fly(): Promise<void> {
    scheduled = false;
    const flight = waiting;
    if (flight.length === 0 || state === 'over') return;
    const first = state === 'new';
    waiting = [];
    state = 'flying';
    const answers = await asked(
      flight.map((w) => w.recipient),
      first,
    );
    if (ended()) return;
    state = 'open';
    for (const [i, { recipient, answer }] of flight.entries()) {
      const said = answers[i] ?? lost;
      if (said.kind === 'reply' && said.stage === 'rcpt' && isPositive(said.reply)) accepted.push(recipient);
      answer(said);
    }
    // Without MAIL, or without a connection, nothing more can be asked.
    if (!answers.every((a) => a.kind === 'reply' && a.stage === 'rcpt')) end();
    else if (waiting.length > 0) void fly();
  }

  /** Whoever ended it has answered everybody. */
  function ended(): boolean {
    return state === 'over';
  }

  async function asked(recipients: readonly Recipient[], first: boolean): Promise<readonly RcptAnswer[]> {
    const { session } = held;
    try {
      if (session !== undefined)
        return await flyOn(
          session.connection,
          dialogues.ask(session, first ? envelope : undefined, recipients, options),
        );
      if (!first) return [];
      if (!terms.pool.hasRoom(terms.key)) return recipients.map(() => noRoom);
      return await held.begin(
        (s) => dialogues.ask(s, envelope, recipients, options),
        (answers, { connection }) =>
          answers.some((a) => a.kind === 'unanswered') && connection.fault?.kind !== 'timeout',
        opening.signal,
      );
    } catch (error) {
      const failure: RcptAnswer =
        error instanceof SessionError
          ? { kind: 'no-session', ...error.failure }
          : { kind: 'no-session', fault: { kind: 'io', text: errorText(error) } };
      return recipients.map(() => failure);
    }
  }

  function end(): void {
    if (state === 'over' || state === 'sending') return;
    const how = state === 'open' ? 'open' : 'broken';
    state = 'over';
    opening.abort();
    const dead = held.session?.connection.fault !== undefined;
    held.end(dead ? 'broken' : how);
    const left = waiting;
    waiting = [];
    for (const { answer } of left) answer(lost);
  }

  return {
    rcpt: (recipient) =>
      new Promise((answer) => {
        if (state === 'over' || state === 'sending') {
          answer(lost);
          return;
        }
        waiting.push({ recipient, answer });
        if (scheduled || state === 'flying') return;
        scheduled = true;
        setImmediate(() => void fly());
      }),
    order(given, recipients) {
      const settled = held.session?.connection.settled === true;
      if (state !== 'open' || !settled || !sameEnvelope(envelope, given)) return undefined;
      if (recipients.length !== accepted.length) return undefined;
      const order = accepted.map((one) => recipients.findIndex((r) => sameRecipient(one, r)));
      return order.includes(-1) || new Set(order).size < order.length ? undefined : order;
    },
    async send(message, sending, signal) {
      const { session } = held;
      if (state !== 'open' || session === undefined) return undefined;
      state = 'sending';
      const { connection } = session;
      const { local } = connection;
      let how: PooledResult['end'] = 'broken';
      let result: T;
      try {
        result = await flyOn(connection, dialogues.rest(session, message, sending), signal);
        if (connection.fault === undefined) how = result.end;
      } finally {
        state = 'over';
        held.end(how);
      }
      const { fault } = connection;
      if (fault?.kind === 'aborted' && result.told !== true) throw new MailError('ABORTED', 'aborted');
      if (fault !== undefined && fault.kind !== 'timeout' && nothingSent(result)) return undefined;
      return { kind: 'done', result, session: 'reused', ...(local === undefined ? {} : { local }) };
    },
    end,
  };
}

const lost: RcptAnswer = { kind: 'unanswered', stage: 'rcpt', fault: { kind: 'closed' } };
const noRoom: RcptAnswer = { kind: 'no-session', fault: { kind: 'io', text: 'all connections are in use' } };

/** Apart from the size, which nobody knows when MAIL is said. */
function sameEnvelope(a: Omit<Envelope, 'recipients'>, b: Omit<Envelope, 'recipients'>): boolean {
  return (
    formatPath(a.sender) === formatPath(b.sender) &&
    a.body === b.body &&
    a.smtputf8 === b.smtputf8 &&
    a.ret === b.ret &&
    a.envid === b.envid &&
    a.transfer === b.transfer
  );
}

function sameRecipient(a: Recipient, b: Recipient): boolean {
  return (
    a.address.local === b.address.local &&
    a.address.domain === b.address.domain &&
    a.transferNumber === b.transferNumber &&
    a.orcpt === b.orcpt &&
    String(a.notify) === String(b.notify)
  );
}
