// kill -9 while answers are made: every message is answered, and the ledger balances.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { openLmdbSpool } from '../../src/spool/drivers/lmdb/lmdb-spool.ts';
import { restartMailchute, startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { smtpTalk } from '../support/smtp-talk.ts';

const nobody = 65_534;
const messages = 12;
const folder = temporaryFolder('autoreply');
after(() => folder.remove());

test('answers survive kill -9', {
  skip: process.geteuid?.() !== 0 && 'needs root',
  timeout: 120_000,
}, async () => {
  chmodSync(folder.path, 0o755);
  const box = path.join(folder.path, 'box');
  mkdirSync(box);
  chownSync(box, nobody, nobody);
  const port = await freePort();
  let ours = await startMailchute(
    path.join(folder.path, 'ours'),
    `acl_smtp_rcpt = open\ntls_advertise_hosts =\nkeep_environment =\ndaemon_smtp_ports = ${port}\n`,
    `begin acl
open:
  accept
begin routers
away:
  driver = accept
  domains = away.test
  transport = away
inbox:
  driver = accept
  transport = inbox
begin transports
away:
  driver = autoreply
  user = nobody
  to = $sender_address
  subject = Away from $h_subject:
  text = later
  once = ${box}/once
inbox:
  driver = appendfile
  file = ${box}/inbox
  user = nobody
begin retry
* * F,1h,1s
`,
  );
  const inbox = (): string =>
    existsSync(path.join(box, 'inbox')) ? readFileSync(path.join(box, 'inbox'), 'latin1') : '';
  const answered = (n: number): boolean => inbox().includes(`Subject: Away from number ${n}.`);
  let sent = 0;
  try {
    for (let round = 0; round < 3; round++) {
      const client = await smtpTalk(port);
      for (let i = 0; i < messages / 3; i++, sent++)
        for (const line of [
          `MAIL FROM:<s${sent}@sender.test>`,
          'RCPT TO:<me@away.test>',
          'DATA',
          `Subject: number ${sent}.\r\n\r\nhello\r\n.`,
        ])
          assert.match(await client.send(`${line}\r\n`), /^[23]/);
      await until(() => answered(round * (messages / 3)), 'the first answer of the round', 30_000);
      await ours.kill();
      ours = await restartMailchute(path.join(folder.path, 'ours'));
    }
    await until(
      () => Array.from({ length: messages }, (_, n) => n).every(answered),
      () =>
        `all are answered: ${Array.from({ length: messages }, (_, n) => n)
          .filter((n) => !answered(n))
          .join()}\n${ours.mainLog().slice(-2000)}`,
      60_000,
    );
    // Nobody is answered who sent from nowhere.
    const client = await smtpTalk(port);
    for (const line of ['MAIL FROM:<>', 'RCPT TO:<me@away.test>', 'DATA', 'Subject: bounce\r\n\r\nx\r\n.'])
      assert.match(await client.send(`${line}\r\n`), /^[23]/);
    client.close();
    // By the spool: a kill between a record and its line leaves no line.
    const spool = openLmdbSpool({ directory: path.join(ours.spool, 'spool') });
    try {
      await until(
        async () => {
          for await (const _ of spool.inspect({})) return false;
          return true;
        },
        () => `all is done\n${ours.mainLog().slice(-2000)}`,
        30_000,
      );
    } finally {
      await spool.close();
    }
    assert.doesNotMatch(inbox(), /Away from bounce/);
    const all = inbox().match(/^Subject: Away from number \d+\.$/gm) ?? [];
    assert.equal(new Set(all).size, messages);
  } finally {
    await ours.stop();
  }
});
