// `mailchute send` -> our edge -> our store, over both links, with the page's configuration; the real Dovecot's IMAP reads it.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openAcl, pageAcl, pageMain, pageTcp, pageUnix, retrySection } from '../support/configurations.ts';
import {
  arrived,
  assertBody,
  bounceAbout,
  mebibyteBody,
  savedByTransaction,
  trickyBody,
  withSubject,
} from '../support/letters.ts';
import { type Mailchute, root, startMailchute } from '../support/mailchute.ts';
import { maildirMessages } from '../support/maildir.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, runToEnd, start, temporaryFolder, until } from '../support/process.ts';
import { mailchuteSend } from '../support/send.ts';
import { type ReadStore, startReadStore } from '../support/store.ts';
import { letterText, type Sent } from '../support/swaks.ts';

const many = Array.from({ length: 200 }, (_, i) => `u${i + 1}`);
const users = ['alice', 'bob', 'carol', ...many];
const atExample = (user: string): string => `${user}@example.test`;

for (const link of ['tcp', 'unix'] as const)
  describe(`our edge to our store over ${link}`, {
    skip: needsRoot('dovecot', '/usr/lib/dovecot/imap'),
  }, () => {
    const folder = temporaryFolder(`both-ours-${link}`);
    let end: ReadStore;
    /** With the page's callout, over either link. */
    let asking: Mailchute;
    /** Asks nothing, for recipients that fail at delivery. */
    let open: Mailchute;
    let askingPort = 0;
    let openPort = 0;

    before(async () => {
      // Dovecot's processes have users of their own.
      chmodSync(folder.path, 0o755);
      end = await startReadStore(path.join(folder.path, 'store'), users);
      // Exim's default for max_rcpt is 100.
      const hop = link === 'tcp' ? pageTcp(end.address, '        max_rcpt = 200\n') : pageUnix(end.address);
      askingPort = await freePort();
      openPort = await freePort();
      const edge = (name: string, port: number, acl: string): Promise<Mailchute> =>
        startMailchute(
          path.join(folder.path, name),
          `${pageMain}\ndaemon_smtp_ports = ${port}`,
          acl + hop + retrySection,
        );
      asking = await edge('asking', askingPort, pageAcl);
      open = await edge('open', openPort, openAcl);
    });
    after(async () => {
      await asking?.stop();
      await open?.stop();
      await end?.stop();
      folder.remove();
    });

    const logs = (): string => `logs:\n${asking.mainLog()}\n${open.mainLog()}\n${end.store.mainLog()}`;
    const inbox = (user: string, subject: string): Promise<string> =>
      arrived(end.dovecot.imapPort, user, subject, logs);
    const send = (port: number, to: readonly string[], content: string, from?: string): Promise<Sent> =>
      mailchuteSend(folder.path, port, { to, content, ...(from === undefined ? {} : { from }) });
    /** The edge has nothing left to do with the message that the sender was told was accepted. */
    const completed = async (edge: Mailchute, sent: Sent): Promise<string> => {
      const id = /250 OK id=(\S+)/.exec(sent.output)?.[1] ?? assert.fail(sent.output.slice(-500));
      await until(() => edge.mainLog().includes(` ${id} Completed\n`), logs);
      return id;
    };

    test('a known user gets the message', async () => {
      const sent = await send(askingPort, ['alice@example.test'], letterText('known', 'hello'));
      assert.equal(sent.code, 0, sent.output);
      assert.match(sent.output, /^<alice@example\.test>: accepted: 250 OK id=\w{6}-\w{6}-\w{2}\n$/);
      const message = await inbox('alice', 'known');
      assert.match(
        message,
        /^Return-Path: <sender@example\.test>\r\nDelivered-To: alice@example\.test\r\nReceived: from mx\.example\.test[ \r]/,
      );
      const id = await completed(asking, sent);
      assert.match(
        message,
        new RegExp(
          `by mx\\.example\\.test with esmtp \\((?:.|\\r\\n\\t)*?id ${id}(?:.|\\r\\n\\t)*?for alice@example\\.test;`,
        ),
      );
      assert.match(message, /\r\n\r\nhello\r\n$/);
      assert.match(
        asking.mainLog(),
        new RegExp(
          `${id} => alice@example\\.test R=myusers T=mylmtp .*C="250 2\\.0\\.0 <alice@example\\.test> \\S+ Saved"`,
        ),
      );
    });

    test('an unknown user is refused by callout', async () => {
      const sent = await send(askingPort, ['nobody@example.test'], letterText('unknown', 'to nobody'));
      assert.equal(sent.code, 1);
      assert.equal(sent.output, '<nobody@example.test>: refused: 550 invalid recipient\n');
      assert.match(
        asking.mainLog(),
        /rejected RCPT <nobody@example\.test>: .*550 5\.1\.1 <nobody@example\.test> User doesn't exist: nobody@example\.test/,
      );
    });

    test('several recipients, one of them unknown: the others get it', async () => {
      const to = ['alice', 'bob+detail', 'nobody', 'CAROL'].map(atExample);
      const sent = await send(askingPort, to, letterText('several', 'to three'));
      assert.equal(sent.code, 1, sent.output);
      assert.match(
        sent.output,
        /^<alice@\S+ accepted: .*\n<bob\+detail@\S+ accepted: .*\n<nobody@\S+ refused: 550 invalid recipient\n<CAROL@\S+ accepted: .*\n$/,
      );
      await completed(asking, sent);
      for (const user of ['alice', 'bob', 'carol'])
        assert.equal((await withSubject(end.dovecot.imapPort, user, 'several')).length, 1, user);
    });

    test('of several recipients the store refuses one: the others get it, the sender hears of the one', async () => {
      const to = ['alice', 'nosuch', 'u1'].map(atExample);
      const sent = await send(openPort, to, letterText('partial', 'one of three fails'), 'bob@example.test');
      assert.equal(sent.code, 0, sent.output);
      await inbox('alice', 'partial');
      await inbox('u1', 'partial');
      const bounce = await bounceAbout(end.dovecot.imapPort, 'bob', 'nosuch@example.test', logs);
      assert.match(bounce, /^Return-Path: <>\r\n/);
      assert.match(bounce, /Final-Recipient: rfc822; ?nosuch@example\.test\r\n/);
      assert.match(bounce, /Status: 5\.1\.1/);
      assert.match(bounce, /User doesn't exist:\s+nosuch/);
      assert.doesNotMatch(bounce, /Final-Recipient: rfc822; ?(alice|u1)@/);
      const id = await completed(open, sent);
      assert.match(open.mainLog(), new RegExp(`${id} \\*\\* nosuch@example\\.test .*550 5\\.1\\.1`));
    });

    test('octets and dots arrive as they were sent', async () => {
      const sent = await send(askingPort, ['bob@example.test'], letterText('octets', trickyBody));
      assert.equal(sent.code, 0, sent.output);
      assertBody(await inbox('bob', 'octets'), trickyBody);
    });

    test('one mebibyte arrives whole', async () => {
      const body = mebibyteBody();
      const sent = await send(askingPort, ['alice@example.test'], letterText('mebibyte', body));
      assert.equal(sent.code, 0, sent.output);
      // `send` ends the last line itself only where it has no end.
      assertBody(await inbox('alice', 'mebibyte'), body.slice(0, -1));
    });

    test('the same recipient twice gets it once; two addresses of one mailbox get one each', async () => {
      const twice = ['carol@example.test', 'carol@example.test', 'carol@EXAMPLE.test'];
      const same = await send(askingPort, twice, letterText('twice', 'the same'));
      assert.equal(same.code, 0, same.output);
      const details = ['carol', 'carol+a', 'carol+b'].map(atExample);
      const other = await send(askingPort, details, letterText('details', 'three addresses'));
      assert.equal(other.code, 0, other.output);
      await completed(asking, same);
      await completed(asking, other);
      assert.equal((await withSubject(end.dovecot.imapPort, 'carol', 'twice')).length, 1);
      assert.equal((await withSubject(end.dovecot.imapPort, 'carol', 'details')).length, 3);
    });

    test('200 recipients, all asked for, go in one transaction', async () => {
      const sent = await send(askingPort, many.map(atExample), letterText('many', 'to all'));
      assert.equal(sent.code, 0, sent.output.slice(-500));
      await completed(asking, sent);
      const largest = Math.max(...[...savedByTransaction(end.store.mainLog()).values()].map((s) => s.size));
      assert.equal(largest, 200);
      await inbox('u1', 'many');
      await inbox('u200', 'many');
    });

    test('nothing was put off, and nothing that our store wrote puzzled Dovecot', () => {
      for (const log of [asking.mainLog(), open.mainLog()]) assert.doesNotMatch(log, / == /);
      assert.doesNotMatch(end.dovecot.log(), /Error|Warning|Panic/);
    });
  });

for (const words of [[], ['--tcp']])
  test(`mailchute start ${words.join(' ')}: the line it prints delivers a message`, async (t) => {
    const folder = temporaryFolder('start');
    t.after(() => folder.remove());
    // The shipped files, with ports that are free here; the configuration looks for `users` beside it.
    const etc = path.join(root, 'etc');
    const [smtp, lmtp] = [await freePort(), await freePort()];
    const shipped = readFileSync(path.join(etc, 'mailchute.conf'), 'utf8');
    const config = path.join(folder.path, 'mailchute.conf');
    writeFileSync(
      config,
      shipped.replaceAll(/\b2525\b/g, String(smtp)).replaceAll(/\b2524\b/g, String(lmtp)),
    );
    copyFileSync(path.join(etc, 'users'), path.join(folder.path, 'users'));

    const running = start(path.join(root, 'bin/mailchute'), ['start', ...words, '--config', config], {
      cwd: folder.path,
    });
    t.after(() => running.stop());
    const [, line = ''] = await running.printed(/^ {4}(bin\/mailchute send .*)$/m);
    const said = running.output();
    assert.ok(said.includes(`SMTP   127.0.0.1:${smtp}\n`), said);
    assert.ok(said.includes(`LMTP   ${folder.path}/var/run/lmtp\n`), said);
    assert.ok(said.includes(`LMTP   127.0.0.1:${lmtp}\n`), said);
    assert.match(said, /^users {2}alice, bob at example\.test$/m);

    const sent = await runToEnd('/bin/sh', ['-c', line], { cwd: root });
    assert.equal(sent.code, 0, sent.output);
    const id = /accepted: 250 OK id=(\S+)/.exec(sent.output)?.[1];
    const refused = await runToEnd('/bin/sh', ['-c', line.replace('alice@', 'nobody@')], { cwd: root });
    assert.match(refused.output, /refused: 550 invalid recipient/);

    await running.printed(new RegExp(`${id} => alice@example\\.test R=myusers T=mylmtp`));
    await running.printed(new RegExp(`${id} Completed`));
    const messages = maildirMessages(path.join(folder.path, 'var/mail/alice'));
    assert.equal(messages.length, 1);
    assert.match(messages[0] ?? '', /^Return-Path: <alice@example\.test>[^]*\r?\n\r?\nHello\r?\n$/);
    await running.stop();
    assert.equal(await running.ended, 0);
  });
