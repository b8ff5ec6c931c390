/** The thread of disk-thread.ts: one turn after the other, while there is anything to do. It blocks; that is what it is for. */
import { constants, fdatasyncSync, fsyncSync, openSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { committer } from './commit-turn.ts';
import type { Batch } from './disk-orders.ts';
import { loadSyncfs } from './syncfs.ts';

export interface LoopData {
  readonly port: MessagePort;
  /** Counts the batches that were posted: what the loop waits on where there is nothing to do. */
  readonly posted: Int32Array;
  /** A folder of the file system, open at the start. */
  readonly folderFd: number;
}

const { port, posted, folderFd } = workerData as LoopData;
// A descriptor is told each write fault of its file system once, from when it was opened: this one hears of all.
const listener = openSync(`/proc/self/fd/${folderFd}`, constants.O_RDONLY | constants.O_DIRECTORY);
const syncfs = loadSyncfs();
const turn = committer({
  whole: syncfs === undefined ? undefined : (): boolean => syncfs(listener),
  file: fsyncSync,
  folder: fdatasyncSync,
});

for (let more = false; ; ) {
  const seen = Atomics.load(posted, 0);
  const batches = received();
  if (batches.length === 0 && !more) {
    Atomics.wait(posted, 0, seen);
    continue;
  }
  const { answers, more: another } = turn(batches);
  more = another;
  if (answers.done.length + answers.failed.length > 0) port.postMessage(answers);
}

function received(): readonly Batch[] {
  const batches: Batch[] = [];
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
    batches.push((next as { readonly message: Batch }).message);
  return batches;
}
