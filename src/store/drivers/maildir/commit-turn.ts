/**
 * Writes, flushes and names the files of a store, all of what waits at a time: each turn names the files that the flush before has
 * made durable, writes those that came meanwhile, and makes both durable with one flush. So a delivery takes two turns, whatever their
 * number (docs/decisions/0009). All calls block.
 */
import { closeSync } from 'node:fs';
import { errorText } from '../../../mail/error-text.ts';
import { discardFile, durable, nameFile, type NameResult, writeFile } from './disk.ts';
import type { Answers, Batch, Failure, Fault, Order, PlainResult } from './disk-orders.ts';
import { failureCode } from './failure.ts';

export interface Flushes {
  /** Makes all of the file system durable; false where a write of it failed, anybody's. Undefined where there is no such call. */
  readonly whole: (() => boolean) | undefined;
  /** Throws system errors. */
  readonly file: (fd: number) => void;
  /** Throws system errors. */
  readonly folder: (fd: number) => void;
}

export interface Turn {
  readonly answers: Answers;
  /** Files wait for their names: there has to be another turn. */
  readonly more: boolean;
}

/** Fewer files and folders than this are flushed one by one. */
const minBatch = 4;

interface Written {
  readonly order: Order;
  readonly fd: number;
  /** Set where it cannot be said that the file is durable. */
  fault?: Fault;
}

interface Named {
  readonly order: Order;
  /** By name; undefined for one that waits for its folder. */
  readonly results: (NameResult | undefined)[];
}

/** Gives what does a turn. */
export function committer(flushes: Flushes): (batches: readonly Batch[]) => Turn {
  let durableFiles: readonly Order[] = [];

  return (batches) => {
    const done: number[] = [];
    const failed: Failure[] = [];
    const named = durableFiles.map(nameOf);
    const files: Written[] = [];
    for (const { orders, bytes } of batches)
      for (const order of orders) {
        if (order[2] < 0) named.push(nameOf(order));
        else {
          const file = written(order, bytes);
          if ('fd' in file) files.push(file);
          else failed.push(file);
        }
      }
    const flushMs = flush(flushes, files, named);
    for (const { order, results } of named) {
      const [number] = order;
      if (results.every((r) => r === undefined || r.kind === 'durable')) done.push(number);
      else failed.push({ number, names: results.map(plain) });
    }
    const next: Order[] = [];
    for (const { order, fd, fault } of files) {
      const [number, path, , , , , , naming] = order;
      if (fault !== undefined) {
        discardFile(fd, path);
        failed.push({ number, fault });
        continue;
      }
      closeSync(fd);
      if (naming === 'later') done.push(number);
      else next.push(order);
    }
    durableFiles = next;
    return { answers: { done, failed, flushMs }, more: next.length > 0 };
  };
}

function written(order: Order, bytes: Uint8Array): Written | Failure {
  const [number, path, at, length, mode, uid, gid] = order;
  try {
    const owner = uid < 0 ? undefined : { uid, gid };
    return { order, fd: writeFile(path, mode, owner, [bytes.subarray(at, at + length)]) };
  } catch (error) {
    return { number, fault: faultOf(error) };
  }
}

function nameOf(order: Order): Named {
  const [, path, , , , , , naming, names, folders] = order;
  const orders = names.map((to, i) => ({ path: to, folderFd: folders[i] ?? -1 }));
  const rename = naming === 'links' ? undefined : orders.pop();
  return { order, results: [...nameFile(path, orders, rename)] };
}

/** Makes all durable, and notes of which it cannot be said. Gives the time it took, milliseconds. */
function flush(flushes: Flushes, files: readonly Written[], named: readonly Named[]): number {
  const waiting = named.reduce((sum, { results }) => sum + results.filter((r) => r === undefined).length, 0);
  const begin = performance.now();
  const { whole } = flushes;
  if (whole !== undefined && files.length + waiting >= minBatch) {
    if (whole()) return performance.now() - begin;
    // The fault may be of another program's file. Each of ours tells by itself whether it was hit.
    flushEach(flushes, files, named);
    return Number.POSITIVE_INFINITY;
  }
  flushEach(flushes, files, named);
  return performance.now() - begin;
}

function flushEach(flushes: Flushes, files: readonly Written[], named: readonly Named[]): void {
  for (const file of files)
    try {
      flushes.file(file.fd);
    } catch (error) {
      file.fault = faultOf(error);
    }
  for (const { order, results } of named)
    for (const [i, folder] of order[9].entries())
      if (results[i] === undefined)
        try {
          flushes.folder(folder);
        } catch (error) {
          results[i] = { kind: 'unsure', error };
        }
}

function plain(result: NameResult | undefined): PlainResult {
  return result === undefined || result.kind === 'durable'
    ? durable
    : { kind: result.kind, fault: faultOf(result.error) };
}

function faultOf(error: unknown): Fault {
  return { code: failureCode(error), text: errorText(error) };
}
