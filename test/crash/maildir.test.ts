/**
 * kill -9 while a process delivers: what was answered `stored` lies in new/, whole and under its size; nothing in new/ is
 * partial, acknowledged or not; what is left behind hinders nobody. The ledger is a plain file: what a process wrote to one
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
import { openMaildirStore } from '../../src/store/drivers/maildir/maildir.ts';

const worker = new URL('./maildir-worker.ts', import.meta.url).pathname;

/** Each step of a delivery, killed before and after it, at its first time and at later ones. */
const steps = ['mkdir', 'create', 'write', 'fsync', 'link', 'rename', 'fdatasync', 'answer'].flatMap((name) =>
  ['before', 'after'].flatMap((side) => [1, 2, 3, 5, 8, 13].map((count) => `${name}:${side}:${count}`)),
);
const timed = 104;
const lanes = 2;

interface Tally {
  acknowledged: number;
  unacknowledged: number;
  leftovers: number;
}

test(`${steps.length + timed} times kill -9: the Maildirs hold all that was acknowledged`, {
  timeout: 180_000,
}, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-crash-maildir-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const tally: Tally = { acknowledged: 0, unacknowledged: 0, leftovers: 0 };
  const rounds = [...steps, ...Array.from({ length: timed }, () => '')].entries();
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      for (const [round, step] of rounds)
        await oneRound(path.join(folder, String(lane)), folder, round, step, tally);
    }),
  );
  t.diagnostic(
    `${tally.acknowledged} acknowledged, ${tally.unacknowledged} stored without answer, ${tally.leftovers} left in tmp/`,
  );
  // So many are enough to show something, however slow the machine is.
  assert.ok(tally.acknowledged > 100, `only ${tally.acknowledged} deliveries were acknowledged`);
  assert.ok(tally.unacknowledged > 20, 'messages were stored whose answer was cut off');
  assert.ok(tally.leftovers > 20, 'messages were cut off while they were written');
});

async function oneRound(
  own: string,
  shared: string,
  round: number,
  step: string,
  tally: Tally,
): Promise<void> {
  const root = path.join(own, 'mail');
  const ledger = path.join(own, 'ledger');
  fs.rmSync(own, { recursive: true, force: true });
  fs.mkdirSync(root, { recursive: true });
  fs.writeFileSync(ledger, '');
  const child = spawn(process.execPath, [worker, root, ledger, String(round), step], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_COMPILE_CACHE: path.join(shared, 'compiled') },
  });
  const exit = once(child, 'exit');
  await once(child.stdout, 'data');
  if (step === '') {
    // From before the first mailbox is made to some hundred deliveries in.
    await pause(Math.random() ** 2 * 120);
    child.kill('SIGKILL');
  }
  assert.deepEqual(
    await exit,
    [null, 'SIGKILL'],
    `round ${round} ${step}: it died of our signal, and of no fault`,
  );

  const found = readMaildirs(root);
  tally.leftovers += found.leftovers;
  for (const line of fs.readFileSync(ledger, 'latin1').split('\n')) {
    const [id, ...places] = line.split(' ');
    if (id === undefined || id === '') continue;
    for (const place of places) {
      assert.equal(found.copies.get(`${place} ${id}`), 1, `round ${round} ${step}: ${id} for ${place}`);
      found.copies.delete(`${place} ${id}`);
      tally.acknowledged++;
    }
  }
  for (const [key, copies] of found.copies) assert.equal(copies, 1, `round ${round} ${step}: ${key}`);
  tally.unacknowledged += found.copies.size;
  if (round % 5 === 0) await deliverAgain(root);
}

/** Whatever state mailboxes and folders were left in, the next delivery finds or completes them. */
async function deliverAgain(root: string): Promise<void> {
  const store = openMaildirStore({ location: `maildir:${root}/%u`, fsync: 'never' });
  const content = memoryContent('Id: again\r\n\r\nId: again\r\n');
  for (let user = 0; user < 12; user++) {
    for (const folder of [undefined, 'Archive', `Deep/${user}`]) {
      const delivery = deliveryTo([{ username: `user${user}`, extra: {} }], content, true);
      const recipients = delivery.recipients.map((r) =>
        folder === undefined ? r : { ...r, folder, missingFolder: 'create' as const },
      );
      const outcomes = await store.deliver({ ...delivery, recipients }, new AbortController().signal);
      assert.equal(outcomes[0]?.kind, 'stored', `user${user} ${folder ?? ''}`);
    }
  }
  await store.close();
}

/** Copies in new/ by `user/folder id`, each checked to be whole, and the number of files in tmp/. */
function readMaildirs(root: string): { copies: Map<string, number>; leftovers: number } {
  const copies = new Map<string, number>();
  let leftovers = 0;
  const names = (folder: string): string[] => (fs.existsSync(folder) ? fs.readdirSync(folder) : []);
  for (const user of names(root)) {
    const mailboxes = ['', ...names(path.join(root, user)).filter((name) => name.startsWith('.'))];
    for (const mailbox of mailboxes) {
      const folder = path.join(root, user, mailbox);
      leftovers += names(path.join(folder, 'tmp')).length;
      assert.deepEqual(names(path.join(folder, 'cur')), []);
      for (const name of names(path.join(folder, 'new'))) {
        const text = fs.readFileSync(path.join(folder, 'new', name), 'latin1');
        const whole = /^Trace: all\nId: (\S+)\n\n(?:line of text\n)+Id: (\S+)\n$/.exec(text);
        assert.ok(whole !== null && whole[1] === whole[2], `${folder}/new/${name} is partial`);
        const sizes = /,S=(\d+),W=(\d+)$/.exec(name);
        assert.deepEqual(
          [Number(sizes?.[1]), Number(sizes?.[2])],
          [text.length, text.length + text.split('\n').length - 1],
          name,
        );
        const key = `${user}/${mailbox.slice(1).replaceAll('.', '/')} ${whole[1]}`;
        copies.set(key, (copies.get(key) ?? 0) + 1);
      }
    }
  }
  return { copies, leftovers };
}
