// Delivers into Maildirs and folders of them as fast as it can and writes to a ledger what was answered `stored`. Killed by
// maildir.test.ts, or by itself at a step: `rename:before:3` dies where the third rename would begin.
//   node maildir-worker.ts ROOT LEDGER ROUND [STEP]
import fs, { appendFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import type { Domain, LocalPart } from '../../src/mail/address.ts';
import type { MessageSource } from '../../src/mail/message-source.ts';
import type { StoreRecipient } from '../../src/store/mail-store.ts';

const [root = '', ledger = '', round = '', step = ''] = process.argv.slice(2);
if (root === '' || ledger === '' || round === '') throw new Error('usage: ROOT LEDGER ROUND [STEP]');

const [wanted = '', side = '', count = '0'] = step.split(':');
let left = Number(count);
dieAt();
// What a module imports from Node by name it takes when it is loaded: after the steps are in place.
const { openMaildirStore } = await import('../../src/store/drivers/maildir/maildir.ts');

const recipients: StoreRecipient[] = Array.from({ length: 12 }, (_, i) => ({
  address: { local: 'r' as LocalPart, domain: 'example.test' as Domain },
  user: { username: `user${i}`, extra: {} },
  ...(i % 3 === 0
    ? {}
    : { folder: i % 3 === 1 ? 'Archive' : `Deep/${i}`, missingFolder: 'create-and-subscribe' as const }),
}));

/** In memory, or only to be streamed. The test suite's own helpers would bring its runner along, which takes longest to load. */
function contentOf(text: string, streamed: boolean): MessageSource {
  const bytes = Buffer.from(text, 'latin1');
  async function* open(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
  }
  return streamed ? { size: bytes.length, open } : { size: bytes.length, bytes, open };
}

const never = new AbortController().signal;
// Steps are calls for single files; what is grouped has none.
const fsync = step !== '' || Number(round) % 2 === 1 ? 'always' : 'optimized';
const store = openMaildirStore({ location: `maildir:${root}/%u`, fsync });

async function lane(number: number): Promise<void> {
  for (let n = 0; ; n++) {
    const id = `${round}.${number}.${n}`;
    // Every third is streamed and large, every second goes to several mailboxes as one file.
    const text = `Id: ${id}\r\n\r\n${'line of text\r\n'.repeat(n % 3 === 0 ? 3000 : 50)}Id: ${id}\r\n`;
    const first = (number + n) % recipients.length;
    const chosen = [...recipients, ...recipients].slice(first, first + (n % 2 === 0 ? 1 : 5));
    const content = contentOf(text, n % 3 === 0);
    const delivery = { sender: null, recipients: chosen, content, trace: (): string => 'Trace: all\r\n' };
    const outcomes = await store.deliver(delivery, never);
    if (outcomes.some((o) => o.kind !== 'stored')) throw new Error(`not stored: ${JSON.stringify(outcomes)}`);
    const saved = chosen.map((r) => `${r.user.username}/${r.folder ?? ''}`);
    around('answer', () => appendFileSync(ledger, `${id} ${saved.join(' ')}\n`));
  }
}

process.stdout.write('started\n');
await Promise.all(Array.from({ length: step === '' ? 16 : 4 }, (_, i) => lane(i)));

/** Dies before or after a call, if it is the one that was asked for. */
function around<T>(name: string, call: () => T): T {
  const now = name === wanted && --left === 0;
  if (now && side === 'before') die();
  const value = call();
  if (now) die();
  return value;
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

/** Puts the steps around Node's calls. */
function dieAt(): void {
  const { openSync, writevSync, fsync: flush, fdatasync, linkSync, renameSync, mkdirSync } = fs;
  fs.openSync = (path, flags, mode) =>
    /\/(?:tmp|\d+)\/\d+\.M/.test(String(path))
      ? around('create', () => openSync(path, flags, mode))
      : openSync(path, flags, mode);
  fs.writevSync = (fd, parts, at) => around('write', () => writevSync(fd, parts, at));
  fs.linkSync = (from, to) => around('link', () => linkSync(from, to));
  fs.renameSync = (from, to) => around('rename', () => renameSync(from, to));
  fs.mkdirSync = (...words: Parameters<typeof mkdirSync>) => around('mkdir', () => mkdirSync(...words));
  fs.fsync = flushed('fsync', flush) as typeof flush;
  fs.fdatasync = flushed('fdatasync', fdatasync) as typeof fdatasync;
  syncBuiltinESMExports();
}

type Flush = (fd: number, done: (error: NodeJS.ErrnoException | null) => void) => void;

function flushed(name: string, call: Flush): Flush {
  return (fd, done) => {
    const now = name === wanted && --left === 0;
    if (now && side === 'before') die();
    call(fd, (error) => {
      if (now) die();
      done(error);
    });
  };
}
