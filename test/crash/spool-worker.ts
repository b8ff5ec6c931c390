/** The process that `spool.test.ts` kills: commits, claims and records as fast as it can, and writes a ledger. */
import fs from 'node:fs';
import type { Address, Domain, LocalPart } from '../../src/mail/address.ts';
import { openLmdbSpool } from '../../src/spool/drivers/lmdb/lmdb-spool.ts';
import type { Claim, OutcomeRecord, Submission } from '../../src/spool/spool.ts';

const [directory = '', ledgerFile = '', seed = '0'] = process.argv.slice(2);
const ledger = fs.openSync(ledgerFile, 'a');
const note = (...words: readonly (string | number)[]): void => {
  fs.writeSync(ledger, `${words.join(' ')}\n`);
};
const { signal } = new AbortController();
const spool = openLmdbSpool({ directory });
let random = Number(seed) + 1;
const below = (n: number): number => {
  // Park and Miller's generator: rounds differ, a round can be repeated.
  random = (random * 48_271) % 2_147_483_647;
  return random % n;
};

const address = (local: string): Address => ({ local: local as LocalPart, domain: 'example.test' as Domain });
const submission = (recipients: number, sender: Address | null = address('sender')): Submission => ({
  envelope: {
    sender,
    recipients: Array.from({ length: recipients }, (_, n) => ({ address: address(`user${n}`) })),
  },
  reception: { protocol: 'esmtp', receivedAtMs: Date.now() },
  headerEdits: [],
  variables: {},
});

async function submit(): Promise<Claim | undefined> {
  const writer = await spool.create(signal);
  const sizes = [0, 100, 4096, 4096, 4096, 4096, 70_000, 131_072, 131_073, 400_000];
  const size = sizes[below(sizes.length)] ?? 0;
  const content = Buffer.alloc(
    size,
    Buffer.from(`${writer.id} 0123456789abcdefghijklmnopqrstuvwxyz\r\n`, 'latin1'),
  );
  for (let at = 0; at < size; at += 60_000) await writer.write(content.subarray(at, at + 60_000));
  if (below(10) === 0) {
    await writer.abort();
    return undefined;
  }
  const recipients = 1 + below(3);
  note('try', writer.id, size, recipients);
  const claim = await writer.commit(submission(recipients), below(4) === 0 ? 0 : 60_000, Date.now());
  note('commit', writer.id);
  return claim;
}

async function settle(claim: Claim): Promise<void> {
  const { id, states } = claim.entry;
  const open = states.flatMap((s, n) => (s.kind === 'pending' ? [n] : []));
  const chosen = below(3) > 0 ? open : open.slice(0, 1 + below(open.length));
  const done = below(4) > 0;
  const outcomes = chosen.map((recipient): OutcomeRecord => {
    const state = done
      ? ({ kind: 'done', how: 'delivered' } as const)
      : ({ kind: 'pending', nextAttemptAtMs: Date.now() + below(50), attempts: 1 } as const);
    return { recipient, state };
  });
  // A message that ends here sometimes ends in a bounce, which must come with the record and only with it.
  const bounce = done && chosen.length === open.length && below(4) === 0 ? spool.newId() : undefined;
  const tail = bounce === undefined ? [] : [bounce];
  note('ask', id, chosen.join(','), ...tail);
  const generated =
    bounce === undefined
      ? []
      : [
          {
            ...submission(1, null),
            id: bounce,
            content: Buffer.alloc(2000, Buffer.from(`${bounce} 0123456789abcdefghijklmnopqrstuvwxyz\r\n`)),
          },
        ];
  const result = await spool.record(claim, { outcomes, generated, release: true });
  if (result !== 'recorded') throw new Error(`claim of ${id} was lost`);
  note('record', id, chosen.join(','), done ? 'done' : 'deferred', ...tail);
}

async function work(): Promise<never> {
  for (;;) {
    if (below(2) > 0) {
      const claim = await submit();
      if (claim !== undefined && below(5) > 0) await settle(claim);
    } else {
      for (const claim of await spool.claim({ max: 3, leaseMs: 60_000, nowMs: Date.now() })) {
        // Bounces are left in the spool for the test to count.
        if (claim.entry.envelope.sender === null) continue;
        note('claim', claim.entry.id);
        await settle(claim);
      }
    }
  }
}

fs.writeSync(1, 'ready\n');
await Promise.all(Array.from({ length: 24 }, work));
