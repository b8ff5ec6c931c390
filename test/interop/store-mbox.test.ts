/** Our mbox store beside the real Dovecot: the same messages make the same files, Dovecot reads ours, and both work on one file at once. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  createLmtpPool,
  isSyntaxError,
  messageFromBytes,
  parseAddress,
  type Address,
} from '../../src/lmtp/client/index.ts';
import { memoryContent, streamedContent } from '../../src/store/contract.ts';
import { openMboxStore, type MboxOptions } from '../../src/store/drivers/mbox/mbox.ts';
import { traceFields } from '../../src/store/trace.ts';
import { startDovecot, type Dovecot } from '../support/dovecot.ts';
import { openImap, readInbox, readMailbox } from '../support/imap.ts';
import { startMailchute } from '../support/mailchute.ts';
import { mboxMessages } from '../support/mbox.ts';
import { needs } from '../support/peers.ts';

const skip =
  needs('dovecot', '/usr/lib/dovecot/lmtp', '/usr/lib/dovecot/imap', 'doveadm') ||
  (process.geteuid?.() !== 0 && 'needs root');
const never = new AbortController().signal;
/** Debian's user and group `mail`. */
const owner = 8;

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (isSyntaxError(parsed)) throw new Error(text);
  return parsed;
}

interface World {
  readonly dovecot: Dovecot;
  readonly spool: string;
  readonly home: string;
  /** Both stores find the same mailboxes. */
  readonly locate: MboxOptions['locate'];
}

async function startWorld(t: TestContext, users: readonly string[], extra = ''): Promise<World> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'store-mbox-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const spool = path.join(folder, 'spool');
  const home = path.join(folder, 'home');
  mkdirSync(spool);
  chmodSync(spool, 0o1777);
  mkdirSync(home);
  chownSync(home, owner, owner);
  const dovecot = await startDovecot(path.join(folder, 'dovecot'), {
    users,
    owner,
    extra: `mail_location = mbox:${home}/%u/mail:INBOX=${spool}/%u
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
${extra}`,
  });
  t.after(() => dovecot.stop());
  const locate: MboxOptions['locate'] = ({ username }) => ({
    inbox: `${spool}/${username}`,
    folders: `${home}/${username}/mail`,
  });
  return { dovecot, spool, home, locate };
}

const messages: readonly string[] = [
  'Subject: plain\r\nMessage-ID: <1@b.example>\r\n\r\ntext\r\n',
  'Subject: From lines\r\n\r\nfirst\r\nFrom me to you\r\n>From quoted\r\n\r\nFrom x@y Thu Nov 26 17:56:30 2026\r\nend\r\n',
  'Subject: no end\r\n\r\nlast line',
  'Status: RO\r\nX-UID: 77\r\nContent-Length: 5\r\nX-Status: A\r\nX-Keywords: foo\r\n bar\r\nX-IMAPbase: 12345 99\r\nSubject: fields\r\n\r\nbody\r\n',
  'From carol Thu Nov 26 17:56:30 2026\r\nSubject: From line first\r\n\r\nb\r\n',
  'Subject: one\r\nFrom evil@x Thu Nov 26 17:56:30 2026\r\nX: y\r\n\r\nb\r\n',
  '\r\nonly a body\r\n',
  'Subject: empty lines\r\n\r\n\r\nx\r\n\r\n\r\n',
  `Subject: large\r\n\r\n${'From the first to the last line\r\n'.repeat(20_000)}`,
  'Subject: octets \xff\r\n\r\n\xfe\xfd\r\n',
];

test('the same messages lie in the mailbox as Dovecot puts them there, and Dovecot reads the one as the other', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const { dovecot, spool, home, locate } = await startWorld(t, ['theirs', 'ours']);
  const pool = createLmtpPool();
  const sender = address('carol@example.test');
  for (const text of messages) {
    const envelope = { sender, recipients: [{ address: address('theirs@example.test') }] };
    const content = messageFromBytes(Buffer.from(text, 'latin1'));
    const sent = await pool.send({ kind: 'unix', path: dovecot.lmtpSocket }, { envelope, content });
    assert.equal(sent.kind === 'done' && sent.result.recipients[0]?.kind, 'accepted');
  }
  await pool.close();
  const store = openMboxStore({ locate, uid: owner, gid: owner });
  for (const [i, text] of messages.entries()) {
    const trace = traceFields({
      sender,
      lhlo: os.hostname(),
      hostname: os.hostname(),
      transactionId: 'id',
      onlyRecipient: address('ours@example.test'),
      receivedAtMs: Date.now(),
    });
    const recipients = [{ address: address('ours@example.test'), user: { username: 'ours', extra: {} } }];
    const content = i % 2 === 0 ? memoryContent(text) : streamedContent(text, 1000);
    const outcomes = await store.deliver({ sender, recipients, content, trace: () => trace }, never);
    assert.deepEqual(outcomes, [{ kind: 'stored' }]);
  }
  /** Without what names time, session and user. */
  const plain = (text: string): string =>
    text
      .replace(/\tid \S+/, '\tid X')
      .replace(/\w{3}, \d\d \w{3} \d{4} [\d:]+ [+-]\d{4}/, 'DATE')
      .replace(/^(?:theirs|ours)@/gm, 'X@')
      .replace(/(Delivered-To: |<)(?:theirs|ours)@/g, '$1X@');
  const [theirs, ours] = ['theirs', 'ours'].map((u) => readFileSync(path.join(spool, u), 'latin1'));
  assert.ok(theirs !== undefined && ours !== undefined);
  assert.deepEqual(mboxMessages(ours).map(plain), mboxMessages(theirs).map(plain));
  const separators = (text: string): string[] =>
    [...text.matchAll(/^(From carol@.*\w{3} \w{3} \d\d) [\d:]+( \d{4})$/gm)].map(([, a, b]) => `${a} ${b}`);
  assert.equal(separators(ours).length, messages.length);
  assert.deepEqual(separators(ours), separators(theirs));
  const modes = ['theirs', 'ours'].map((u) => {
    const { mode, uid, gid } = statSync(path.join(spool, u));
    return [mode, uid, gid];
  });
  assert.deepEqual(modes[1], modes[0]);

  const read = await readInbox(dovecot.imapPort, 'ours');
  assert.deepEqual(read.map(plain), (await readInbox(dovecot.imapPort, 'theirs')).map(plain));
  assert.deepEqual(
    mboxMessages(readFileSync(path.join(spool, 'ours'), 'latin1')).map((m) => m.replaceAll('\n', '\r\n')),
    read,
    'after Dovecot has given it its UIDs the file still holds the same',
  );

  // Folders, and none of the files beside them is one.
  const folder = Buffer.from('Büro/2026').toString('latin1');
  const recipients = [
    {
      address: address('ours@example.test'),
      user: { username: 'ours', extra: {} },
      folder,
      missingFolder: 'create-and-subscribe' as const,
    },
  ];
  const content = memoryContent('Subject: folder\r\n\r\nin a folder\r\n');
  const outcomes = await store.deliver({ sender, recipients, content, trace: () => 'T: x\r\n' }, never);
  assert.deepEqual(outcomes, [{ kind: 'stored' }]);
  assert.deepEqual(await readMailbox(dovecot.imapPort, 'ours', 'B&APw-ro/2026'), [
    'T: x\r\nSubject: folder\r\n\r\nin a folder\r\n',
  ]);
  const list = await dovecot.doveadm('mailbox', 'list', '-u', 'ours');
  const listed = Buffer.from(list, 'latin1').toString().trim().split('\n').sort();
  assert.deepEqual(listed, ['Büro', 'Büro/2026', 'INBOX']);
  const subscribed = await dovecot.doveadm('mailbox', 'list', '-s', '-u', 'ours');
  assert.equal(Buffer.from(subscribed, 'latin1').toString().trim(), 'Büro/2026');
  assert.equal(statSync(path.join(home, 'ours/mail')).uid, owner);
  await store.close();
});

test('both deliver into one mailbox while IMAP reads and expunges: every message is there once', {
  skip,
  timeout: 120_000,
}, async (t) => {
  const { dovecot, spool, locate } = await startWorld(
    t,
    ['alice'],
    'service lmtp {\n  process_min_avail = 2\n}\n',
  );
  const each = 40;
  const lanes = 3;
  const store = openMboxStore({ locate, uid: owner, gid: owner, lockTimeoutMs: 60_000 });
  const pool = createLmtpPool({ maxPerEndpoint: lanes });
  const textOf = (id: string, n: number): string =>
    `Id: ${id}\r\nSubject: x\r\n\r\n${'line\r\nFrom me\r\n\r\n'.repeat((n % 7) * 100)}Id: ${id}\r\n`;
  const given: string[] = [];

  async function ours(lane: number): Promise<void> {
    for (let n = 0; n < each; n++) {
      const id = `ours.${lane}.${n}`;
      const content = n % 3 === 0 ? streamedContent(textOf(id, n), 1000) : memoryContent(textOf(id, n));
      const recipients = [{ address: address('alice@example.test'), user: { username: 'alice', extra: {} } }];
      const delivery = { sender: null, recipients, content, trace: () => 'Trace: x\r\n' };
      assert.deepEqual(await store.deliver(delivery, never), [{ kind: 'stored' }]);
      given.push(id);
    }
  }
  async function theirs(lane: number): Promise<void> {
    for (let n = 0; n < each; n++) {
      const id = `theirs.${lane}.${n}`;
      const envelope = { sender: null, recipients: [{ address: address('alice@example.test') }] };
      const content = messageFromBytes(Buffer.from(textOf(id, n), 'latin1'));
      const sent = await pool.send({ kind: 'unix', path: dovecot.lmtpSocket }, { envelope, content });
      assert.equal(sent.kind === 'done' && sent.result.recipients[0]?.kind, 'accepted');
      given.push(id);
    }
  }

  let delivering = true;
  const expunged: string[] = [];
  /** Reads some messages whole, and then removes them. */
  async function reader(): Promise<void> {
    let rounds = 0;
    for (let last = false; !last || expunged.length < given.length; ) {
      assert.ok(rounds++ < 500);
      last = !delivering;
      const imap = await openImap(dovecot.imapPort, 'alice');
      try {
        const count = Number(/\* (\d+) EXISTS/.exec(await imap.command('SELECT INBOX'))?.[1] ?? 0);
        const end = last ? count : Math.min(count, 15);
        const ids: (string | undefined)[] = Array.from({ length: count + 1 });
        // Some stay in between, so that Dovecot must move text about.
        for (let i = 1; i <= end; i += last ? 1 : 2) {
          const answer = await imap.command(`FETCH ${i} BODY.PEEK[]`);
          const literal = /BODY\[\] \{(\d+)\}\r\n/.exec(answer);
          assert.ok(literal !== null, answer.slice(0, 200));
          const text = answer.slice(literal.index + literal[0].length).slice(0, Number(literal[1]));
          const id = /^Id: (\S+)\r\n/m.exec(text)?.[1] ?? `none: ${text.slice(0, 300)}`;
          const n = Number(id.slice(id.lastIndexOf('.') + 1));
          assert.ok(text.endsWith(textOf(id, n)), `whole: ${id}: ${text.slice(0, 400)}`);
          ids[i] = id;
          await imap.command(`STORE ${i} +FLAGS.SILENT (\\Deleted)`);
        }
        // Dovecot now and then leaves the first message, with its own deliveries alone too; it comes again.
        for (const [, number] of (await imap.command('EXPUNGE')).matchAll(/^\* (\d+) EXPUNGE\r$/gm))
          expunged.push(...ids.splice(Number(number), 1).map((id) => id ?? 'not marked'));
      } finally {
        imap.close();
      }
    }
  }

  const read = reader();
  const all = Array.from({ length: lanes }, (_, i) => [ours(i), theirs(i)]).flat();
  try {
    await Promise.all(all);
  } finally {
    delivering = false;
    await read;
  }
  await pool.close();
  await store.close();
  assert.equal(given.length, 2 * lanes * each);
  assert.deepEqual(expunged.sort(), given.sort());
  assert.deepEqual(await readInbox(dovecot.imapPort, 'alice'), []);
  assert.deepEqual(readdirSync(spool), ['alice']);
  const wrong = dovecot
    .log()
    .split('\n')
    .filter((line) => /Error|Panic|Fatal/.test(line));
  assert.deepEqual(wrong, []);
});

test('a store of the configuration: driver = mbox, by its options and by the `mail` fields of users', {
  skip: process.geteuid?.() !== 0 && 'needs root',
  timeout: 60_000,
}, async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'store-mbox-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  writeFileSync(
    path.join(folder, 'users'),
    `alice:{PLAIN}secret:::::
bob:{PLAIN}secret::::${folder}/bob::userdb_mail=mbox:~/mail:INBOX=${folder}/inbox/%n
carol:{PLAIN}secret::::::userdb_mail=maildir:/nowhere
`,
  );
  const mailchute = await startMailchute(
    folder,
    '',
    `begin directories
users:
        driver = passwd_file
        file = ${folder}/users
        username_format = %Ln

begin stores
mailboxes:
        driver = mbox
        sockets = ${folder}/lmtp
        directories = users
        mbox = ${folder}/spool/$local_part_data
        mbox_folders = ${folder}/home/$local_part_data/mail
        mbox_write_locks = fcntl : flock
        user = mail
        group = mail
        lmtp_save_to_detail_mailbox = true
        lda_mailbox_autocreate = true
        lda_mailbox_autosubscribe = true
`,
  );
  t.after(() => mailchute.stop());
  const pool = createLmtpPool();
  const to = ['alice', 'bob', 'carol', 'alice+Lists/a.b', 'bob+sub', '"alice+../x"'];
  const recipients = to.map((local) => ({ address: address(`${local}@example.test`) }));
  const content = messageFromBytes(Buffer.from('Subject: x\r\n\r\nFrom me\r\n'));
  const sent = await pool.send(
    { kind: 'unix', path: path.join(folder, 'lmtp') },
    { envelope: { sender: null, recipients }, content },
  );
  await pool.close();
  assert.ok(sent.kind === 'done');
  assert.deepEqual(
    sent.result.recipients.map((r) =>
      r.kind === 'accepted' ? 250 : r.kind === 'refused' ? r.reply.code : 0,
    ),
    [250, 250, 451, 250, 250, 250],
  );
  const subjects = (file: string): number =>
    mboxMessages(readFileSync(path.join(folder, file), 'latin1')).filter((m) => m.endsWith('\nFrom me\n'))
      .length;
  const counts = ['spool/alice', 'inbox/bob', 'home/alice/mail/Lists/a.b', 'bob/mail/sub'].map(subjects);
  // What cannot be a folder goes to the INBOX.
  assert.deepEqual(counts, [2, 1, 1, 1]);
  assert.equal(
    readFileSync(path.join(folder, 'home/alice/mail/.subscriptions'), 'latin1'),
    'V\t2\n\nLists\ta.b\n',
  );
  assert.equal(statSync(path.join(folder, 'spool/alice')).uid, owner);
  assert.match(mailchute.mainLog(), /the mail of this user lies in a Maildir: \/nowhere/);
});
