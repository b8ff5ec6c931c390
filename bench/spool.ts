/**
 * The spool alone: create, write, commit (born claimed), record (delivered), durable, as many at once as asked for.
 *
 *   node bench/spool.ts [messages 20000] [bytes 4096] [at once 64] [rounds 3]
 *
 * Prints messages per second and CPU milliseconds a message (user and system, all threads) for each round.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openLmdbSpool } from '../src/spool/drivers/lmdb/lmdb-spool.ts';
import type { Submission } from '../src/spool/spool.ts';
import type { Address, Domain, LocalPart } from '../src/mail/address.ts';

const [messages = 20_000, bytes = 4096, atOnce = 64, rounds = 3] = process.argv.slice(2).map(Number);
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-bench-spool-'));
const spool = openLmdbSpool({ directory });

const address = (local: string): Address => ({ local: local as LocalPart, domain: 'example.test' as Domain });
const submission = (now: number): Submission => ({
  envelope: {
    sender: address('sender'),
    recipients: [{ address: address('user') }],
    body: '8BITMIME',
    declaredSize: bytes,
  },
  reception: {
    protocol: 'esmtp',
    helo: 'client.example.test',
    hostAddress: '192.0.2.1',
    hostPort: 50_000,
    interfaceAddress: '192.0.2.2',
    interfacePort: 25,
    receivedAtMs: now,
  },
  headerEdits: [
    {
      kind: 'add',
      where: 'top',
      text: 'Received: from client.example.test ([192.0.2.1])\r\n\tby mx.example.test with esmtp\r\n\tid x\r\n',
    },
  ],
  variables: {},
});
const head = 'From: sender@example.test\r\nTo: user@example.test\r\nSubject: bench\r\n\r\n';
const content = Buffer.from(head + 'x'.repeat(Math.max(0, bytes - head.length)), 'latin1');
const { signal } = new AbortController();

async function one(): Promise<void> {
  const writer = await spool.create(signal);
  await writer.write(content);
  const now = Date.now();
  const claim = await writer.commit(submission(now), 60_000, now);
  if (claim === undefined) throw new Error('not born claimed');
  await spool.record(claim, {
    outcomes: [{ recipient: 0, state: { kind: 'done', how: 'delivered' } }],
    release: true,
  });
}

for (let round = 0; round < rounds; round++) {
  let left = messages;
  const cpu = process.cpuUsage();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left-- > 0) await one();
    }),
  );
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  console.log(
    `${messages} messages of ${bytes} octets, ${atOnce} at once: ${Math.round((messages / ms) * 1000)}/s, ` +
      `CPU ${((user + system) / 1000 / messages).toFixed(4)} ms a message (user ${(user / 1000 / messages).toFixed(4)})`,
  );
}
await spool.close();
fs.rmSync(directory, { recursive: true, force: true });
