/** The journal port: what a store remembers of transfers that were named (src/store/transfers.ts). */

export interface JournalEntry {
  /** For the mail store: where the message is to be found; absent where the driver cannot say. */
  readonly token?: string;
  /** What the first answer named the delivery. */
  readonly session: string;
}

/** Where transfers are remembered, in files that survive the process, for a bounded time and number. */
export interface TransferJournal {
  find(key: string): (JournalEntry & { readonly stored: boolean }) | undefined;
  /** Resolves when it is on the disk. */
  announce(key: string, entry: JournalEntry): Promise<void>;
  /** The message is stored. Never rejects: where it cannot be written down, the place is looked at again. */
  stored(key: string, entry: JournalEntry): Promise<void>;
  /** What was announced came to nothing. Never rejects. */
  forget(key: string): Promise<void>;
  /** Announced, and not known to be stored: what a crash has left. */
  unfinished(): readonly (JournalEntry & { readonly key: string })[];
  close(): Promise<void>;
}
