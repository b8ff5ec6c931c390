/** Where a store remembers what was handed over to it, by its options. */
import path from 'node:path';
import type { StoreInstance } from '../../config/model.ts';
import { errorText } from '../../mail/error-text.ts';
import { openLmdbJournal } from '../../store/drivers/journal/lmdb-journal.ts';
import type { MailStore } from '../../store/mail-store.ts';
import {
  createTransfers,
  recoverTransfers,
  type RunningTransfers,
  type Transfers,
} from '../../store/transfers.ts';

export interface OpenTransfers {
  readonly transfers: Transfers;
  close(): Promise<void>;
}

/** By the folder of their journal. */
const underWay = new Map<string, RunningTransfers>();

/** Undefined where `transfer_memory` is 0 or the mail store cannot look whether a message came. */
export async function openTransfers(
  { name, options }: StoreInstance,
  spoolDirectory: string,
  store: MailStore,
  problem: (text: string) => void,
): Promise<OpenTransfers | undefined> {
  const keepMs = options.transfer_memory;
  const holds = store.holds?.bind(store);
  if (keepMs <= 0 || holds === undefined) return undefined;
  const folder = path.join(spoolDirectory, 'transfers', name);
  const journal = openJournal(name, folder, keepMs);
  const running: RunningTransfers = underWay.get(folder) ?? new Map();
  underWay.set(folder, running);
  await recoverTransfers(journal, holds, problem, running);
  return { transfers: createTransfers(journal, holds, running), close: () => journal.close() };
}

function openJournal(store: string, directory: string, keepMs: number): ReturnType<typeof openLmdbJournal> {
  try {
    return openLmdbJournal({ directory, keepMs });
  } catch (cause) {
    const hint = `${directory} must be writable (spool_directory), or transfer_memory = 0s`;
    throw new Error(`${store} store: transfers cannot be remembered: ${errorText(cause)}; ${hint}`, {
      cause,
    });
  }
}
