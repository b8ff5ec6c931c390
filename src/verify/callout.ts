/**
 * Callouts: asks the place where a transport delivers whether it would take mail for an address (Exim manual, "Callout
 * verification"). A question is asked once for all who ask the same at the same time.
 */
import { formatAddress } from '../mail/address.ts';
import { type Endpoint, endpointKey } from '../mail/endpoint.ts';
import { MailError } from '../mail/mail-error.ts';
import { timerMs } from '../mail/time-interval.ts';
import type { RcptAnswer } from '../mail/rcpt-answer.ts';
import { type CalloutAnswer, type CalloutQuestion, commandOf, replied, unclear } from './callout-answer.ts';
import { createDesks, type DeskLimits } from './callout-desks.ts';
import { createRests, placeOf, type RestLimits } from './callout-rests.ts';

export interface Callouts {
  /** Rejects only with MailError ABORTED; the question goes on for others who asked the same. */
  ask(question: CalloutQuestion, signal: AbortSignal): Promise<CalloutAnswer>;
  /** Asks what is likely to be asked in a moment; the answer is given to the next who asks, once, within some seconds. */
  foresee(question: CalloutQuestion): void;
  close(): Promise<void>;
}

export interface CalloutLimits extends DeskLimits, RestLimits {}

export const defaultCalloutLimits: CalloutLimits = {
  maxFlight: 50,
  maxConnections: 4,
  idleTimeoutMs: 5000,
  maxWaiting: 10_000,
  firstRestMs: 1000,
  longestRestMs: 8000,
};

/** @param note told once when an endpoint is given a rest, and once when it answers again */
export function createCallouts(
  limits: CalloutLimits = defaultCalloutLimits,
  note: (text: string) => void = () => undefined,
): Callouts {
  const rests = createRests(limits, note);
  const desks = createDesks(limits, rests);
  /** Questions under way, by place, sender and address. */
  const asked = new Map<string, Promise<CalloutAnswer>>();
  const foreseen = new Map<string, { readonly answer: Promise<CalloutAnswer>; readonly atMs: number }>();

  /** @param from the first endpoint to try @param start when the question began */
  async function askAll(
    question: CalloutQuestion,
    from = 0,
    start = performance.now(),
  ): Promise<CalloutAnswer> {
    const { target, maxWaitMs } = question;
    let last: CalloutAnswer | undefined;
    for (const endpoint of target.endpoints.slice(from)) {
      const leftMs = maxWaitMs - (performance.now() - start);
      if (leftMs <= 0) break;
      last = await desks.ask(endpoint, question, leftMs);
      if (last.kind !== 'unclear') return last;
    }
    return (
      last ??
      unclear({ kind: 'unix', path: '' }, 'connect', 'callout', undefined, {
        kind: 'io',
        text: 'no host to ask',
      })
    );
  }

  /** Undefined where the question is one like any other. */
  function askHeld(question: CalloutQuestion): Promise<CalloutAnswer> | undefined {
    const { target, hold } = question;
    if (hold === undefined) return undefined;
    const ready = (e: Endpoint): boolean => rests.answerOf(placeOf(target, e).key) === undefined;
    const at = rests.none() ? 0 : target.endpoints.findIndex(ready);
    const endpoint = target.endpoints[at];
    const said = endpoint === undefined ? undefined : hold(endpoint);
    return endpoint === undefined || said === undefined ? undefined : goOn(question, endpoint, at, said);
  }

  async function goOn(
    question: CalloutQuestion,
    endpoint: Endpoint,
    at: number,
    said: Promise<RcptAnswer>,
  ): Promise<CalloutAnswer> {
    const start = performance.now();
    const heard = await inTime(said, question.maxWaitMs);
    const answer = heldAnswer(question, endpoint, heard);
    if (answer !== undefined && (answer.kind !== 'unclear' || at + 1 >= question.target.endpoints.length))
      return answer;
    return askAll(question, answer === undefined ? at : at + 1, start);
  }

  /** Undefined where it has to be asked again, on a connection that is used for questions. */
  function heldAnswer(
    question: CalloutQuestion,
    endpoint: Endpoint,
    said: RcptAnswer,
  ): CalloutAnswer | undefined {
    if (said.kind === 'reply') {
      if (!rests.none()) rests.answered(placeOf(question.target, endpoint));
      return replied(question, endpoint, said.stage, said.reply);
    }
    // Only a long wait is not repeated.
    if (said.kind === 'unsupported' || said.fault.kind !== 'timeout') return undefined;
    if (said.kind === 'unanswered')
      return unclear(endpoint, said.stage, commandOf(question, said.stage), undefined, said.fault);
    const answer = unclear(endpoint, 'connect', said.after ?? 'connect', said.reply, said.fault);
    rests.gaveNoSession(placeOf(question.target, endpoint), answer);
    return answer;
  }

  function askOnce(key: string, question: CalloutQuestion): Promise<CalloutAnswer> {
    let answer = asked.get(key);
    if (answer === undefined) {
      answer = askAll(question).finally(() => asked.delete(key));
      asked.set(key, answer);
    }
    return answer;
  }

  return {
    ask(question, signal) {
      const held = askHeld(question);
      if (held !== undefined) return unlessAborted(held, signal);
      const key = questionKey(question);
      const known = foreseen.get(key);
      foreseen.delete(key);
      const fresh = known !== undefined && performance.now() - known.atMs < foreseenMs;
      return unlessAborted(fresh ? known.answer : askOnce(key, question), signal);
    },
    foresee(question) {
      const key = questionKey(question);
      const atMs = performance.now();
      for (const [old, { atMs: then }] of foreseen) {
        if (foreseen.size < maxForeseen && atMs - then < foreseenMs) break;
        foreseen.delete(old);
      }
      if (!foreseen.has(key)) foreseen.set(key, { answer: askOnce(key, question), atMs });
    },
    close: () => desks.close(),
  };
}

/** Answers that nobody has asked for yet: so many, and for so long. */
const maxForeseen = 2000;
const foreseenMs = 5000;

function questionKey({ target, sender, address, sizeOctets }: CalloutQuestion): string {
  const places = target.endpoints.map(endpointKey).join(' ');
  return `${target.protocol} ${places} ${formatAddress(sender)} ${formatAddress(address)} ${sizeOctets ?? ''}`;
}

/** What comes later than the question may take concerns nobody. */
function inTime(answer: Promise<RcptAnswer>, timeoutMs: number): Promise<RcptAnswer> {
  return new Promise((resolve, reject) => {
    const late: RcptAnswer = { kind: 'unanswered', stage: 'rcpt', fault: { kind: 'timeout', timeoutMs } };
    const timer = setTimeout(() => resolve(late), timerMs(timeoutMs));
    answer.then((said) => {
      clearTimeout(timer);
      resolve(said);
    }, reject);
  });
}

function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(new MailError('ABORTED', 'aborted'));
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new MailError('ABORTED', 'aborted'));
    signal.addEventListener('abort', onAbort, { once: true });
    answer.then(
      (value) => {
        signal.removeEventListener('abort', onAbort);
        resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
