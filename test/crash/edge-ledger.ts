/**
 * Both sides of the account for `edge.test.ts`: what the client was told at the SMTP side, and what came out at the other
 * end. The name of a recipient says what becomes of it, the detail which message it is of: `bad+m17@example.test`.
 */
import type { SpoolEntry } from '../../src/spool/spool.ts';

/** `good` is delivered, `late` and `grey` are put off once before, `bad` and `drop` are refused for good and bounce. */
export type Fate = 'good' | 'late' | 'grey' | 'bad' | 'drop';

/** What the client knows of a message: not all sent, all sent, or answered. */
type Stage = 'begun' | 'dotted' | 'accepted' | 'refused';

export interface Sent {
  readonly n: number;
  /** As given in RCPT, some of them twice. */
  readonly users: readonly string[];
  readonly size: number;
  stage: Stage;
  queueId: string | undefined;
}

interface Copy {
  readonly era: number;
  readonly queueId: string;
}

interface BounceSeen {
  /** Users that it names as failed. */
  readonly failed: readonly string[];
  readonly copies: Copy[];
}

/** Moments in which a kill is of interest. */
export type Moment = 'dotted' | 'accepted' | 'taken' | 'answered';

/** The log of the program, and where in it each of its lives ended. */
export interface LogText {
  readonly text: string;
  readonly ends: readonly number[];
}

export interface Verdict {
  readonly faults: readonly string[];
  /** Recipients of accepted messages. */
  readonly accepted: number;
  readonly delivered: number;
  readonly bounced: number;
  readonly queued: number;
  /** Copies beyond the first, of messages and bounces. */
  readonly duplicates: number;
  /** Most transactions that one kill made to be done again. */
  readonly mostAtOnce: number;
  /** Messages without an answer that were kept, and that were not. */
  readonly unansweredKept: number;
  readonly unansweredGone: number;
}

/** `below(n)` gives 0 to n-1; Park and Miller's generator, so that a run can be repeated as far as time allows. */
export function seeded(seed: number): (n: number) => number {
  let state = (seed % 2_147_483_646) + 1;
  return (n) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % n;
  };
}

export function address(user: string, n: number): string {
  return `${user}+m${n}@example.test`;
}

/** The user and the message of an address made by {@link address}. */
export function readAddress(text: string): { readonly user: string; readonly n: number } {
  const m = /^(\w+)\+m(\d+)@/.exec(text);
  if (m?.[1] === undefined) throw new Error(`${text} is none of our addresses`);
  return { user: m[1], n: Number(m[2]) };
}

export function fateOf(user: string): Fate {
  const fate = /^[a-z]+/.exec(user)?.[0] ?? '';
  switch (fate) {
    case 'good':
    case 'late':
    case 'grey':
    case 'bad':
    case 'drop':
      return fate;
    default:
      throw new Error(`${user} is none of our users`);
  }
}

/** The message as sent, in a form that shows missing, foreign and doubled parts. */
export function textOf(n: number, size: number): string {
  const head = `Message-ID: <m${n}@load.test>\r\nX-Ledger: ${n}\r\nSubject: message ${n}\r\n\r\n`;
  const end = `end of message ${n}\r\n`;
  const line = `${n} the quick brown fox jumps over the lazy dog\r\n`;
  const room = Math.max(0, size - head.length - end.length);
  const filler = line.repeat(Math.ceil(room / line.length)).slice(0, room);
  return `${head}${filler.slice(0, Math.max(0, room - 2)).replace(/\r$/, ' ')}${room < 2 ? '' : '\r\n'}${end}`;
}

export class Ledger {
  readonly messages: Sent[] = [];
  readonly faults: string[] = [];
  readonly #copies = new Map<string, Copy[]>();
  readonly #bounces = new Map<number, Map<string, BounceSeen>>();
  #trap: { readonly moment: Moment; left: number; readonly spring: () => void } | undefined;

  begin(users: readonly string[], size: number): Sent {
    const sent: Sent = { n: this.messages.length, users, size, stage: 'begun', queueId: undefined };
    this.messages.push(sent);
    return sent;
  }

  /** Calls `spring` within the count-th next moment of that kind; a new trap replaces the old one. */
  trap(moment: Moment, count: number, spring: () => void): void {
    this.#trap = { moment, left: count, spring };
  }

  noTrap(): void {
    this.#trap = undefined;
  }

  passed(moment: Moment): void {
    if (this.#trap?.moment !== moment || --this.#trap.left > 0) return;
    const { spring } = this.#trap;
    this.#trap = undefined;
    spring();
  }

  /** One text came out for these users, in that life of the program. Line ends are CRLF. */
  arrived(users: readonly string[], text: string, era: number): void {
    const queueId = /\sid (\w{6}-\w{6}-\w{2})[\s;]/.exec(text)?.[1];
    const n = Number(/^X-Ledger: (\d+)\r$/m.exec(text)?.[1] ?? Number.NaN);
    const sent = this.messages[n];
    if (queueId === undefined || sent === undefined) {
      this.faults.push(`a text of no message came for ${users.join(' ')}: ${text.slice(0, 300)}`);
      return;
    }
    const copy: Copy = { era, queueId };
    if (/^Auto-Submitted: auto-replied\r$/m.test(text.slice(0, text.indexOf('\r\n\r\n')))) {
      if (users.join() !== 'sender') this.faults.push(`a bounce of m${n} came for ${users.join(' ')}`);
      this.#bounce(n, text, copy);
      return;
    }
    if (!text.endsWith(textOf(n, sent.size)))
      this.faults.push(`m${n} is not whole: ${text.length} octets, ${JSON.stringify(text.slice(-200))}`);
    for (const user of users) {
      const key = `${n} ${user}`;
      const copies = this.#copies.get(key);
      if (copies === undefined) this.#copies.set(key, [copy]);
      else copies.push(copy);
    }
  }

  #bounce(n: number, text: string, copy: Copy): void {
    const failed = [...text.matchAll(/^Final-Recipient: rfc822; ?(\S+)\r$/gm)].map((m) =>
      readAddress(m[1] ?? ''),
    );
    for (const f of failed) if (f.n !== n) this.faults.push(`a bounce of m${n} names a recipient of m${f.n}`);
    const ofMessage = this.#bounces.get(n) ?? new Map<string, BounceSeen>();
    this.#bounces.set(n, ofMessage);
    const seen = ofMessage.get(copy.queueId) ?? { failed: failed.map((f) => f.user), copies: [] };
    ofMessage.set(copy.queueId, seen);
    seen.copies.push(copy);
  }

  /** Is anything of it at the other end? */
  #seen({ n, users }: Sent): boolean {
    return this.#bounces.has(n) || users.some((user) => this.#copies.has(`${n} ${user}`));
  }

  /** Recipients of accepted messages that have not come out yet. */
  get outstanding(): number {
    let count = 0;
    for (const sent of this.messages)
      if (sent.stage === 'accepted')
        for (const user of new Set(sent.users)) if (!this.#out(sent.n, user)) count++;
    return count;
  }

  #out(n: number, user: string): boolean {
    const named = [...(this.#bounces.get(n)?.values() ?? [])].filter((b) => b.failed.includes(user)).length;
    return named > 0 || this.#copies.has(`${n} ${user}`);
  }

  /**
   * Compares everything.
   * @param entries what is in the spool now
   * @param killed whether a life of the program ended in a kill, by its number
   * @param mostInFlight transactions that may be under way at one moment
   */
  check(
    log: LogText,
    entries: readonly SpoolEntry[],
    killed: readonly boolean[],
    mostInFlight: number,
  ): Verdict {
    const faults = [...this.faults];
    const logged = readLog(log);
    const inSpool = new Map<number, SpoolEntry>();
    const queuedBounces = new Set<number>();
    for (const e of entries) {
      const { n } = readAddress(`${e.envelope.recipients[0]?.address.local}@`);
      if (e.envelope.sender === null) queuedBounces.add(n);
      else if (inSpool.has(n)) faults.push(`m${n} is in the spool twice`);
      else inSpool.set(n, e);
    }
    const count = { accepted: 0, delivered: 0, bounced: 0, queued: 0, unansweredKept: 0, unansweredGone: 0 };
    for (const sent of this.messages) {
      const entry = inSpool.get(sent.n);
      const seen = entry !== undefined || this.#seen(sent) || queuedBounces.has(sent.n);
      if (sent.stage === 'dotted') count[seen ? 'unansweredKept' : 'unansweredGone']++;
      else if (sent.stage !== 'accepted' && seen)
        faults.push(`m${sent.n} came out although it was ${sent.stage} only`);
      if (sent.stage !== 'accepted' && !(sent.stage === 'dotted' && seen)) continue;
      const users = [...new Set(sent.users)];
      for (const user of users) {
        const end = this.#endOf(sent, user, entry, queuedBounces.has(sent.n), faults);
        if (sent.stage !== 'accepted') continue;
        count.accepted++;
        if (end !== undefined) count[end]++;
      }
    }
    const again = this.#duplicates(logged, killed, faults);
    const sizes = [...again.values()].map((ids) => ids.size);
    const mostAtOnce = Math.max(0, ...sizes);
    if (mostAtOnce > mostInFlight) faults.push(`one kill made ${mostAtOnce} transactions to be done again`);
    const duplicates = [
      ...this.#copies.values(),
      ...[...this.#bounces.values()].flatMap((m) => [...m.values()].map((b) => b.copies)),
    ].reduce((sum, copies) => sum + copies.length - 1, 0);
    return { faults, ...count, duplicates, mostAtOnce };
  }

  /** Where one recipient stands: by the spool while the message is there, else by what came out. */
  #endOf(
    { n }: Sent,
    user: string,
    entry: SpoolEntry | undefined,
    bounceQueued: boolean,
    faults: string[],
  ): 'delivered' | 'bounced' | 'queued' | undefined {
    const fails = fateOf(user) === 'bad' || fateOf(user) === 'drop';
    const copies = this.#copies.get(`${n} ${user}`)?.length ?? 0;
    const bounces = [...(this.#bounces.get(n)?.values() ?? [])].filter((b) => b.failed.includes(user)).length;
    const position =
      entry?.envelope.recipients.findIndex((r) => readAddress(`${r.address.local}@`).user === user) ?? -1;
    const state = entry?.states[position];
    if (entry !== undefined && state === undefined)
      faults.push(`${user} of m${n} is not in the spool's entry`);
    if (fails && copies > 0) faults.push(`${user} of m${n} was delivered`);
    if (!fails && bounces > 0) faults.push(`${user} of m${n} was bounced`);
    if (bounces > 1) faults.push(`${bounces} different bounces name ${user} of m${n}`);
    if (state?.kind === 'pending') {
      if (bounces > 0) faults.push(`${user} of m${n} was bounced and is still in the queue`);
      return 'queued';
    }
    if (state !== undefined && (state.how === 'failed') !== fails)
      faults.push(`${user} of m${n} is recorded as ${state.how}`);
    if (fails && bounces === 0 && !bounceQueued) faults.push(`${user} of m${n} failed without a bounce`);
    else if (!fails && copies === 0) faults.push(`${user} of m${n} is lost`);
    else return fails ? 'bounced' : 'delivered';
    return undefined;
  }

  /**
   * The at-least-once rule: a second copy only in a later life than the first, whose kill came before the first was
   * recorded. The log tells of a delivery after it is recorded, so nothing it tells of may come again.
   * Gives the transactions that were done again, by the life in which they were done first.
   */
  #duplicates(
    logged: ReadonlyMap<string, number>,
    killed: readonly boolean[],
    faults: string[],
  ): Map<number, Set<string>> {
    const again = new Map<number, Set<string>>();
    const look = (what: string, to: string, copies: readonly Copy[]): void => {
      for (const [i, copy] of copies.entries()) {
        if (copy.queueId !== copies[0]?.queueId) faults.push(`${what} came under two queue ids`);
        const next = copies[i + 1];
        if (next === undefined) break;
        const toldAt = logged.get(`${copy.queueId} ${to}`) ?? Number.POSITIVE_INFINITY;
        if (next.era <= copy.era) faults.push(`${what} came twice in life ${copy.era}`);
        else if (killed[copy.era] !== true)
          faults.push(`${what} came again although life ${copy.era} ended in order`);
        else if (toldAt < next.era)
          faults.push(`${what} came again in life ${next.era}, recorded in life ${toldAt}`);
        const ids = again.get(copy.era) ?? new Set<string>();
        again.set(copy.era, ids.add(copy.queueId));
      }
    };
    for (const [key, copies] of this.#copies) {
      const [n = '', user = ''] = key.split(' ');
      look(
        `${user} of m${n}`,
        address(user, Number(n)),
        copies.toSorted((a, b) => a.era - b.era),
      );
    }
    for (const [n, bounces] of this.#bounces)
      for (const { copies } of bounces.values())
        look(
          `a bounce of m${n}`,
          address('sender', n),
          copies.toSorted((a, b) => a.era - b.era),
        );
    return again;
  }
}

/** Deliveries that the log tells of: `ID ADDRESS` to the life in which it did. A kill may have cut a line anywhere. */
function readLog({ text, ends }: LogText): Map<string, number> {
  const logged = new Map<string, number>();
  let era = 0;
  for (const m of text.matchAll(/(\w{6}-\w{6}-\w{2}) [=-]> (?:[^\s<]+ <([^>\s]+)>|(\S+)) R=/g)) {
    while (era < ends.length && m.index >= (ends[era] ?? 0)) era++;
    logged.set(`${m[1]} ${m[2] ?? m[3]}`, era);
  }
  return logged;
}
