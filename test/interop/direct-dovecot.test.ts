// Direct delivery to the real Dovecot, over TCP and a UNIX socket: every line of the table in docs/direct-delivery.md.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { lmtpProcesses, startDovecot, type Dovecot } from '../support/dovecot.ts';
import { startMailchute, type Mailchute } from '../support/mailchute.ts';
import { maildirMessages } from '../support/maildir.ts';
import { needsRoot } from '../support/peers.ts';
import { acceptedId, completed, linesAbout } from '../support/message-log.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { openMessage, smtpTalk, transact } from '../support/smtp-talk.ts';

const users = ['alice', 'bob', 'carol', 'full', 'almost', 'broken', 'sender', 'pass'];
const quotaPlugin = `mail_plugins = quota
protocol lmtp {
  lmtp_rcpt_check_quota = yes
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=200M:messages=100
  quota_grace = 0%%
  quota_exceeded_message = Quota exceeded (mailbox for user is full)
}
`;

const quotaOctets = 200 * 1024 * 1024;

const letter = (subject: string, body = 'body\r\n'): string =>
  `From: <sender@example.test>\r\nSubject: ${subject}\r\n\r\n${body}`;
const line = `${'m'.repeat(78)}\r\n`;
const mebibytes = (n: number): string => line.repeat(Math.ceil((n * 1024 * 1024) / 80));

/** Resident memory, octets. */
function residentOctets(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0');
}

describe('direct delivery to Dovecot', { concurrency: 2 }, () => {
  for (const link of ['tcp', 'unix'] as const)
    describe(`over ${link}`, {
      concurrency: 1,
      skip: needsRoot('dovecot', '/usr/lib/dovecot/lmtp', 'doveadm'),
    }, () => {
      const folder = temporaryFolder(`direct-dovecot-${link}`);
      let dovecot: Dovecot;
      let edge: Mailchute;
      let impatient: Mailchute;
      let port = 0;
      let impatientPort = 0;

      const boxOf = (user: string): string[] => maildirMessages(path.join(dovecot.mail, user));
      const copies = (user: string, subject: string): number =>
        boxOf(user).filter((m) => m.includes(`\nSubject: ${subject}\n`)).length;
      const startStore = (lmtpPort?: number): Promise<Dovecot> =>
        startDovecot(path.join(folder.path, 'dovecot'), {
          users,
          extra: quotaPlugin,
          ...(lmtpPort === undefined ? {} : { lmtpPort }),
        });

      async function startEdge(name: string, port: number, main: string): Promise<Mailchute> {
        const [driver, transport] =
          link === 'tcp'
            ? [
                '  driver = manualroute\n  route_list = * 127.0.0.1\n  self = send',
                `  driver = smtp\n  protocol = lmtp\n  port = ${dovecot.lmtpPort}`,
              ]
            : ['  driver = accept', `  driver = lmtp\n  socket = ${dovecot.lmtpSocket}\n  batch_max = 100`];
        return startMailchute(
          path.join(folder.path, name),
          `qualify_domain = example.test
daemon_smtp_ports = ${port}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
prdr_enable = true
${main}`,
          `begin acl
rcpt:
  accept senders = pass@example.test
         control = cutthrough_delivery/defer=pass
  accept control = cutthrough_delivery
data:
  deny message = not this one
       condition = \${if match{$h_subject:}{virus}}
  accept
begin routers
store:
${driver}
  domains = example.test
  transport = store
begin transports
store:
${transport}
begin retry
* * F,1h,1s
`,
        );
      }

      before(async () => {
        chmodSync(folder.path, 0o755);
        dovecot = await startStore();
        port = await freePort();
        impatientPort = await freePort();
        edge = await startEdge('edge', port, 'message_size_limit = 300M');
        impatient = await startEdge('impatient', impatientPort, 'direct_delivery_timeout = 1s');
        // One at its quota, and one who has room for a little.
        fill('full', 100, '');
        fill('almost', 1, `,S=${quotaOctets - 50_000},W=${quotaOctets - 50_000}`);
        // One whose mailbox cannot be opened.
        mkdirSync(path.join(dovecot.mail, 'broken'), { mode: 0o700 });
      });
      after(async () => {
        await edge?.stop();
        await impatient?.stop();
        await dovecot?.stop();
        folder.remove();
      });

      /** Puts letters into a mailbox, without Dovecot, which believes the sizes in their names. */
      function fill(user: string, count: number, sizes: string): void {
        const box = path.join(dovecot.mail, user);
        for (const part of ['', 'new', 'cur', 'tmp']) {
          mkdirSync(path.join(box, part), { recursive: true });
          chownSync(path.join(box, part), 8, 8);
        }
        for (let i = 0; i < count; i++) {
          const file = path.join(box, 'new', `1764000000.M${i}.test${sizes}`);
          writeFileSync(file, 'Subject: filling\n\n');
          chownSync(file, 8, 8);
        }
      }

      /** Gives the replies of {@link transact}. */
      const send = (
        subject: string,
        to: readonly string[],
        { from = 'sender', at = port, mail = '', body = 'body\r\n' } = {},
      ): Promise<string[]> =>
        transact(at, {
          from: `${from}@example.test`,
          mail,
          to: to.map((one) => `${one}@example.test`),
          content: letter(subject, body),
        });

      const linesOf = (id: string): string[] => linesAbout(edge.mainLog(), id);
      const through = (replies: readonly string[], server = edge): Promise<string[]> =>
        completed(() => server.mainLog(), replies);
      const starts = (lines: readonly string[], text: string): boolean =>
        lines.some(
          (l) =>
            l.startsWith(text) || l.startsWith(text.replace(/(\w+)@example\.test/, '$1 <$1@example.test>')),
        );

      test('an unknown recipient is refused at RCPT', async () => {
        const replies = await send('unknown', ['nobody', 'alice']);
        assert.match(replies[1] ?? '', /^550[- ].*\n?.*User doesn't exist: nobody@example\.test/);
        await through(replies);
        assert.equal(copies('alice', 'unknown'), 1);
      });

      test('quota: one who is full is refused at RCPT, one whose mailbox the message fills at the end, in Dovecot’s words', async () => {
        const atRcpt = await send('over', ['full']);
        assert.match(atRcpt[1] ?? '', /^55[02][- ].*\n?.*Quota exceeded \(mailbox for user is full\)/);
        for (const from of ['sender', 'pass']) {
          const atEnd = await send('fills', ['almost'], { from, body: line.repeat(700) });
          assert.match(atEnd[1] ?? '', /^250/);
          assert.equal(
            atEnd.at(-1),
            '552 5.2.2 <almost@example.test> Quota exceeded (mailbox for user is full)',
          );
        }
        const streamed = await send('fills', ['almost'], { body: mebibytes(1) });
        assert.match(streamed.at(-1) ?? '', /^552 5\.2\.2 <almost@example\.test> Quota exceeded/);
        assert.equal(copies('almost', 'fills'), 0);
        assert.match(edge.mainLog(), /rejected after DATA: .*Quota exceeded/);
        assert.doesNotMatch(edge.mainLog(), /<= <> /);
      });

      test('one takes it, another is over quota: 250 and a bounce, or with PRDR an answer for each', async () => {
        const body = line.repeat(700);
        const each = await send('each', ['alice', 'almost'], { mail: ' PRDR', body });
        assert.equal(each[3], '250 2.1.5 Accepted');
        assert.match(each[4] ?? '', /^552 5\.2\.2 <almost@example\.test> Quota exceeded/);
        await through(each);
        assert.doesNotMatch(edge.mainLog(), /<= <> /);
        const lines = await through(await send('mixed', ['alice', 'almost'], { body }));
        assert.ok(starts(lines, '>> alice@example.test') && starts(lines, '** almost@example.test'));
        await until(
          () =>
            boxOf('sender').some((m) => m.includes('almost@example.test') && m.includes('delivery-status')),
          'the bounce comes',
        );
        assert.deepEqual([copies('alice', 'each'), copies('alice', 'mixed')], [1, 1]);
      });

      test('all take it: nothing is spooled', async () => {
        const lines = await through(await send('all', ['alice', 'bob', 'carol']));
        assert.deepEqual(
          lines.map((l) => l.slice(0, 3)),
          ['>> ', '>> ', '>> ', '<= ', 'Com'],
          lines.join('\n'),
        );
        for (const user of ['alice', 'bob', 'carol']) assert.equal(copies(user, 'all'), 1);
        const stored = boxOf('bob').find((m) => m.includes('\nSubject: all\n'));
        assert.match(
          stored ?? '',
          /\nReceived: from \[127\.0\.0\.1\] \(helo=client\.test\)\n\tby mx\.example\.test with esmtp/,
        );
      });

      test('one takes it, one is put off: 250, the other comes later and once', async () => {
        const replies = await send('later', ['alice', 'broken']);
        const id = acceptedId(replies);
        await until(
          () => starts(linesOf(id), '== broken@example.test'),
          () => linesOf(id).join('\n'),
        );
        assert.ok(starts(linesOf(id), '>> alice@example.test'), linesOf(id).join('\n'));
        rmSync(path.join(dovecot.mail, 'broken'), { recursive: true });
        await through(replies);
        assert.deepEqual([copies('alice', 'later'), copies('broken', 'later')], [1, 1]);
      });

      test('the DATA ACL refuses: no store has it', async () => {
        assert.equal((await send('virus', ['alice', 'bob'])).at(-1), '550 not this one');
        const large = await send('virus large', ['alice'], { body: mebibytes(3) });
        assert.equal(large.at(-1), '550 not this one');
        assert.equal(copies('alice', 'virus') + copies('alice', 'virus large'), 0);
      });

      test('Dovecot hangs: who has not answered is spooled', async () => {
        const talk = await smtpTalk(impatientPort);
        await talk.send('MAIL FROM:<sender@example.test>\r\n');
        for (const one of ['alice', 'bob'])
          assert.match(await talk.send(`RCPT TO:<${one}@example.test>\r\n`), /^250/);
        // Connections are made, and nobody greets.
        const hung = [dovecot.pid, ...lmtpProcesses(dovecot.pid)];
        for (const pid of hung) process.kill(pid, 'SIGSTOP');
        let reply: string;
        try {
          await talk.send('DATA\r\n');
          reply = await talk.send(`${letter('hangs')}.\r\n`);
        } finally {
          for (const pid of hung) process.kill(pid, 'SIGCONT');
        }
        talk.close();
        await through([reply], impatient);
        // What it took while it was stopped it may store too: nobody was told so.
        for (const user of ['alice', 'bob']) assert.ok(copies(user, 'hangs') >= 1);
      });

      test('20 MB pass through while they arrive, and memory stays as it is', async () => {
        const body = mebibytes(20);
        await through(await send('warm', ['alice'], { body }));
        await through(await send('warm', ['alice'], { body }));
        const before = residentOctets(edge.running.pid);
        let most = 0;
        const timer = setInterval(
          () => (most = Math.max(most, residentOctets(edge.running.pid) - before)),
          20,
        );
        const replies = await Promise.all(
          ['one', 'two'].map((n) => send(`large ${n}`, ['alice', 'bob'], { body })),
        );
        clearInterval(timer);
        for (const reply of replies) await through(reply);
        for (const n of ['one', 'two'])
          for (const user of ['alice', 'bob']) {
            const [stored, ...more] = boxOf(user).filter((m) => m.includes(`\nSubject: large ${n}\n`));
            assert.equal(more.length, 0);
            assert.ok(stored?.endsWith(`\n\n${body.replaceAll('\r\n', '\n')}`) === true, 'it is whole');
          }
        assert.ok(most < 40 * 1024 * 1024, `${most} octets more for 40 MB under way`);
      });

      test('a Dovecot that stops reading holds the sender back', async () => {
        const socket = connect({ host: '127.0.0.1', port });
        let said = '';
        socket.setEncoding('latin1').on('data', (text: string) => (said += text));
        await until(() => said.includes('220 '), 'it greets');
        socket.write('EHLO client.test\r\n');
        await until(() => /^250 /m.test(said), 'it answers');
        socket.write('MAIL FROM:<sender@example.test>\r\nRCPT TO:<carol@example.test>\r\nDATA\r\n');
        await until(
          () => said.includes('354 '),
          () => said,
        );
        socket.write(letter('held', mebibytes(1)));
        const processes = (): number[] => lmtpProcesses(dovecot.pid);
        await until(() => socket.writableLength === 0, 'the first part is taken');
        const hung = processes();
        for (const pid of hung) process.kill(pid, 'SIGSTOP');
        try {
          socket.write(mebibytes(40));
          let taken = -1;
          await until(async () => {
            const before = taken;
            await pause(500);
            taken = socket.bytesWritten - socket.writableLength;
            return taken === before;
          }, 'nothing more is taken');
          assert.ok(taken < 30 * 1024 * 1024, `${taken} octets were taken`);
        } finally {
          for (const pid of hung) process.kill(pid, 'SIGCONT');
        }
        socket.write('.\r\nQUIT\r\n');
        await until(
          () => /\n250 OK id=/.test(said),
          () => said,
        );
        socket.destroy();
        await until(() => copies('carol', 'held') === 1, 'it is there, once');
      });

      test('Dovecot is killed in the middle of a message: it is spooled, and comes once', async () => {
        const talk = await openMessage(port, { from: 'sender@example.test', to: ['bob@example.test'] });
        talk.write(letter('killed', mebibytes(5)));
        await until(() => lmtpProcesses(dovecot.pid).length > 0, 'it speaks');
        await pause(300);
        for (const pid of lmtpProcesses(dovecot.pid)) process.kill(pid, 'SIGKILL');
        const reply = await talk.send(`${mebibytes(2)}.\r\n`);
        talk.close();
        const lines = await through([reply]);
        assert.ok(starts(lines, '== bob@example.test'), lines.join('\n'));
        assert.equal(copies('bob', 'killed'), 1);
      });

      test('Dovecot is not there: the spool, or 451 with defer=pass', async () => {
        await dovecot.stop();
        const passed = await send('passed', ['alice'], { from: 'pass' });
        assert.match(passed.at(-1) ?? '', /^451 /);
        const replies = await send('waits', ['alice']);
        acceptedId(replies);
        dovecot = await startStore(dovecot.lmtpPort);
        await through(replies);
        assert.deepEqual([copies('alice', 'waits'), copies('alice', 'passed')], [1, 0]);
      });

      test('Dovecot stops between RCPT and the end: the same', async () => {
        for (const from of [link === 'tcp' ? 'sender' : 'pass']) {
          const talk = await openMessage(port, { from: `${from}@example.test`, to: ['alice@example.test'] });
          await dovecot.stop();
          const reply = await talk.send(`${letter(`stops ${from}`)}.\r\n`);
          talk.close();
          dovecot = await startStore(dovecot.lmtpPort);
          if (from === 'pass') assert.match(reply, /^451 /);
          else await through([reply]);
          assert.equal(copies('alice', `stops ${from}`), from === 'pass' ? 0 : 1);
        }
      });
    });
});
