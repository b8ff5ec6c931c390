/**
 * Group commit over all mailboxes of a file system: while one flush runs, the files and folders that wait collect, and the
 * next flush takes them all. One syncfs costs a fraction of an fsync for each file (docs/decisions/0009), but it also writes what
 * other programs left unwritten on the same file system; so it serves only batches, and not while it is slow.
 */
import type { Durability, FlushTarget } from './durability.ts';
import type { FileSystemFlush } from './syncfs.ts';

export interface GroupCommitOptions {
  readonly flush: FileSystemFlush;
  /** Asked once for each file system: whether `flush` can be relied on there. */
  suits(fd: number): boolean;
  /** Takes small batches, those that a slow file system keeps from being grouped, and those whose common flush failed. */
  readonly each: Durability;
  /** Fewer than this go one by one. */
  readonly minBatch: number;
  /** A common flush that takes longer shows that other programs' data is written with ours: no grouping for a while. */
  readonly slowMs: number;
  /** The first such while; each further one in a row is twice as long, up to 32 times this. */
  readonly restMs: number;
  /** Monotonic clock, milliseconds. */
  readonly nowMs?: () => number;
}

interface Waiting {
  readonly kind: 'file' | 'folder';
  readonly target: FlushTarget;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** One file system. */
interface Queue {
  waiting: Waiting[];
  state: 'idle' | 'gathering' | 'flushing';
  restUntilMs: number;
  rests: number;
}

export function groupCommit(options: GroupCommitOptions): Durability {
  const { flush, each, minBatch, slowMs, restMs, nowMs = (): number => performance.now() } = options;
  const queues = new Map<number, Queue>();

  function take(queue: Queue): void {
    const batch = queue.waiting;
    queue.waiting = [];
    if (batch.length < minBatch || nowMs() < queue.restUntilMs) {
      queue.state = 'idle';
      for (const w of batch) flushOne(w);
      return;
    }
    const [first] = batch;
    if (first === undefined) return;
    queue.state = 'flushing';
    const begin = nowMs();
    // A descriptor reports the write faults since it was opened. The first to wait was opened before all others of its batch
    // were (a file is opened, written and queued in one go; what is written over time goes alone), so it sees theirs too.
    flush(first.target.fd).then(
      () => {
        ended(queue, nowMs() - begin);
        for (const w of batch) w.resolve();
      },
      () => {
        // The fault may be of another program's file. Each of ours tells by itself whether it was hit.
        ended(queue, slowMs + 1);
        for (const w of batch) flushOne(w);
      },
    );
  }

  function ended(queue: Queue, tookMs: number): void {
    if (tookMs > slowMs) {
      queue.restUntilMs = nowMs() + restMs * 2 ** Math.min(queue.rests++, 5);
    } else queue.rests = 0;
    gather(queue);
  }

  /** What is resolved now asks for its next flush before the check phase: that belongs into the same batch. */
  function gather(queue: Queue): void {
    queue.state = 'gathering';
    setImmediate(take, queue);
  }

  function flushOne(w: Waiting): void {
    each[w.kind](w.target).then(w.resolve, w.reject);
  }

  function add(kind: Waiting['kind'], target: FlushTarget): Promise<void> {
    return new Promise((resolve, reject) => {
      let queue = queues.get(target.device);
      if (queue === undefined) {
        const restUntilMs = options.suits(target.fd) ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
        queue = { waiting: [], state: 'idle', restUntilMs, rests: 0 };
        queues.set(target.device, queue);
      }
      queue.waiting.push({ kind, target, resolve, reject });
      if (queue.state === 'idle') gather(queue);
    });
  }

  return {
    file: (target) => (target.alone === true ? each.file(target) : add('file', target)),
    folder: (target) => add('folder', target),
  };
}
