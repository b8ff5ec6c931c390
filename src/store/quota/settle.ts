/** After a delivery: what was stored is added to the figures, reservations end, warnings are found. */
import { storageErrorText } from '../../mail/storage-error-text.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { StoreOutcome } from '../mail-store.ts';
import type { QuotaOptions, QuotaPolicy } from './policy.ts';
import { nothing, sum } from './amount.ts';
import type { Amount } from './amount.ts';
import type { Figures } from './usage.ts';
import { dueWarning } from './warnings.ts';

/** What is set aside for one position. */
export interface Reserved extends Amount {
  readonly folder: string | undefined;
}

/** The recipients of a delivery whose mail is counted together. */
export interface Part {
  readonly key: string;
  readonly user: MailUser;
  /** Of the first of them. */
  readonly policy: QuotaPolicy;
  readonly asked: readonly { readonly position: number; readonly policy: QuotaPolicy }[];
  /** By position: those that may come in and count. */
  readonly reserved: Map<number, Reserved>;
}

const never = new AbortController().signal;

/** Never throws: what is stored is stored. */
export async function settleParts(
  parts: readonly Part[],
  outcomes: readonly (StoreOutcome | undefined)[],
  options: QuotaOptions,
): Promise<void> {
  const complain = (part: Part, error: unknown): void =>
    options.onProblem(`quota of ${part.user.username}: ${storageErrorText(error)}`);
  const rest: { part: Part; stored: readonly Amount[]; figures: Figures | 'count' }[] = [];
  // All reservations end before anything is waited for: others may wait for them.
  for (const part of parts) {
    const stored = storedOf(part, outcomes);
    try {
      const figures = addStored(part, stored, options);
      if (stored.length > 0) rest.push({ part, stored, figures });
    } catch (error) {
      complain(part, error);
    }
  }
  for (const { part, stored, figures } of rest) {
    const { source, warnings } = part.policy;
    if (warnings.length === 0 && !(figures === 'count' && source.keeps)) continue;
    try {
      warn(part, stored, figures === 'count' ? await counted(part, options) : figures, options);
    } catch (error) {
      complain(part, error);
    }
  }
}

/** What the store wrote, message by message. */
function storedOf(part: Part, outcomes: readonly (StoreOutcome | undefined)[]): readonly Amount[] {
  const stored: Amount[] = [];
  for (const [position, { bytes }] of part.reserved) {
    const outcome = outcomes[position];
    if (outcome?.kind !== 'stored') continue;
    const written = part.policy.source.counts === 'stored' ? outcome.storedBytes : outcome.virtualBytes;
    stored.push({ bytes: written ?? bytes, messages: 1 });
  }
  return stored;
}

/**
 * In one go, so that no other delivery of this process sees a message twice or not at all. Gives the figures after it, or `count`
 * where they must be counted, which finds the message too.
 */
function addStored(part: Part, stored: readonly Amount[], { accounts }: QuotaOptions): Figures | 'count' {
  const { source, rules, warnings } = part.policy;
  try {
    if (stored.length === 0) return 'count';
    const before = source.kept(part.user, rules);
    if (before === undefined) return 'count';
    for (const amount of stored) source.add(part.user, amount);
    if (warnings.length === 0) return before;
    return source.kept(part.user, rules) ?? 'count';
  } finally {
    for (const amount of part.reserved.values()) accounts.release(part.key, amount);
  }
}

function counted(part: Part, { accounts }: QuotaOptions): Promise<Figures> {
  const { source, rules } = part.policy;
  return accounts.locked(part.key, async (account) => {
    await account.drained(0, never);
    return source.kept(part.user, rules) ?? source.count(part.user, rules, never);
  });
}

function warn(
  part: Part,
  stored: readonly Amount[],
  { used, limits }: Figures,
  { onWarning }: QuotaOptions,
): void {
  const added = stored.reduce(sum, nothing);
  let before: Amount = {
    bytes: Math.max(0, used.bytes - added.bytes),
    messages: Math.max(0, used.messages - added.messages),
  };
  for (const amount of stored) {
    const after = sum(before, amount);
    const warning = dueWarning(part.policy.warnings, limits, before, after);
    if (warning !== undefined) onWarning(part.user, warning, after);
    before = after;
  }
}
