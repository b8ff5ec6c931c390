import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import nodeFs, {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { MailUser } from '../../../mail/mail-user.ts';
import { deliveryTo, mailStoreContract, memoryContent } from '../../contract.ts';
import type { MailStoreFixture } from '../../contract.ts';
import type { MailStore } from '../../mail-store.ts';
import { placeOfFolder } from './folder-path.ts';
import { openMaildirStore } from './maildir.ts';
import type { MaildirOptions } from './maildir.ts';
import { tmpCleaner } from './tmp-cleaner.ts';

const never = new AbortController().signal;
const isRoot = process.geteuid?.() === 0;
const body = 'Subject: hello\r\n\r\ntext\r\n';

function user(name: string, more: Partial<MailUser> = {}): MailUser {
  return { username: name, extra: {}, ...more };
}

/** Files of a mailbox folder; empty where there is no such folder. */
function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

for (const fsync of ['optimized', 'always', 'never'] as const) {
  mailStoreContract(`maildir, fsync ${fsync}`, (within) => fixture({ fsync }, within));
}
mailStoreContract('maildir, layout fs', (within) => fixture({ layout: 'fs', fsync: 'never' }, within));

async function fixture(options: MaildirOptions, within = os.tmpdir()): Promise<MailStoreFixture> {
  const outer = mkdtempSync(path.join(within, 'maildir-'));
  const root = path.join(outer, 'mail');
  mkdirSync(root);
  const fs = options.layout === 'fs';
  /** The folder as it lies on the disk. */
  const place = (name: string, folder: string): string => {
    const found = placeOfFolder(folder, options.layout ?? 'maildir++');
    assert.ok(found.kind === 'folder');
    return path.join(root, name, ...found.path.names);
  };
  return {
    open: async () => openMaildirStore({ location: `maildir:${root}/%u`, ...options }),
    readFolder: async (name, folder) => {
      const at = place(name, folder);
      if (!existsSync(path.join(at, 'cur'))) return undefined;
      assert.deepEqual(list(path.join(at, 'tmp')), []);
      assert.equal(existsSync(path.join(at, 'maildirfolder')), !fs);
      return list(path.join(at, 'new')).map((f) =>
        readFileSync(path.join(at, 'new', f), 'latin1').replaceAll('\n', '\r\n'),
      );
    },
    subscriptions: async (name) => {
      const text = readFileSync(path.join(root, name, 'subscriptions'), 'latin1');
      assert.match(text, /^V\t2\n\n/);
      assert.equal(existsSync(path.join(root, name, 'subscriptions.lock')), false);
      const shown: Record<string, string> = { 'caf&AOk-': 'caf\xc3\xa9', '&-': '&' };
      return text
        .split('\n')
        .slice(2, -1)
        .map((line) =>
          line
            .split('\t')
            .map((level) => shown[level] ?? level)
            .join('/'),
        );
    },
    files: (name) => everythingBelow(path.join(root, name)),
    user,
    read: async (name) => {
      const folder = path.join(root, name, 'new');
      assert.deepEqual(list(path.join(root, name, 'tmp')), []);
      return list(folder).map((f) => readFileSync(path.join(folder, f), 'latin1').replaceAll('\n', '\r\n'));
    },
    breakUser: async (name) => writeFileSync(path.join(root, name), 'no folder'),
    strays: async () =>
      readdirSync(outer)
        .filter((n) => n !== 'mail')
        .concat(list(root).filter((n) => n.startsWith('.'))),
    cleanUp: async () => rmSync(outer, { recursive: true }),
  };
}

function everythingBelow(folder: string): string[] {
  return [
    folder,
    ...readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => path.join(folder, name)),
  ];
}

async function withStore(
  options: Partial<MaildirOptions>,
  run: (store: MailStore, root: string) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(path.join(os.tmpdir(), 'maildir-'));
  try {
    const store = openMaildirStore({ location: `maildir:${root}/%u`, ...options });
    await run(store, root);
    await store.close();
  } finally {
    rmSync(root, { recursive: true });
  }
}

async function stored(store: MailStore, users: readonly MailUser[], oneTrace = true): Promise<string[]> {
  return (await store.deliver(deliveryTo(users, memoryContent(body), oneTrace), never)).map((o) => o.kind);
}

test('file names have the form of Dovecot, with the size as stored and the size with CRLF; modes are 0600 and 0700', () =>
  withStore({}, async (store, root) => {
    await stored(store, [user('alice')]);
    const maildir = path.join(root, 'alice');
    assert.deepEqual(readdirSync(maildir).sort(), ['cur', 'new', 'tmp']);
    const [name = ''] = list(path.join(maildir, 'new'));
    const trace = 'Trace: all\n';
    const size = trace.length + body.length - 3;
    assert.match(name, new RegExp(`^\\d{10}\\.M\\d{1,6}P${process.pid}\\.[^,:/]+,S=${size},W=${size + 4}$`));
    assert.equal(lstatSync(path.join(maildir, 'new', name)).mode & 0o7777, 0o600);
    for (const sub of ['', 'cur', 'new', 'tmp'])
      assert.equal(lstatSync(path.join(maildir, sub)).mode & 0o7777, 0o700);
  }));

test('recipients with one text share one file, those with another do not', () =>
  withStore({}, async (store, root) => {
    const users = ['a', 'b', 'c', 'a'].map((u) => user(u));
    assert.deepEqual(await stored(store, users), ['stored', 'stored', 'stored', 'stored']);
    const files = ['a', 'b', 'c'].flatMap((u) =>
      list(path.join(root, u, 'new')).map((f) => path.join(root, u, 'new', f)),
    );
    assert.equal(files.length, 4);
    assert.equal(new Set(files.map((f) => lstatSync(f).ino)).size, 1);
    await stored(store, users.slice(0, 2), false);
    const inodes = ['a', 'b'].flatMap((u) =>
      list(path.join(root, u, 'new')).map((f) => lstatSync(path.join(root, u, 'new', f)).ino),
    );
    assert.equal(new Set(inodes).size, 3);
  }));

test('a Maildir that is removed or moved away under an open store is made again', () =>
  withStore({}, async (store, root) => {
    await stored(store, [user('alice'), user('bob')]);
    rmSync(path.join(root, 'alice'), { recursive: true });
    rmSync(path.join(root, 'bob'), { recursive: true });
    assert.deepEqual(await stored(store, [user('alice')]), ['stored']);
    assert.deepEqual(await stored(store, [user('alice'), user('bob')]), ['stored', 'stored']);
    assert.equal(list(path.join(root, 'alice', 'new')).length, 2);
    assert.equal(list(path.join(root, 'bob', 'new')).length, 1);
  }));

test('a Maildir that another one takes the place of gets no mail any more', () =>
  withStore({}, async (store, root) => {
    const [box, before, restored] = ['alice', 'alice.before', 'bob'].map((n) => path.join(root, n)) as [
      string,
      string,
      string,
    ];
    await stored(store, [user('alice'), user('bob')]);
    renameSync(box, before);
    renameSync(restored, box);
    assert.deepEqual(await stored(store, [user('alice')]), ['stored']);
    assert.equal(list(path.join(before, 'new')).length, 1);
    assert.equal(list(path.join(box, 'new')).length, 2);
  }));

test('more mailboxes than may be open at a time', () =>
  withStore({ maxOpenMailboxes: 2 }, async (store, root) => {
    const users = Array.from({ length: 20 }, (_, i) => user(`u${i}`));
    await stored(store, users);
    await Promise.all(users.map((u) => stored(store, [u])));
    for (const u of users) assert.equal(list(path.join(root, u.username, 'new')).length, 2);
    const open = readdirSync('/proc/self/fd').filter((fd) => {
      try {
        const target = readlinkSync(`/proc/self/fd/${fd}`);
        return target.startsWith(root) && target.endsWith('/new');
      } catch {
        return false;
      }
    });
    // The two, and one by which the thread for the disk hears of faults.
    assert.ok(open.length <= 3, `${open.length} descriptors`);
  }));

test('a user with a Maildir of his own; a location that nobody can have is refused at the start', () =>
  withStore({}, async (store, root) => {
    assert.deepEqual(
      await stored(store, [user('carol', { maildir: path.join(root, 'deep', 'er', 'box') })]),
      ['stored'],
    );
    assert.equal(list(path.join(root, 'deep', 'er', 'box', 'new')).length, 1);
    for (const location of ['mbox:/x', '%u', 'maildir:/x/%q', 'maildir:/x/../%u', 'maildir:/x:INDEX=/y']) {
      assert.throws(() => openMaildirStore({ location }), location);
    }
  }));

// What `optimized` waits for: commit-turn.test.ts.
test('mail_fsync = always and never: what is waited for', async (t) => {
  const { fsync, fdatasync } = nodeFs;
  const counts = { file: 0, folder: 0 };
  nodeFs.fsync = ((...words: Parameters<typeof fsync>) => {
    counts.file++;
    fsync(...words);
  }) as typeof fsync;
  nodeFs.fdatasync = ((...words: Parameters<typeof fdatasync>) => {
    counts.folder++;
    fdatasync(...words);
  }) as typeof fdatasync;
  syncBuiltinESMExports();
  t.after(() => {
    Object.assign(nodeFs, { fsync, fdatasync });
    syncBuiltinESMExports();
  });
  for (const mode of ['always', 'never'] as const) {
    await withStore({ fsync: mode }, async (store) => {
      await stored(store, [user('a'), user('b'), user('c')]);
      for (const rcpts of [1, 3]) {
        Object.assign(counts, { file: 0, folder: 0 });
        const users = ['a', 'b', 'c'].slice(0, rcpts).map((u) => user(u));
        for (let n = 0; n < 10; n++) await stored(store, users);
        // One file whatever the recipients, and the name in each folder. Dovecot waits for its index besides.
        const want = mode === 'never' ? { file: 0, folder: 0 } : { file: 10, folder: 10 * rcpts };
        assert.deepEqual(counts, want, `${mode}, ${rcpts} recipients`);
      }
    });
  }
});

test(
  'a folder that becomes a link is not followed by root; tmp of another is never cleaned through one',
  {
    skip: !isRoot && 'needs root',
  },
  () =>
    withStore({ uid: 12_345, gid: 12_346 }, async (store, root) => {
      const victim = path.join(root, 'victim');
      mkdirSync(path.join(victim, 'tmp'), { recursive: true });
      for (const sub of ['new', 'cur']) mkdirSync(path.join(victim, sub));
      await stored(store, [user('alice')]);
      const link = path.join(root, 'alice', '.Box');
      symlinkSync(victim, link);
      execFileSync('chown', ['-h', '12345:12346', link]);
      const delivery = deliveryTo([user('alice')], memoryContent(body));
      for (const missingFolder of ['refuse', 'create'] as const) {
        const recipients = delivery.recipients.map((r) => ({ ...r, folder: 'Box', missingFolder }));
        const [outcome] = await store.deliver({ ...delivery, recipients }, never);
        assert.equal(outcome?.kind, 'unavailable');
      }
      assert.deepEqual(list(path.join(victim, 'new')), []);
      assert.equal(lstatSync(victim).uid, 0);
    }),
);

test(
  'files that cannot be linked are written again: other device, owner, and mode',
  {
    skip: !isRoot && 'needs root to mount',
  },
  () =>
    withStore({}, async (store, root) => {
      const other = path.join(root, 'b');
      mkdirSync(other);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', other]);
      try {
        mkdirSync(path.join(root, 'c'), { mode: 0o750 });
        assert.deepEqual(
          await stored(
            store,
            ['a', 'b', 'c', 'd'].map((u) => user(u)),
          ),
          Array(4).fill('stored'),
        );
        const links = ['a', 'b', 'c', 'd'].map((u) => {
          const [name = ''] = list(path.join(root, u, 'new'));
          return lstatSync(path.join(root, u, 'new', name)).nlink;
        });
        assert.deepEqual(links, [2, 1, 1, 2]);
      } finally {
        // The store holds the folder open, so it is detached now and gone when that is closed.
        execFileSync('umount', ['-l', other]);
      }
    }),
);

test('as root: a folder has its name only when it belongs to its user', {
  skip: !isRoot && 'needs root',
}, async (t) => {
  const { fchownSync } = nodeFs;
  t.after(() => {
    nodeFs.fchownSync = fchownSync;
    syncBuiltinESMExports();
  });
  const given: string[] = [];
  nodeFs.fchownSync = (fd, uid, gid) => {
    if (nodeFs.fstatSync(fd).isDirectory())
      given.push(path.basename(nodeFs.readlinkSync(`/proc/self/fd/${fd}`)));
    fchownSync(fd, uid, gid);
  };
  syncBuiltinESMExports();
  await withStore({ uid: 12_345, gid: 12_346 }, async (store, root) => {
    assert.deepEqual(await stored(store, [user('alice')]), ['stored']);
    assert.equal(given.length, 4);
    for (const name of given) assert.match(name, /^mailchute-[-0-9a-f]{36}$/);
    const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((n) => !n.includes('new/'));
    assert.deepEqual(names.toSorted(), ['alice', 'alice/cur', 'alice/new', 'alice/tmp']);
    for (const name of names) assert.equal(lstatSync(path.join(root, name)).uid, 12_345, name);
  });
});

test('links in the place of tmp, new or cur are not followed', () =>
  withStore({}, async (store, root) => {
    const outside = path.join(root, 'outside');
    mkdirSync(outside);
    for (const sub of ['tmp', 'new', 'cur']) {
      const maildir = path.join(root, `with-${sub}`);
      mkdirSync(maildir);
      symlinkSync(outside, path.join(maildir, sub));
      assert.deepEqual(await stored(store, [user(`with-${sub}`)]), ['unavailable'], sub);
    }
    assert.deepEqual(list(outside), []);
  }));

test('a Maildir open to its group keeps group and mode', () =>
  withStore({}, async (store, root) => {
    mkdirSync(path.join(root, 'shared'));
    chmodSync(path.join(root, 'shared'), 0o770);
    await stored(store, [user('shared')]);
    const [name = ''] = list(path.join(root, 'shared', 'new'));
    assert.equal(lstatSync(path.join(root, 'shared', 'new', name)).mode & 0o7777, 0o660);
    assert.equal(lstatSync(path.join(root, 'shared', 'tmp')).mode & 0o7777, 0o770);
  }));

test('what crashes left in tmp goes after 36 hours, nothing else does', async () => {
  const maildir = mkdtempSync(path.join(os.tmpdir(), 'maildir-'));
  try {
    mkdirSync(path.join(maildir, 'tmp'));
    mkdirSync(path.join(maildir, 'tmp', 'folder'));
    for (const [name, hours] of [
      ['old', 100],
      ['young', 1],
    ] as const) {
      writeFileSync(path.join(maildir, 'tmp', name), 'x');
      const when = Date.now() / 1000 - hours * 3600;
      utimesSync(path.join(maildir, 'tmp', name), when, when);
    }
    // The change time cannot be set, so the clock is: it stands 37 hours ahead, and `young` counts as 38 hours old.
    const hour = 3600_000;
    for (const [ahead, left] of [
      [0, ['folder', 'old', 'young']],
      [35 * hour, ['folder', 'old', 'young']],
      [37 * hour, ['folder']],
    ] as const) {
      const cleaner = tmpCleaner(() => Date.now() + ahead);
      cleaner.consider({ path: maildir, tmp: path.join(maildir, 'tmp/') });
      await cleaner.idle();
      assert.deepEqual(readdirSync(path.join(maildir, 'tmp')).sort(), left);
    }
  } finally {
    rmSync(maildir, { recursive: true });
  }
});

test(
  'as root: files and folders belong to the user, and recipients of different owners share no file',
  { skip: !isRoot && 'needs root' },
  () =>
    withStore({ uid: 12_345, gid: 12_346 }, async (store, root) => {
      const users = [user('a'), user('b', { uid: 23_456 }), user('c'), user('d', { uid: 23_456, gid: 1 })];
      assert.deepEqual(await stored(store, users), ['stored', 'stored', 'stored', 'stored']);
      const owners = ['a', 'b', 'c', 'd'].map((u) => {
        const [name = ''] = list(path.join(root, u, 'new'));
        return [path.join(root, u), path.join(root, u, 'tmp'), path.join(root, u, 'new', name)].map(
          (f) => `${lstatSync(f).uid}:${lstatSync(f).gid}`,
        );
      });
      const all = (owner: string): string[] => [owner, owner, owner];
      assert.deepEqual(owners, [all('12345:12346'), all('23456:12346'), all('12345:12346'), all('23456:1')]);
    }),
);

test(
  'as root: a user cannot lead deliveries elsewhere with links in his own folders',
  { skip: !isRoot && 'needs root' },
  () =>
    withStore({}, async (store, root) => {
      const home = path.join(root, 'home');
      const victim = path.join(root, 'victim');
      mkdirSync(home);
      mkdirSync(victim);
      chownSync(home, 12_345, 12_345);
      const mallory = user('mallory', {
        uid: 12_345,
        gid: 12_345,
        maildir: path.join(home, 'mail', 'Maildir'),
      });
      symlinkSync(victim, path.join(home, 'mail'));
      execFileSync('chown', ['-h', '12345:12345', path.join(home, 'mail')]);
      assert.deepEqual(await stored(store, [mallory]), ['unavailable']);
      assert.deepEqual(list(victim), []);
      rmSync(path.join(home, 'mail'));
      assert.deepEqual(await stored(store, [mallory]), ['stored']);
      // Now he swaps folders that are held open: mail stays in the folders that were opened.
      const maildir = path.join(home, 'mail', 'Maildir');
      renameSync(path.join(maildir, 'tmp'), path.join(maildir, 'tmp.away'));
      symlinkSync(victim, path.join(maildir, 'tmp'));
      await stored(store, [mallory]);
      assert.deepEqual(list(victim), []);
    }),
);

test('as root: on a full disk mail is put off and nothing partial is left', {
  skip: !isRoot && 'needs root to mount',
}, async () => {
  const root = mkdtempSync(path.join(os.tmpdir(), 'maildir-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root]);
  try {
    const store = openMaildirStore({ location: `maildir:${root}/%u` });
    const message = `Subject: big\r\n\r\n${'x'.repeat(100_000)}\r\n`;
    const outcomes: string[] = [];
    for (let i = 0; i < 20; i++) {
      const users = [user('alice'), user('bob')];
      outcomes.push(
        ...(await store.deliver(deliveryTo(users, memoryContent(message)), never)).map((o) => o.kind),
      );
    }
    await store.close();
    assert.deepEqual(new Set(outcomes), new Set(['stored', 'unavailable']));
    const names = ['alice', 'bob'].flatMap((u) =>
      list(path.join(root, u, 'new')).map((f) => path.join(root, u, 'new', f)),
    );
    assert.equal(names.length, outcomes.filter((o) => o === 'stored').length);
    for (const name of names) assert.equal(lstatSync(name).size, Number(/,S=(\d+),/.exec(name)?.[1]));
    for (const u of ['alice', 'bob']) assert.deepEqual(list(path.join(root, u, 'tmp')), []);
  } finally {
    execFileSync('umount', [root]);
    rmSync(root, { recursive: true });
  }
});
