/**
 * kill -9 while a process delivers: what was answered `stored` lies in new/, whole and under its size; nothing in new/ is
 * partial, acknowledged or not; what is left in tmp/ hinders nobody. The ledger is a plain file: what a process wrote to one
 * survives its own end.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const rounds = 36;
const worker = new URL('./maildir-worker.ts', import.meta.url).pathname;

test(`${rounds} times kill -9 under load: the Maildirs hold all that was acknowledged`, {
  timeout: 180_000,
}, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mailchute-crash-maildir-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  let acknowledged = 0;
  let unacknowledged = 0;
  let leftovers = 0;
  for (let round = 0; round < rounds; round++) {
    const root = path.join(folder, 'mail');
    const ledger = path.join(folder, 'ledger');
    fs.rmSync(root, { recursive: true, force: true });
    fs.mkdirSync(root);
    fs.writeFileSync(ledger, '');
    const child = spawn(process.execPath, [worker, root, ledger, String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exit = once(child, 'exit');
    await once(child.stdout, 'data');
    // From before the first mailbox is made to some thousand deliveries in.
    await new Promise((resolve) => setTimeout(resolve, Math.random() ** 2 * 400));
    child.kill('SIGKILL');
    assert.deepEqual(await exit, [null, 'SIGKILL'], 'the worker died of our signal only');

    const found = readMaildirs(root);
    leftovers += found.leftovers;
    for (const line of fs.readFileSync(ledger, 'latin1').split('\n')) {
      const [id, ...users] = line.split(' ');
      if (id === undefined || id === '') continue;
      for (const user of users) {
        assert.equal(found.copies.get(`${user} ${id}`), 1, `round ${round}: ${id} for ${user}`);
        found.copies.delete(`${user} ${id}`);
        acknowledged++;
      }
    }
    for (const [key, copies] of found.copies) assert.equal(copies, 1, `round ${round}: ${key}`);
    unacknowledged += found.copies.size;
  }
  t.diagnostic(
    `${acknowledged} acknowledged, ${unacknowledged} stored without answer, ${leftovers} left in tmp/`,
  );
  assert.ok(acknowledged > 150, `only ${acknowledged} deliveries were acknowledged`);
  assert.ok(unacknowledged + leftovers > 0, 'no round was cut in the middle of a delivery');
});

/** Copies in new/ by `user id`, each checked to be whole, and the number of files in tmp/. */
function readMaildirs(root: string): { copies: Map<string, number>; leftovers: number } {
  const copies = new Map<string, number>();
  let leftovers = 0;
  const names = (folder: string): string[] => (fs.existsSync(folder) ? fs.readdirSync(folder) : []);
  for (const user of names(root)) {
    leftovers += names(path.join(root, user, 'tmp')).length;
    for (const name of names(path.join(root, user, 'new'))) {
      const text = fs.readFileSync(path.join(root, user, 'new', name), 'latin1');
      const whole = /^Trace: all\nId: (\S+)\n\n(?:line of text\n)+Id: (\S+)\n$/.exec(text);
      assert.ok(whole !== null && whole[1] === whole[2], `${user}/new/${name} is partial`);
      const sizes = /,S=(\d+),W=(\d+)$/.exec(name);
      assert.deepEqual(
        [Number(sizes?.[1]), Number(sizes?.[2])],
        [text.length, text.length + text.split('\n').length - 1],
        name,
      );
      const key = `${user} ${whole[1]}`;
      copies.set(key, (copies.get(key) ?? 0) + 1);
    }
  }
  return { copies, leftovers };
}
