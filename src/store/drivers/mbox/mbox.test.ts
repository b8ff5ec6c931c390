import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { isSafeSegment } from '../../../mail/mail-location.ts';
import type { MailUser } from '../../../mail/mail-user.ts';
import { parseFolderName } from '../../../mail/folder-name.ts';
import {
  deliveryTo,
  type MailStoreFixture,
  mailStoreContract,
  memoryContent,
  streamedContent,
} from '../../contract.ts';
import type { MailStore, StoreOutcome } from '../../mail-store.ts';
import { mboxMessages } from '../../../../test/support/mbox.ts';
import { openMboxStore, type MboxOptions } from './mbox.ts';

const never = new AbortController().signal;
const isRoot = process.geteuid?.() === 0;

function user(name: string, more: Partial<MailUser> = {}): MailUser {
  return { username: name, extra: {}, ...more };
}

function locateIn(root: string): MboxOptions['locate'] {
  return ({ username }) =>
    isSafeSegment(username)
      ? { inbox: `${root}/spool/${username}`, folders: `${root}/home/${username}/mail` }
      : { refused: 'no name for a path' };
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function messagesIn(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    return [];
  }
  return mboxMessages(text).map((m) => m.replaceAll('\n', '\r\n'));
}

for (const fsync of ['optimized', 'never'] as const) {
  mailStoreContract(`mbox, fsync ${fsync}`, async (within) => fixture(fsync, within));
}

function fixture(fsync: 'optimized' | 'never', within = os.tmpdir()): MailStoreFixture {
  const root = mkdtempSync(path.join(within, 'mbox-'));
  const spool = path.join(root, 'spool');
  mkdirSync(spool);
  const home = (name: string): string => path.join(root, 'home', name);
  return {
    open: async () => openMboxStore({ locate: locateIn(root), fsync }),
    user,
    read: async (name) => messagesIn(path.join(spool, name)),
    readFolder: async (name, folder) => {
      const parsed = parseFolderName(folder);
      assert.ok(parsed.kind === 'folder');
      const file = path.join(home(name), 'mail', ...parsed.levels);
      return existsSync(file) ? messagesIn(file) : undefined;
    },
    subscriptions: async (name) => {
      const text = readFileSync(path.join(home(name), 'mail/.subscriptions'), 'latin1');
      const [version, empty, ...lines] = text.split('\n');
      assert.deepEqual([version, empty, lines.pop()], ['V\t2', '', '']);
      const shown: Record<string, string> = { 'caf&AOk-': 'caf\xc3\xa9', '&-': '&' };
      const levels = lines.map((line) => line.split('\t'));
      return levels.map((l) => l.map((level) => shown[level] ?? level).join('/'));
    },
    files: (name) => [path.join(spool, name), ...everythingBelow(home(name))],
    breakUser: async (name) => mkdirSync(path.join(spool, name)),
    strays: async () => [
      ...list(root).filter((n) => n !== 'spool' && n !== 'home'),
      ...list(spool).filter((n) => n.startsWith('.') || n.endsWith('.lock')),
      ...list(path.join(root, 'home')).flatMap((n) => list(home(n)).filter((m) => m !== 'mail')),
    ],
    cleanUp: async () => rmSync(root, { recursive: true }),
  };
}

/** A folder and everything in it. */
function everythingBelow(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return [folder, ...names.map((n) => path.join(folder, n))];
}

interface Place {
  readonly root: string;
  /** The INBOX of a user. */
  readonly spool: (name: string) => string;
}

async function withStore(
  options: Partial<MboxOptions>,
  run: (store: MailStore, place: Place) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(path.join(os.tmpdir(), 'mbox-'));
  mkdirSync(path.join(root, 'spool'));
  try {
    const store = openMboxStore({ locate: locateIn(root), ...options });
    await run(store, { root, spool: (name) => path.join(root, 'spool', name) });
    await store.close();
  } finally {
    rmSync(root, { recursive: true });
  }
}

async function store(to: MailStore, text: string, who = user('alice')): Promise<StoreOutcome | undefined> {
  return (await to.deliver(deliveryTo([who], memoryContent(text)), never))[0];
}

const stored: StoreOutcome = { kind: 'stored' };
const letter = 'Subject: hello\r\n\r\ntext\r\n';

test('the file is what Dovecot writes: From line, length, empty line, LF, 0600, nothing beside it', () =>
  withStore({}, async (s, { root, spool }) => {
    assert.deepEqual(await store(s, letter), stored);
    const { atimeMs, mtimeMs } = lstatSync(spool('alice'));
    assert.ok(atimeMs <= mtimeMs, 'new mail is seen by the times');
    const at = '\\w{3} \\w{3} \\d\\d \\d\\d:\\d\\d:\\d\\d \\d{4}';
    assert.match(
      readFileSync(spool('alice'), 'latin1'),
      new RegExp(`^From MAILER-DAEMON  ${at}\nTrace: 0\nSubject: hello\nContent-Length: 5 {14}\n\ntext\n\n$`),
    );
    assert.equal(lstatSync(spool('alice')).mode & 0o7777, 0o600);
    assert.deepEqual(readdirSync(path.join(root, 'spool')), ['alice']);
  }));

/** Content as received, and what lies in the mailbox below the trace field. */
const forms: readonly (readonly [what: string, received: string, kept: string])[] = [
  [
    'lines of the body that begin with From',
    'A: b\r\n\r\nFrom me\r\nFrom a@b Thu Nov 26 17:56:30 2026\r\n',
    '',
  ],
  ['a body without its last line end', 'A: b\r\n\r\nhalf', 'A: b\n\nhalf\n'],
  ['an empty body', 'A: b\r\n\r\n', ''],
  ['a header alone', 'A: b\r\n', 'A: b\n\n'],
  ['a header line without its end', 'A: b', 'A: b\n\n'],
  ['nothing', '', '\n'],
  ['no header', '\r\nbody\r\n', ''],
  [
    'fields of a mailbox, folded too, in any case',
    'Status: RO\r\nA: b\r\nx-uid: 7\r\n\tmore\r\nX-IMAP: 1 2\r\nX-IMAPbase: 1 2\r\nX-Keywords: a\r\nX-Status : A\r\nCONTENT-LENGTH: 3\r\nC: d\r\n e\r\n\r\nStatus: x\r\n',
    'A: b\nC: d\n e\n\nStatus: x\n',
  ],
  [
    'From lines in the header',
    'From a@b Thu Nov 26 17:56:30 2026\r\nA: b\r\nFrom a@b Thu Nov 26 17:56:30 2026\r\n folded\r\nFrom : x@y\r\n\r\nt\r\n',
    'A: b\nFrom : x@y\n\nt\n',
  ],
  ['a long header line', `A: ${'b'.repeat(100_000)}\r\n\r\nt\r\n`, ''],
  ['octets of any value, and CR alone', 'A: \xff\0\r\n\r\n\0\xfe\rx\r\r\n', 'A: \xff\0\n\n\0\xfe\rx\r\n'],
];

for (const [what, received, kept] of forms) {
  test(`what is kept of ${what}, whatever the parts in which it comes`, () =>
    withStore({}, async (s, { spool }) => {
      const expected = `Trace: 0\n${kept === '' ? received.replaceAll('\r\n', '\n') : kept}`;
      const sizes = received.length > 1000 ? [7, 70_000] : [1, 2, 3, 5, 33, 1000];
      assert.deepEqual(await store(s, received), stored);
      for (const octets of sizes) {
        const content = streamedContent(received, octets);
        assert.deepEqual(await s.deliver(deliveryTo([user('alice')], content), never), [stored]);
      }
      const found = mboxMessages(readFileSync(spool('alice'), 'latin1'));
      assert.deepEqual(found, [expected, ...sizes.map(() => expected)]);
    }));
}

test('folders lie in a tree of their own, in modified UTF-7; what cannot be a folder is none', () =>
  withStore({}, async (s, { root }) => {
    const mail = path.join(root, 'home/alice/mail');
    const into = async (
      folder: string,
      missingFolder: 'refuse' | 'create',
    ): Promise<StoreOutcome | undefined> => {
      const to = deliveryTo([user('alice')], memoryContent(letter));
      const recipients = to.recipients.map((r) => ({ ...r, folder, missingFolder }));
      return (await s.deliver({ ...to, recipients }, never))[0];
    };
    assert.equal((await into('Archive/2026', 'refuse'))?.kind, 'no-folder');
    assert.deepEqual(list(mail), []);
    assert.deepEqual(await into('Archive/2026', 'create'), stored);
    assert.deepEqual(await into('Archive/2026', 'refuse'), stored);
    assert.deepEqual(await into(Buffer.from('Büro & Co').toString('latin1'), 'create'), stored);
    assert.equal(messagesIn(`${mail}/Archive/2026`).length, 2);
    assert.equal(messagesIn(`${mail}/B&APw-ro &- Co`).length, 1);
    assert.deepEqual(await into('inbox', 'refuse'), stored);
    assert.equal(messagesIn(path.join(root, 'spool/alice')).length, 1);
    for (const none of [
      'Archive',
      '..',
      'a/../../b',
      '.',
      '/etc',
      'a//b',
      'x.lock',
      '.imap',
      '.imap/x',
      'a\0',
      '~b',
    ])
      assert.equal((await into(none, 'create'))?.kind, 'no-folder', none);
    assert.deepEqual(list(mail).sort(), ['Archive', 'B&APw-ro &- Co']);
    assert.equal(lstatSync(`${mail}/Archive`).mode & 0o7777, 0o700);
  }));

test('a folder that is made is subscribed if that is asked for; where it cannot be, the mail is stored all the same', async () => {
  const problems: string[] = [];
  await withStore({ onProblem: (text) => problems.push(text) }, async (s, { root }) => {
    const mail = path.join(root, 'home/alice/mail');
    const into = async (folder: string): Promise<StoreOutcome | undefined> => {
      const to = deliveryTo([user('alice')], memoryContent(letter));
      const missingFolder = 'create-and-subscribe' as const;
      const recipients = to.recipients.map((r) => ({ ...r, folder, missingFolder }));
      return (await s.deliver({ ...to, recipients }, never))[0];
    };
    for (const folder of ['a/b', 'a/b', 'c']) assert.deepEqual(await into(folder), stored);
    assert.equal(readFileSync(`${mail}/.subscriptions`, 'latin1'), 'V\t2\n\na\tb\nc\n');
    unlinkSync(`${mail}/.subscriptions`);
    mkdirSync(`${mail}/.subscriptions`);
    assert.deepEqual(await into('d'), stored);
    assert.equal(messagesIn(`${mail}/d`).length, 1);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? '', /subscriptions: d: /);
  });
});

test('a user without folders has an INBOX and nothing else', () =>
  withStore({ locate: () => ({ inbox: '/nonexistent/x' }) }, async (s) => {
    const to = deliveryTo([user('alice')], memoryContent(letter));
    const recipients = to.recipients.map((r) => ({ ...r, folder: 'x', missingFolder: 'create' as const }));
    assert.equal((await s.deliver({ ...to, recipients }, never))[0]?.kind, 'no-folder');
  }));

test('links, folders, pipes, files of others and files open to all are refused and stay as they are', () =>
  withStore({}, async (s, { root, spool }) => {
    const target = path.join(root, 'target');
    writeFileSync(target, 'precious\n', { mode: 0o600 });
    symlinkSync(target, spool('link'));
    symlinkSync(path.join(root, 'nowhere'), spool('dangling'));
    linkSync(target, spool('hard'));
    writeFileSync(spool('open'), '');
    chmodSync(spool('open'), 0o666);
    mkdirSync(spool('folder'));
    for (const name of ['link', 'dangling', 'hard', 'open', 'folder'])
      assert.equal((await store(s, letter, user(name)))?.kind, 'unavailable', name);
    assert.equal(readFileSync(target, 'latin1'), 'precious\n');
    assert.deepEqual(readdirSync(root).sort(), ['spool', 'target']);
    assert.deepEqual(readdirSync(path.join(root, 'spool')).sort(), [
      'dangling',
      'folder',
      'hard',
      'link',
      'open',
    ]);
  }));

test(
  'as root: files belong to their users, those of others are refused, links of users are not followed',
  {
    skip: isRoot ? false : 'needs root',
  },
  () =>
    withStore({ uid: 8, gid: 8 }, async (s, { root, spool }) => {
      chmodSync(root, 0o755);
      assert.deepEqual(await store(s, letter), stored);
      const { uid, gid } = lstatSync(spool('alice'));
      assert.deepEqual([uid, gid], [8, 8]);
      assert.deepEqual(await store(s, letter, user('bob', { uid: 10, gid: 10 })), stored);
      rmSync(path.join(root, 'spool'), { recursive: true });
      assert.equal((await store(s, letter, user('bob', { uid: 10, gid: 10 })))?.kind, 'unavailable');
      assert.ok(
        !existsSync(path.join(root, 'spool')),
        'a folder that users share is not made for one of them',
      );
      assert.deepEqual(await store(s, letter, user('eve')), stored);
      assert.deepEqual(await store(s, letter, user('bob', { uid: 10, gid: 10 })), stored);
      chownSync(spool('bob'), 8, 8);
      assert.equal((await store(s, letter, user('bob', { uid: 10, gid: 10 })))?.kind, 'unavailable');
      assert.equal(messagesIn(spool('bob')).length, 1);
      // A home that leads elsewhere.
      const home = path.join(root, 'home/carol');
      mkdirSync(path.join(root, 'secret'), { mode: 0o700 });
      mkdirSync(home, { recursive: true });
      chownSync(home, 8, 8);
      symlinkSync(path.join(root, 'secret'), path.join(home, 'mail'));
      // Who made the link counts.
      spawnAs(8, `rm ${home}/mail; ln -s ${root}/secret ${home}/mail`);
      const to = deliveryTo([user('carol')], memoryContent(letter));
      const recipients = to.recipients.map((r) => ({ ...r, folder: 'x', missingFolder: 'create' as const }));
      assert.equal((await s.deliver({ ...to, recipients }, never))[0]?.kind, 'unavailable');
      assert.deepEqual(readdirSync(path.join(root, 'secret')), []);
    }),
);

test('a lock of somebody who lives is waited for; the deadline ends that', () =>
  withStore({ lockTimeoutMs: 100 }, async (s, { spool }) => {
    writeFileSync(`${spool('alice')}.lock`, `1:${os.hostname()}`);
    const outcome = await store(s, letter);
    assert.equal(outcome?.kind, 'unavailable');
    assert.match(outcome.reason, /locked/);
    assert.deepEqual(messagesIn(spool('alice')), []);
    const waiting = store(s, letter);
    unlinkSync(`${spool('alice')}.lock`);
    assert.deepEqual(await waiting, stored);
    assert.equal(messagesIn(spool('alice')).length, 1);
  }));

test('a delivery that is given up waits no longer, the others do', () =>
  withStore({}, async (s, { spool }) => {
    writeFileSync(`${spool('alice')}.lock`, `1:${os.hostname()}`);
    const giveUp = new AbortController();
    const first = s.deliver(deliveryTo([user('alice')], memoryContent(letter)), giveUp.signal);
    const second = store(s, letter);
    giveUp.abort();
    assert.equal((await first)[0]?.kind, 'unavailable');
    unlinkSync(`${spool('alice')}.lock`);
    assert.deepEqual(await second, stored);
    assert.equal(messagesIn(spool('alice')).length, 1);
  }));

test('a lock file is taken away when its process is dead, or nothing has happened for two minutes', () =>
  withStore({ lockTimeoutMs: 100 }, async (s, { spool }) => {
    const lock = `${spool('alice')}.lock`;
    const dead = spawn('true');
    await once(dead, 'exit');
    writeFileSync(lock, `${dead.pid}:${os.hostname()}`);
    assert.deepEqual(await store(s, letter), stored);
    writeFileSync(lock, `${dead.pid}:elsewhere.example`);
    assert.equal((await store(s, letter))?.kind, 'unavailable', 'of another machine nothing is known');
    const longAgo = Date.now() / 1000 - 130;
    utimesSync(lock, longAgo, longAgo);
    utimesSync(spool('alice'), longAgo, longAgo);
    assert.equal((await store(s, letter))?.kind, 'unavailable', 'the change of its times is a change');
  }));

test('a lock file that is old by the clock is taken away', () =>
  withStore({ lockTimeoutMs: 5000, dotlockChangeTimeoutMs: 300 }, async (s, { spool }) => {
    writeFileSync(`${spool('alice')}.lock`, 'whoever');
    assert.deepEqual(await store(s, letter), stored);
  }));

test('our lock is seen by other programs while we write, and theirs by us', () =>
  withStore({ lockTimeoutMs: 200, locks: ['fcntl'] }, async (s, { spool }) => {
    assert.deepEqual(await store(s, letter), stored);
    // The lock of a process, as other programs take it.
    const holder = spawn(process.execPath, ['--input-type=module', '-e', holdLock, spool('alice')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    assert.equal(String((await once(holder.stdout, 'data'))[0]), 'locked\n');
    assert.equal((await store(s, letter))?.kind, 'unavailable');
    const waiting = store(s, letter);
    const ended = once(holder, 'exit');
    holder.stdin.end();
    await ended;
    assert.deepEqual(await waiting, stored);
    assert.equal(messagesIn(spool('alice')).length, 2);
  }));

const holdLock = `import { openSync } from 'node:fs';
import { fcntlLock } from '${new URL('../../../net/file-lock.ts', import.meta.url).href}';
if (fcntlLock(openSync(process.argv[1], 'r+'))) console.log('locked');
process.stdin.resume();`;

function spawnAs(uid: number, command: string): void {
  execFileSync('/bin/sh', ['-c', command], { uid, gid: uid });
}
