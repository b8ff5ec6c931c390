// kill -9 of our edge and of Dovecot's LMTP processes, at any moment, while mail is handed over directly: what a sender was told
// holds. A letter may come twice, since Dovecot cannot tell a repeat. More kills: KILLS=100 node --test test/crash/direct-dovecot.test.ts
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { lmtpProcesses, startDovecot } from '../support/dovecot.ts';
import { startFlow } from '../support/flow.ts';
import { restartMailchute, startMailchute } from '../support/mailchute.ts';
import { maildirMessages } from '../support/maildir.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';

const kills = Number(process.env['KILLS'] ?? '10');
const users = ['alice', 'bob', 'carol'];
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test(`${kills} kills of the edge or of Dovecot: every accepted letter comes to each`, {
  skip: needsRoot('dovecot', '/usr/lib/dovecot/lmtp'),
  timeout: 60_000 + kills * 8000,
}, async (t) => {
  const folder = temporaryFolder('direct-kills');
  chmodSync(folder.path, 0o755);
  const dovecot = await startDovecot(path.join(folder.path, 'dovecot'), { users });
  const port = await freePort();
  const home = path.join(folder.path, 'edge');
  let edge = await startMailchute(
    home,
    `qualify_domain = example.test
daemon_smtp_ports = ${port}
acl_smtp_rcpt = accept
smtp_accept_max = 100
direct_delivery_hosts = *`,
    `begin routers
all:
  driver = accept
  domains = example.test
  transport = store
begin transports
store:
  driver = lmtp
  socket = ${dovecot.lmtpSocket}
  batch_max = 10
  timeout = 10s
begin retry
* * F,1h,1s
`,
  );
  const flow = startFlow('direct', port, users, 6, 100_000);
  t.after(async () => {
    void flow.stop();
    await edge.stop();
    await dovecot.stop();
    folder.remove();
  });
  for (let i = 0; i < kills; i++) {
    await wait(50 + Math.random() * 400);
    if (i % 2 === 0) for (const pid of lmtpProcesses(dovecot.pid)) process.kill(pid, 'SIGKILL');
    else {
      await edge.kill();
      edge = await restartMailchute(home);
    }
  }
  await flow.moreAccepted(5);
  const told = await flow.stop();
  assert.ok(told.accepted.length > kills / 2, `${told.accepted.length} were accepted`);

  const copies = (): Map<string, number> => {
    const found = new Map<string, number>();
    for (const user of users)
      for (const text of maildirMessages(path.join(dovecot.mail, user))) {
        const subject = /^Subject: (.*)$/m.exec(text)?.[1] ?? '';
        assert.match(text, /one of many\n$/, `${subject} is whole`);
        const key = `${user} ${subject}`;
        found.set(key, (found.get(key) ?? 0) + 1);
      }
    return found;
  };
  const missing = (): string[] => {
    const now = copies();
    return told.accepted.filter((s) => users.some((user) => !now.has(`${user} ${s}`)));
  };
  await until(
    () => missing().length === 0,
    () => `all come; missing: ${missing().slice(0, 10).join(' ')}\n${edge.mainLog().slice(-2000)}`,
    40_000,
  );
  const ledger = copies();
  const refused = told.refused.filter((s) => users.some((user) => ledger.has(`${user} ${s}`)));
  t.diagnostic(
    JSON.stringify({
      accepted: told.accepted.length,
      unanswered: told.unanswered.length,
      refused: told.refused.length,
      doubled: [...ledger.values()].filter((n) => n > 1).length,
      refusedButThere: refused.length,
    }),
  );
  assert.deepEqual(refused, []);
});
