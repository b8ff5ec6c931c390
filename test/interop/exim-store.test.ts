// swaks -> the real Exim with the page's configuration -> our store, over both links, read back by the real Dovecot's IMAP.
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openAcl, pageAcl, pageMain, pageTcp, pageUnix, retrySection } from '../support/configurations.ts';
import { startExim, type Exim } from '../support/exim.ts';
import {
  arrived,
  assertBody,
  bounceAbout,
  mebibyteBody,
  savedByTransaction,
  trickyBody,
  withSubject,
} from '../support/letters.ts';
import { needsRoot } from '../support/peers.ts';
import { temporaryFolder, until } from '../support/process.ts';
import { startReadStore, type ReadStore } from '../support/store.ts';
import { letterText, swaks } from '../support/swaks.ts';

const users = ['alice', 'bob', 'carol', ...Array.from({ length: 200 }, (_, i) => `u${i + 1}`)];
const skip = needsRoot('exim4', 'dovecot', '/usr/lib/dovecot/imap', 'swaks');

for (const link of ['tcp', 'unix'] as const)
  describe(`Exim to our store over ${link}`, { skip }, () => {
    const folder = temporaryFolder(`exim-store-${link}`);
    let end: ReadStore;
    let open: Exim;
    /** With the page's callout. Over UNIX Exim cannot ask: "lmtp is non-smtp", it says, and defers all mail. */
    let asking: Exim | undefined;

    before(async () => {
      chmodSync(folder.path, 0o755);
      end = await startReadStore(path.join(folder.path, 'store'), users);
      // Exim takes the page's comment behind route_data for a part of its value, and defers. Its default for max_rcpt is 100.
      const hop =
        link === 'tcp'
          ? pageTcp(end.address, '        max_rcpt = 200\n')
          : pageUnix(end.address).replace(/ # required.*/, '');
      open = await startExim(path.join(folder.path, 'open'), pageMain, openAcl + hop + retrySection);
      if (link === 'tcp')
        asking = await startExim(path.join(folder.path, 'asking'), pageMain, pageAcl + hop + retrySection);
    });
    after(async () => {
      await asking?.stop();
      await open?.stop();
      await end?.stop();
      folder.remove();
    });

    const edge = (): Exim => asking ?? open;
    const logs = (): string => `logs:\n${asking?.mainLog() ?? ''}\n${open.mainLog()}\n${end.store.mainLog()}`;
    const inbox = (user: string, subject: string): Promise<string> =>
      arrived(end.dovecot.imapPort, user, subject, logs);

    test('a known user gets the message', async () => {
      const sent = await swaks(folder.path, edge().port, {
        to: ['alice@example.test'],
        content: letterText('known', 'hello'),
      });
      assert.equal(sent.code, 0, sent.output);
      const message = await inbox('alice', 'known');
      assert.match(
        message,
        /^Return-Path: <sender@example\.test>\r\nDelivered-To: alice@example\.test\r\nReceived: from mx\.example\.test[ \r]/,
      );
      assert.match(message, /by mx\.example\.test with esmtp \(Exim/);
      assert.match(message, /\r\n\r\nhello\r\n$/);
      await until(
        () =>
          / => alice@example\.test R=myusers T=mylmtp .*C="250 2\.0\.0 <alice@example\.test> \S+ Saved"/.test(
            edge().mainLog(),
          ),
        logs,
      );
    });

    if (link === 'tcp')
      test('an unknown user is refused by callout', async () => {
        const sent = await swaks(folder.path, edge().port, { to: ['nobody@example.test'] });
        assert.match(sent.output, /<\*\* 550 invalid recipient/);
        assert.match(
          edge().mainLog(),
          /rejected RCPT <nobody@example\.test>: .*550 5\.1\.1 <nobody@example\.test> User doesn't exist: nobody@example\.test/,
        );
      });
    else
      test('an unknown user bounces', async () => {
        const sent = await swaks(folder.path, edge().port, {
          from: 'carol@example.test',
          to: ['nobody@example.test'],
        });
        assert.equal(sent.code, 0, sent.output);
        const bounce = await bounceAbout(end.dovecot.imapPort, 'carol', 'nobody@example.test', logs);
        assert.match(bounce, /550 5\.1\.1 <nobody@example\.test> User doesn't exist:\s+nobody/);
      });

    test('several recipients', async () => {
      const sent = await swaks(folder.path, edge().port, {
        to: ['alice@example.test', 'bob+detail@example.test', 'CAROL@example.test'],
        content: letterText('several', 'to three'),
      });
      assert.equal(sent.code, 0, sent.output);
      for (const user of ['alice', 'bob', 'carol']) await inbox(user, 'several');
    });

    test('of several recipients the store refuses one: the others get it, the sender hears of the one', async () => {
      const sent = await swaks(folder.path, open.port, {
        from: 'bob@example.test',
        to: ['alice@example.test', 'nosuch@example.test', 'u1@example.test'],
        content: letterText('partial', 'one of three fails'),
      });
      assert.equal(sent.code, 0, sent.output);
      await inbox('alice', 'partial');
      await inbox('u1', 'partial');
      const bounce = await bounceAbout(end.dovecot.imapPort, 'bob', 'nosuch@example.test', logs);
      assert.match(bounce, /550 5\.1\.1 <nosuch@example\.test> User doesn't exist:\s+nosuch/);
      assert.doesNotMatch(bounce, /Final-Recipient: rfc822;(alice|u1)@/);
    });

    test('octets and dots arrive as they were sent', async () => {
      const sent = await swaks(folder.path, edge().port, {
        to: ['bob@example.test'],
        content: letterText('octets', trickyBody),
      });
      assert.equal(sent.code, 0, sent.output);
      assertBody(await inbox('bob', 'octets'), trickyBody);
    });

    test('one mebibyte arrives whole', async () => {
      const body = mebibyteBody();
      const sent = await swaks(folder.path, edge().port, {
        to: ['alice@example.test'],
        content: letterText('mebibyte', body),
      });
      assert.equal(sent.code, 0, sent.output.slice(-500));
      assertBody(await inbox('alice', 'mebibyte'), body);
    });

    test('the same recipient twice gets it once; two addresses of one mailbox get one each', async () => {
      const twice = ['carol@example.test', 'carol@example.test', 'carol@EXAMPLE.test'];
      const sent = await swaks(folder.path, edge().port, {
        to: twice,
        content: letterText('twice', 'the same'),
      });
      assert.equal(sent.code, 0, sent.output);
      const details = ['carol@example.test', 'carol+a@example.test', 'carol+b@example.test'];
      const other = await swaks(folder.path, edge().port, {
        to: details,
        content: letterText('details', 'three addresses'),
      });
      assert.equal(other.code, 0, other.output);
      await until(() => edge().mainLog().includes('carol+b@example.test R='), logs);
      await until(
        () =>
          open
            .mainLog()
            .concat(asking?.mainLog() ?? '')
            .match(/Completed/g)?.length ===
          completedBy(open) + completedBy(asking),
        logs,
      );
      assert.equal((await withSubject(end.dovecot.imapPort, 'carol', 'twice')).length, 1);
      assert.equal((await withSubject(end.dovecot.imapPort, 'carol', 'details')).length, 3);
    });

    test('200 recipients go in one transaction', async () => {
      const to = Array.from({ length: 200 }, (_, i) => `u${i + 1}@example.test`);
      const sent = await swaks(folder.path, edge().port, { to, content: letterText('many', 'to all') });
      assert.equal(sent.code, 0, sent.output.slice(-500));
      await inbox('u200', 'many');
      await until(
        () => [...savedByTransaction(end.store.mainLog()).values()].some((s) => s.size === 200),
        logs,
      );
      await inbox('u1', 'many');
    });

    test('nothing that our store said puzzled Exim, and nothing that it wrote puzzled Dovecot', () => {
      for (const log of [open.mainLog(), asking?.mainLog() ?? '']) {
        assert.doesNotMatch(log, /Malformed LMTP response/);
        assert.doesNotMatch(log, /panic|unexpected|timeout/i);
        assert.doesNotMatch(log, / == /);
      }
      assert.doesNotMatch(end.dovecot.log(), /Error|Warning|Panic/);
    });
  });

/** Messages that Exim has taken so far, which is how many it must complete. */
function completedBy(exim: Exim | undefined): number {
  return exim?.mainLog().match(/ <= /g)?.length ?? 0;
}
