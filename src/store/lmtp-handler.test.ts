import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { addressOf } from '../directory/contract.ts';
import type { Directory, DirectoryAnswer } from '../directory/directory.ts';
import type { LmtpClientFacts } from '../lmtp/server/handler.ts';
import type { Domain, LocalPart } from '../mail/address.ts';
import { lowerAscii, unquoteLocalPart } from '../mail/local-part.ts';
import { formatReply } from '../mail/reply.ts';
import type { Reply } from '../mail/reply.ts';
import { memoryContent, streamedContent } from './contract.ts';
import { splitDetail } from './detail.ts';
import { formatStoreEvent } from './events.ts';
import type { StoreEvent } from './events.ts';
import type { FilterVerdict } from './filter.ts';
import { createStoreHandler } from './lmtp-handler.ts';
import type { StoreHandlerOptions } from './lmtp-handler.ts';
import type { MailStore, StoreDelivery, StoreOutcome } from './mail-store.ts';
import * as replies from './replies.ts';
import type { Transfers } from './transfers.ts';

const never = new AbortController().signal;
const client: LmtpClientFacts = { remoteAddress: '192.0.2.1', lhlo: 'client.test', sessionId: 'SESSION' };
const message = memoryContent(
  'Subject: x\r\nMessage-ID:\r\n <m1@b.example>\r\n\r\nMessage-ID: <not@this>\r\n',
);

const directory: Directory = {
  find({ local }): DirectoryAnswer {
    const username = lowerAscii(unquoteLocalPart(local));
    if (username.startsWith('user')) return { kind: 'found', user: { username, extra: {} } };
    if (local === 'down') return { kind: 'unavailable', reason: 'no server' };
    if (local === 'throws') throw new Error('broken driver');
    return { kind: 'unknown' };
  },
  list: () => undefined,
  close: () => Promise.resolve(),
};

function storeOf(
  answer: (d: StoreDelivery) => readonly StoreOutcome[] | Promise<readonly StoreOutcome[]>,
): MailStore & { seen: StoreDelivery[] } {
  const seen: StoreDelivery[] = [];
  return {
    seen,
    deliver: async (d) => {
      seen.push(d);
      return answer(d);
    },
    close: () => Promise.resolve(),
  };
}

const allStored = (d: StoreDelivery): readonly StoreOutcome[] => d.recipients.map(() => ({ kind: 'stored' }));

async function dialogue(
  store: MailStore,
  addresses: readonly string[],
  options: Partial<StoreHandlerOptions> = {},
  facts: LmtpClientFacts = client,
): Promise<{ rcpt: string[]; data: string[] }> {
  const handler = createStoreHandler({ directory, store, hostname: 'store.example.test', ...options });
  const t = await handler.begin(facts, addressOf('sender@b.example'), {});
  if ('refused' in t) throw new Error('refused');
  const rcpt: Reply[] = [];
  for (const text of addresses) rcpt.push(await t.rcpt({ address: addressOf(text) }));
  const accepted = rcpt.flatMap((r, i) => (r.code === 250 ? [i] : []));
  const data = await t.deliver(message, accepted, never);
  t.end();
  const text = (r: Reply): string => formatReply(r).trimEnd();
  return { rcpt: rcpt.map(text), data: data.map(text) };
}

test('the dialogue of Dovecot: positions count all RCPTs, identical ones are stored once with the reply given again', async () => {
  const store = storeOf(allStored);
  const said = await dialogue(store, [
    'nobody@example.test',
    'user7@example.test',
    'user7@EXAMPLE.test',
    '"user7"@example.test',
    'user7+@example.test',
    'USER7@example.test',
    'user8+folder+more@example.test',
  ]);
  assert.deepEqual(said.rcpt, [
    "550 5.1.1 <nobody@example.test> User doesn't exist: nobody@example.test",
    ...Array<string>(6).fill('250 2.1.5 OK'),
  ]);
  assert.deepEqual(said.data, [
    '250 2.0.0 <user7@example.test> SESSION:R2 Saved',
    '250 2.0.0 <user7@example.test> SESSION:R2 Saved',
    '250 2.0.0 <user7@example.test> SESSION:R2 Saved',
    '250 2.0.0 <user7+@example.test> SESSION:R5 Saved',
    '250 2.0.0 <USER7@example.test> SESSION:R6 Saved',
    '250 2.0.0 <user8+folder+more@example.test> SESSION:R7 Saved',
  ]);
  const [delivery] = store.seen;
  assert.deepEqual(
    delivery?.recipients.map((r) => [r.user.username, r.detail]),
    [
      ['user7', undefined],
      ['user7', ''],
      ['user7', undefined],
      ['user8', 'folder+more'],
    ],
  );
  const trace = delivery?.trace(0) ?? '';
  assert.match(
    trace,
    /^Return-Path: <sender@b\.example>\r\nReceived: from client\.test \(\[192\.0\.2\.1\]\)\r\n\tby store\.example\.test with LMTP\r\n\tid SESSION\r\n\t\(envelope-from <sender@b\.example>\); [^\r\n]+\r\n$/,
  );
  assert.equal(delivery?.trace(3), trace);
});

test('one accepted recipient: Delivered-To and for; over a UNIX socket no address', async () => {
  const store = storeOf(allStored);
  await dialogue(
    store,
    ['nobody@example.test', 'User7+x@example.test'],
    {},
    { lhlo: 'client.test', sessionId: 'S' },
  );
  assert.match(
    store.seen[0]?.trace(0) ?? '',
    /^Return-Path: <sender@b\.example>\r\nDelivered-To: User7\+x@example\.test\r\nReceived: from client\.test\r\n\tby store\.example\.test with LMTP\r\n\tid S\r\n\t\(envelope-from <sender@b\.example>\)\r\n\tfor <User7\+x@example\.test>; [^\r\n]+\r\n$/,
  );
});

test('outcomes become the replies of their recipients, in order', async () => {
  const outcomes: readonly StoreOutcome[] = [
    { kind: 'over-quota', text: 'Quota exceeded (mailbox for user is full)' },
    { kind: 'stored' },
    { kind: 'refused', text: 'not\r\n250 forged' },
    { kind: 'unavailable', reason: '/secret/path: EIO' },
  ];
  const to = ['user1@x.test', 'user2@x.test', 'user3@x.test', 'user4@x.test'];
  const at = Date.UTC(2026, 10, 24, 8, 0, 0) + new Date(2026, 10, 24).getTimezoneOffset() * 60_000;
  const said = await dialogue(
    storeOf(() => outcomes),
    to,
    { nowMs: () => at },
  );
  assert.deepEqual(said.data, [
    '552 5.2.2 <user1@x.test> Quota exceeded (mailbox for user is full)',
    '250 2.0.0 <user2@x.test> SESSION:R2 Saved',
    '550 5.2.0 <user3@x.test> not??250 forged',
    '451 4.2.0 <user4@x.test> Internal error occurred. Refer to server log for more information. [2026-11-24 08:00:00]',
  ]);
  const later = await dialogue(
    storeOf(() => outcomes),
    to,
    { quotaFullTempfail: true },
  );
  assert.equal(later.data[0], '452 4.2.2 <user1@x.test> Quota exceeded (mailbox for user is full)');
  const broken = await dialogue(
    storeOf(() => Promise.reject(new Error('bug'))),
    to,
  );
  assert.deepEqual(
    broken.data.map((r) => r.slice(0, 9)),
    Array(4).fill('451 4.2.0'),
  );
  const tooFew = await dialogue(
    storeOf(() => [{ kind: 'stored' }]),
    to,
  );
  assert.deepEqual(
    tooFew.data.map((r) => r.slice(0, 3)),
    ['250', '451', '451', '451'],
  );
});

test('a directory that is out of reach or throws means 451, never 550', async () => {
  const events: StoreEvent[] = [];
  const said = await dialogue(storeOf(allStored), ['down@x.test', 'throws@x.test'], {
    onEvent: (e) => events.push(e),
  });
  assert.deepEqual(said.rcpt, [
    '451 4.3.0 <down@x.test> Temporary internal error',
    '451 4.3.0 <throws@x.test> Temporary internal error',
  ]);
  assert.deepEqual(said.data, []);
  assert.deepEqual(
    events.map((e) => e.kind),
    ['lookup-failed', 'lookup-failed'],
  );
  const [first] = events;
  assert.equal(
    first && formatStoreEvent(first, 7)[0],
    'lmtp(7)<SESSION>: Error: down@x.test: user lookup failed: no server',
  );
});

test('each delivery is told once, in the words of Dovecot', async () => {
  const lines: string[] = [];
  const onEvent = (e: StoreEvent): void => void lines.push(...formatStoreEvent(e, 42));
  const outcome: StoreOutcome = { kind: 'unavailable', reason: 'disk\nfull' };
  await dialogue(
    storeOf(() => [{ kind: 'stored' }, outcome]),
    ['user1@x.test', 'user1@x.test', 'user2@x.test'],
    { onEvent },
  );
  assert.deepEqual(lines, [
    'lmtp(user1)<42><SESSION>: Info: msgid=<m1@b.example>: saved mail to INBOX',
    'lmtp(user2)<42><SESSION:R3>: Info: msgid=<m1@b.example>: save failed to INBOX: disk?full',
  ]);
});

test('a filter files, throws away and refuses; each is answered and told as what it is', async () => {
  const lines: string[] = [];
  const store = storeOf((d) =>
    d.recipients.map((r) =>
      r.folder === 'Gone' ? { kind: 'no-folder', reason: "Mailbox doesn't exist" } : { kind: 'stored' },
    ),
  );
  const verdicts: Record<string, FilterVerdict> = {
    user1: { kind: 'file', folder: 'Archive' },
    user2: { kind: 'discard' },
    user3: { kind: 'refuse', text: 'go\r\naway' },
    user4: { kind: 'refuse', text: 'later', temporary: true },
    user5: { kind: 'file', folder: 'Gone', shown: 'x'.repeat(100) },
  };
  const said = await dialogue(
    store,
    Object.keys(verdicts).map((name) => `${name}@x.test`),
    {
      filter: { judge: ({ recipient }) => verdicts[recipient.user.username] ?? { kind: 'keep' } },
      onEvent: (e) => lines.push(...formatStoreEvent(e, 42)),
    },
  );
  assert.deepEqual(said.data, [
    '250 2.0.0 <user1@x.test> SESSION Saved',
    '250 2.0.0 <user2@x.test> SESSION:R2 Saved',
    '550 5.2.0 <user3@x.test> go??away',
    '451 4.2.0 <user4@x.test> later',
    '250 2.0.0 <user5@x.test> SESSION:R5 Saved',
  ]);
  const line = (user: number, text: string): string =>
    `lmtp(user${user})<42><SESSION${user === 1 ? '' : `:R${user}`}>: Info: msgid=<m1@b.example>: ${text}`;
  assert.deepEqual(lines, [
    line(1, 'saved mail to Archive'),
    line(2, 'discarded'),
    line(3, 'save failed to INBOX: go??away'),
    line(4, 'save failed to INBOX: later'),
    line(5, `save failed to open mailbox ${'x'.repeat(77)}...: Mailbox doesn't exist`),
    line(5, 'saved mail to INBOX'),
  ]);
});

test('the message id is found in streamed content too, and not in a body', async () => {
  const events: StoreEvent[] = [];
  const handler = createStoreHandler({
    directory,
    store: storeOf(allStored),
    hostname: 'h',
    onEvent: (e) => events.push(e),
  });
  const text = `X: ${'y'.repeat(900)}\r\nmessage-id : <long@b>\r\n\r\nbody\r\n`;
  for (const content of [
    streamedContent(text, 10),
    streamedContent('A: b\r\n\r\nMessage-ID: <c@d>\r\n', 5),
  ]) {
    const t = await handler.begin(client, null, {});
    if ('refused' in t) throw new Error('refused');
    await t.rcpt({ address: addressOf('user1@x.test') });
    await t.deliver(content, [0], never);
  }
  assert.deepEqual(
    events.map((e) => e.kind === 'delivery' && e.messageId),
    ['<long@b>', undefined],
  );
});

test('deliveries at one time for one user are limited where that is asked for', async () => {
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const store = storeOf(async (d) => {
    await gate;
    return allStored(d);
  });
  const handler = createStoreHandler({ directory, store, hostname: 'h', userConcurrencyLimit: 2 });
  const one = async (): Promise<string> => {
    const t = await handler.begin(client, null, {});
    if ('refused' in t) throw new Error('refused');
    const taken = await t.rcpt({ address: addressOf('user1@x.test') });
    if (taken.code !== 250) {
      t.end();
      return formatReply(taken).trimEnd();
    }
    const [r] = await t.deliver(message, [0], never);
    t.end();
    return r === undefined ? '' : formatReply(r).trimEnd();
  };
  const first = [one(), one()];
  // It is counted from RCPT on.
  assert.equal(await one(), '451 4.3.0 <user1@x.test> Too many concurrent deliveries for user');
  release();
  assert.deepEqual(await Promise.all(first), Array(2).fill('250 2.0.0 <user1@x.test> SESSION Saved'));
  assert.match(await one(), /^250/);
});

test('a repeat of what is in a mailbox that is full now is answered as before, not refused at RCPT', async () => {
  const store: MailStore = { ...storeOf(allStored), check: () => ({ kind: 'over-quota', text: 'full' }) };
  const transfers: Transfers = {
    isKnown: (key) => {
      if (key.startsWith('spool.3/')) throw new Error('the journal cannot be read');
      return key === 'spool.1/0/user1@';
    },
    begin: () => Promise.resolve({ kind: 'stored', session: 'FIRST' }),
    also: () => Promise.resolve(),
  };
  const handler = createStoreHandler({ directory, store, hostname: 'store.example.test', transfers });
  const said = async (transfer: string): Promise<string[]> => {
    const t = await handler.begin(client, null, { transfer });
    if ('refused' in t) throw new Error('refused');
    const rcpt = await t.rcpt({ address: addressOf('user1'), transferNumber: '0' });
    const data = rcpt.code === 250 ? await t.deliver(message, [0], never) : [];
    t.end();
    return [rcpt, ...data].map((r) => formatReply(r).trimEnd());
  };
  assert.deepEqual(await said('spool.1'), ['250 2.1.5 OK', '250 2.0.0 <user1> FIRST Saved']);
  assert.deepEqual(await said('spool.2'), ['552 5.2.2 <user1> full']);
  // Where nobody knows, the end of the data tells.
  assert.equal((await said('spool.3'))[0], '250 2.1.5 OK');
});

test('the detail begins at the first of several delimiters, as in Dovecot even at the first character', () => {
  const split = (text: string, delimiters: string): (string | undefined)[] => {
    const { base, detail } = splitDetail(addressOf(text), delimiters);
    return [base.local, detail];
  };
  assert.deepEqual(split('a+b-c@x.test', '-+'), ['a', 'b-c']);
  assert.deepEqual(split('a-b+c@x.test', '-+'), ['a', 'b+c']);
  assert.deepEqual(split('a+b@x.test', ''), ['a+b', undefined]);
  assert.deepEqual(split('a+@x.test', '+'), ['a', '']);
  assert.deepEqual(split('+a@x.test', '+'), ['""', 'a']);
  assert.deepEqual(split('"a b+c d"@x.test', '+'), ['"a b"', 'c d']);
});

test('no reply is longer than Exim reads, whatever the names, and none holds a line end', () => {
  const text = fc.string({ maxLength: 1100, unit: 'binary-ascii' });
  fc.assert(
    fc.property(text, text, fc.stringMatching(/^[A-Za-z0-9:]{1,60}$/), (recipient, other, session) => {
      const all = [
        replies.unknownUser(recipient, other),
        replies.temporaryError(recipient),
        replies.tooManyDeliveries(recipient),
        replies.saved(recipient, session),
        replies.storageError(recipient, Date.now()),
        replies.overQuota(recipient, other, true),
        replies.refused(recipient, other),
      ];
      for (const r of all) {
        const wire = formatReply(r);
        assert.ok(wire.length < 240, `${wire.length}: ${wire}`);
        assert.match(wire, /^[245]\d\d [245]\.\d\.\d <[^\r\n]*\r\n$/);
      }
    }),
  );
  const long = replies.saved(`${'a'.repeat(300)}@example.test`, 'SESSION');
  assert.match(formatReply(long), /^250 2\.0\.0 <a+\.\.\.a+@example\.test> SESSION Saved\r\n$/);
});

test('a local part that needs quotes keeps them in replies', async () => {
  const quoted = { local: '"no b"' as LocalPart, domain: 'x.test' as Domain };
  const handler = createStoreHandler({ directory, store: storeOf(allStored), hostname: 'h' });
  const t = await handler.begin(client, null, {});
  if ('refused' in t) throw new Error('refused');
  assert.equal(
    formatReply(await t.rcpt({ address: quoted })),
    `550 5.1.1 <"no b"@x.test> User doesn't exist: no b@x.test\r\n`,
  );
});

test('a store that is asked at RCPT answers for each recipient, by the size that was declared', async () => {
  const asked: string[] = [];
  const events: StoreEvent[] = [];
  const store: MailStore = {
    ...storeOf(allStored),
    check(user, folder, declaredBytes) {
      asked.push(`${user.username} ${folder} ${declaredBytes}`);
      if (user.username === 'user1') return { kind: 'over-quota', text: 'full' };
      if (user.username === 'user2') return Promise.resolve({ kind: 'unavailable', reason: 'no figure' });
      return user.username === 'user3' ? { kind: 'too-big', text: 'large' } : undefined;
    },
  };
  const names = ['user1', 'user2', 'user3', 'user4', 'user1+detail'];
  const said = await dialogue(store, names, { onEvent: (event) => events.push(event) });
  assert.deepEqual(said.rcpt, [
    '552 5.2.2 <user1> full',
    '451 4.3.0 <user2> Temporary internal error',
    '552 5.2.3 <user3> large',
    '250 2.1.5 OK',
    '552 5.2.2 <user1+detail> full',
  ]);
  assert.equal(said.data.length, 1);
  assert.deepEqual(asked.slice(0, 2), ['user1 undefined undefined', 'user2 undefined undefined']);
  assert.deepEqual(
    events.filter((e) => e.kind === 'refused-at-rcpt').map((e) => formatStoreEvent(e, 7)[0]),
    [
      'lmtp(user1)<7><SESSION>: Info: refused at RCPT: user1: full',
      'lmtp(user2)<7><SESSION:R2>: Error: refused at RCPT: user2: no figure',
      'lmtp(user3)<7><SESSION:R3>: Info: refused at RCPT: user3: large',
      'lmtp(user1)<7><SESSION:R5>: Info: refused at RCPT: user1+detail: full',
    ],
  );
  const later = await dialogue(store, names.slice(0, 1), { quotaFullTempfail: true });
  assert.deepEqual(later.rcpt, ['452 4.2.2 <user1> full']);
});
