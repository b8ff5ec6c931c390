/** Questions to one place share connections, and all that wait when one is free go in one flight. */
import { createLmtpPool, type LmtpInquiryResult } from '../lmtp/client/pool.ts';
import { type Address, formatAddress, type ReversePath } from '../mail/address.ts';
import type { Endpoint } from '../mail/endpoint.ts';
import { errorText } from '../mail/error-text.ts';
import { isPermanent } from '../mail/reply.ts';
import { timerMs } from '../mail/time-interval.ts';
import { createSmtpPool } from '../smtp/client/pool.ts';
import type { CalloutTarget } from '../transport/transport.ts';
import { type CalloutAnswer, type CalloutQuestion, commandOf, replied, unclear } from './callout-answer.ts';
import { type CalloutPlace, placeOf, type Rests } from './callout-rests.ts';

export interface DeskLimits {
  /** RCPTs in one flight. */
  readonly maxFlight: number;
  /** Connections to one endpoint; a second is only opened when more than a flight waits. */
  readonly maxConnections: number;
  /** How long an unused connection is kept, milliseconds. */
  readonly idleTimeoutMs: number;
  /** Questions waiting for one endpoint; one more is unclear at once. */
  readonly maxWaiting: number;
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
interface Desk extends CalloutPlace {
  readonly helo: string;
  readonly inquire: Inquire;
  readonly waiting: Pending[];
  workers: number;
}

export interface Desks {
  /**
   * Asks at one of the target's endpoints; unclear at once where it rests, or too many wait.
   *
   * @param maxWaitMs longest wait for the answer
   */
  ask(endpoint: Endpoint, question: CalloutQuestion, maxWaitMs: number): Promise<CalloutAnswer>;
  close(): Promise<void>;
}

/** @param rests is told which places give no session, and which answer */
export function createDesks(limits: DeskLimits, rests: Rests): Desks {
  const pool = { maxPerEndpoint: limits.maxConnections, idleTimeoutMs: limits.idleTimeoutMs, maxUses: 0 };
  const lmtp = createLmtpPool(pool);
  const smtp = createSmtpPool(pool);
  const desks = new Map<string, Desk>();

  function deskFor(target: CalloutTarget, place: CalloutPlace): Desk {
    const { key } = place;
    let desk = desks.get(key);
    if (desk === undefined) {
      const client = target.protocol === 'lmtp' ? lmtp : smtp;
      desk = {
        ...place,
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
    }, timerMs(maxWaitMs));
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
      if (failed === undefined) rests.answered(desk);
      else rests.gaveNoSession(desk, failed);
    }
    desk.workers--;
    if (desk.workers === 0 && desks.get(desk.key) === desk) desks.delete(desk.key);
  }

  return {
    ask(endpoint, question, maxWaitMs) {
      const place = placeOf(question.target, endpoint);
      const rest = rests.answerOf(place.key);
      // No desk for a place that rests: only its work ends one.
      if (rest !== undefined) return Promise.resolve(rest);
      return askOne(deskFor(question.target, place), question, maxWaitMs);
    },
    async close() {
      await Promise.all([lmtp.close(), smtp.close()]);
    },
  };
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
