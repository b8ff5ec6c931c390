/**
 * Callouts: asks the place where a transport delivers whether it would take mail for an address (Exim manual, "Callout
 * verification"). Questions to one place share connections, and all that wait when one is free go in one flight.
 */
import { createLmtpPool, type LmtpInquiryResult } from '../lmtp/client/pool.ts';
import { type Address, formatAddress, type ReversePath } from '../mail/address.ts';
import type { DialogueFault } from '../mail/dialogue-fault.ts';
import { type Endpoint, endpointKey } from '../mail/endpoint.ts';
import { MailError } from '../mail/mail-error.ts';
import type { RcptAnswer } from '../mail/rcpt-answer.ts';
import { isPermanent, isPositive, type Reply } from '../mail/reply.ts';
import { createSmtpPool } from '../smtp/client/pool.ts';
import type { CalloutTarget } from '../transport/transport.ts';
import { errorText } from '../mail/error-text.ts';

export interface CalloutQuestion {
  readonly target: CalloutTarget;
  readonly sender: ReversePath;
  readonly address: Address;
  /** For `MAIL SIZE=`. */
  readonly sizeOctets?: number;
  readonly connectTimeoutMs: number;
  /** Longest wait for each reply. */
  readonly commandTimeoutMs: number;
  /** Limit of the whole question over all hosts; no further host is tried, and no answer waited for, after it. */
  readonly maxWaitMs: number;
  /** Asks in a transaction that stays open for a message; undefined where there can be none, and the question is as any. */
  readonly hold?: (endpoint: Endpoint) => Promise<RcptAnswer> | undefined;
}

/** What was being waited for: Exim calls all but `rcpt` a rejection of "mail". */
export type CalloutStage = 'connect' | 'mail' | 'rcpt';

export type CalloutAnswer =
  | { readonly kind: 'accepted'; readonly peer: Endpoint; readonly reply: Reply }
  /** 5xx. `connect` is the banner or the HELO command, `after` says which. */
  | {
      readonly kind: 'refused';
      readonly stage: CalloutStage;
      readonly peer: Endpoint;
      readonly after: string;
      readonly reply: Reply;
    }
  /** Neither yes nor no. */
  | {
      readonly kind: 'unclear';
      readonly stage: CalloutStage;
      readonly peer: Endpoint;
      readonly after: string;
      readonly reply?: Reply;
      readonly fault?: DialogueFault;
    };

export interface Callouts {
  /** Rejects only with MailError ABORTED; the question goes on for others who asked the same. */
  ask(question: CalloutQuestion, signal: AbortSignal): Promise<CalloutAnswer>;
  /** Asks what is likely to be asked in a moment; the answer is given to the next who asks, once, within some seconds. */
  foresee(question: CalloutQuestion): void;
  close(): Promise<void>;
}

export interface CalloutLimits {
  /** RCPTs in one flight. */
  readonly maxFlight: number;
  /** Connections to one endpoint; a second is only opened when more than a flight waits. */
  readonly maxConnections: number;
  /** How long an unused connection is kept, milliseconds. */
  readonly idleTimeoutMs: number;
  /** Questions waiting for one endpoint; one more is unclear at once. */
  readonly maxWaiting: number;
  /**
   * An endpoint with which no session could be had is not tried again for so long, milliseconds; for twice as long with each
   * further failure, up to `longestRestMs`. Questions for it are unclear at once meanwhile.
   */
  readonly firstRestMs: number;
  readonly longestRestMs: number;
}

export const defaultCalloutLimits: CalloutLimits = {
  maxFlight: 100,
  maxConnections: 4,
  idleTimeoutMs: 5000,
  maxWaiting: 10_000,
  firstRestMs: 1000,
  longestRestMs: 8000,
};

/** An endpoint that gave no session. */
interface Rest {
  readonly failures: number;
  readonly untilMs: number;
  readonly answer: CalloutAnswer;
}

interface Pending {
  readonly question: CalloutQuestion;
  /** Questions with the same can go in one transaction. */
  readonly mail: string;
  readonly answer: (answer: CalloutAnswer) => void;
  /** Set once the question was given up. */
  done: boolean;
  tries: number;
}

type Inquire = (
  endpoint: Endpoint,
  sender: ReversePath,
  recipients: readonly Address[],
  options: {
    readonly helo: string;
    readonly connectTimeoutMs: number;
    readonly commandTimeoutMs: number;
    readonly inquirySizeOctets?: number;
  },
) => Promise<LmtpInquiryResult>;

/** The questions for one endpoint. */
interface Desk {
  readonly key: string;
  readonly endpoint: Endpoint;
  readonly helo: string;
  readonly inquire: Inquire;
  readonly waiting: Pending[];
  workers: number;
}

/** @param note told once when an endpoint is given a rest, and once when it answers again */
export function createCallouts(
  limits: CalloutLimits = defaultCalloutLimits,
  note: (text: string) => void = () => undefined,
): Callouts {
  const pool = { maxPerEndpoint: limits.maxConnections, idleTimeoutMs: limits.idleTimeoutMs, maxUses: 0 };
  const lmtp = createLmtpPool(pool);
  const smtp = createSmtpPool(pool);
  const desks = new Map<string, Desk>();
  /** Questions under way, by place, sender and address. */
  const asked = new Map<string, Promise<CalloutAnswer>>();
  /** By the key of their desk. */
  const resting = new Map<string, Rest>();
  const foreseen = new Map<string, { readonly answer: Promise<CalloutAnswer>; readonly atMs: number }>();

  const deskKey = (target: CalloutTarget, endpoint: Endpoint): string =>
    `${target.protocol} ${endpointKey(endpoint)} ${target.helo}`;

  function deskFor(target: CalloutTarget, endpoint: Endpoint): Desk {
    const key = deskKey(target, endpoint);
    let desk = desks.get(key);
    if (desk === undefined) {
      const client = target.protocol === 'lmtp' ? lmtp : smtp;
      desk = {
        key,
        endpoint,
        helo: target.helo,
        inquire: (e, sender, recipients, options) => client.inquire(e, sender, recipients, options),
        waiting: [],
        workers: 0,
      };
      desks.set(key, desk);
    }
    return desk;
  }

  function askOne(desk: Desk, question: CalloutQuestion, maxWaitMs: number): Promise<CalloutAnswer> {
    const { promise, resolve } = Promise.withResolvers<CalloutAnswer>();
    const rest = resting.get(desk.key);
    if (rest !== undefined && performance.now() < rest.untilMs) {
      resolve(rest.answer);
      return promise;
    }
    if (desk.waiting.length >= limits.maxWaiting) {
      resolve(
        unclear(desk.endpoint, 'connect', 'too many callouts wait', undefined, {
          kind: 'io',
          text: 'too many callouts wait',
        }),
      );
      return promise;
    }
    const timer = setTimeout(() => {
      pending.answer(
        unclear(desk.endpoint, 'connect', 'callout', undefined, { kind: 'timeout', timeoutMs: maxWaitMs }),
      );
    }, maxWaitMs);
    const pending: Pending = {
      question,
      mail: `${formatAddress(question.sender)} ${question.sizeOctets ?? ''}`,
      answer: (answer) => {
        pending.done = true;
        clearTimeout(timer);
        resolve(answer);
      },
      done: false,
      tries: 0,
    };
    desk.waiting.push(pending);
    if (
      desk.workers === 0 ||
      (desk.workers < limits.maxConnections && desk.waiting.length > limits.maxFlight)
    ) {
      desk.workers++;
      // After the current turn, so that questions that come together go together.
      setImmediate(() => void work(desk));
    }
    return promise;
  }

  async function work(desk: Desk): Promise<void> {
    for (
      let batch = takeBatch(desk, limits.maxFlight);
      batch.length > 0;
      batch = takeBatch(desk, limits.maxFlight)
    ) {
      const failed = await flyBatch(desk, batch);
      if (failed === undefined) answered(desk);
      else gaveNoSession(desk, failed);
    }
    desk.workers--;
    if (desk.workers === 0) for (const [key, other] of desks) if (other === desk) desks.delete(key);
  }

  function gaveNoSession({ key, endpoint }: Pick<Desk, 'key' | 'endpoint'>, answer: CalloutAnswer): void {
    const failures = (resting.get(key)?.failures ?? 0) + 1;
    const restMs = Math.min(limits.longestRestMs, limits.firstRestMs * 2 ** Math.min(failures - 1, 20));
    if (failures === 1)
      note(`callout: ${endpointKey(endpoint)} gives no session; it is asked again in ${restMs} ms`);
    if (resting.size >= maxResting) resting.clear();
    resting.set(key, { failures, untilMs: performance.now() + restMs, answer });
  }

  function answered({ key, endpoint }: Pick<Desk, 'key' | 'endpoint'>): void {
    if (resting.delete(key)) note(`callout: ${endpointKey(endpoint)} answers again`);
  }

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
      last = await askOne(deskFor(target, endpoint), question, leftMs);
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
    const nowMs = resting.size === 0 ? 0 : performance.now();
    const rests = (e: Endpoint): boolean => (resting.get(deskKey(target, e))?.untilMs ?? 0) > nowMs;
    const at = resting.size === 0 ? 0 : target.endpoints.findIndex((e) => !rests(e));
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
    const key = deskKey(question.target, endpoint);
    if (said.kind === 'reply') {
      if (resting.size > 0) answered({ key, endpoint });
      return replied(question, endpoint, said.stage, said.reply);
    }
    // Only a long wait is not repeated.
    if (said.kind === 'unsupported' || said.fault.kind !== 'timeout') return undefined;
    if (said.kind === 'unanswered')
      return unclear(endpoint, said.stage, commandOf(question, said.stage), undefined, said.fault);
    const answer = unclear(endpoint, 'connect', said.after ?? 'connect', said.reply, said.fault);
    gaveNoSession({ key, endpoint }, answer);
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
    async close() {
      await Promise.all([lmtp.close(), smtp.close()]);
    },
  };
}

/** Endpoints that are remembered to be down. */
const maxResting = 1000;

/** Answers that nobody has asked for yet: so many, and for so long. */
const maxForeseen = 2000;
const foreseenMs = 5000;

function questionKey({ target, sender, address, sizeOctets }: CalloutQuestion): string {
  const places = target.endpoints.map(endpointKey).join(' ');
  return `${target.protocol} ${places} ${formatAddress(sender)} ${formatAddress(address)} ${sizeOctets ?? ''}`;
}

/** The next questions with one sender. */
function takeBatch(desk: Desk, max: number): readonly Pending[] {
  const batch: Pending[] = [];
  const rest: Pending[] = [];
  for (const pending of desk.waiting.splice(0)) {
    if (pending.done) continue;
    const first = batch[0];
    if (batch.length < max && (first === undefined || first.mail === pending.mail)) batch.push(pending);
    else rest.push(pending);
  }
  desk.waiting.push(...rest);
  return batch;
}

/** Gives what all were told where no session could be had, through no fault of the server's own will. */
async function flyBatch(desk: Desk, batch: readonly Pending[]): Promise<CalloutAnswer | undefined> {
  const first = batch[0];
  if (first === undefined) return undefined;
  const { endpoint } = desk;
  const options = {
    helo: desk.helo,
    connectTimeoutMs: Math.max(...batch.map((p) => p.question.connectTimeoutMs)),
    commandTimeoutMs: Math.max(...batch.map((p) => p.question.commandTimeoutMs)),
    ...(first.question.sizeOctets === undefined ? {} : { inquirySizeOctets: first.question.sizeOctets }),
  };
  const { sender } = first.question;
  const addresses = batch.map((p) => p.question.address);
  const asked = await desk
    .inquire(endpoint, sender, addresses, options)
    .catch((error: unknown): undefined => {
      const text = errorText(error);
      for (const p of batch)
        p.answer(unclear(endpoint, 'connect', 'callout', undefined, { kind: 'io', text }));
    });
  if (asked === undefined) return undefined;
  if (asked.kind === 'no-session') {
    const { after = 'connect', reply, fault } = asked.failure;
    const answer: CalloutAnswer =
      reply !== undefined && isPermanent(reply)
        ? { kind: 'refused', stage: 'connect', peer: endpoint, after, reply }
        : unclear(endpoint, 'connect', after, reply, fault);
    for (const p of batch) p.answer(answer);
    return answer.kind === 'unclear' ? answer : undefined;
  }
  let progress = asked.session === 'reused';
  const again: Pending[] = [];
  batch.forEach((p, i) => {
    const a = asked.result.answers[i];
    if (a === undefined) return;
    if (a.kind === 'reply' && a.reply.code !== 421) {
      progress = true;
      p.answer(replied(p.question, endpoint, a.stage, a.reply));
      return;
    }
    const after = commandOf(p.question, a.stage);
    // Some servers hang up after a number of unknown recipients: the others have not had their turn.
    const gone =
      a.kind === 'reply' || a.fault.kind === 'closed' || a.fault.kind === 'shutdown' || a.fault.kind === 'io';
    if (gone && progress && p.tries++ < 1) again.push(p);
    else if (a.kind === 'reply') p.answer(unclear(endpoint, a.stage, after, a.reply, undefined));
    else p.answer(unclear(endpoint, a.stage, after, undefined, a.fault));
  });
  desk.waiting.unshift(...again);
  return undefined;
}

function commandOf({ sender, address }: CalloutQuestion, stage: 'mail' | 'rcpt'): string {
  return stage === 'mail' ? `MAIL FROM:<${formatAddress(sender)}>` : `RCPT TO:<${formatAddress(address)}>`;
}

/** What a reply means that is not the end of the session. */
function replied(
  question: CalloutQuestion,
  peer: Endpoint,
  stage: 'mail' | 'rcpt',
  reply: Reply,
): CalloutAnswer {
  if (isPositive(reply)) return { kind: 'accepted', peer, reply };
  const after = commandOf(question, stage);
  if (isPermanent(reply)) return { kind: 'refused', stage, peer, after, reply };
  return unclear(peer, stage, after, reply, undefined);
}

/** What comes later than the question may take concerns nobody. */
function inTime(answer: Promise<RcptAnswer>, timeoutMs: number): Promise<RcptAnswer> {
  return new Promise((resolve, reject) => {
    const late: RcptAnswer = { kind: 'unanswered', stage: 'rcpt', fault: { kind: 'timeout', timeoutMs } };
    const timer = setTimeout(() => resolve(late), timeoutMs);
    answer.then((said) => {
      clearTimeout(timer);
      resolve(said);
    }, reject);
  });
}

function unclear(
  peer: Endpoint,
  stage: CalloutStage,
  after: string,
  reply: Reply | undefined,
  fault: DialogueFault | undefined,
): CalloutAnswer {
  return {
    kind: 'unclear',
    stage,
    peer,
    after,
    ...(reply === undefined ? {} : { reply }),
    ...(fault === undefined ? {} : { fault }),
  };
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
