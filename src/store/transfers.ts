/**
 * Transfers that are told apart from repeats. A client of ours names what it hands over; when the answer got lost it hands the
 * same over again, and the store answers as before instead of storing a second copy.
 *
 * What is remembered comes in three steps: the journal says, durably, where a message will be before it is visible there;
 * then it is visible; then the journal says that it was stored, at leisure. After a crash between the first and the second a
 * look at the place tells which it was.
 */
import { errorText } from '../mail/error-text.ts';
import type { JournalEntry, TransferJournal } from './transfer-journal.ts';

export type Begun =
  /** Store it: `announce` goes with the recipient, `end` says what became of it. */
  | {
      readonly kind: 'new';
      announce(token: string): Promise<void>;
      end(stored: boolean): void;
    }
  /** It was stored before; the first answer named it so. */
  | { readonly kind: 'stored'; readonly session: string };

export interface Transfers {
  /** A transfer of that name begins; one under way is waited for. Rejects where the journal cannot be read. */
  begin(key: string, session: string): Promise<Begun>;
  /** It was stored, or is being stored: a repeat, which needs no room. Throws where the journal cannot be read. */
  isKnown(key: string): boolean;
  /** A second name for what is stored. Resolves when a repeat under it will be known. */
  also(key: string, session: string): Promise<void>;
}

/** Transfers under way, by name. A journal has one for the whole process: after a reload the old configuration still stores some. */
export type RunningTransfers = Map<string, Promise<boolean>>;

/** @param holds of the mail store: is the message where the token says? */
export function createTransfers(
  journal: TransferJournal,
  holds: (token: string) => boolean | Promise<boolean>,
  running: RunningTransfers = new Map(),
): Transfers {
  async function known(key: string): Promise<JournalEntry | undefined> {
    const entry = journal.find(key);
    if (entry === undefined || entry.stored) return entry;
    if (entry.token !== undefined && (await holds(entry.token))) {
      await journal.stored(key, entry);
      return entry;
    }
    return undefined;
  }

  return {
    isKnown: (key) => running.has(key) || journal.find(key) !== undefined,
    also: (key, session) => journal.stored(key, { session }),
    async begin(key, session) {
      for (let before = running.get(key); before !== undefined; before = running.get(key)) await before;
      const { promise, resolve } = Promise.withResolvers<boolean>();
      running.set(key, promise);
      const over = (stored: boolean): void => {
        running.delete(key);
        resolve(stored);
      };
      let entry: JournalEntry | undefined;
      try {
        entry = await known(key);
      } catch (error) {
        over(false);
        throw error;
      }
      if (entry !== undefined) {
        over(true);
        return { kind: 'stored', session: entry.session };
      }
      let announced: JournalEntry = { session };
      return {
        kind: 'new',
        announce(token) {
          announced = { token, session };
          return journal.announce(key, announced);
        },
        end(stored) {
          // Nobody waits for it but who repeats the transfer at this moment.
          if (stored) void journal.stored(key, announced).then(() => over(true));
          else if (announced.token === undefined) over(false);
          else void journal.forget(key).then(() => over(false));
        },
      };
    },
  };
}

/**
 * Looks after what a crash has left, before anything new comes: what is there was stored, what is not there was not. Later
 * its owner may have moved it, and it would be stored again.
 */
export async function recoverTransfers(
  journal: TransferJournal,
  holds: (token: string) => boolean | Promise<boolean>,
  problem: (text: string) => void,
  running: RunningTransfers = new Map(),
): Promise<void> {
  for (const { key, ...entry } of journal.unfinished()) {
    if (running.has(key)) continue;
    try {
      if (entry.token !== undefined && (await holds(entry.token))) await journal.stored(key, entry);
      else await journal.forget(key);
    } catch (error) {
      problem(`transfer ${key}: ${errorText(error)}`);
    }
  }
}
