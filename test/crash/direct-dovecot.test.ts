// kill -9 of our edge and of Dovecot's LMTP processes, at any moment, while mail is handed over directly: what a sender was told
// holds. A letter may come twice, since Dovecot cannot tell a repeat. More kills: KILLS=100 node --test test/crash/direct-dovecot.test.ts
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { lmtpProcesses, startDovecot } from '../support/dovecot.ts';
import { type FlowLedger, flowLedger, ledgerFigures } from '../support/flow-ledger.ts';
import { startFlow } from '../support/flow.ts';
import { restartMailchute, startMailchute } from '../support/mailchute.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';

const kills = Number(process.env['KILLS'] ?? '10');
const users = ['alice', 'bob', 'carol'];

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
    await pause(50 + Math.random() * 400);
    if (i % 2 === 0) for (const pid of lmtpProcesses(dovecot.pid)) process.kill(pid, 'SIGKILL');
    else {
      await edge.kill();
      edge = await restartMailchute(home);
    }
  }
  await flow.moreAccepted(5);
  const told = await flow.stop();
  assert.ok(told.accepted.length > kills / 2, `${told.accepted.length} were accepted`);

  const ledger = (): FlowLedger => flowLedger(dovecot.mail, users, told);
  await until(
    () => ledger().missing.length === 0,
    () =>
      `all ${told.accepted.length} accepted letters come; missing: ${ledger().missing.slice(0, 10).join(' ')}\n${edge.mainLog().slice(-2000)}`,
    40_000,
  );
  const found = ledger();
  t.diagnostic(ledgerFigures(told, found));
  assert.deepEqual(found.refused, []);
});
