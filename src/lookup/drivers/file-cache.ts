/** Parsed files, kept while the file on disk is the same (device, inode, size, times). */
import { readFileSync, statSync, type Stats } from 'node:fs';
import type { DriverAnswer } from '../lookup.ts';
import { errorText } from '../../mail/error-text.ts';

export type FileContent<T> =
  | { readonly kind: 'content'; readonly content: T }
  | Extract<DriverAnswer, { readonly kind: 'unusable' }>;

export interface FileCache<T> {
  get(file: string): FileContent<T>;
  clear(): void;
}

export interface FileCacheOptions {
  /** Files larger than this are refused. */
  readonly maxFileOctets?: number;
  /** Files read earliest are dropped above this sum of file sizes, and above `maxFiles`. */
  readonly maxTotalOctets?: number;
  readonly maxFiles?: number;
  /**
   * For this long a file is taken for unchanged without asking the system again, milliseconds. 0 asks at every lookup.
   */
  readonly freshMs?: number;
}

interface Slot<T> {
  readonly kind: 'content';
  readonly content: T;
  readonly size: number;
  readonly stamp: string;
  checkedAt: number;
}

const defaults = {
  maxFileOctets: 256 * 1024 * 1024,
  maxTotalOctets: 256 * 1024 * 1024,
  maxFiles: 100,
  freshMs: 20,
} as const;

function stamp(s: Stats): string {
  return `${s.dev}:${s.ino}:${s.size}:${s.mtimeMs}:${s.ctimeMs}`;
}

const words: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'No such file or directory'],
  ['EACCES', 'Permission denied'],
  ['ENOTDIR', 'Not a directory'],
  ['ELOOP', 'Too many levels of symbolic links'],
  ['ENAMETOOLONG', 'File name too long'],
]);

/** The system's words for a failed call. */
export function systemWords(e: unknown): string {
  const code = e instanceof Error ? (e as NodeJS.ErrnoException).code : undefined;
  return words.get(code ?? '') ?? errorText(e);
}

/**
 * @param type search type, for messages
 * @param purpose `linear search`, for messages
 */
export function createFileCache<T>(
  type: string,
  purpose: string,
  parse: (text: string) => T,
  options: FileCacheOptions = {},
): FileCache<T> {
  const { maxFileOctets, maxTotalOctets, maxFiles, freshMs } = { ...defaults, ...options };
  const slots = new Map<string, Slot<T>>();
  let total = 0;

  const drop = (file: string): void => {
    total -= slots.get(file)?.size ?? 0;
    slots.delete(file);
  };
  const keep = (file: string, slot: Slot<T>): void => {
    slots.set(file, slot);
    total += slot.size;
    // The file read first goes first; the new one stays, however large.
    for (const oldest of slots.keys()) {
      if (slots.size <= maxFiles && total <= maxTotalOctets) return;
      if (oldest !== file) drop(oldest);
    }
  };

  const read = (file: string, now: number): FileContent<T> => {
    try {
      const s = statSync(latin1(file));
      const old = slots.get(file);
      if (old?.stamp === stamp(s)) {
        old.checkedAt = now;
        return old;
      }
      drop(file);
      if (!s.isFile()) return unusable(`${file} is not a regular file (${type} lookup)`);
      if (s.size > maxFileOctets)
        return unusable(`${file} is longer than ${maxFileOctets} octets (${type} lookup)`);
      const slot: Slot<T> = {
        kind: 'content',
        content: parse(readFileSync(latin1(file), 'latin1')),
        size: s.size,
        stamp: stamp(s),
        checkedAt: now,
      };
      keep(file, slot);
      return slot;
    } catch (e) {
      drop(file);
      return unusable(`failed to open ${file} for ${purpose}: ${systemWords(e)}`);
    }
  };

  return {
    get(file) {
      const now = performance.now();
      const slot = slots.get(file);
      return slot !== undefined && now - slot.checkedAt < freshMs ? slot : read(file, now);
    },
    clear() {
      slots.clear();
      total = 0;
    },
  };
}

function latin1(file: string): Buffer {
  return Buffer.from(file, 'latin1');
}

function unusable(reason: string): { readonly kind: 'unusable'; readonly reason: string } {
  return { kind: 'unusable', reason };
}
