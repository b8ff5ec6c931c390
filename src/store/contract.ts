/** What every mail store driver must do. A driver's test file calls {@link mailStoreContract}. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Domain, LocalPart } from '../mail/address.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { MailUser } from '../mail/mail-user.ts';
import type { MailStore, StoreDelivery, StoreOutcome, StoreRecipient } from './mail-store.ts';

/** What a driver's test gives for each check: a store of its own with nothing in it. */
export interface MailStoreFixture {
  open(): Promise<MailStore>;
  /** A user that can have mail here. The name may be hostile. */
  user(name: string): MailUser;
  /** What lies in a user's INBOX, octets as latin1 with CRLF line ends, in any order. */
  read(name: string): Promise<readonly string[]>;
  /**
   * The same of a folder, named as in the port (`a/b`); undefined where there is no such folder. A driver that has no folders
   * at all may leave it out: then it must answer `no-folder` to each.
   */
  readFolder?(name: string, folder: string): Promise<readonly string[] | undefined>;
  /** Folders that the user is subscribed to, as in the port. Left out where a driver keeps no such list. */
  subscriptions?(name: string): Promise<readonly string[]>;
  /** Makes the mailbox of a user unusable. */
  breakUser(name: string): Promise<void>;
  /** Absolute path of everything that there is of a user's mail, folders included. Only a store around another one's driver leaves it out. */
  files?(name: string): readonly string[];
  /** Every file or folder that lies where nothing of this store may be written. */
  strays(): Promise<readonly string[]>;
  cleanUp(): Promise<void>;
}

const never = new AbortController().signal;

/** Content held in memory. */
export function memoryContent(text: string): MessageSource {
  const bytes = Buffer.from(text, 'latin1');
  return { size: bytes.length, bytes, open: () => chunksOf(bytes, 65_536) };
}

/** Content that can only be streamed, in chunks that split lines and CRLF anywhere. */
export function streamedContent(text: string, chunkOctets: number): MessageSource {
  const bytes = Buffer.from(text, 'latin1');
  return { size: bytes.length, open: () => chunksOf(bytes, chunkOctets) };
}

async function* chunksOf(bytes: Uint8Array, octets: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += octets) yield bytes.subarray(at, at + octets);
}

/** A delivery to users whose trace is `Trace: 0`, `Trace: 1` and so on, or one text for all. */
export function deliveryTo(
  users: readonly MailUser[],
  content: MessageSource,
  oneTrace = false,
): StoreDelivery {
  return {
    sender: null,
    recipients: users.map((user) => ({
      address: { local: 'r' as LocalPart, domain: 'example.test' as Domain },
      user,
    })),
    content,
    trace: (position) => `Trace: ${oneTrace ? 'all' : position}\r\n`,
  };
}

/** One message for a user, once for each folder (undefined for the INBOX). */
function intoFolders(
  user: MailUser,
  folders: readonly (string | undefined)[],
  missingFolder?: StoreRecipient['missingFolder'],
  oneTrace = false,
): StoreDelivery {
  const delivery = deliveryTo(
    folders.map(() => user),
    memoryContent(body),
    oneTrace,
  );
  const recipients = delivery.recipients.map((r, i) => {
    const folder = folders[i];
    return {
      ...r,
      ...(folder === undefined ? {} : { folder }),
      ...(missingFolder === undefined ? {} : { missingFolder }),
    };
  });
  return { ...delivery, recipients };
}

const isRoot = process.geteuid?.() === 0;
const body = 'Subject: caf\xe9\r\n\r\nfirst\r\n.dot\r\n\0nul \xff\xfe\r\n\r\nlast\r\n';

/**
 * Registers the checks.
 * @param makeFixture called for each; what it makes must lie in `within` where that is given, a small file system of its own
 */
export function mailStoreContract(
  name: string,
  makeFixture: (within?: string) => Promise<MailStoreFixture>,
): void {
  const check = (what: string, run: (store: MailStore, fixture: MailStoreFixture) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const fixture = await makeFixture();
      try {
        const store = await fixture.open();
        await run(store, fixture);
        await store.close();
        assert.deepEqual(await fixture.strays(), []);
      } finally {
        await fixture.cleanUp();
      }
    });
  };
  const kinds = (outcomes: readonly StoreOutcome[]): string[] => outcomes.map((o) => o.kind);

  check('a message is stored with its trace in front, every octet as it came', async (store, f) => {
    const outcomes = await store.deliver(deliveryTo([f.user('alice')], memoryContent(body)), never);
    assert.deepEqual(kinds(outcomes), ['stored']);
    assert.deepEqual(await f.read('alice'), [`Trace: 0\r\n${body}`]);
  });

  check('content that is streamed is the same, whatever the chunks', async (store, f) => {
    for (const octets of [1, 2, 3, 7, 1000]) {
      const user = `alice${octets}`;
      await store.deliver(deliveryTo([f.user(user)], streamedContent(body, octets)), never);
      assert.deepEqual(await f.read(user), [`Trace: 0\r\n${body}`]);
    }
  });

  check('3 MiB, in memory and streamed', async (store, f) => {
    const large = `Subject: large\r\n\r\n${`${'0123456789'.repeat(7)}\r\n`.repeat(44_000)}`;
    const users = ['alice', 'bob'].map((u) => f.user(u));
    assert.deepEqual(kinds(await store.deliver(deliveryTo(users, memoryContent(large)), never)), [
      'stored',
      'stored',
    ]);
    assert.deepEqual(
      kinds(await store.deliver(deliveryTo(users, streamedContent(large, 65_536), true), never)),
      ['stored', 'stored'],
    );
    const stored = await f.read('bob');
    assert.deepEqual([...stored].sort(), [`Trace: 1\r\n${large}`, `Trace: all\r\n${large}`]);
  });

  for (const oneTrace of [false, true]) {
    check(
      `outcomes stand in the order of the recipients, one user twice gets two (${oneTrace ? 'one trace' : 'own traces'})`,
      async (store, f) => {
        await f.breakUser('broken');
        const users = ['broken', 'alice', 'broken', 'bob', 'alice'].map((u) => f.user(u));
        const outcomes = await store.deliver(deliveryTo(users, memoryContent(body), oneTrace), never);
        assert.deepEqual(kinds(outcomes), ['unavailable', 'stored', 'unavailable', 'stored', 'stored']);
        const trace = (position: number): string => `Trace: ${oneTrace ? 'all' : position}\r\n${body}`;
        assert.deepEqual([...(await f.read('alice'))].sort(), [trace(1), trace(4)]);
        assert.deepEqual(await f.read('bob'), [trace(3)]);
      },
    );
  }

  check('no user name leads out of the store', async (store, f) => {
    const names = [
      '../escape',
      '..',
      '.',
      '',
      '.hidden',
      'a/b',
      '/etc',
      'nul\0',
      'line\nfeed',
      'a/../../escape',
      '\xff',
      '%u',
      '~',
    ];
    const outcomes = await store.deliver(
      deliveryTo(
        names.map((n) => f.user(n)),
        memoryContent(body),
      ),
      never,
    );
    const harmless = new Set(['%u', '~', '\xff']);
    names.forEach((n, i) => {
      if (!harmless.has(n)) assert.equal(outcomes[i]?.kind, 'unavailable', JSON.stringify(n));
    });
    assert.deepEqual(await f.strays(), []);
  });

  check('a source that fails, and a delivery given up, leave nothing behind', async (store, f) => {
    const failing: MessageSource = {
      size: 100,
      async *open() {
        yield Buffer.from('Subject: x\r\n');
        throw new Error('the source broke');
      },
    };
    const users = ['alice', 'bob'].map((u) => f.user(u));
    assert.deepEqual(kinds(await store.deliver(deliveryTo(users, failing), never)), [
      'unavailable',
      'unavailable',
    ]);
    assert.deepEqual(kinds(await store.deliver(deliveryTo(users, failing, true), never)), [
      'unavailable',
      'unavailable',
    ]);
    const given = AbortSignal.abort();
    assert.deepEqual(kinds(await store.deliver(deliveryTo(users, memoryContent(body)), given)), [
      'unavailable',
      'unavailable',
    ]);
    assert.deepEqual(await f.read('alice'), []);
    assert.deepEqual(await f.read('bob'), []);
  });

  check('300 deliveries at once into three mailboxes: each is there once', async (store, f) => {
    const runs = Array.from({ length: 300 }, (_, i) =>
      store.deliver(deliveryTo([f.user(`user${i % 3}`)], memoryContent(`Subject: ${i}\r\n\r\n`)), never),
    );
    for (const outcomes of await Promise.all(runs)) assert.deepEqual(kinds(outcomes), ['stored']);
    const subjects = (await Promise.all([0, 1, 2].map((i) => f.read(`user${i}`)))).flat();
    assert.equal(new Set(subjects).size, 300);
    assert.equal(subjects.length, 300);
  });

  check(
    'a folder that is missing takes nothing, unless it is to be made; INBOX is one in any case',
    async (store, f) => {
      const to = (folder: string, missingFolder?: StoreRecipient['missingFolder']): StoreDelivery =>
        intoFolders(f.user('alice'), [folder], missingFolder);
      assert.deepEqual(kinds(await store.deliver(to('Box'), never)), ['no-folder']);
      assert.deepEqual(await f.read('alice'), []);
      for (const inbox of ['INBOX', 'inbox', 'InBox'])
        assert.deepEqual(kinds(await store.deliver(to(inbox), never)), ['stored']);
      assert.equal((await f.read('alice')).length, 3);
      if (f.readFolder === undefined) return;
      assert.equal(await f.readFolder('alice', 'Box'), undefined);
      const written = `Trace: 0\r\n${body}`;
      for (const rule of ['create', 'refuse', undefined, 'create-and-subscribe'] as const)
        assert.deepEqual(kinds(await store.deliver(to('Box', rule), never)), ['stored']);
      assert.deepEqual(await f.readFolder('alice', 'Box'), Array(4).fill(written));
      for (const folder of ['Deep/er/est', 'caf\xc3\xa9', 'a b', '&', 'INBOX/sub', 'inbox/SUB']) {
        assert.deepEqual(
          kinds(await store.deliver(to(folder, 'create-and-subscribe'), never)),
          ['stored'],
          folder,
        );
        assert.deepEqual(await f.readFolder('alice', folder.replace('inbox', 'INBOX')), [written], folder);
      }
      assert.equal((await f.read('alice')).length, 3);
      if (f.subscriptions === undefined) return;
      assert.deepEqual(
        [...(await f.subscriptions('alice'))].sort(),
        ['Deep/er/est', 'caf\xc3\xa9', 'a b', '&', 'INBOX/sub', 'INBOX/SUB'].sort(),
      );
    },
  );

  check('one message into several folders and mailboxes, outcomes in order', async (store, f) => {
    if (f.readFolder === undefined) return;
    const folders = ['A', undefined, 'not\0one', 'B', 'A', '../escape'];
    const delivery = intoFolders(f.user('alice'), folders, 'create', true);
    assert.deepEqual(kinds(await store.deliver(delivery, never)), [
      'stored',
      'stored',
      'no-folder',
      'stored',
      'stored',
      'no-folder',
    ]);
    assert.equal((await f.read('alice')).length, 1);
    assert.equal((await f.readFolder('alice', 'A'))?.length, 2);
    assert.equal((await f.readFolder('alice', 'B'))?.length, 1);
  });

  check('100 deliveries at once into folders that do not exist: each is there once', async (store, f) => {
    if (f.readFolder === undefined) return;
    const runs = Array.from({ length: 100 }, (_, i) =>
      store.deliver(
        intoFolders(f.user('alice'), [`f${i % 5}`], i % 2 === 0 ? 'create' : 'create-and-subscribe', true),
        never,
      ),
    );
    for (const outcomes of await Promise.all(runs)) assert.deepEqual(kinds(outcomes), ['stored']);
    for (let i = 0; i < 5; i++) assert.equal((await f.readFolder('alice', `f${i}`))?.length, 20);
    const listed = (await f.subscriptions?.('alice')) ?? [];
    assert.equal(new Set(listed).size, listed.length);
  });

  test(`${name}: whatever the user and the folder, nothing lies outside the user's mail`, async () => {
    const piece = fc.constantFrom(
      'a',
      '.',
      '..',
      '/',
      '~',
      '\0',
      '\n',
      '\t',
      '*',
      '%u',
      '\xc3\xa9',
      '\xff',
      'INBOX',
      'cur',
      ' ',
      '&',
      '\\',
    );
    const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''));
    const fixture = await makeFixture();
    try {
      const store = await fixture.open();
      await fc.assert(
        fc.asyncProperty(text, text, async (who, folder) => {
          const outcomes = await store.deliver(intoFolders(fixture.user(who), [folder], 'create'), never);
          assert.ok(outcomes.length === 1);
          assert.deepEqual(await fixture.strays(), []);
        }),
        { numRuns: 300 },
      );
      await store.close();
    } finally {
      await fixture.cleanUp();
    }
  });

  check('nobody else may read what is made', async (store, f) => {
    await store.deliver(intoFolders(f.user('alice'), [undefined, 'Box'], 'create-and-subscribe'), never);
    const files = f.files?.('alice');
    if (files === undefined) return;
    assert.ok(files.length > 1);
    for (const file of files) assert.equal(statSync(file).mode & 0o077, 0, file);
  });

  test(`${name}: as root, everything belongs to the user`, { skip: !isRoot && 'needs root' }, async () => {
    const fixture = await makeFixture();
    try {
      const store = await fixture.open();
      const alice = { ...fixture.user('alice'), uid: 12_345, gid: 12_346 };
      const folders = fixture.readFolder === undefined ? [undefined] : [undefined, 'Box', 'Deep/er'];
      const delivery = intoFolders(alice, folders, 'create-and-subscribe');
      assert.deepEqual(
        kinds(await store.deliver(delivery, never)),
        folders.map(() => 'stored'),
      );
      for (const file of fixture.files?.('alice') ?? []) {
        const { uid, gid } = lstatSync(file);
        assert.equal(`${uid}:${gid}`, '12345:12346', file);
      }
      await store.close();
    } finally {
      await fixture.cleanUp();
    }
  });

  test(`${name}: on a full disk mail is put off, and what is there is whole`, {
    skip: !isRoot && 'needs root to mount',
  }, async () => {
    const disk = mkdtempSync(path.join(os.tmpdir(), 'store-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]);
    try {
      const fixture = await makeFixture(disk);
      const store = await fixture.open();
      const folders = fixture.readFolder === undefined ? [undefined] : [undefined, 'Box', 'New/er'];
      let stored = 0;
      let refused = 0;
      for (let i = 0; i < 40; i++) {
        const large = memoryContent(`Subject: ${i}\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(1500)}`);
        for (const folder of folders) {
          const delivery = { ...intoFolders(fixture.user('alice'), [folder], 'create'), content: large };
          for (const kind of kinds(await store.deliver(delivery, never))) {
            assert.ok(kind === 'stored' || kind === 'unavailable', kind);
            if (kind === 'stored') stored++;
            else refused++;
          }
        }
      }
      await store.close();
      const found = await Promise.all(
        folders.map((folder) =>
          folder === undefined
            ? fixture.read('alice')
            : (fixture.readFolder?.('alice', folder) ?? Promise.resolve([])),
        ),
      );
      const messages = found.flatMap((m) => m ?? []);
      assert.ok(stored > 3 && refused > 3, `${stored} stored, ${refused} refused`);
      assert.equal(messages.length, stored);
      for (const m of messages) assert.match(m, /^Trace: 0\r\nSubject: \d+\r\n\r\n(?:x{70}\r\n){1500}$/);
      await fixture.cleanUp();
    } finally {
      execFileSync('umount', [disk]);
      rmdirSync(disk);
    }
  });

  check('closing waits for what is under way; then the store takes nothing', async (store, f) => {
    const underWay = store.deliver(deliveryTo([f.user('alice')], memoryContent(body)), never);
    await store.close();
    assert.deepEqual(kinds(await underWay), ['stored']);
    assert.deepEqual(kinds(await store.deliver(deliveryTo([f.user('alice')], memoryContent(body)), never)), [
      'unavailable',
    ]);
    assert.equal((await f.read('alice')).length, 1);
  });
}
