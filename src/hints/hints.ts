/**
 * The hints port: Exim's databases of what is worth remembering but may be lost (retry times, callout results).
 * A lost hint costs a question or an early attempt, never a message, so writes are not awaited for durability.
 */
export type HintsDatabase = 'callout' | 'retry' | 'wait';

export interface Hints {
  /** The record, or undefined where there is none or it has expired. Records are plain JSON values. */
  get(database: HintsDatabase, key: string, nowMs: number): unknown;
  /** Replaces a record. It is gone after expiresAtMs. Resolves when other processes see it. */
  put(database: HintsDatabase, key: string, record: unknown, expiresAtMs: number): Promise<void>;
  delete(database: HintsDatabase, key: string): Promise<void>;
  /** Every live record with a key that begins with `prefix`, in key order, and until when it lives. */
  entries(
    database: HintsDatabase,
    prefix: string,
    nowMs: number,
  ): Iterable<readonly [key: string, record: unknown, expiresAtMs: number]>;
  /** Removes expired records; returns how many. */
  tidy(database: HintsDatabase, nowMs: number): Promise<number>;
  close(): Promise<void>;
}
