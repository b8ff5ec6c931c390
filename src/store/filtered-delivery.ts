/** A delivery as the filter wants it: kept, filed, thrown away or refused for each recipient, with the INBOX where a folder cannot be had. */
import { assertNever } from '../mail/assert-never.ts';
import { errorText } from '../mail/error-text.ts';
import type { DeliveryFilter, FilterVerdict } from './filter.ts';
import type { MailStore, StoreDelivery, StoreOutcome, StoreRecipient } from './mail-store.ts';

/** What became of one recipient in the end. */
export type Fate =
  | Exclude<StoreOutcome, { kind: 'no-folder' }>
  | { readonly kind: 'discarded' }
  /** Refused for now, by a filter. */
  | { readonly kind: 'put-off'; readonly text: string };

export interface Filed {
  readonly fate: Fate;
  /** Where it is, or would be; as logs show it. */
  readonly folder: string;
  /** A folder that was tried before. */
  readonly failed?: { readonly folder: string; readonly reason: string };
}

/** A recipient that is to be stored. */
interface Wanted {
  readonly position: number;
  readonly recipient: StoreRecipient;
  readonly folder: string;
  readonly failed?: Filed['failed'];
}

const inbox = 'INBOX';

/** Answers in the order of the delivery's recipients. Never rejects. */
export async function deliverFiltered(
  store: MailStore,
  filter: DeliveryFilter | undefined,
  delivery: StoreDelivery,
  signal: AbortSignal,
): Promise<readonly Filed[]> {
  const { recipients } = delivery;
  if (filter === undefined) {
    const outcomes = await storeSafely(store, delivery, signal);
    return recipients.map((_, i) => ({ fate: fateOf(outcomes[i]), folder: inbox }));
  }
  const filed: (Filed | undefined)[] = [];
  const steps = await Promise.all(
    recipients.map(async (recipient, position) =>
      follow(await judge(filter, delivery, recipient, signal), position, recipient),
    ),
  );
  const wanted = steps.flatMap((step, position) => {
    if ('recipient' in step) return [step];
    filed[position] = step;
    return [];
  });
  await storeAll(store, delivery, wanted, filed, signal);
  return recipients.map((_, i) => filed[i] ?? { fate: fateOf(undefined), folder: inbox });
}

/** A store says `no-folder` only of a folder that it was asked for. */
function fateOf(outcome: StoreOutcome = unavailable('the store gave no outcome')): Filed['fate'] {
  return outcome.kind === 'no-folder' ? unavailable(outcome.reason) : outcome;
}

async function judge(
  filter: DeliveryFilter,
  { sender, content }: StoreDelivery,
  recipient: StoreRecipient,
  signal: AbortSignal,
): Promise<FilterVerdict | { readonly kind: 'failed'; readonly reason: string }> {
  try {
    return await filter.judge({ sender, recipient, content }, signal);
  } catch (error) {
    return { kind: 'failed', reason: `filter: ${errorText(error)}` };
  }
}

function follow(
  verdict: Awaited<ReturnType<typeof judge>>,
  position: number,
  recipient: StoreRecipient,
): Filed | Wanted {
  switch (verdict.kind) {
    case 'failed':
      return { fate: unavailable(verdict.reason), folder: inbox };
    case 'keep': {
      const { failed } = verdict;
      return { position, recipient, folder: inbox, ...(failed === undefined ? {} : { failed }) };
    }
    case 'file': {
      const { folder, missingFolder = 'refuse', shown = folder } = verdict;
      return { position, recipient: { ...recipient, folder, missingFolder }, folder: shown };
    }
    case 'discard':
      return { fate: { kind: 'discarded' }, folder: inbox };
    case 'refuse':
      return {
        fate: { kind: verdict.temporary === true ? 'put-off' : 'refused', text: verdict.text },
        folder: inbox,
      };
    default:
      return assertNever(verdict);
  }
}

/** Stores for all that are wanted; those without their folder once more, into the INBOX. */
async function storeAll(
  store: MailStore,
  delivery: StoreDelivery,
  wanted: readonly Wanted[],
  filed: (Filed | undefined)[],
  signal: AbortSignal,
): Promise<void> {
  if (wanted.length === 0) return;
  const part: StoreDelivery = {
    ...delivery,
    recipients: wanted.map((w) => w.recipient),
    trace: (i) => delivery.trace(wanted[i]?.position ?? i),
  };
  const outcomes = await storeSafely(store, part, signal);
  const again: Wanted[] = [];
  wanted.forEach(({ position, recipient, folder, failed }, i) => {
    const outcome = outcomes[i];
    if (outcome?.kind === 'no-folder' && recipient.folder !== undefined) {
      const { folder: _, ...plain } = recipient;
      again.push({ position, recipient: plain, folder: inbox, failed: { folder, reason: outcome.reason } });
    } else {
      filed[position] = { fate: fateOf(outcome), folder, ...(failed === undefined ? {} : { failed }) };
    }
  });
  await storeAll(store, delivery, again, filed, signal);
}

async function storeSafely(
  store: MailStore,
  delivery: StoreDelivery,
  signal: AbortSignal,
): Promise<readonly StoreOutcome[]> {
  try {
    return await store.deliver(delivery, signal);
  } catch (error) {
    const reason = errorText(error);
    return delivery.recipients.map(() => unavailable(reason));
  }
}

function unavailable(reason: string): Extract<StoreOutcome, { kind: 'unavailable' }> {
  return { kind: 'unavailable', reason };
}
