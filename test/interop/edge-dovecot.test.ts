// swaks -> our edge -> the real Dovecot, over both links, with the page's configuration.
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openAcl, pageAcl, pageMain, pageTcp, pageUnix, retrySection } from '../support/configurations.ts';
import { startDovecot, type Dovecot } from '../support/dovecot.ts';
import { readInbox } from '../support/imap.ts';
import { startMailchute, type Mailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { letterText, swaks } from '../support/swaks.ts';

/** Compares octets without printing a mebibyte where they differ. */
function assertBody(message: string, body: string): void {
  const got = message.slice(message.indexOf('\r\n\r\n') + 4);
  const wanted = `${body.replaceAll('\n', '\r\n')}\r\n`;
  assert.equal(got.length, wanted.length);
  assert.ok(got === wanted, 'the body differs');
}

const users = ['alice', 'bob', ...Array.from({ length: 200 }, (_, i) => `u${i + 1}`)];

for (const link of ['tcp', 'unix'] as const)
  describe(`edge to Dovecot over ${link}`, {
    skip: needs('dovecot', '/usr/lib/dovecot/lmtp', '/usr/lib/dovecot/imap', 'swaks'),
  }, () => {
    const folder = temporaryFolder(`edge-${link}`);
    let dovecot: Dovecot;
    let asking: Mailchute;
    let open: Mailchute;
    let askingPort = 0;
    let openPort = 0;

    before(async () => {
      chmodSync(folder.path, 0o755);
      dovecot = await startDovecot(path.join(folder.path, 'dovecot'), { users });
      const store = { port: dovecot.lmtpPort, socket: dovecot.lmtpSocket };
      const hop = link === 'tcp' ? pageTcp(store) : pageUnix(store);
      // Exim's default for max_rcpt is 100.
      const wide = link === 'tcp' ? pageTcp(store, '        max_rcpt = 200\n') : hop;
      askingPort = await freePort();
      openPort = await freePort();
      asking = await startMailchute(
        path.join(folder.path, 'asking'),
        `${pageMain}\ndaemon_smtp_ports = ${askingPort}`,
        pageAcl + hop + retrySection,
      );
      open = await startMailchute(
        path.join(folder.path, 'open'),
        `${pageMain}\ndaemon_smtp_ports = ${openPort}`,
        openAcl + wide + retrySection,
      );
    });
    after(async () => {
      await asking?.stop();
      await open?.stop();
      await dovecot?.stop();
      folder.remove();
    });

    /** The message with that subject, once it is in the user's mailbox, read through Dovecot's IMAP. */
    const arrived = (user: string, subject: string): Promise<string> =>
      until(
        async () =>
          (await readInbox(dovecot.imapPort, user)).find((m) => m.includes(`Subject: ${subject}\r\n`)),
        `${subject} is in the mailbox of ${user}; log:\n${asking.mainLog()}\n${open.mainLog()}\n${dovecot.log()}`,
      );

    test('a known user gets the message', async () => {
      const sent = await swaks(folder.path, askingPort, {
        to: ['alice@example.test'],
        content: letterText('known', 'hello'),
      });
      assert.equal(sent.code, 0, sent.output);
      assert.match(sent.output, /250 OK id=\w{6}-\w{6}-\w{2}/);
      const message = await arrived('alice', 'known');
      assert.match(message, /Received: from \[127\.0\.0\.1\] \(helo=client\.test\)/);
      assert.match(message, /\r\n\r\nhello\r\n$/);
    });

    test('an unknown user is refused while the sender waits', async () => {
      const sent = await swaks(folder.path, askingPort, { to: ['nobody@example.test'] });
      assert.match(sent.output, /<\*\* 550 (5\.\d\.\d )?invalid recipient/);
      assert.match(asking.mainLog(), /rejected RCPT <nobody@example\.test>/);
      assert.doesNotMatch(asking.mainLog(), /<= .*nobody/);
    });

    test('another domain is not relayed', async () => {
      const sent = await swaks(folder.path, askingPort, { to: ['x@elsewhere.test'] });
      assert.match(sent.output, /550 .*relay not permitted/);
    });

    test('several recipients, one of them unknown: the known ones get it', async () => {
      const sent = await swaks(folder.path, askingPort, {
        to: ['alice@example.test', 'nobody@example.test', 'bob@example.test'],
        content: letterText('several', 'to two'),
      });
      assert.match(sent.output, /550 (5\.\d\.\d )?invalid recipient/);
      await arrived('alice', 'several');
      await arrived('bob', 'several');
      await until(
        () => /several/.test(asking.mainLog()) || / Completed/.test(asking.mainLog()),
        'the message is completed',
      );
    });

    test('a recipient that the store refuses at delivery is bounced, the others delivered', async () => {
      const sent = await swaks(folder.path, openPort, {
        from: 'bob@example.test',
        to: ['alice@example.test', 'nobody@example.test', 'u1@example.test'],
        content: letterText('partial', 'one of three fails'),
      });
      assert.equal(sent.code, 0, sent.output);
      await arrived('alice', 'partial');
      await arrived('u1', 'partial');
      const bounce = await until(
        async () =>
          (await readInbox(dovecot.imapPort, 'bob')).find((m) => m.includes('message/delivery-status')),
        `the bounce arrives; log:\n${open.mainLog()}`,
      );
      assert.match(bounce, /Final-Recipient: rfc822; ?nobody@example\.test/i);
      assert.match(bounce, /Status: 5\.1\.1/);
      assert.match(bounce, /User doesn't exist: nobody/);
      assert.match(open.mainLog(), /\*\* nobody@example\.test .*550 5\.1\.1/);
      assert.match(open.mainLog(), /<= <> R=/);
    });

    test('octets and dots arrive as they were sent', async () => {
      const body = `.\n..\n.leading\n8-bit: \xe4\xf6\xfc \xff\nlong ${'x'.repeat(900)}\n\n.end.`;
      const sent = await swaks(folder.path, askingPort, {
        to: ['bob@example.test'],
        content: letterText('octets', body),
      });
      assert.equal(sent.code, 0, sent.output);
      const message = await arrived('bob', 'octets');
      assertBody(message, body);
    });

    test('one mebibyte arrives whole', async () => {
      const line = `${'0123456789abcdef'.repeat(4)}\n`;
      const body = line.repeat(Math.ceil((1 << 20) / line.length));
      const sent = await swaks(folder.path, askingPort, {
        to: ['alice@example.test'],
        content: letterText('mebibyte', body),
      });
      assert.equal(sent.code, 0, sent.output.slice(-500));
      const message = await arrived('alice', 'mebibyte');
      assertBody(message, body);
    });

    test('200 recipients go in one transaction', async () => {
      const to = Array.from({ length: 200 }, (_, i) => `u${i + 1}@example.test`);
      const sent = await swaks(folder.path, openPort, { to, content: letterText('many', 'to all') });
      assert.equal(sent.code, 0, sent.output.slice(-500));
      await arrived('u200', 'many');
      const seen = await until(() => {
        const saved = [...dovecot.log().matchAll(/lmtp\((u\d+)\)<\d+><([^>:]+)[^>]*>: .*saved mail/g)];
        const users = Map.groupBy(saved, (m) => m[2] ?? '')
          .values()
          .map((list) => new Set(list.map((m) => m[1])).size);
        return Math.max(0, ...users) === 200;
      }, 'Dovecot has logged 200 deliveries in one session');
      assert.ok(seen);
    });
  });
