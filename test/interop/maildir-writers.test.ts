/** Several writers to one user's mail, our store and Dovecot's lmtp, while IMAP reads, moves and expunges: nothing is lost, doubled or found amiss. */
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { detailFilter } from '../../src/store/detail-filter.ts';
import { startDovecot } from '../support/dovecot.ts';
import { openImap } from '../support/imap.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { needsRoot } from '../support/peers.ts';
import { temporaryFolder } from '../support/process.ts';
import { mailOwner, startOurs } from '../support/store-pair.ts';

const skip = needsRoot('dovecot', '/usr/lib/dovecot/lmtp', '/usr/lib/dovecot/imap', 'doveadm');
const perLane = 60;

test('four writers, two readers that move and expunge, new folders meanwhile', {
  skip,
  timeout: 90_000,
}, async (t) => {
  const folder = temporaryFolder('writers');
  t.after(() => folder.remove());
  chmodSync(folder.path, 0o755);
  const dovecot = await startDovecot(path.join(folder.path, 'dovecot'), {
    users: ['alice'],
    owner: mailOwner,
    extra: 'lmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\nlda_mailbox_autosubscribe = yes',
  });
  t.after(() => dovecot.stop());
  const ours = await startOurs(path.join(folder.path, 'ours.sock'), {
    users: ['alice'],
    mail: dovecot.mail,
    handler: { filter: detailFilter({ separator: '.', missingFolder: 'create-and-subscribe' }) },
  });
  t.after(() => ours.stop());

  /** Copies that must be somewhere in the end, by subject. */
  const sent = new Map<string, number>();
  async function write(socket: string, lane: number): Promise<void> {
    const talk = await lmtpTalk(socket);
    for (let n = 0; n < perLane; n++) {
      const subject = `${lane}.${n}`;
      const folders = n % 3 === 0 ? [''] : n % 3 === 1 ? ['+Archive'] : ['', '+Archive', `+New.${n % 7}`];
      const recipients = folders.map((f) => `<alice${f}@example.test>`);
      const { data } = await talk.deliver(recipients, `Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);
      assert.equal(data.length, recipients.length);
      for (const reply of data) assert.match(reply, /^250 2\.0\.0 /);
      sent.set(subject, recipients.length);
    }
    await talk.close();
  }

  let writing = true;
  const expunged: string[] = [];
  async function disturb(mailbox: string): Promise<void> {
    for (let round = 0; writing; round++) {
      const imap = await openImap(dovecot.imapPort, 'alice');
      try {
        await imap.command(`SELECT ${mailbox}`);
        const subjects = 'UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])';
        const found = [
          ...(await imap.command(subjects)).matchAll(/UID (\d+) BODY\[[^\]]*\] \{\d+\}\r\nSubject: (\S+)/g),
        ];
        const some = found.filter((_, i) => i % 3 === round % 3).slice(0, 5);
        const uids = some.map(([, uid]) => uid).join(',');
        if (uids === '') continue;
        if (round % 2 === 0) await imap.command(`UID MOVE ${uids} Moved`);
        else {
          await imap.command(`UID STORE ${uids} +FLAGS.SILENT (\\Deleted \\Seen)`);
          await imap.command(`UID EXPUNGE ${uids}`);
          expunged.push(...some.map(([, , subject = '']) => subject));
        }
      } finally {
        imap.close();
      }
    }
  }

  const first = await openImap(dovecot.imapPort, 'alice');
  await first.command('CREATE Moved');
  first.close();
  const lanes = [ours.socket, dovecot.lmtpSocket, ours.socket, dovecot.lmtpSocket];
  const writers = Promise.all(lanes.map((socket, lane) => write(socket, lane))).finally(() => {
    writing = false;
  });
  await Promise.all([writers, waitForFolder('Archive').then(() => disturb('Archive')), disturb('INBOX')]);
  await ours.stop();

  async function waitForFolder(name: string): Promise<void> {
    while (writing && !readdirSync(path.join(dovecot.mail, 'alice')).includes(`.${name}`)) await pause(20);
  }

  const folders = (await dovecot.doveadm('mailbox', 'list', '-u', 'alice')).trim().split('\n');
  assert.deepEqual(
    folders.filter((f) => f.startsWith('New.')).sort(),
    [0, 1, 2, 3, 4, 5, 6].map((n) => `New.${n}`),
  );
  const before = await contents();
  assert.ok(expunged.length > 10, `${expunged.length} expunged`);
  assert.ok((before.get('Moved') ?? []).length > 10, 'some moved');
  const copies = new Map<string, number>();
  for (const subject of [...expunged, ...[...before.values()].flat()])
    copies.set(subject, (copies.get(subject) ?? 0) + 1);
  assert.deepEqual(new Map(copies), sent);

  // Every file is known to Dovecot under one UID, and a resync finds nothing to mend.
  const maildir = path.join(dovecot.mail, 'alice');
  for (const name of ['', ...readdirSync(maildir).filter((f) => /^\.\w/.test(f))]) {
    const box = path.join(maildir, name);
    const files = [...readdirSync(path.join(box, 'new')), ...readdirSync(path.join(box, 'cur'))];
    const bases = files.map((f) => f.replace(/:2,.*$/, ''));
    assert.equal(new Set(bases).size, bases.length);
    assert.deepEqual(readdirSync(path.join(box, 'tmp')), []);
    for (const f of readdirSync(path.join(box, 'cur')))
      assert.equal(statSync(path.join(box, 'cur', f)).size, Number(/,S=(\d+)/.exec(f)?.[1]));
    if (bases.length === 0) continue;
    const known = [
      ...readFileSync(path.join(box, 'dovecot-uidlist'), 'latin1').matchAll(/^\d+ .*:([^:\n]+)$/gm),
    ];
    const listed = known.map(([, base = '']) => base.replace(/:2,.*$/, ''));
    assert.equal(new Set(listed).size, listed.length);
    for (const base of bases) assert.ok(listed.includes(base), `${name} ${base}`);
  }
  assert.equal(await dovecot.doveadm('force-resync', '-u', 'alice', '*'), '');
  assert.deepEqual(await contents(), before);
  assert.doesNotMatch(dovecot.log(), /Error|Warning|Panic/);

  /** Subjects by folder, as Dovecot gives them. */
  async function contents(): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    const text = await dovecot.doveadm('-f', 'tab', 'fetch', '-u', 'alice', 'mailbox hdr.subject', 'ALL');
    for (const line of text.trim().split('\n').slice(1)) {
      const [mailbox = '', subject = ''] = line.split('\t');
      found.set(mailbox, [...(found.get(mailbox) ?? []), subject].sort());
    }
    return found;
  }
});
