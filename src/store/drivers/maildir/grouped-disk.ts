/**
 * A disk whose flushes are shared where that can be relied on: each file system has a thread (disk-thread.ts). syncfs also writes what
 * other programs left unwritten on it; so a thread whose flushes are slow is left alone for a while, and files are flushed one by one.
 */
import { errorText } from '../../../mail/error-text.ts';
import type { Disk, FileOrder, NamesOrder } from './disk.ts';
import type { DiskThreadEvents } from './disk-thread.ts';

export interface GroupedDiskOptions {
  /** Serves file systems where flushes cannot be shared, or not now. */
  readonly here: Disk;
  /** Asked once for each file system, by a folder of it. */
  suits(folderFd: number): boolean;
  /** Throws where there can be none. */
  thread(folderFd: number, events: DiskThreadEvents): Disk;
  /** Flushes that take longer are slow. */
  readonly slowMs: number;
  /** So many slow ones in a row show that other programs' data is written with ours; fewer may be what one of them left, or the disk's own hiccup. */
  readonly slowInARow: number;
  /** The first rest; each further one in a row is twice as long, up to 32 times this. */
  readonly restMs: number;
  /** Told where a thread is lost. */
  readonly onProblem: (text: string) => void;
  /** Monotonic clock, milliseconds. */
  readonly nowMs?: () => number;
}

/** One file system. */
interface Way {
  /** Undefined where there is none, or no more. */
  thread: Disk | undefined;
  restUntilMs: number;
  rests: number;
  /** So many of the last flushes were slow, without one that was not. */
  slow: number;
}

export function groupedDisk(options: GroupedDiskOptions): Disk {
  const { here, slowMs, restMs, nowMs = (): number => performance.now() } = options;
  const ways = new Map<number, Way>();

  function open(folderFd: number): Way {
    const way: Way = { thread: undefined, restUntilMs: Number.NEGATIVE_INFINITY, rests: 0, slow: 0 };
    const onLost = (why: string): void => {
      way.thread = undefined;
      options.onProblem(`the thread for the disk is lost (${why}); files are flushed one by one from now on`);
    };
    const onFlush = (tookMs: number): void => {
      if (tookMs <= slowMs) {
        way.slow = 0;
        way.rests = 0;
      } else if (nowMs() >= way.restUntilMs && ++way.slow >= options.slowInARow) {
        way.slow = 0;
        way.restUntilMs = nowMs() + restMs * 2 ** Math.min(way.rests++, 5);
      }
    };
    if (options.suits(folderFd))
      try {
        way.thread = options.thread(folderFd, { onFlush, onLost });
      } catch (error) {
        onLost(errorText(error));
      }
    return way;
  }

  function diskFor(device: number, folderFd: number): Disk {
    let way = ways.get(device);
    if (way === undefined) {
      way = open(folderFd);
      ways.set(device, way);
    }
    return way.thread === undefined || nowMs() < way.restUntilMs ? here : way.thread;
  }

  const forFile = ({ device, folderFd }: FileOrder): Disk => diskFor(device, folderFd);
  const forNames = ({ device, links, rename }: NamesOrder): Disk => {
    const first = links[0] ?? rename;
    return first === undefined ? here : diskFor(device, first.folderFd);
  };

  return {
    deliver: (file, names) => forFile(file).deliver(file, names),
    write: (file) => forFile(file).write(file),
    publish: (from, names) => forNames(names).publish(from, names),
    async close() {
      for (const { thread } of ways.values()) await thread?.close();
      await here.close();
    },
  };
}
