/** Folders, modes and trace fields of our store beside those of the real Dovecot: the same mail into both, the same files out. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { detailFilter } from '../../src/store/detail-filter.ts';
import type { DeliveryAddress } from '../../src/store/trace.ts';
import { startDovecot } from '../support/dovecot.ts';
import { lmtpTalk, type LmtpTalk } from '../support/lmtp-talk.ts';
import { needsRoot } from '../support/peers.ts';
import { temporaryFolder, until } from '../support/process.ts';
import { mailOwner, startOurs, startPair, type StorePair } from '../support/store-pair.ts';

const skip = needsRoot('dovecot', '/usr/lib/dovecot/lmtp', 'doveadm');
const content = 'Subject: x\r\n\r\nbody\r\n';

const details = [
  'Archive',
  'Archive.2020',
  'Archive/2020',
  'Archive.2020.May',
  'Archive/2020/May',
  '.hidden',
  'trailing.',
  'trailing/',
  'a..b',
  'a//b',
  '/abs',
  '~',
  '~root',
  '..',
  '.',
  './x',
  '../x',
  'a/../b',
  'a/./b',
  '*',
  'a*b',
  'a%b',
  'inbox',
  'INBOX',
  'InBox.sub',
  'inbox/sub',
  'inboxes',
  'cur',
  'new/x',
  'x.cur',
  'x/tmp',
  '&',
  'a&b',
  '&AOk-',
  'a b',
  ' lead',
  'trail ',
  '"q"',
  '\\',
  '',
  'x^y',
  '%u',
  'a:b',
  'a,b',
  '{x}',
  'x'.repeat(200),
  'x'.repeat(254),
  'x'.repeat(255),
  'x'.repeat(256),
  'x'.repeat(600),
];

const everyRule = ['refuse', 'create', 'create-and-subscribe'] as const;

const layouts = [
  { name: 'Maildir++', separator: '.', dovecot: '', rules: everyRule },
  {
    name: 'Maildir++ with /',
    separator: '/',
    rules: ['create-and-subscribe'],
    dovecot: 'namespace inbox {\n inbox = yes\n separator = /\n}',
  },
  {
    name: 'fs',
    separator: '/',
    rules: ['refuse', 'create-and-subscribe'],
    dovecot: 'mail_location = maildir:MAIL/%u:LAYOUT=fs',
  },
  {
    name: 'fs with an INBOX of its own',
    separator: '/',
    rules: ['create-and-subscribe'],
    dovecot: 'mail_location = maildir:MAIL/%u:LAYOUT=fs:INBOX=MAIL/%u/.INBOX',
  },
] as const;

for (const layout of layouts) {
  for (const missing of layout.rules) {
    test(`detail to folder, ${layout.name}, missing folders: ${missing}`, {
      skip,
      timeout: 60_000,
    }, async (t) => {
      const folder = temporaryFolder('folders');
      t.after(() => folder.remove());
      const yesNo = (yes: boolean): string => (yes ? 'yes' : 'no');
      const mail = path.join(folder.path, 'ours');
      const apart = layout.name.endsWith('own');
      const pair = await startPair(
        folder.path,
        `lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = ${yesNo(missing !== 'refuse')}
lda_mailbox_autosubscribe = ${yesNo(missing === 'create-and-subscribe')}
${layout.dovecot}`,
        {
          users: ['alice', 'bob'],
          handler: { filter: detailFilter({ separator: layout.separator, missingFolder: missing }) },
          store: layout.name.startsWith('fs')
            ? { location: `maildir:${mail}/%u:LAYOUT=fs${apart ? `:INBOX=${mail}/%u/.INBOX` : ''}` }
            : {},
        },
      );
      t.after(() => pair.stop());
      for (const detail of details) {
        const recipient = `<"alice+${detail.replace(/["\\]/g, '\\$&')}"@example.test>`;
        const [ours, theirs] = await both(pair, [recipient]);
        assert.deepEqual(ours, theirs, JSON.stringify(detail));
      }
      // One file for several folders of several users.
      const [ours, theirs] = await both(pair, [
        '<alice+Archive@example.test>',
        '<bob+Archive@example.test>',
        '<bob@example.test>',
      ]);
      assert.deepEqual(ours, theirs);
      const ourLines = savedLines(pair.ours.lines.join('\n'));
      // Dovecot's log is written by another process of its own.
      const told = await until(() => {
        const lines = savedLines(pair.theirs.log());
        return lines.length >= ourLines.length && lines;
      }, 'Dovecot logged it all');
      assert.deepEqual(ourLines, told);
      assert.ok(told.length > details.length);
      for (const user of ['alice', 'bob']) {
        const found = tree(path.join(pair.mails[0], user));
        assert.deepEqual(found, tree(path.join(pair.mails[1], user)));
        assert.ok(found.some((line) => /new\/,S=\d+/.test(line)));
      }
      assert.doesNotMatch(pair.theirs.log(), /Error|Warning|Panic/);
    });
  }
}

test('modes and groups come from the folder above, or the Maildir', { skip, timeout: 60_000 }, async (t) => {
  const folder = temporaryFolder('folders');
  t.after(() => folder.remove());
  const pair = await startPair(
    folder.path,
    'lmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\nlda_mailbox_autosubscribe = yes\nmail_access_groups = games',
    {
      users: ['alice'],
      handler: { filter: detailFilter({ separator: '.', missingFolder: 'create-and-subscribe' }) },
      // Modes are looked at once a second; a mailbox that is opened anew has them at once.
      store: { maxOpenMailboxes: 0 },
    },
  );
  t.after(() => pair.stop());
  await both(pair, ['<alice@example.test>']);
  const games = 60;
  let n = 0;
  for (const mode of [0o700, 0o750, 0o770, 0o755, 0o2770, 0o2700, 0o2755, 0o711]) {
    for (const group of [mailOwner, games]) {
      const name = `f${n++}`;
      for (const mail of pair.mails) {
        const maildir = path.join(mail, 'alice');
        chownSync(maildir, mailOwner, group);
        chmodSync(maildir, mode);
        for (const file of ['subscriptions', 'dovecot-uidvalidity']) {
          if (lstatSync(path.join(maildir, file), { throwIfNoEntry: false })?.isFile() === true)
            chownSync(path.join(maildir, file), mailOwner, mailOwner);
        }
      }
      for (const detail of ['', `+${name}`, `+${name}.sub`])
        await both(pair, [`<alice${detail}@example.test>`]);
      // Then the folder itself changes, and gets a folder below and more mail.
      for (const mail of pair.mails) {
        const inner = path.join(mail, 'alice', `.${name}`);
        chownSync(inner, mailOwner, mailOwner);
        chmodSync(inner, 0o750);
        chmodSync(path.join(mail, 'alice'), 0o700);
      }
      for (const detail of [`+${name}`, `+${name}.new`]) await both(pair, [`<alice${detail}@example.test>`]);
      const [ours, theirs] = pair.mails.map((mail) => tree(path.join(mail, 'alice')));
      assert.deepEqual(ours, theirs, `mode ${mode.toString(8)} group ${group}`);
    }
  }
});

test('the list of subscriptions: both formats, with a lock left behind', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const folder = temporaryFolder('folders');
  t.after(() => folder.remove());
  const pair = await startPair(
    folder.path,
    'lmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\nlda_mailbox_autosubscribe = yes',
    {
      users: ['alice'],
      handler: { filter: detailFilter({ separator: '.', missingFolder: 'create-and-subscribe' }) },
    },
  );
  t.after(() => pair.stop());
  await both(pair, ['<alice@example.test>']);
  const lists = ['', 'Old\nOld.one\n', 'V\t2\n\nOld\nOld\tone\n', 'V\t2\n\n', 'f5.x\n', 'V\t2\n\nf7\tx\n'];
  for (const [n, list] of lists.entries()) {
    for (const mail of pair.mails) {
      const file = path.join(mail, 'alice', 'subscriptions');
      writeFileSync(file, list);
      chownSync(file, mailOwner, mailOwner);
    }
    await both(pair, [`<alice+f${n}.x@example.test>`]);
    const [ours, theirs] = pair.mails.map((m) =>
      readFileSync(path.join(m, 'alice', 'subscriptions'), 'latin1'),
    );
    assert.equal(ours, theirs, JSON.stringify(list));
    assert.match(ours ?? '', new RegExp(`f${n}[.\t]x\n`));
  }
});

const recipientSets = [
  ['<Alice+d@Example.test>'],
  ['<alice@example.test> ORCPT=rfc822;Orig+2Badd@b.example'],
  ['<alice@example.test> ORCPT=rfc822;plain'],
  ['<alice@example.test>', '<bob@example.test> ORCPT=rfc822;x@b.example'],
  ['<nobody@example.test>', '<bob@example.test> ORCPT=rfc822;x@b.example'],
  ['<alice@example.test>', '<alice@example.test>'],
];

for (const deliveryAddress of ['none', 'final', 'original'] as const satisfies readonly DeliveryAddress[]) {
  for (const addReceived of [true, false]) {
    test(`trace fields: ${deliveryAddress} address, Received ${addReceived}`, {
      skip,
      timeout: 60_000,
    }, async (t) => {
      const folder = temporaryFolder('folders');
      t.after(() => folder.remove());
      const pair = await startPair(
        folder.path,
        `lmtp_hdr_delivery_address = ${deliveryAddress}\nlmtp_add_received_header = ${addReceived ? 'yes' : 'no'}`,
        { users: ['alice', 'bob'], handler: { deliveryAddress, addReceived } },
      );
      t.after(() => pair.stop());
      for (const from of ['<sender@b.example>', '<>', '<"a b"@b.example>']) {
        for (const recipients of recipientSets) {
          const [ours, theirs] = await both(pair, recipients, from);
          assert.deepEqual(ours, theirs);
        }
      }
      for (const user of ['alice', 'bob']) {
        const [ours = [], theirs] = pair.mails.map((mail) => texts(path.join(mail, user, 'new')));
        assert.deepEqual(ours, theirs);
        assert.ok(ours.length > 5);
      }
    });
  }
}

for (const layout of ['maildir++', 'fs'] as const) {
  test(`Dovecot finds folders with names beyond ASCII where ours puts them, layout ${layout}`, {
    skip,
    timeout: 60_000,
  }, async (t) => {
    const folder = temporaryFolder('folders');
    t.after(() => folder.remove());
    chmodSync(folder.path, 0o755);
    const theirs = await startDovecot(path.join(folder.path, 'dovecot'), {
      users: ['alice'],
      owner: mailOwner,
      extra: `mail_location = maildir:${folder.path}/dovecot/mail/%u:LAYOUT=${layout}`,
    });
    t.after(() => theirs.stop());
    // Dovecot looks first and remembers what there is.
    await theirs.doveadm('mailbox', 'list', '-u', 'alice');
    const names = [
      'Entw\u00fcrfe',
      'Entw\u00fcrfe/\u65e5\u672c',
      'R & D',
      '\u{1f600}',
      'INBOX/sub',
      'a b/*%',
    ];
    const octets = (name: string): string => Buffer.from(name, 'utf8').toString('latin1');
    const ours = await startOurs(path.join(folder.path, 'ours.sock'), {
      users: ['alice'],
      mail: theirs.mail,
      store: { layout },
      handler: {
        filter: {
          judge: ({ recipient }) => ({
            kind: 'file',
            folder: octets(names[Number(recipient.detail)] ?? ''),
            missingFolder: 'create-and-subscribe',
          }),
        },
      },
    });
    t.after(() => ours.stop());
    const talk = await lmtpTalk(ours.socket);
    const { data } = await talk.deliver(
      names.map((_, i) => `<alice+${i}@example.test>`),
      content,
    );
    await talk.close();
    assert.ok(
      data.every((reply) => reply.startsWith('250 ')),
      data.join('\n'),
    );
    assert.ok(
      ours.lines.every((line) => !line.includes('failed')),
      ours.lines.join('\n'),
    );
    const separator = layout === 'fs' ? '/' : '.';
    const shown = names.map((name) => octets(name).replaceAll('/', separator)).sort();
    const subscribed = await theirs.doveadm('mailbox', 'list', '-s', '-u', 'alice');
    assert.deepEqual(subscribed.trim().split('\n').sort(), shown);
    const fetched = await theirs.doveadm('-f', 'tab', 'fetch', '-u', 'alice', 'mailbox hdr.subject', 'ALL');
    assert.deepEqual(
      fetched.trim().split('\n').slice(1).sort(),
      shown.map((name) => `${name}\tx`),
    );
    assert.doesNotMatch(theirs.log(), /Error|Warning|Panic/);
  });
}

test('the limit of deliveries at one time counts from RCPT to the end of the transaction', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const folder = temporaryFolder('folders');
  t.after(() => folder.remove());
  const pair = await startPair(folder.path, 'lmtp_user_concurrency_limit = 1', {
    users: ['alice', 'bob'],
    handler: { userConcurrencyLimit: 1 },
  });
  t.after(() => pair.stop());
  const said: string[][] = [];
  for (const socket of [pair.ours.socket, pair.theirs.lmtpSocket]) {
    const a = await lmtpTalk(socket);
    const b = await lmtpTalk(socket);
    const replies: string[] = [];
    const say = async (talk: LmtpTalk, line: string): Promise<void> =>
      void replies.push(...(await talk.say(line)));
    for (const line of [
      'MAIL FROM:<>',
      'RCPT TO:<alice@x.test>',
      'RCPT TO:<alice@x.test>',
      'RCPT TO:<bob@x.test>',
    ])
      await say(a, line);
    for (const line of ['MAIL FROM:<>', 'RCPT TO:<alice+x@x.test>', 'RSET']) await say(b, line);
    await say(a, 'DATA');
    for (const line of ['MAIL FROM:<>', 'RCPT TO:<bob@x.test>']) await say(b, line);
    replies.push(...(await a.say('.', 2)).map((r) => r.replace(/> \S+ Saved/, '> SESSION Saved')));
    for (const line of ['RCPT TO:<bob@x.test>', 'RCPT TO:<alice@x.test>']) await say(b, line);
    await Promise.all([a.close(), b.close()]);
    said.push(replies);
  }
  assert.deepEqual(said[0], said[1]);
  assert.equal(said[0]?.filter((r) => r.includes('Too many concurrent')).length, 3);
});

/** The same message to both; replies with the session's id made equal, ours first. */
async function both(
  pair: StorePair,
  recipients: readonly string[],
  from?: string,
): Promise<readonly [string[], string[]]> {
  const said: string[][] = [];
  for (const talk of pair.talks) {
    const { rcpt, data } = await talk.deliver(recipients, content, from);
    // Our replies stay below 240 octets.
    const neutral = (r: string): string =>
      r
        .replace(/[A-Za-z0-9+/_-]{22}(?=(?::T\d+)?(?::R\d+)? Saved)/, 'SESSION')
        .replace(/x{50,}(?:\.\.\.x+)?/, 'X');
    said.push([...rcpt, ...data].map(neutral));
  }
  const [ours = [], theirs = []] = said;
  return [ours, theirs];
}

/** What was saved where, and what not; the reasons are Dovecot's own business where it asks its index for them. */
function savedLines(log: string): string[] {
  return [...log.matchAll(/msgid=unspecified: (save.*)$/gm)].map(([, text = '']) =>
    text.replace(/(: (?:Mailbox doesn't exist|Not found|Mailbox name too long)).*$/, ': missing'),
  );
}

/**
 * Every folder with its mode and group and every message with its mode, group and sizes; and the list of subscriptions.
 * Dovecot puts `maildirfolder` into an INBOX that it makes, too; ours does not, since there it sends others to the folder
 * above for the quota.
 */
function tree(maildir: string): string[] {
  const lines: string[] = [];
  const visit = (folder: string, shown: string): void => {
    for (const name of readdirSync(folder).sort()) {
      const file = path.join(folder, name);
      const { mode, gid, uid } = lstatSync(file);
      const rights = `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
      if (lstatSync(file).isDirectory()) {
        lines.push(`${rights} ${shown}${name}/`);
        visit(file, `${shown}${name}/`);
      } else if (/^\d+\.M\d+P/.test(name)) {
        lines.push(`${rights} ${shown}${name.replace(/^[^,]+/, '')}`);
      } else if (name === 'maildirfolder' && shown !== '') lines.push(`${rights} ${shown}${name}`);
      else if (name === 'subscriptions')
        lines.push(`${rights} ${shown}${name} ${readFileSync(file, 'latin1')}`);
    }
  };
  visit(maildir, '');
  return lines.sort();
}

function texts(folder: string): string[] {
  return readdirSync(folder)
    .map((name) =>
      readFileSync(path.join(folder, name), 'latin1')
        .replace(/(\tid )[A-Za-z0-9+/_-]{22}/, '$1SESSION')
        .replace(/; \w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}/, '; DATE'),
    )
    .sort();
}
