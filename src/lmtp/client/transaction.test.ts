import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { disposed } from '../../../test/support/disposed.ts';
import { extensions, type Script, startScriptedServer } from '../../../test/support/scripted-server.ts';
import type { Address } from '../../mail/address.ts';
import { isSyntaxError, parseAddress } from '../../mail/address.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import { ReplyParser } from '../../protocol/reply-parser.ts';
import { connectLmtp } from './connect.ts';
import { messageFromBytes } from './content.ts';
import {
  type LmtpMessage,
  type LmtpSendOptions,
  type LmtpTransactionResult,
  sendLmtp,
} from './transaction.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (isSyntaxError(parsed)) throw new Error(parsed.text);
  return parsed;
}

const body = 'Subject: x\r\n\r\n.dot\r\nhello\r\n';

function message(
  names: readonly string[],
  content: MessageSource = messageFromBytes(Buffer.from(body)),
): LmtpMessage {
  const recipients = names.map((name) => ({ address: address(`${name}@example.test`) }));
  return { envelope: { sender: address('s@example.com'), recipients }, content };
}

/** The same content as a stream in small chunks, as from a spool file. */
function streamed(text: string, chunkOctets = 7): MessageSource {
  const bytes = Buffer.from(text, 'latin1');
  return {
    size: bytes.length,
    async *open() {
      for (let at = 0; at < bytes.length; at += chunkOctets) yield bytes.subarray(at, at + chunkOctets);
    },
  };
}

const short: LmtpSendOptions = { commandTimeoutMs: 100, finalTimeoutMs: 100, dataTimeoutMs: 100 };

async function run(
  script: Script,
  m: LmtpMessage,
  options: LmtpSendOptions = {},
): Promise<{
  result: LmtpTransactionResult;
  said: string;
  commands: readonly string[];
  contents: readonly Buffer[];
  reads: number;
  settled: boolean;
}> {
  const server = await startScriptedServer(script);
  try {
    const session = await connectLmtp(server.endpoint, { helo: 'edge.example.test', commandTimeoutMs: 100 });
    const result = await sendLmtp(session, m, options);
    const { settled } = session.connection;
    const { said, commands, contents, reads } = server;
    session.connection.destroy();
    return { result, said, commands: [...commands], contents: [...contents], reads, settled };
  } finally {
    await server[Symbol.asyncDispose]();
  }
}

/** `accepted`, `rcpt 550`, `content closed`: enough to compare. */
function brief(result: LmtpTransactionResult): string[] {
  return result.recipients.map((r) => {
    switch (r.kind) {
      case 'accepted':
        return 'accepted';
      case 'refused':
        return `${r.stage} ${r.reply.code}`;
      case 'unanswered':
        return `${r.stage} ${r.fault.kind}`;
      case 'unsupported':
        return `unsupported ${r.extension}`;
    }
  });
}

const helos = { ...extensions } as const;

for (const [name, helo] of Object.entries(helos)) {
  for (const [how, content] of [
    ['bytes', messageFromBytes(Buffer.from(body))],
    ['stream', streamed(body)],
  ] as const) {
    test(`all goes well with extensions ${name}, content as ${how}`, async () => {
      const got = await run({ helo: () => helo }, message(['a', 'b'], content));
      assert.deepEqual(brief(got.result), ['accepted', 'accepted']);
      assert.equal(got.result.end, 'clean');
      assert.ok(got.settled);
      assert.deepEqual(got.contents.map(String), [body]);
    });
  }
}

test('with PIPELINING and CHUNKING a small message is one flight; with PIPELINING alone two', async () => {
  // One read for LHLO, one for each flight.
  const all = await run({ helo: () => extensions.all }, message(['a', 'b']));
  assert.equal(all.reads, 2);
  assert.deepEqual(all.commands.slice(1), [
    'MAIL FROM:<s@example.com>',
    'RCPT TO:<a@example.test>',
    'RCPT TO:<b@example.test>',
    `BDAT ${body.length} LAST`,
  ]);
  const pipelined = await run({ helo: () => extensions.pipelining }, message(['a', 'b']));
  assert.equal(pipelined.reads, 3);
  assert.equal(pipelined.commands.at(-1), 'DATA');
});

test('large content is not sent before a recipient is accepted', async () => {
  const none = await run(
    { helo: () => extensions.all, rcpt: () => '550 5.1.1 no\r\n' },
    message(['a'], streamed(body)),
  );
  assert.deepEqual(brief(none.result), ['rcpt 550']);
  assert.equal(
    none.commands.some((c) => c.startsWith('BDAT')),
    false,
  );
  assert.equal(none.result.end, 'open');
  const limit = await run({ helo: () => extensions.all, rcpt: () => '550 no\r\n' }, message(['a']), {
    firstFlightOctets: 4,
  });
  assert.equal(
    limit.commands.some((c) => c.startsWith('BDAT')),
    false,
  );
});

test('a megabyte is streamed with back-pressure and arrives whole', async () => {
  const text = '.line with a dot\r\n'.repeat(60_000);
  for (const helo of [extensions.pipelining, extensions.all]) {
    const got = await run({ helo: () => helo }, message(['a'], streamed(text, 16_384)));
    assert.deepEqual(brief(got.result), ['accepted']);
    assert.equal(got.contents[0]?.toString('latin1'), text);
  }
});

test('replies belong to recipients by position, duplicates included', async () => {
  const m = message(['x', 'x', 'y', 'x']);
  const answers = ['250 ok\r\n', '550 5.1.1 no\r\n', '250 ok\r\n', '250 ok\r\n'];
  const content = ['250 one\r\n', '452 4.2.2 full\r\n', '250 three\r\n'];
  for (const helo of Object.values(extensions)) {
    const got = await run(
      { helo: () => helo, rcpt: (_, i) => answers[i] ?? '', content: (i) => content[i] ?? '' },
      m,
    );
    assert.deepEqual(brief(got.result), ['accepted', 'rcpt 550', 'content 452', 'accepted']);
    const [first, , , last] = got.result.recipients;
    assert.deepEqual(first?.kind === 'accepted' && first.reply.lines, ['one']);
    assert.deepEqual(last?.kind === 'accepted' && last.reply.lines, ['three']);
  }
});

const faults: readonly [
  name: string,
  script: Script,
  expected: readonly string[],
  end?: LmtpTransactionResult['end'],
][] = [
  [
    'MAIL refused',
    { mail: () => '550 5.1.7 no\r\n', rcpt: () => '503 5.5.1 MAIL first\r\n' },
    ['mail 550', 'mail 550'],
  ],
  [
    'MAIL put off',
    { mail: () => '451 4.3.0 later\r\n', rcpt: () => '503 5.5.1 MAIL first\r\n' },
    ['mail 451', 'mail 451'],
  ],
  ['3xx to MAIL', { mail: () => '354 eh\r\n' }, ['mail 354', 'mail 354']],
  [
    '3xx to RCPT',
    { rcpt: (_, i) => (i === 0 ? '354 eh\r\n' : '250 ok\r\n') },
    ['rcpt 354', 'accepted'],
    'clean',
  ],
  [
    '3xx after the content',
    { content: (i) => (i === 0 ? '354 eh\r\n' : '250 ok\r\n') },
    ['content 354', 'accepted'],
    'clean',
  ],
  [
    'too few replies, then closed',
    { content: (i) => (i === 0 ? '250 ok\r\n' : { say: '', close: true }) },
    ['accepted', 'content closed'],
    'broken',
  ],
  [
    'too few replies, then silence',
    { content: (i) => (i === 0 ? '250 ok\r\n' : '') },
    ['accepted', 'content timeout'],
    'broken',
  ],
  [
    'no reply after the content',
    { content: () => ({ say: '', close: true }) },
    ['content closed', 'content closed'],
    'broken',
  ],
  [
    'malformed second reply',
    { content: (i) => (i === 0 ? '250 ok\r\n' : 'hello\r\n') },
    ['accepted', 'content malformed'],
    'broken',
  ],
  [
    'endless line',
    { content: (i) => (i === 0 ? '250 ok\r\n' : `250 ${'x'.repeat(100_000)}`) },
    ['accepted', 'content malformed'],
    'broken',
  ],
  [
    'endless reply',
    { content: (i) => (i === 0 ? '250 ok\r\n' : '250-more\r\n'.repeat(10_000)) },
    ['accepted', 'content malformed'],
    'broken',
  ],
  [
    'code changes within a reply',
    { rcpt: () => '250-ok\r\n550 no\r\n' },
    ['rcpt malformed', 'rcpt malformed'],
    'broken',
  ],
  ['421 to MAIL', { mail: () => ({ say: '421 4.3.2 bye\r\n', close: true }) }, ['mail 421', 'mail 421']],
  [
    '421 to the second RCPT',
    { rcpt: (_, i) => (i === 0 ? '250 ok\r\n' : { say: '421 bye\r\n', close: true }) },
    ['? shutdown', 'rcpt 421'],
    'broken',
  ],
  [
    '421 to the second RCPT without closing',
    { rcpt: (_, i) => (i === 0 ? '250 ok\r\n' : '421 bye\r\n') },
    ['? shutdown', 'rcpt 421'],
    'broken',
  ],
  [
    '421 after the content',
    { content: (i) => (i === 0 ? '250 ok\r\n' : '421 bye\r\n') },
    ['accepted', 'content 421'],
  ],
  ['closed at MAIL', { mail: () => ({ say: '', close: true }) }, ['mail closed', 'mail closed'], 'broken'],
  [
    'closed at the second RCPT',
    { rcpt: (_, i) => (i === 0 ? '550 no\r\n' : { say: '', close: true }) },
    ['rcpt 550', 'rcpt closed'],
    'broken',
  ],
  [
    'silent at MAIL',
    { mail: () => '', rcpt: () => '', data: '', content: () => '', contentForNobody: '' },
    ['mail timeout', 'mail timeout'],
    'broken',
  ],
  [
    'half a reply, then closed',
    { content: (i) => (i === 0 ? '250 ok\r\n' : { say: '250-half\r\n', close: true }) },
    ['accepted', 'content closed'],
    'broken',
  ],
];

for (const [name, script, expected, end] of faults) {
  for (const [extension, helo] of Object.entries(extensions)) {
    test(`${name} (${extension})`, async () => {
      const got = await run({ ...script, helo: () => helo }, message(['a', 'b']), short);
      const stages = brief(got.result).map((text, i) =>
        expected[i]?.startsWith('?') === true ? text.replace(/^\w+/, '?') : text,
      );
      assert.deepEqual(stages, expected);
      if (end !== undefined) assert.equal(got.result.end, end);
    });
  }
}

test('too many replies: the extra one spoils the connection, not the outcome', async () => {
  for (const helo of [extensions.all, extensions.pipelining]) {
    const got = await run(
      {
        helo: () => helo,
        content: (i) => (i === 1 ? '250 ok\r\n250 more\r\n550 and more\r\n' : '250 ok\r\n'),
      },
      message(['a', 'b']),
    );
    assert.deepEqual(brief(got.result), ['accepted', 'accepted']);
    assert.equal(got.settled, false);
  }
});

test('a 2xx that comes before the content is complete is no delivery', async () => {
  const text = 'x\r\n'.repeat(500_000);
  const got = await run(
    { helo: () => extensions.pipelining, early: '250 done already\r\n' },
    message(['a', 'b'], streamed(text, 1024)),
    short,
  );
  assert.deepEqual(brief(got.result), ['content unsolicited', 'content unsolicited']);
  assert.equal(got.result.end, 'broken');
});

test('a refusal that comes before the content is complete belongs to the first recipient', async () => {
  const text = 'x\r\n'.repeat(500_000);
  const got = await run(
    { helo: () => extensions.all, early: '552 5.3.4 too big\r\n' },
    message(['a', 'b'], streamed(text, 1024)),
    short,
  );
  assert.deepEqual(brief(got.result), ['content 552', 'content unsolicited']);
});

test('DATA refused, answered with 250, or accepted although no recipient was', async () => {
  const helo = (): string => extensions.pipelining;
  const refused = await run({ helo, data: '452 4.3.1 full\r\n' }, message(['a', 'b']));
  assert.deepEqual(brief(refused.result), ['data 452', 'data 452']);
  assert.equal(refused.result.end, 'open');
  const nonsense = await run({ helo, data: '250 fine\r\n' }, message(['a']));
  assert.deepEqual(brief(nonsense.result), ['data 250']);
  assert.equal(nonsense.result.end, 'broken');
  const nobody = await run({ helo, rcpt: () => '550 no\r\n', data: '354 go\r\n' }, message(['a']));
  assert.deepEqual(brief(nobody.result), ['rcpt 550']);
  assert.equal(nobody.result.end, 'broken');
  assert.deepEqual(nobody.contents, []);
});

test('a message that cannot be read is never ended, so that no part of it is delivered', async () => {
  const broken: MessageSource = {
    size: 1000,
    async *open() {
      yield Buffer.from('Subject: half\r\n');
      throw new Error('disk gone');
    },
  };
  const shortened: MessageSource = { ...streamed(body), size: body.length + 10 };
  for (const content of [broken, shortened]) {
    for (const helo of [extensions.pipelining, extensions.all]) {
      const got = await run({ helo: () => helo }, message(['a'], content));
      assert.deepEqual(brief(got.result), ['content source']);
      assert.deepEqual(got.contents, []);
    }
  }
});

test('parameters are given as far as the server offers them', async () => {
  const helo =
    '250-test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-DSN\r\n250-IGNOREQUOTA\r\n250 SMTPUTF8\r\n';
  const m = message(['a']);
  const [recipient] = m.envelope.recipients;
  assert.ok(recipient);
  const full: LmtpMessage = {
    ...m,
    envelope: {
      ...m.envelope,
      recipients: [{ ...recipient, notify: ['success', 'failure'], orcpt: 'rfc822;a@example.test' }],
      body: '8BITMIME',
      smtputf8: true,
      ret: 'HDRS',
      envid: 'x+2B',
    },
  };
  const got = await run({ helo: () => helo }, full, { ignoreQuota: true, sizeAddition: 100 });
  assert.deepEqual(got.commands.slice(1, 3), [
    `MAIL FROM:<s@example.com> SIZE=${body.length + 100} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2B`,
    'RCPT TO:<a@example.test> IGNOREQUOTA NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@example.test',
  ]);
  const plain = await run({ helo: () => extensions.pipelining }, full);
  assert.deepEqual(brief(plain.result), ['unsupported SMTPUTF8']);
  const binary = await run(
    { helo: () => extensions.all },
    { ...m, envelope: { ...m.envelope, body: 'BINARYMIME' } },
  );
  assert.deepEqual(brief(binary.result), ['unsupported BINARYMIME']);
});

test('abort: rejects with ABORTED and closes', async (t) => {
  const server = disposed(t, await startScriptedServer({ mail: () => '' }));
  const session = await connectLmtp(server.endpoint);
  const abort = new AbortController();
  const sending = sendLmtp(session, message(['a']), {}, abort.signal);
  abort.abort();
  await assert.rejects(sending, { code: 'ABORTED' });
  assert.equal(session.connection.fault?.kind, 'aborted');
  await server.quiet();
});

// The words of the property test: what the server may say in each place.
const actArb = fc.oneof(
  { weight: 8, arbitrary: fc.constant('250 2.0.0 ok\r\n') },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '250-a\r\n250 b\r\n',
      '550 5.1.1 no\r\n',
      '451 4.3.0 later\r\n',
      '354 go\r\n',
      '252 hm\n',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '250 a\r\n250 b\r\n',
      '250 a\r\n550 b\r\n',
      '421 bye\r\n',
      'junk\r\n',
      '250-half\r\n',
      '',
      '\r\n',
      '150 wait\r\n',
      {
        say: '250 last words\r\n',
        close: true as const,
      },
      { say: '', close: true as const },
    ),
  },
);

/** What the replies said on a connection mean, told independently: a delivery needs a 2xx at RCPT and at its place after the data. */
function mayBeDelivered(said: string, recipients: number, withData: boolean): boolean[] {
  const parser = new ReplyParser();
  parser.push(Buffer.from(said, 'latin1'));
  const codes: number[] = [];
  for (let r = parser.next(); r !== undefined; r = parser.next()) codes.push(r.code);
  // Banner, LHLO, MAIL, then the RCPTs.
  const good = (code: number | undefined): boolean => code !== undefined && code >= 200 && code < 300;
  if (!good(codes[2])) return Array.from({ length: recipients }, () => false);
  const after = 3 + recipients + (withData ? 1 : 0);
  let accepted = 0;
  return Array.from({ length: recipients }, (_, i) => good(codes[3 + i]) && good(codes[after + accepted++]));
}

function replyCount(act: string | { readonly say: string }): number {
  const parser = new ReplyParser();
  parser.push(Buffer.from(typeof act === 'string' ? act : act.say, 'latin1'));
  let count = 0;
  while (parser.next() !== undefined) count++;
  return count;
}

test('property: whatever the server does, one outcome per recipient, and delivered only where it said so', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        recipients: fc.integer({ min: 1, max: 4 }),
        mail: actArb,
        rcpt: fc.array(actArb, { minLength: 4, maxLength: 4 }),
        content: fc.array(actArb, { minLength: 4, maxLength: 4 }),
        data: fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: actArb }),
        helo: fc.constantFrom(...Object.values(extensions)),
        stream: fc.boolean(),
      }),
      async (p) => {
        const names = ['a', 'a', 'b', 'a'].slice(0, p.recipients);
        const script: Script = {
          helo: () => p.helo,
          mail: () => p.mail,
          rcpt: (_, i) => p.rcpt[i] ?? '',
          content: (i) => p.content[i] ?? '',
          ...(p.data === undefined ? {} : { data: p.data }),
        };
        const m = message(names, p.stream ? streamed(body) : messageFromBytes(Buffer.from(body)));
        const replies = [p.mail, ...p.rcpt.slice(0, p.recipients), ...p.content.slice(0, p.recipients)];
        const good = p.data === undefined && replies.every((a) => a === '250 2.0.0 ok\r\n');
        const timeoutMs = good ? 20_000 : 25;
        const got = await run(script, m, {
          commandTimeoutMs: timeoutMs,
          finalTimeoutMs: timeoutMs,
          dataTimeoutMs: timeoutMs,
        });
        assert.equal(got.result.recipients.length, names.length);
        const may = mayBeDelivered(got.said, names.length, !p.helo.includes('CHUNKING'));
        // Who answers a command of the flight twice, and ends before it reads the content, cannot be told from one who
        // stored it and ended among its replies: positions are all there is.
        const inStep = [p.mail, ...p.rcpt.slice(0, p.recipients)].every((a) => replyCount(a) <= 1);
        got.result.recipients.forEach((r, i) => {
          if (r.kind === 'accepted') {
            assert.ok(may[i], `recipient ${i} was not accepted: ${JSON.stringify(got.said)}`);
            if (inStep) assert.deepEqual(got.contents.map(String), [body]);
          }
        });
        // And nothing is lost of what a well-behaved server granted.
        if (good) assert.ok(got.result.recipients.every((r) => r.kind === 'accepted'));
      },
    ),
    { numRuns: 300 },
  );
});
