/**
 * kill -9 while a process delivers into mbox files: what was answered `stored` is there once and whole; the next delivery cuts
 * off what was incomplete, and no two messages run into each other. The ledger is a plain file: what a process wrote to one
 * survives its own end.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { deliveryTo, memoryContent } from '../../src/store/contract.ts';
import { openMboxStore } from '../../src/store/drivers/mbox/mbox.ts';
import { mboxMessages } from '../support/mbox.ts';

const rounds = 50;
/** Mailboxes go on through so many rounds. */
const roundsPerMailbox = 5;
const worker = new URL('./mbox-worker.ts', import.meta.url).pathname;
const never = new AbortController().signal;

test(`${rounds} times kill -9 under load: the mbox files hold all that was acknowledged, and nothing half`, {
  timeout: 180_000,
}, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-crash-mbox-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const root = path.join(folder, 'mail');
  const ledger = path.join(folder, 'ledger');
  let acknowledged = 0;
  let unacknowledged = 0;
  let cut = 0;
  for (let round = 0; round < rounds; round++) {
    if (round % roundsPerMailbox === 0) {
      fs.rmSync(root, { recursive: true, force: true });
      fs.mkdirSync(root);
      fs.writeFileSync(ledger, '');
    }
    const child = spawn(process.execPath, [worker, root, ledger, String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exit = once(child, 'exit');
    await once(child.stdout, 'data');
    // From before the first mailbox is made to some hundred deliveries in.
    await pause(Math.random() ** 2 * 300);
    child.kill('SIGKILL');
    assert.deepEqual(await exit, [null, 'SIGKILL'], 'the worker died of our signal only');

    cut += await deliverOnce(root, round);
    if ((round + 1) % roundsPerMailbox !== 0) continue;
    const copies = readMailboxes(root);
    for (const line of fs.readFileSync(ledger, 'latin1').split('\n')) {
      const [id, ...users] = line.split(' ');
      if (id === undefined || id === '') continue;
      for (const user of users) {
        assert.equal(copies.get(`${user} ${id}`), 1, `round ${round}: ${id} for ${user}`);
        copies.delete(`${user} ${id}`);
        acknowledged++;
      }
    }
    for (const [key, count] of copies) {
      assert.equal(count, 1, `round ${round}: ${key}`);
      if (!key.includes(' after.')) unacknowledged++;
    }
  }
  t.diagnostic(`${acknowledged} acknowledged, ${unacknowledged} stored without answer, ${cut} cut off`);
  assert.ok(acknowledged > 50, `only ${acknowledged} deliveries were acknowledged`);
  assert.ok(unacknowledged + cut > 0, 'no round was cut in the middle of a delivery');
});

/** One more delivery into each mailbox, as after a restart. Gives how many of them had an incomplete message. */
async function deliverOnce(root: string, round: number): Promise<number> {
  const store = openMboxStore({ locate: ({ username }) => ({ inbox: `${root}/${username}` }) });
  let cut = 0;
  for (const name of ['user0', 'user1', 'user2', 'user3']) {
    const file = path.join(root, name);
    if (fs.existsSync(file) && !isWhole(fs.readFileSync(file, 'latin1'))) cut++;
    const text = `Id: after.${round}\r\n\r\nline of text\r\nFrom me\r\n\r\nId: after.${round}\r\n`;
    const to = deliveryTo([{ username: name, extra: {} }], memoryContent(text), true);
    assert.deepEqual(await store.deliver(to, never), [{ kind: 'stored' }]);
  }
  await store.close();
  const beside = fs.readdirSync(root).filter((n) => n.startsWith('.') || n.endsWith('.lock'));
  assert.deepEqual(beside, [], 'the next delivery clears up');
  return cut;
}

function isWhole(text: string): boolean {
  try {
    mboxMessages(text);
    return true;
  } catch {
    return false;
  }
}

/** Copies by `user id`, each checked to be whole. */
function readMailboxes(root: string): Map<string, number> {
  const copies = new Map<string, number>();
  for (const user of fs.readdirSync(root))
    for (const text of mboxMessages(fs.readFileSync(path.join(root, user), 'latin1'))) {
      const whole = /^Trace: all\nId: (\S+)\n\n(?:line of text\nFrom me\n\n)+Id: (\S+)\n$/.exec(text);
      assert.ok(whole !== null && whole[1] === whole[2], `${user}: partial: ${text.slice(0, 200)}`);
      const key = `${user} ${whole[1]}`;
      copies.set(key, (copies.get(key) ?? 0) + 1);
    }
  return copies;
}
