/** Deliveries to one mailbox stand in line and share its locks, instead of fighting for them. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Durability } from '../maildir/durability.ts';
import { failureOutcome } from '../maildir/failure.ts';
import type { Owner } from '../maildir/walk.ts';
import { appendLetters, type Letter } from './append.ts';
import { openFolder } from './folder.ts';
import { type LockRules, tryLock } from './lock.ts';

export interface QueueRules extends LockRules {
  /** Longest wait for the locks of a mailbox. */
  readonly lockTimeoutMs: number;
  readonly durability: Durability;
  /** Mailboxes open at one time, at four descriptors each. */
  readonly maxOpen: number;
}

/** Where a mailbox is: an absolute folder, and the file's name in it, as Node writes them. */
export interface MailboxPlace {
  readonly folder: string;
  readonly name: string;
  readonly owner: Owner | undefined;
  /** Whether the folder is made where it is missing. */
  readonly make: boolean;
}

/** Puts a letter in line for a mailbox; it is answered in any case. */
export type LetterQueue = (place: MailboxPlace, letter: Letter) => void;

/** Letters that share one hold of the locks: more would keep mail readers waiting. */
const maxBatchLetters = 100;
const maxBatchOctets = 64 << 20;
const maxWaiting = 10_000;
const firstPauseMs = 5;
const longestPauseMs = 250;

export function letterQueue(rules: QueueRules): LetterQueue {
  const lines = new Map<string, Letter[]>();
  const slot = slots(rules.maxOpen);

  async function work(place: MailboxPlace, key: string, line: Letter[]): Promise<void> {
    while (line.length > 0) {
      try {
        await serve(place, line);
      } catch (error) {
        answerAll(line, failureOutcome(error, `${place.folder}/${place.name}`));
      }
    }
    lines.delete(key);
  }

  /** Waits for the locks and appends what is in line then. Throws where the mailbox cannot be had. */
  async function serve(place: MailboxPlace, line: Letter[]): Promise<void> {
    const untilMs = performance.now() + rules.lockTimeoutMs;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      if (await slot(() => attempt(place, line))) return;
      dropAborted(line);
      if (line.length === 0) return;
      if (performance.now() >= untilMs) throw new Error('the mailbox stays locked by another program');
      await pause(pauseMs * (0.5 + Math.random()));
    }
  }

  /** False where somebody holds a lock. */
  async function attempt({ folder, name, owner, make }: MailboxPlace, line: Letter[]): Promise<boolean> {
    const open = await openFolder(folder, owner, make, rules.durability);
    try {
      const locked = tryLock(open, name, owner, rules);
      if (locked === undefined) return false;
      try {
        const box = { folder: open, name, owner, path: `${folder}/${name}` };
        await appendLetters(box, locked, takeBatch(line), rules.durability, Date.now());
      } finally {
        locked.release();
      }
      return true;
    } finally {
      open.close();
    }
  }

  return (place, letter) => {
    const key = `${place.owner === undefined ? '' : `${place.owner.uid}:${place.owner.gid}:`}${place.folder}/${place.name}`;
    const line = lines.get(key);
    if (line === undefined) {
      const begun = [letter];
      lines.set(key, begun);
      void work(place, key, begun);
    } else if (line.length >= maxWaiting)
      letter.answer({ kind: 'unavailable', reason: `${key}: too many deliveries wait` });
    else line.push(letter);
  };
}

function takeBatch(line: Letter[]): Letter[] {
  let octets = 0;
  let count = 0;
  for (const { delivery } of line) {
    octets += delivery.content.size;
    if (count > 0 && (count >= maxBatchLetters || octets > maxBatchOctets)) break;
    count++;
  }
  return line.splice(0, count);
}

function dropAborted(line: Letter[]): void {
  for (const letter of line)
    if (letter.signal.aborted) letter.answer({ kind: 'unavailable', reason: 'the delivery was given up' });
  line.splice(0, line.length, ...line.filter((l) => !l.signal.aborted));
}

function answerAll(line: Letter[], outcome: Parameters<Letter['answer']>[0]): void {
  for (const letter of line.splice(0)) letter.answer(outcome);
}

/** Runs at most so many jobs at one time, the others in their order. */
function slots(max: number): <T>(job: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let free = max;
  return async (job) => {
    if (free > 0) free--;
    else await new Promise<void>((go) => waiting.push(go));
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    }
  };
}
