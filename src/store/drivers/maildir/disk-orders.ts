/** What goes between the store's thread and the disk's (disk-thread.ts, commit-loop.ts). Plain and flat: it is copied for each delivery. */
import type { NameResult } from './disk.ts';

/** One delivery, or one step of it. */
export type Order = readonly [
  /** Names it in its answer. */
  number: number,
  /** The file in tmp/. */
  path: string,
  /** Where its content begins in {@link Batch.bytes}; -1 where it is written already. */
  at: number,
  length: number,
  mode: number,
  /** -1 for the process's own. */
  uid: number,
  gid: number,
  /** No names yet; `names`, the last of which is the rename; or only links, and its name in tmp/ is taken away. */
  naming: 'later' | 'rename' | 'links',
  names: readonly string[],
  /** The descriptor of the folder of each. */
  folders: readonly number[],
];

export interface Batch {
  readonly orders: readonly Order[];
  /** The content of all files of the batch. */
  readonly bytes: Uint8Array;
}

/** What became of orders. */
export interface Answers {
  /** Those where all went well. */
  readonly done: readonly number[];
  readonly failed: readonly Failure[];
  /** What their flush took, milliseconds; Infinity where a common one failed. */
  readonly flushMs: number;
}

export type Failure =
  /** Nothing is left of the file. */
  | { readonly number: number; readonly fault: Fault }
  | { readonly number: number; readonly names: readonly PlainResult[] };

/** A system error: an Error's `code` would not be copied. */
export interface Fault {
  readonly code: string;
  readonly text: string;
}

export type PlainResult =
  | Extract<NameResult, { kind: 'durable' }>
  | { readonly kind: 'unnamed' | 'unsure'; readonly fault: Fault };
