// The Maildir driver alone: deliveries a second and CPU time of each, without LMTP around it.
//   node bench/store-driver.ts [--users 1000] [--size 4096] [--parallel 32] [--messages 20000] [--rcpts 1] [--fsync optimized|always|never] [--root FOLDER] [--keep]
// One JSON line on standard output. --keep leaves the files: ext4 passes over every inode freed in the last minutes when it
// makes a file, so a run right after a large removal measures that search (0.7 ms a file seen) and not the driver.
// UV_THREADPOOL_SIZE counts: it is how many fsyncs wait at a time.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Domain, LocalPart } from '../src/mail/address.ts';
import type { StoreRecipient } from '../src/store/mail-store.ts';
import { openMaildirStore } from '../src/store/drivers/maildir/maildir.ts';
import { traceFields } from '../src/store/trace.ts';

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '1000' },
    size: { type: 'string', default: '4096' },
    parallel: { type: 'string', default: '32' },
    messages: { type: 'string', default: '20000' },
    rcpts: { type: 'string', default: '1' },
    fsync: { type: 'string', default: 'optimized' },
    root: { type: 'string', default: os.tmpdir() },
    keep: { type: 'boolean', default: false },
  },
});

function count(text: string, name: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${name} must be a positive number`);
  return Number(text);
}

const userCount = count(values.users, 'users');
const parallel = count(values.parallel, 'parallel');
const messages = count(values.messages, 'messages');
const rcpts = count(values.rcpts, 'rcpts');
if (values.fsync !== 'optimized' && values.fsync !== 'always' && values.fsync !== 'never') {
  throw new Error('--fsync must be optimized, always or never');
}

const root = mkdtempSync(path.join(values.root, 'store-driver-'));
if (!values.keep) process.on('exit', () => rmSync(root, { recursive: true }));
const store = openMaildirStore({ location: `maildir:${root}/%u`, fsync: values.fsync });
const signal = new AbortController().signal;

const line = 'The quick brown fox jumps over the lazy dog; pack my box with five dozen jugs\r\n';
const header = 'From: <a@b.example>\r\nSubject: load\r\nMessage-ID: <1@b.example>\r\n\r\n';
const size = count(values.size, 'size');
const bytes = Buffer.from(
  `${(header + line.repeat(Math.ceil(size / line.length))).slice(0, size - 2)}\r\n`,
  'latin1',
);
const content = {
  size: bytes.length,
  bytes,
  async *open(): AsyncGenerator<Uint8Array> {
    yield bytes;
  },
};

const recipients: readonly StoreRecipient[] = Array.from({ length: userCount }, (_, i) => ({
  address: { local: `user${i + 1}` as LocalPart, domain: 'example.test' as Domain },
  user: { username: `user${i + 1}`, extra: {} },
}));

let next = 0;
async function deliverOne(group: number): Promise<void> {
  const chosen = Array.from({ length: group }, () => recipients[next++ % userCount]).filter(
    (r) => r !== undefined,
  );
  const only = chosen[0]?.address;
  const trace = traceFields({
    sender: null,
    lhlo: 'load.test',
    remoteAddress: '192.0.2.1',
    hostname: 'store.example.test',
    transactionId: 'aVdJFwRJBWu9KgAAg+zDdQ',
    ...(group === 1 && only !== undefined ? { onlyRecipient: only } : {}),
    receivedAtMs: Date.now(),
  });
  const outcomes = await store.deliver(
    { sender: null, recipients: chosen, content, trace: () => trace },
    signal,
  );
  const bad = outcomes.find((o) => o.kind !== 'stored');
  if (bad !== undefined) throw new Error(`not stored: ${JSON.stringify(bad)}`);
}

async function load(total: number, group: number): Promise<{ seconds: number; latenciesMs: number[] }> {
  const latenciesMs: number[] = [];
  let left = total;
  const begin = performance.now();
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const start = performance.now();
      await deliverOne(group);
      latenciesMs.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return { seconds: (performance.now() - begin) / 1000, latenciesMs: latenciesMs.sort((a, b) => a - b) };
}

await load(Math.ceil(userCount / 50), 50); // makes the mailboxes
const before = process.cpuUsage();
const { seconds, latenciesMs } = await load(messages, rcpts);
const cpu = process.cpuUsage(before);
const deliveries = messages * rcpts;
const round = (x: number | undefined): number => Math.round((x ?? 0) * 1000) / 1000;
console.log(
  JSON.stringify({
    parallel,
    rcpts,
    fsync: values.fsync,
    threads: process.env['UV_THREADPOOL_SIZE'] ?? 'default',
    deliveriesPerSecond: Math.round(deliveries / seconds),
    userMsPerDelivery: round(cpu.user / 1000 / deliveries),
    systemMsPerDelivery: round(cpu.system / 1000 / deliveries),
    latencyMs: {
      p50: round(latenciesMs[latenciesMs.length >> 1]),
      p99: round(latenciesMs[Math.floor(latenciesMs.length * 0.99)]),
    },
  }),
);
await store.close();
