/**
 * A mail store with quotas in front of it: recipients whose message does not fit get their outcome here, the others go on.
 *
 * Dovecot's sums hold: a message must fit with every line ending in CRLF, what is counted of it afterwards is its size as stored
 * (`quota = maildir`) or that with CRLF (`count`). What deliveries under way will take counts at once, so no number of them passes a
 * limit that each by itself keeps; one that only those keep out waits for how they end.
 */
import type { Awaitable } from '../../mail/awaitable.ts';
import { storageErrorText } from '../../mail/storage-error-text.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { MailStore, NoRoom, StoreDelivery, StoreOutcome } from '../mail-store.ts';
import type { Account, Accounts } from './accounts.ts';
import { tooLargeText } from './policy.ts';
import type { PolicyAnswer, QuotaOptions, QuotaPolicy } from './policy.ts';
import { fits, graceOf, limitsOf } from './rules.ts';
import { settleParts } from './settle.ts';
import type { Part, Reserved } from './settle.ts';
import { nothing, sum } from './amount.ts';
import type { Amount } from './amount.ts';
import type { Figures } from './usage.ts';

const never = new AbortController().signal;

export function withQuota(store: MailStore, options: QuotaOptions): MailStore {
  const { policyOf, accounts } = options;
  const running = new Set<Promise<unknown>>();
  let closing = false;

  async function deliverLimited(
    delivery: StoreDelivery,
    answered: readonly Awaitable<PolicyAnswer>[],
    signal: AbortSignal,
  ): Promise<readonly StoreOutcome[]> {
    const outcomes: (StoreOutcome | undefined)[] = [];
    const answers: PolicyAnswer[] = [];
    for (const answer of answered) answers.push(answer instanceof Promise ? await answer : answer);
    const parts = partsOf(delivery, answers, outcomes);
    const sizes = sizesOf(delivery);
    try {
      // In order of their keys: see Accounts.
      for (const part of parts) await admit(part, delivery, sizes, outcomes, signal);
      const admitted = delivery.recipients.flatMap((_, position) =>
        outcomes[position] === undefined ? [position] : [],
      );
      const stored = await deliverSome(store, delivery, admitted, signal);
      admitted.forEach((position, i) => {
        outcomes[position] = stored[i] ?? { kind: 'unavailable', reason: 'no outcome' };
      });
    } finally {
      await settleParts(parts, outcomes, options);
    }
    return outcomes.map((o) => o ?? { kind: 'unavailable', reason: 'no outcome' });
  }

  async function admit(
    part: Part,
    delivery: StoreDelivery,
    sizes: Sizes,
    outcomes: (StoreOutcome | undefined)[],
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await accounts.locked(part.key, (account) =>
        admitAll(account, part, delivery, sizes, outcomes, signal),
      );
    } catch (error) {
      // Positions judged before keep what they got.
      for (const { position } of part.asked)
        if (!part.reserved.has(position))
          outcomes[position] ??= {
            kind: 'unavailable',
            reason: `quota of ${part.key}: ${storageErrorText(error)}`,
          };
    }
  }

  function check(
    user: MailUser,
    folder: string | undefined,
    declaredBytes: number | undefined,
  ): Awaitable<NoRoom | undefined> {
    const answer = policyOf(user);
    return answer instanceof Promise
      ? answer.then((a) => checkPolicy(accounts, a, user, folder, declaredBytes))
      : checkPolicy(accounts, answer, user, folder, declaredBytes);
  }

  return {
    deliver(delivery, signal) {
      const answers = delivery.recipients.map((r) => policyOf(r.user));
      // A store that is closed says so itself.
      if (closing || answers.every((a) => !(a instanceof Promise) && a.kind === 'none'))
        return store.deliver(delivery, signal);
      const run = deliverLimited(delivery, answers, signal);
      running.add(run);
      return run.finally(() => running.delete(run));
    },
    check,
    ...(store.holds === undefined ? {} : { holds: (token: string) => store.holds?.(token) ?? false }),
    async close() {
      closing = true;
      await Promise.allSettled(running);
      await store.close();
    },
  };
}

/** Positions by whose account they go to, in ascending order of the keys. Those that cannot be judged get their outcome. */
function partsOf(
  delivery: StoreDelivery,
  answers: readonly PolicyAnswer[],
  outcomes: (StoreOutcome | undefined)[],
): readonly Part[] {
  const parts = new Map<string, Part & { asked: { position: number; policy: QuotaPolicy }[] }>();
  delivery.recipients.forEach(({ user }, position) => {
    const answer = answers[position] ?? { kind: 'none' };
    if (answer.kind === 'none') return;
    if (answer.kind === 'unavailable') {
      outcomes[position] = answer;
      return;
    }
    const { policy } = answer;
    let key: string;
    try {
      key = policy.source.key(user);
    } catch (error) {
      outcomes[position] = {
        kind: 'unavailable',
        reason: `quota of ${user.username}: ${storageErrorText(error)}`,
      };
      return;
    }
    const part = parts.get(key);
    if (part === undefined)
      parts.set(key, { key, user, policy, asked: [{ position, policy }], reserved: new Map() });
    else part.asked.push({ position, policy });
  });
  return [...parts.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function admitAll(
  account: Account,
  part: Part,
  delivery: StoreDelivery,
  sizes: Sizes,
  outcomes: (StoreOutcome | undefined)[],
  signal: AbortSignal,
): Promise<void> {
  let figures: Figures | undefined;
  let mine = nothing;
  for (const { position, policy } of part.asked) {
    const { rules, source } = policy;
    const octets = sizes.virtual(position);
    if (policy.maxMailBytes !== 0 && octets > policy.maxMailBytes) {
      outcomes[position] = { kind: 'too-big', text: tooLargeText };
      continue;
    }
    const folder = delivery.recipients[position]?.folder;
    if (!rules.forced) figures ??= await figuresOf(account, part, signal);
    const { limits, ignored } = limitsOf(rules, figures?.limits ?? rules.limits, folder);
    if (ignored) continue;
    const take: Reserved = {
      bytes: source.counts === 'virtual' ? octets : sizes.stored(position),
      messages: 1,
      folder,
    };
    if (policy.enforced && isLimited(limits)) {
      const grace = graceOf(rules, figures?.limits ?? rules.limits);
      figures ??= await figuresOf(account, part, signal);
      if (!fits(limits, grace, sum(figures.used, account.reserved), octets)) {
        if (fits(limits, grace, sum(figures.used, mine), octets)) {
          // Only what is under way keeps it out.
          await account.drained(part.reserved.size, signal);
          figures = await figuresOf(account, part, signal);
        }
        if (!fits(limits, grace, sum(figures.used, account.reserved), octets)) {
          outcomes[position] = { kind: 'over-quota', text: policy.exceededText };
          continue;
        }
      }
    }
    account.reserve(take);
    part.reserved.set(position, take);
    mine = sum(mine, take);
  }
}

async function figuresOf(account: Account, part: Part, signal: AbortSignal): Promise<Figures> {
  const { source, rules } = part.policy;
  const kept = source.kept(part.user, rules);
  if (kept !== undefined) return kept;
  // What is stored and not yet added would be counted twice.
  await account.drained(part.reserved.size, signal);
  return source.kept(part.user, rules) ?? source.count(part.user, rules, signal);
}

function isLimited({ bytes, messages }: Amount): boolean {
  return bytes !== 0 || messages !== 0;
}

function checkPolicy(
  accounts: Accounts,
  answer: PolicyAnswer,
  user: MailUser,
  folder: string | undefined,
  declaredBytes = 0,
): Awaitable<NoRoom | undefined> {
  if (answer.kind === 'none') return undefined;
  if (answer.kind === 'unavailable') return answer;
  const { policy } = answer;
  const { rules, source } = policy;
  if (policy.maxMailBytes !== 0 && declaredBytes > policy.maxMailBytes)
    return { kind: 'too-big', text: tooLargeText };
  if (!policy.enforced || (rules.forced && !isLimited(limitsOf(rules, rules.limits, folder).limits)))
    return undefined;
  const judge = ({ used, limits: base }: Figures): NoRoom | undefined =>
    fits(limitsOf(rules, base, folder).limits, graceOf(rules, base), used, declaredBytes)
      ? undefined
      : { kind: 'over-quota', text: policy.exceededText };
  const fault = (error: unknown): NoRoom => ({
    kind: 'unavailable',
    reason: `quota of ${user.username}: ${storageErrorText(error)}`,
  });
  try {
    const kept = source.kept(user, rules);
    if (kept !== undefined) return judge(kept);
    const part = { key: source.key(user), user, policy, asked: [], reserved: new Map() };
    return accounts.locked(part.key, (account) => figuresOf(account, part, never)).then(judge, fault);
  } catch (error) {
    return fault(error);
  }
}

/** The inner store sees those at `positions` only, as a delivery of their own. */
async function deliverSome(
  store: MailStore,
  delivery: StoreDelivery,
  positions: readonly number[],
  signal: AbortSignal,
): Promise<readonly StoreOutcome[]> {
  if (positions.length === 0) return [];
  if (positions.length === delivery.recipients.length) return store.deliver(delivery, signal);
  const recipients = positions.flatMap((position) => delivery.recipients[position] ?? []);
  return store.deliver({ ...delivery, recipients, trace: (i) => delivery.trace(positions[i] ?? i) }, signal);
}

interface Sizes {
  /** With CRLF at the end of every line. */
  virtual(position: number): number;
  /** With LF: near enough until the store says what it wrote. */
  stored(position: number): number;
}

function sizesOf(delivery: StoreDelivery): Sizes {
  const { content } = delivery;
  let lines: number | undefined;
  return {
    virtual: (position) => delivery.trace(position).length + content.size,
    stored(position) {
      lines ??= content.bytes === undefined ? 0 : countLines(content.bytes);
      const fields = delivery.trace(position);
      return fields.replaceAll('\r\n', '\n').length + content.size - lines;
    },
  };
}

function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  return lines;
}
