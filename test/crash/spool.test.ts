/**
 * kill -9 at random moments: a process commits, claims and records under load and writes to a ledger what it was told is
 * durable. After each kill the spool is opened again and must agree with the ledger. The ledger is a plain file: what a
 * process wrote to one survives its own end, and only the machine's would need more.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { openLmdbSpool } from '../../src/spool/drivers/lmdb/lmdb-spool.ts';
import type { Claim, SpoolEntry } from '../../src/spool/spool.ts';

const rounds = 36;
const worker = new URL('./spool-worker.ts', import.meta.url).pathname;
const never = new AbortController().signal;

/** What the ledger says of a message. */
interface Account {
  readonly size: number;
  readonly recipients: number;
  committed: boolean;
  /** By recipient: what was acknowledged as recorded. */
  readonly recorded: Map<number, 'done' | 'deferred'>;
  /**
   * By recipient: how often an answer was asked for and not noted before the kill; either way is right. A released
   * message may be claimed and asked for again before the first asker has noted its answer.
   */
  readonly asked: Map<number, number>;
  /** The message a record of all recipients was to generate. */
  bounce: { readonly id: string; acknowledged: boolean } | undefined;
}

test(`${rounds} times kill -9 under load: the spool agrees with the ledger`, {
  timeout: 120_000,
}, async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-crash-spool-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  const spoolDirectory = path.join(directory, 'spool');
  const accounts = new Map<string, Account>();
  let commits = 0;
  let records = 0;
  let claimedAgain = 0;

  for (let round = 0; round < rounds; round++) {
    const ledger = path.join(directory, `ledger${round}`);
    fs.writeFileSync(ledger, '');
    const child = spawn(process.execPath, [worker, spoolDirectory, ledger, String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exit = once(child, 'exit');
    await once(child.stdout, 'data');
    // From the first moments of work to some hundred transactions in.
    await pause(Math.random() ** 2 * 250);
    child.kill('SIGKILL');
    const [code, signal]: unknown[] = await exit;
    assert.deepEqual([code, signal], [null, 'SIGKILL'], 'the worker died of our signal only');

    for (const line of fs.readFileSync(ledger, 'latin1').split('\n')) {
      const counted = apply(accounts, line);
      if (counted === 'commit') commits++;
      else if (counted === 'record') records++;
      else if (counted === 'claim') claimedAgain++;
    }
    await check(spoolDirectory, accounts);
  }
  t.diagnostic(`${commits} commits, ${records} records, ${claimedAgain} claims of earlier rounds' messages`);
  assert.ok(commits > rounds * 5 && records > rounds * 5 && claimedAgain > rounds, 'there was load');
});

/** Ledger lines: `try ID SIZE RECIPIENTS`, `commit ID`, `claim ID`, `ask ID N[,N] [BOUNCE]`, `record ID N[,N] done|deferred [BOUNCE]`. */
function apply(accounts: Map<string, Account>, line: string): string {
  // The last line may be half of one: the worker writes each with one call, so it is not, but then it has a newline.
  const [verb = '', id = '', ...rest] = line.split(' ');
  const account = accounts.get(id);
  const recipients = (rest[0] ?? '').split(',').map(Number);
  if (verb === 'try') {
    accounts.set(id, {
      size: Number(rest[0]),
      recipients: Number(rest[1]),
      committed: false,
      recorded: new Map(),
      asked: new Map(),
      bounce: undefined,
    });
  } else if (verb !== '') {
    assert.ok(account, line);
    if (verb === 'commit') account.committed = true;
    else if (verb === 'ask') {
      for (const n of recipients) account.asked.set(n, (account.asked.get(n) ?? 0) + 1);
      if (rest[1] !== undefined) account.bounce ??= { id: rest[1], acknowledged: false };
    } else if (verb === 'record') {
      for (const n of recipients) {
        const left = (account.asked.get(n) ?? 1) - 1;
        if (left > 0) account.asked.set(n, left);
        else account.asked.delete(n);
        // For the same reason a note may come after that of a later answer; what is done stays done.
        if (account.recorded.get(n) !== 'done')
          account.recorded.set(n, rest[1] === 'done' ? 'done' : 'deferred');
      }
      if (rest[2] !== undefined) account.bounce = { id: rest[2], acknowledged: true };
    }
  }
  return verb;
}

async function check(directory: string, accounts: Map<string, Account>): Promise<void> {
  const corrupt: string[] = [];
  const spool = openLmdbSpool({
    directory,
    onCorrupt: (id, error) => corrupt.push(`${id}: ${error.message}`),
  });
  const entries = new Map<string, SpoolEntry>();
  for await (const entry of spool.inspect({})) entries.set(entry.id, entry);
  // The worker is gone, so its leases are void at once: everything can be claimed, without waiting for any to end.
  const claims: Claim[] = [];
  for (let more = 1; more > 0; ) {
    const some = await spool.claim({ max: 1000, leaseMs: 60_000, nowMs: Date.now(), force: 'due' });
    claims.push(...some);
    more = some.length;
  }
  for (const claim of claims) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of claim.content.open(never)) chunks.push(chunk);
    const content = Buffer.concat(chunks);
    assert.equal(content.length, claim.entry.size, 'all of the content');
    assert.ok(
      content.equals(expectedContent(claim.entry.id, content.length)),
      `content of ${claim.entry.id}`,
    );
  }
  const claimed = new Set<string>(claims.map((c) => c.entry.id));
  assert.deepEqual(corrupt, []);
  assert.deepEqual(
    [...claimed].sort(),
    [...entries.keys()].sort(),
    'every entry can be claimed once its owner is dead',
  );

  const bounces = new Set<string>();
  const gone: string[] = [];
  for (const [id, account] of accounts) {
    const entry = entries.get(id);
    const everyRecipient = Array.from({ length: account.recipients }, (_, n) => n);
    const mayBeGone = everyRecipient.every((n) => account.recorded.get(n) === 'done' || account.asked.has(n));
    const mustBeGone = everyRecipient.every((n) => account.recorded.get(n) === 'done');
    if (account.bounce !== undefined) {
      bounces.add(account.bounce.id);
      const there = entries.has(account.bounce.id);
      assert.equal(
        there,
        entry === undefined && account.committed,
        `bounce of ${id} appears exactly with its record`,
      );
      if (account.bounce.acknowledged) assert.ok(there, `bounce of ${id}, acknowledged`);
    }
    if (entry === undefined) {
      if (account.committed) assert.ok(mayBeGone, `${id} was acknowledged and is lost`);
      gone.push(id);
      continue;
    }
    assert.ok(!mustBeGone, `${id} was recorded as done and is back`);
    assert.equal(entry.size, account.size, `${id} is whole`);
    assert.equal(entry.states.length, account.recipients);
    entry.states.forEach((state, n) => {
      const recorded = account.recorded.get(n);
      if (recorded === 'done') assert.equal(state.kind, 'done', `${id} recipient ${n}`);
      else if (recorded === 'deferred' && !account.asked.has(n))
        assert.ok(state.kind === 'pending' && state.attempts > 0);
      else if (recorded === undefined && !account.asked.has(n))
        assert.ok(state.kind === 'pending' && state.attempts === 0);
    });
    // What the spool says now is what later rounds start from.
    account.committed = true;
    account.asked.clear();
    if (account.bounce?.acknowledged === false) account.bounce = undefined;
    entry.states.forEach((state, n) => {
      if (state.kind === 'done') account.recorded.set(n, 'done');
      else if (state.attempts > 0) account.recorded.set(n, 'deferred');
    });
  }
  for (const id of entries.keys()) assert.ok(accounts.has(id) || bounces.has(id), `${id} comes from nowhere`);
  // From here on these must stay away: an entry without an account comes from nowhere.
  for (const id of gone) accounts.delete(id);
  // Bounces have been counted; and a backlog only makes the test slow.
  const taken = claims.filter((c) => bounces.has(c.entry.id));
  const update = {
    outcomes: [{ recipient: 0, state: { kind: 'done', how: 'delivered' } as const }],
    release: true,
  };
  await Promise.all(taken.map((claim) => spool.record(claim, update)));
  const files = fs.readdirSync(path.join(directory, 'body')).map((name) => name.slice(0, 16));
  for (const id of files) assert.ok(entries.has(id), `content file of ${id} is an orphan`);
  await spool.close();
}

/** As the worker makes it: octets that tell the message and the place apart. */
function expectedContent(id: string, size: number): Buffer {
  const line = Buffer.from(`${id} 0123456789abcdefghijklmnopqrstuvwxyz\r\n`, 'latin1');
  return Buffer.alloc(size, line);
}
