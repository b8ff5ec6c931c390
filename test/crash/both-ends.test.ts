// kill -9 of our edge and of our store, at any moment, while mail flows between them: what a sender was told holds, and nothing
// comes twice. More kills: KILLS=200 node --test test/crash/both-ends.test.ts
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type FlowLedger, flowLedger, ledgerFigures } from '../support/flow-ledger.ts';
import { startFlow } from '../support/flow.ts';
import { type Mailchute, restartMailchute, root, startMailchute } from '../support/mailchute.ts';
import { freePort, type Running, start, temporaryFolder, until } from '../support/process.ts';

const kills = Number(process.env['KILLS'] ?? '10');
const users = ['alice', 'bob', 'carol'];

for (const mode of ['spooled', 'direct'] as const)
  describe(`kill -9 of either end, ${mode}`, () => {
    test(`${kills} kills: every accepted letter comes once to each, no letter twice`, {
      timeout: 60_000 + kills * 8000,
    }, async (t) => {
      const folder = temporaryFolder(`both-ends-${mode}`);
      const mail = path.join(folder.path, 'mail');
      const socket = path.join(folder.path, 'lmtp');
      writeFileSync(path.join(folder.path, 'users'), users.map((u) => `${u}::::::\n`).join(''));
      const storeConfig = path.join(folder.path, 'store.conf');
      writeFileSync(
        storeConfig,
        `primary_hostname = store.example.test
spool_directory = ${folder.path}/store-spool
log_file_path = ${folder.path}/store-log/%slog
begin directories
people:
  driver = passwd_file
  file = ${folder.path}/users
  username_format = %Ln
begin stores
boxes:
  driver = maildir
  sockets = ${socket}
  directories = people
  maildir = ${mail}/$local_part_data
`,
      );
      const startStore = async (): Promise<Running> => {
        const running = start(path.join(root, 'bin/mailchute'), ['store', storeConfig]);
        await running.printed(/ready|listening/i);
        return running;
      };
      let store = await startStore();
      const port = await freePort();
      const home = path.join(folder.path, 'edge');
      let edge: Mailchute = await startMailchute(
        home,
        `qualify_domain = example.test
daemon_smtp_ports = ${port}
acl_smtp_rcpt = accept
smtp_accept_max = 100
${mode === 'direct' ? 'direct_delivery_hosts = *' : ''}`,
        `begin routers
all:
  driver = accept
  domains = example.test
  transport = store
begin transports
store:
  driver = lmtp
  socket = ${socket}
  batch_max = 10
  timeout = 10s
begin retry
* * F,1h,1s
`,
      );
      const flow = startFlow(`both-${mode}`, port, users, 6, 100_000);
      t.after(async () => {
        void flow.stop();
        await edge.stop();
        await store.stop();
        folder.remove();
      });
      for (let i = 0; i < kills; i++) {
        await pause(50 + Math.random() * 400);
        if (i % 2 === 0) {
          store.kill('SIGKILL');
          await store.ended;
          if (i % 4 === 0) await pause(100);
          store = await startStore();
        } else {
          await edge.kill();
          edge = await restartMailchute(home);
        }
      }
      await flow.moreAccepted(5);
      const told = await flow.stop();
      assert.ok(told.accepted.length > kills / 2, `${told.accepted.length} were accepted`);

      const ledger = (): FlowLedger => flowLedger(mail, users, told);
      await until(
        () => ledger().missing.length === 0,
        () =>
          `all ${told.accepted.length} accepted letters come; missing: ${ledger().missing.slice(0, 10).join(' ')}\n${edge.mainLog().slice(-2000)}`,
        40_000,
      );
      // What is still under way would show now.
      await pause(2500);
      const found = ledger();
      t.diagnostic(ledgerFigures(told, found));
      assert.deepEqual(found.doubled, []);
      assert.deepEqual(found.refused, []);
    });
  });
