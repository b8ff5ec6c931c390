// The same transfer handed over twice: our store answers as before and stores one copy, also after it was killed in between.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { openMaildirStore } from '../../src/store/drivers/maildir/maildir.ts';
import { openLmdbJournal } from '../../src/store/drivers/journal/lmdb-journal.ts';
import { createTransfers, recoverTransfers } from '../../src/store/transfers.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { freePort, start, temporaryFolder } from '../support/process.ts';
import { root } from '../support/mailchute.ts';

const program = path.join(root, 'bin/mailchute');

const message = 'Subject: once\r\n\r\nbody\r\n';

describe('transfers', () => {
  test('a repeat is answered as before, after a restart too; another recipient, message or number is not one', async (t) => {
    const folder = temporaryFolder('transfers');
    t.after(() => folder.remove());
    const port = await freePort();
    writeFileSync(path.join(folder.path, 'users'), 'alice::::::\nbob::::::\n');
    const config = path.join(folder.path, 'conf');
    writeFileSync(
      config,
      `primary_hostname = store.example.test
spool_directory = ${folder.path}/spool
log_file_path = ${folder.path}/log/%slog
begin directories
people:
  driver = passwd_file
  file = ${folder.path}/users
  username_format = %Ln
begin stores
boxes:
  driver = maildir
  listen = <; 127.0.0.1:${port}
  directories = people
  maildir = ${folder.path}/mail/$local_part_data
`,
    );
    const startStore = async () => {
      const running = start(program, ['store', config]);
      await running.printed(/ready|listening/i);
      return running;
    };
    const copies = (user: string): number => {
      const box = path.join(folder.path, 'mail', user);
      return ['new', 'cur'].reduce((n, d) => n + readdirSync(path.join(box, d)).length, 0);
    };
    let store = await startStore();
    t.after(() => store.stop());
    const handOver = async (transfer: string, rcpts: readonly string[]): Promise<string[]> => {
      await using talk = await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port });
      await talk.say(`MAIL FROM:<> XTRANSFER=${transfer}`);
      for (const rcpt of rcpts) await talk.say(`RCPT TO:${rcpt}`);
      await talk.say('DATA');
      const replies = await talk.say(`${message}.`, rcpts.length);
      assert.equal(replies.length, rcpts.length);
      return replies;
    };
    const first = await handOver('spool.1', ['<alice@a.test> XTRANSFER=0', '<bob@a.test> XTRANSFER=1']);
    assert.ok(first.every((r) => r.startsWith('250 2.0.0 ')));
    assert.deepEqual(
      await handOver('spool.1', ['<alice@a.test> XTRANSFER=0', '<bob@a.test> XTRANSFER=1']),
      first,
    );
    assert.deepEqual([copies('alice'), copies('bob')], [1, 1]);
    await store.stop();
    store = await startStore();
    assert.deepEqual(await handOver('spool.1', ['<bob@a.test> XTRANSFER=1']), first.slice(1));
    assert.equal(copies('bob'), 1);
    await handOver('spool.1', ['<bob@a.test> XTRANSFER=2']);
    await handOver('spool.2', ['<bob@a.test> XTRANSFER=1']);
    await handOver('spool.2', ['<alice@a.test> XTRANSFER=1']);
    await handOver('spool.2', ['<alice@a.test>', '<alice@a.test>']);
    assert.deepEqual([copies('alice'), copies('bob')], [3, 3]);
    // Two RCPTs of one address are one copy, and each of their names stands for it.
    const twins = await handOver('spool.3', ['<bob@a.test> XTRANSFER=0', '<bob@a.test> XTRANSFER=1']);
    assert.deepEqual(await handOver('spool.3', ['<bob@a.test> XTRANSFER=1']), twins.slice(1));
    assert.equal(copies('bob'), 4);
  });

  test('of what a crash left, that which is in the mailbox counts as stored, wherever its owner moved it within it', async (t) => {
    const folder = temporaryFolder('transfers-crash');
    t.after(() => folder.remove());
    const mail = path.join(folder.path, 'mail');
    mkdirSync(mail);
    const store = openMaildirStore({ location: `maildir:${mail}/%u` });
    t.after(() => store.close());
    const holds = (token: string) => store.holds?.(token) ?? false;
    const directory = path.join(folder.path, 'journal');
    let journal = openLmdbJournal({ directory, keepMs: 60_000 });
    const tokens: string[] = [];
    const bytes = Buffer.from('Subject: x\r\n\r\ny\r\n', 'latin1');
    const content = {
      size: bytes.length,
      bytes,
      async *open(): AsyncGenerator<Uint8Array> {
        yield bytes;
      },
    };
    // Announced and stored, but the journal never heard of the second.
    for (const key of ['came', 'moved', 'lost']) {
      const transfers = createTransfers(journal, holds);
      const begun = await transfers.begin(key, `session-${key}`);
      assert.ok(begun.kind === 'new');
      const announce = async (token: string): Promise<void> => {
        tokens.push(token);
        await begun.announce(token);
        if (key === 'lost') throw new Error('killed here');
      };
      const address = { local: 'alice', domain: 'a.test' } as never;
      const outcomes = await store.deliver(
        {
          sender: null,
          recipients: [{ address, user: { username: 'alice', extra: {} }, announce }],
          content,
          trace: () => '',
        },
        new AbortController().signal,
      );
      assert.equal(outcomes[0]?.kind, key === 'lost' ? 'unavailable' : 'stored');
    }
    const moved = tokens[1] ?? '';
    const box = path.dirname(moved);
    renameSync(
      path.join(box, 'new', path.basename(moved)),
      path.join(box, 'cur', `${path.basename(moved)}:2,S`),
    );
    await journal.close();
    journal = openLmdbJournal({ directory, keepMs: 60_000 });
    t.after(() => journal.close());
    assert.equal(journal.unfinished().length, 3);
    await recoverTransfers(journal, holds, assert.fail);
    assert.deepEqual(journal.unfinished(), []);
    const again = createTransfers(journal, () => false);
    assert.deepEqual(await again.begin('came', 'new'), { kind: 'stored', session: 'session-came' });
    assert.deepEqual(await again.begin('moved', 'new'), { kind: 'stored', session: 'session-moved' });
    assert.equal((await again.begin('lost', 'new')).kind, 'new');
  });

  test('one that is under way is waited for; what failed can be tried again', async (t) => {
    const folder = temporaryFolder('transfers-running');
    t.after(() => folder.remove());
    const journal = openLmdbJournal({ directory: folder.path, keepMs: 60_000 });
    t.after(() => journal.close());
    const transfers = createTransfers(journal, () => false);
    const one = await transfers.begin('k', 'first');
    assert.ok(one.kind === 'new');
    const waiting = transfers.begin('k', 'second');
    one.end(false);
    const two = await waiting;
    assert.ok(two.kind === 'new');
    const last = transfers.begin('k', 'third');
    two.end(true);
    assert.deepEqual(await last, { kind: 'stored', session: 'second' });
  });

  test('what an old configuration still stores is waited for by the new one, and is no residue of a crash', async (t) => {
    const folder = temporaryFolder('transfers-reload');
    t.after(() => folder.remove());
    const journal = openLmdbJournal({ directory: folder.path, keepMs: 60_000 });
    t.after(() => journal.close());
    const running = new Map<string, Promise<boolean>>();
    const old = await createTransfers(journal, () => false, running).begin('k', 'first');
    assert.ok(old.kind === 'new');
    await old.announce('not there yet');
    await recoverTransfers(journal, () => false, assert.fail, running);
    const reloaded = createTransfers(journal, () => false, running);
    assert.equal(reloaded.isKnown('k'), true);
    const repeat = reloaded.begin('k', 'second');
    old.end(true);
    assert.deepEqual(await repeat, { kind: 'stored', session: 'first' });
  });

  test('memory is bounded in number and time', async (t) => {
    const folder = temporaryFolder('transfers-bounds');
    t.after(() => folder.remove());
    let nowMs = 1_000_000;
    const journal = openLmdbJournal({
      directory: folder.path,
      keepMs: 1000,
      maxEntries: 50,
      nowMs: () => nowMs,
    });
    t.after(() => journal.close());
    const put = (key: string) => journal.announce(key, { session: key, token: '/x' });
    for (let i = 0; i < 50; i++) await put(`a${i}`);
    assert.ok(journal.find('a0') !== undefined);
    await put('b');
    assert.ok(journal.find('a0') !== undefined, 'the generation before is still there');
    for (let i = 0; i < 50; i++) await put(`c${i}`);
    assert.equal(journal.find('a0'), undefined);
    nowMs += 1001;
    await put('d');
    nowMs += 1001;
    await put('e');
    assert.equal(journal.find('c49'), undefined);
    assert.ok(journal.find('d') !== undefined);
  });
});
