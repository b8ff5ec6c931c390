/** Our store beside the real Dovecot: the same dialogue gives the same replies and the same files, and Dovecot reads ours. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { createLmtpServer } from '../../src/lmtp/server/index.ts';
import { openPasswdFile } from '../../src/directory/drivers/passwd-file.ts';
import { openMaildirStore } from '../../src/store/drivers/maildir/maildir.ts';
import { createStoreHandler } from '../../src/store/lmtp-handler.ts';
import { startDovecot } from '../support/dovecot.ts';
import { readInbox } from '../support/imap.ts';
import { needs } from '../support/peers.ts';

const skip =
  needs('dovecot', '/usr/lib/dovecot/lmtp', '/usr/lib/dovecot/imap', 'doveadm') ||
  (process.geteuid?.() !== 0 && 'needs root');
const owner = 8;
const users = ['alice', 'bob', 'carol', 'dave'];

/** `number` replies are waited for after each step's text. */
type Step = readonly [text: string, number: number];

const dialogue: readonly Step[] = [
  ['LHLO client.test\r\n', 1],
  ['MAIL FROM:<Sender@b.example>\r\nRCPT TO:<Alice@example.test>\r\nDATA\r\n', 3],
  ['Subject: caf\xe9\r\nMessage-ID: <1@b.example>\r\n\r\n..dot\r\nnul-free\ttext\r\n\r\nlast\r\n.\r\n', 1],
  [
    'MAIL FROM:<>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<bob@EXAMPLE.test>\r\nRCPT TO:<"bob"@example.test>\r\n' +
      'RCPT TO:<BOB@example.test>\r\nRCPT TO:<carol+detail+x@example.test>\r\nRCPT TO:<dave>\r\nRCPT TO:<dave+@example.test>\r\nDATA\r\n',
    10,
  ],
  ['Subject: many\r\n\r\nbody\r\n.\r\n', 7],
  [
    'MAIL FROM:<"a b"@b.example>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<"carol"@example.test>\r\nDATA\r\n',
    4,
  ],
  ['no header at all\r\n.\r\n', 1],
  ['MAIL FROM:<x@b.example>\r\nRCPT TO:<dave+Folder@example.test>\r\nBDAT 20\r\nSubject: chunks\r\n\r\nx', 3],
  ['BDAT 4 LAST\r\nyz\r\n', 1],
  ['MAIL FROM:<x@b.example>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n', 4],
  ['Subject: twice\r\n\r\nbody\r\n.\r\n', 2],
  [
    'MAIL FROM:<x@b.example>\r\nRCPT TO:<"no body"@example.test>\r\nRCPT TO:<"../alice"@example.test>\r\nDATA\r\nQUIT\r\n',
    5,
  ],
];

test('the same dialogue gives the same replies and files as Dovecot, and Dovecot reads them', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'store-dovecot-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const ourMail = path.join(folder, 'ours');
  mkdirSync(ourMail);
  const theirs = await startDovecot(path.join(folder, 'theirs'), { users, owner });
  t.after(() => theirs.stop());
  const passwd = path.join(folder, 'users');
  writeFileSync(passwd, users.map((u) => `${u}:{PLAIN}secret:::::\n`).join(''));
  const store = openMaildirStore({ location: `maildir:${ourMail}/%u`, uid: owner, gid: owner });
  const directory = openPasswdFile({ file: passwd });
  const hostname = os.hostname();
  const server = createLmtpServer({ hostname }, createStoreHandler({ directory, store, hostname }));
  t.after(() => server.close(0));
  const ourSocket = path.join(folder, 'ours.sock');
  await server.listen({ kind: 'unix', path: ourSocket });

  const theirReplies = await speak(theirs.lmtpSocket);
  const ourReplies = await speak(ourSocket);
  await server.close();
  await store.close();
  const greetingAndLhlo = 2;
  assert.deepEqual(ourReplies.slice(greetingAndLhlo), theirReplies.slice(greetingAndLhlo));

  for (const user of users) {
    const ours = inbox(path.join(ourMail, user));
    assert.deepEqual(ours, inbox(path.join(theirs.mail, user)), user);
    assert.ok(ours.length > 0, user);
  }

  // Dovecot over what ours wrote: IMAP gives every message, and its sizes are those of the file names.
  const reader = await startDovecot(path.join(folder, 'reader'), { users, owner, mail: ourMail });
  t.after(() => reader.stop());
  for (const user of users) {
    const read = await readInbox(reader.imapPort, user);
    const want = inbox(path.join(ourMail, user)).map((m) => m.text.replace(/(?<!\r)\n/g, '\r\n'));
    assert.deepEqual(read.map(neutral).sort(), want.sort());
    const sizes = await reader.doveadm('fetch', '-u', user, 'size.physical size.virtual text', 'all');
    for (const name of readdirSync(path.join(ourMail, user, 'cur'))) {
      const [, s, w] = /,S=(\d+),W=(\d+):2,/.exec(name) ?? [];
      assert.match(sizes, new RegExp(`size.physical: ${s}\\nsize.virtual: ${w}\\n`), name);
      assert.equal(statSync(path.join(ourMail, user, 'cur', name)).size, Number(s));
    }
  }
  assert.doesNotMatch(reader.log(), /Error|Warning|Panic/);
});

test('both deliver into one Maildir while IMAP reads it: every message is there once', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'store-dovecot-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const dovecot = await startDovecot(path.join(folder, 'dovecot'), { users, owner });
  t.after(() => dovecot.stop());
  const passwd = path.join(folder, 'users');
  writeFileSync(passwd, users.map((u) => `${u}:{PLAIN}secret:::::\n`).join(''));
  const store = openMaildirStore({ location: `maildir:${dovecot.mail}/%u`, uid: owner, gid: owner });
  const hostname = os.hostname();
  const server = createLmtpServer(
    { hostname },
    createStoreHandler({ directory: openPasswdFile({ file: passwd }), store, hostname }),
  );
  t.after(() => server.close(0));
  const socket = path.join(folder, 'ours.sock');
  await server.listen({ kind: 'unix', path: socket });
  const senders = [socket, dovecot.lmtpSocket, socket, dovecot.lmtpSocket].map((s, lane) =>
    sendMany(s, `lane${lane}`, 40),
  );
  let seen = 0;
  const all = Promise.all(senders);
  let running = true;
  void all.finally(() => {
    running = false;
  });
  while (running) {
    const now = (await readInbox(dovecot.imapPort, 'alice')).length;
    assert.ok(now >= seen, `${now} messages after ${seen}`);
    seen = now;
  }
  await all;
  await server.close();
  await store.close();
  const subjects = (await readInbox(dovecot.imapPort, 'alice')).map((m) => /^Subject: (\S+)/m.exec(m)?.[1]);
  assert.equal(subjects.length, 160);
  assert.equal(new Set(subjects).size, 160);
  assert.doesNotMatch(dovecot.log(), /Error|Warning|Panic/);
});

/** Runs the dialogue and gives each reply with what differs from run to run made equal. */
async function speak(socketPath: string): Promise<string[]> {
  const replies: string[] = [];
  const conversation = await talk(socketPath);
  replies.push(await conversation.reply());
  for (const [text, count] of dialogue) {
    conversation.send(text);
    for (let i = 0; i < count; i++) replies.push(await conversation.reply());
  }
  conversation.end();
  return replies.map((r) => r.replace(/[A-Za-z0-9+/_-]{22}(?=[: ])/, 'SESSION'));
}

async function sendMany(socketPath: string, name: string, count: number): Promise<void> {
  const conversation = await talk(socketPath);
  await conversation.reply();
  conversation.send('LHLO client.test\r\n');
  await conversation.reply();
  for (let i = 0; i < count; i++) {
    conversation.send('MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n');
    for (const want of ['250 2.1.0 OK', '250 2.1.5 OK', '354 OK'])
      assert.equal(await conversation.reply(), want);
    conversation.send(`Subject: ${name}.${i}\r\n\r\nbody\r\n.\r\n`);
    assert.match(await conversation.reply(), /^250 /);
  }
  conversation.end();
}

interface Conversation {
  send(text: string): void;
  reply(): Promise<string>;
  end(): void;
}

async function talk(socketPath: string): Promise<Conversation> {
  const socket = net.connect(socketPath);
  socket.setTimeout(20_000, () => socket.destroy(new Error('no answer in 20 s')));
  const lines = readReplies(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return {
    send: (text) => void socket.write(text, 'latin1'),
    async reply() {
      const next = await lines.next();
      if (next.done === true) throw new Error('the connection ended');
      return next.value;
    },
    end: () => socket.destroy(),
  };
}

async function* readReplies(socket: net.Socket): AsyncGenerator<string, void> {
  let text = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    text += chunk.toString('latin1');
    for (
      let m = /^(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n/.exec(text);
      m !== null;
      m = /^(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n/.exec(text)
    ) {
      yield m[0].trimEnd();
      text = text.slice(m[0].length);
    }
  }
}

/** Session ids and the clock differ from run to run. */
function neutral(text: string): string {
  return text
    .replace(/(\tid )[A-Za-z0-9+/_-]{22}/, '$1SESSION')
    .replace(/; \w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}/, '; DATE');
}

/** Text, sizes as named and modes of all messages in new/ and cur/, in an order of their own. */
function inbox(maildir: string): { text: string; sizes: string; mode: number }[] {
  return ['new', 'cur']
    .flatMap((sub) =>
      readdirSync(path.join(maildir, sub)).map((name) => {
        const file = path.join(maildir, sub, name);
        const { mode, uid } = statSync(file);
        assert.equal(uid, owner);
        assert.match(name, /^\d+\.M\d+P\d+\.[^,:]+,S=\d+,W=\d+(?::2,\w*)?$/);
        const sizes = /,S=\d+,W=\d+/.exec(name)?.[0] ?? '';
        return { text: neutral(readFileSync(file, 'latin1')), sizes, mode: mode & 0o7777 };
      }),
    )
    .sort((a, b) => (a.text < b.text ? -1 : 1));
}
