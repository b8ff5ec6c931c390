/** What every mail store driver must do. A driver's test file calls {@link mailStoreContract}. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Domain, LocalPart } from '../mail/address.ts';
import type { MessageSource } from '../mail/message-source.ts';
import type { MailUser } from '../mail/mail-user.ts';
import type { MailStore, StoreDelivery, StoreOutcome } from './mail-store.ts';

export interface MailStoreFixture {
  open(): Promise<MailStore>;
  /** A user that can have mail here. The name may be hostile. */
  user(name: string): MailUser;
  /** What lies in a user's INBOX, octets as latin1 with CRLF line ends, in any order. */
  read(name: string): Promise<readonly string[]>;
  /** Makes the mailbox of a user unusable. */
  breakUser(name: string): Promise<void>;
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

const body = 'Subject: caf\xe9\r\n\r\nfirst\r\n.dot\r\n\0nul \xff\xfe\r\n\r\nlast\r\n';

export function mailStoreContract(name: string, makeFixture: () => Promise<MailStoreFixture>): void {
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
    assert.deepEqual(outcomes, [{ kind: 'stored' }]);
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
    for (const outcomes of await Promise.all(runs)) assert.deepEqual(outcomes, [{ kind: 'stored' }]);
    const subjects = (await Promise.all([0, 1, 2].map((i) => f.read(`user${i}`)))).flat();
    assert.equal(new Set(subjects).size, 300);
    assert.equal(subjects.length, 300);
  });

  check('closing waits for what is under way; then the store takes nothing', async (store, f) => {
    const underWay = store.deliver(deliveryTo([f.user('alice')], memoryContent(body)), never);
    await store.close();
    assert.deepEqual(await underWay, [{ kind: 'stored' }]);
    assert.deepEqual(kinds(await store.deliver(deliveryTo([f.user('alice')], memoryContent(body)), never)), [
      'unavailable',
    ]);
    assert.equal((await f.read('alice')).length, 1);
  });
}
