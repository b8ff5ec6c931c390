// kill -9 of the server that holds the mailboxes while mail is handed on to it: nothing that got 250 is lost.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { storesSection } from '../support/configurations.ts';
import { disposed } from '../support/disposed.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { restartMailchute, startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder } from '../support/process.ts';
import { startFront } from '../support/proxy-world.ts';
import { writeUsers } from '../support/store.ts';

const users = ['u0', 'u1', 'u2', 'u3'];
const clients = 8;
const kills = 5;

test('the backend is killed under load again and again', { timeout: 180_000 }, async (t) => {
  const folder = temporaryFolder('proxy-crash');
  t.after(() => folder.remove());
  writeUsers(folder.path, users);
  const address = { port: await freePort(), socket: path.join(folder.path, 'lmtp') };
  let backend = await startMailchute(folder.path, '', storesSection(address, folder.path));
  const target = { host: '127.0.0.1', port: address.port, timeoutMs: 10_000 };
  const front = disposed(
    t,
    await startFront({ users: { ...Object.fromEntries(users.map((u) => [u, target])), here: undefined } }),
  );
  /** `user letter` of each 250, and how many others there were. */
  const saved: string[] = [];
  let others = 0;
  let stop = false;
  let letters = 0;
  const load = async (): Promise<void> => {
    while (!stop) {
      const talk = await lmtpTalk(front.endpoint);
      for (let i = 0; i < 5 && !stop; i++) {
        const letter = `L${letters++}.`;
        const big = letters % 7 === 0 ? 'x'.repeat(70).concat('\r\n').repeat(3000) : '';
        const to = ['here', ...users].map((u) => `${u}@example.test`);
        const { rcpt, ends } = await talk.transaction('s@x.test', to, `Subject: ${letter}\r\n\r\n${big}`);
        const accepted = to.filter((_, n) => rcpt[n]?.startsWith('250'));
        assert.equal(rcpt.length, to.length);
        assert.equal(ends.length, accepted.length);
        ends.forEach((end, n) => {
          const name = accepted[n] ?? '';
          assert.ok(end.includes(`<${name}>`) || end.startsWith('451 4.4.0 '), end);
          if (end.startsWith('250')) saved.push(`${name.split('@')[0]} ${letter}`);
          else others++;
        });
        others += to.length - accepted.length;
      }
      await talk.close();
    }
  };
  const running = Array.from({ length: clients }, load);
  for (let n = 0; n < kills; n++) {
    const before = saved.length;
    // At some point of the work: after 30, 67, ... deliveries since the last start.
    while (saved.length < before + 30 + n * 37) await new Promise((resolve) => setImmediate(resolve));
    await backend.kill();
    backend = await restartMailchute(folder.path);
  }
  stop = true;
  await Promise.all(running);
  await backend.stop();
  const there = new Set(front.stored.map((m) => `here ${subject(m.text)}`));
  for (const user of users) {
    const folderNew = path.join(folder.path, 'mail', user, 'new');
    if (!existsSync(folderNew)) continue;
    for (const name of readdirSync(folderNew))
      there.add(`${user} ${subject(readFileSync(path.join(folderNew, name), 'latin1'))}`);
  }
  assert.deepEqual(
    saved.filter((s) => !there.has(s)),
    [],
  );
  assert.equal(saved.length + others, letters * (users.length + 1));
  assert.ok(others > 0, 'no kill hit a delivery');
});

function subject(text: string): string {
  return /\nSubject: (\S+)/.exec(text)?.[1] ?? '';
}
