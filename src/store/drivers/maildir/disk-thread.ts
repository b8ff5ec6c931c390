/**
 * The disk by way of a thread for each file system (commit-loop.ts): while it waits and works, the store goes on talking to clients, and what
 * comes meanwhile shares the next flush.
 */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MessageChannel, Worker } from 'node:worker_threads';
import { errorText } from '../../../mail/error-text.ts';
import type { LoopData } from './commit-loop.ts';
import {
  type Disk,
  durable,
  type FileOrder,
  type NameResult,
  type NameResults,
  type NamesOrder,
} from './disk.ts';
import type { Answers, Batch, Fault, Order, PlainResult } from './disk-orders.ts';

export interface DiskThreadEvents {
  /** A flush has ended that took so long, milliseconds. */
  readonly onFlush: (ms: number) => void;
  /** It serves no more; what was under way has been answered: nobody knows what of it was done. */
  readonly onLost: (why: string) => void;
}

/** So many are sent at once, so that they are written while the next are still being read. */
const sendAt = 4;

const loopFile = new URL(`./commit-loop${extname(fileURLToPath(import.meta.url))}`, import.meta.url);

interface Waiting {
  readonly names: number;
  readonly resolve: (results: NameResults) => void;
  readonly reject: (error: unknown) => void;
}

/** @param folderFd a folder of the file system, open until the first order is answered. Throws where no thread can be had. */
export function diskThread(folderFd: number, { onFlush, onLost }: DiskThreadEvents): Disk {
  const { port1: port, port2 } = new MessageChannel();
  const posted = new Int32Array(new SharedArrayBuffer(4));
  const workerData: LoopData = { port: port2, posted, folderFd };
  const worker = new Worker(loopFile, { workerData, transferList: [port2], name: 'maildir disk' });
  const waiting = new Map<number, Waiting>();
  let numbers = 0;
  let collected: Order[] = [];
  let parts: Uint8Array[] = [];
  let octets = 0;
  let ended: string | undefined;

  port.on('message', ({ done, failed, flushMs }: Answers) => {
    for (const number of done) {
      const one = take(number);
      one?.resolve(allDurable(one.names));
    }
    for (const failure of failed) {
      const one = take(failure.number);
      if ('fault' in failure) one?.reject(errorOf(failure.fault));
      else one?.resolve(failure.names.map(resultOf));
    }
    if (waiting.size === 0) port.unref();
    onFlush(flushMs);
  });
  port.on('messageerror', (error) => lost(errorText(error)));
  worker.on('error', (error) => lost(errorText(error)));
  worker.on('exit', (code) => lost(`it ended with ${code}`));
  port.unref();
  worker.unref();

  function take(number: number): Waiting | undefined {
    const one = waiting.get(number);
    waiting.delete(number);
    return one;
  }

  /** What is under way may or may not have happened: nobody is told that it has, and who may have a name is given no second one. */
  function lost(why: string): void {
    if (ended !== undefined) return;
    ended = `the thread for the disk is lost: ${why}`;
    const error = new Error(ended);
    for (const one of waiting.values())
      if (one.names === 0) one.reject(error);
      else one.resolve(Array.from({ length: one.names }, () => ({ kind: 'unsure', error })));
    waiting.clear();
    port.close();
    onLost(why);
  }

  function send(): void {
    if (collected.length === 0 || ended !== undefined) return;
    // Memory of its own, since it is given away.
    const bytes = Buffer.allocUnsafeSlow(octets);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    const batch: Batch = { orders: collected, bytes };
    collected = [];
    parts = [];
    octets = 0;
    port.postMessage(batch, [bytes.buffer]);
    Atomics.add(posted, 0, 1);
    Atomics.notify(posted, 0);
  }

  function order(
    path: string,
    file: FileOrder | undefined,
    names: NamesOrder | undefined,
  ): Promise<NameResults> {
    if (ended !== undefined) return Promise.reject(new Error(ended));
    return new Promise((resolve, reject) => {
      const number = numbers++;
      const at = octets;
      for (const part of file?.parts ?? []) {
        parts.push(part);
        octets += part.length;
      }
      const all =
        names === undefined ? [] : names.rename === undefined ? names.links : [...names.links, names.rename];
      waiting.set(number, { names: all.length, resolve, reject });
      if (waiting.size === 1) port.ref();
      collected.push([
        number,
        path,
        file === undefined ? -1 : at,
        octets - at,
        file?.mode ?? 0,
        file?.owner?.uid ?? -1,
        file?.owner?.gid ?? -1,
        names === undefined ? 'later' : names.rename === undefined ? 'links' : 'rename',
        all.map((name) => name.path),
        all.map((name) => name.folderFd),
      ]);
      if (collected.length === 1) setImmediate(send);
      else if (collected.length >= sendAt) send();
    });
  }

  return {
    deliver: (file, names) => order(file.path, file, names),
    async write(file) {
      await order(file.path, file, undefined);
    },
    publish: (from, names) => order(from, undefined, names),
    async close() {
      ended ??= 'the store is closed';
      port.close();
      await worker.terminate();
    },
  };
}

function allDurable(names: number): NameResults {
  return names === 1 ? oneDurable : Array.from({ length: names }, () => durable);
}

const oneDurable: NameResults = [durable];

function resultOf(result: PlainResult): NameResult {
  return result.kind === 'durable' ? result : { kind: result.kind, error: errorOf(result.fault) };
}

function errorOf({ code, text }: Fault): Error {
  return Object.assign(new Error(text), code === '' ? {} : { code });
}
