import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { lmtpTalk } from '../../../test/support/lmtp-talk.ts';
import { createLmtpServer, mailboxHandler, type MailboxService } from './index.ts';

interface Run {
  readonly rcpt: readonly string[];
  readonly ends: readonly string[];
  readonly errors: readonly string[];
}

const content = 'Subject: x\r\n\r\n.dot\r\n';

/** One transaction with a service. */
async function run<M>(service: MailboxService<M>, recipients: readonly string[]): Promise<Run> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mailbox-handler-'));
  const errors: string[] = [];
  const onError = (error: unknown): void => void errors.push(String(error));
  const server = createLmtpServer(
    { hostname: 'store.example.test' },
    mailboxHandler({ onError, ...service }),
  );
  try {
    const socket = path.join(folder, 'lmtp');
    await server.listen({ kind: 'unix', path: socket });
    await using talk = await lmtpTalk(socket);
    const { rcpt, ends } = await talk.transaction('carol@example.test', recipients, content);
    return { rcpt: rcpt.map((r) => r.trim()), ends: ends.map((r) => r.trim()), errors };
  } finally {
    await server.close(0);
    rmSync(folder, { recursive: true });
  }
}

test('verdicts become replies to RCPT; only who was found gets mail, in order, twice if given twice', async () => {
  const got: string[] = [];
  let text = '';
  const { rcpt, ends } = await run<{ id: number }>(
    {
      async verify({ address: { local } }, sender, client) {
        assert.deepEqual([sender?.local, client.lhlo], ['carol', 'client.test']);
        if (local === 'boom') throw new Error('database down');
        if (local === 'later') return { kind: 'unavailable' };
        if (local === 'no') return { kind: 'refused', text: 'Not you\r\n250 forged' };
        return local === 'who' ? { kind: 'unknown' } : { kind: 'found', mailbox: { id: local.length } };
      },
      async deliver(message, mailboxes) {
        got.push(...mailboxes.map((m) => `mailbox ${m.id}`));
        assert.deepEqual([message.sender?.local, message.size], ['carol', content.length]);
        for await (const part of message.open()) text += Buffer.from(part).toString('latin1');
        return mailboxes.map(() => ({ kind: 'stored' }));
      },
    },
    ['who@a.test', 'alice@a.test', 'boom@a.test', 'later@a.test', 'no@a.test', 'bob@a.test', 'alice@a.test'],
  );
  assert.deepEqual(rcpt, [
    "550 5.1.1 <who@a.test> User doesn't exist",
    '250 2.1.5 OK',
    '451 4.3.0 <boom@a.test> Temporary internal error',
    '451 4.3.0 <later@a.test> Temporary internal error',
    '550-5.7.1 <no@a.test> Not you\n550 5.7.1 250 forged',
    '250 2.1.5 OK',
    '250 2.1.5 OK',
  ]);
  assert.deepEqual(got, ['mailbox 5', 'mailbox 3', 'mailbox 5']);
  assert.equal(text, content);
  assert.deepEqual(ends, [
    '250 2.0.0 <alice@a.test> Saved',
    '250 2.0.0 <bob@a.test> Saved',
    '250 2.0.0 <alice@a.test> Saved',
  ]);
});

const everybody = {
  verify: (r: { readonly address: { readonly local: string } }) =>
    ({ kind: 'found', mailbox: r.address.local }) as const,
};

test('each outcome is its own recipient’s, also one that rejects or comes late', async () => {
  const { ends, errors } = await run<string>(
    {
      ...everybody,
      deliver: (_, mailboxes) =>
        mailboxes.map(async (name) => {
          if (name === 'slow') await new Promise((resolve) => setImmediate(resolve));
          if (name === 'broken') throw new Error('disk');
          if (name === 'full') return { kind: 'over-quota' };
          if (name === 'fuller') return { kind: 'over-quota', temporary: true };
          return name === 'no' ? { kind: 'refused', text: 'spam' } : { kind: 'stored' };
        }),
    },
    ['slow', 'broken', 'full', 'fuller', 'no', 'last'].map((n) => `${n}@a.test`),
  );
  assert.deepEqual(ends, [
    '250 2.0.0 <slow@a.test> Saved',
    '451 4.3.0 <broken@a.test> Temporary internal error',
    '552 5.2.2 <full@a.test> Quota exceeded',
    '452 4.2.2 <fuller@a.test> Quota exceeded',
    '550 5.7.1 <no@a.test> spam',
    '250 2.0.0 <last@a.test> Saved',
  ]);
  assert.deepEqual(errors, ['Error: disk']);
});

test('too few outcomes, none at all, and outcomes that do not exist leave the rest to a second try', async () => {
  const two = ['a@a.test', 'b@a.test'];
  const few = await run<string>({ ...everybody, deliver: () => [{ kind: 'stored' }] }, two);
  assert.deepEqual(few.ends, ['250 2.0.0 <a@a.test> Saved', '451 4.3.0 <b@a.test> Temporary internal error']);
  assert.equal(few.errors.length, 1);
  const none = await run<string>({ ...everybody, deliver: () => Promise.reject(new Error('all')) }, two);
  assert.deepEqual(
    none.ends.map((e) => e.slice(0, 3)),
    ['451', '451'],
  );
  assert.deepEqual(none.errors, ['Error: all']);
  // What JavaScript lets through.
  const odd = JSON.parse('[{"kind":"done"},{"kind":"stored"}]');
  const wrong = await run<string>({ ...everybody, deliver: () => odd }, two);
  assert.deepEqual(
    wrong.ends.map((e) => e.slice(0, 3)),
    ['451', '250'],
  );
});
