import assert from 'node:assert/strict';
import { test } from 'node:test';
import { disposed } from '../../../test/support/disposed.ts';
import {
  type Act,
  extensions,
  type Script,
  type ScriptedServer,
  startScriptedServer,
} from '../../../test/support/scripted-server.ts';
import { isSyntaxError, parseAddress, type Address } from '../../mail/address.ts';
import { parseQueueId, type QueueId } from '../../mail/message-id.ts';
import type { RecipientOutcome } from '../../mail/outcome.ts';
import type { RouteHost } from '../../mail/route-host.ts';
import type { Batch } from '../transport.ts';
import { createSmtpTransport, type SmtpTransportOptions } from './smtp.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (isSyntaxError(parsed)) throw new Error(parsed.text);
  return parsed;
}

function queueId(): QueueId {
  const id = parseQueueId('1u2WxY-000aBc-1f');
  assert.ok(id);
  return id;
}

const bytes = Buffer.from('Subject: x\r\n\r\nhello\r\n');

function batch(recipients: readonly string[], hosts: readonly RouteHost[]): Batch {
  return {
    id: queueId(),
    sender: address('sender@example.com'),
    recipients: recipients.map((r) => ({ address: address(r) })),
    envelope: {},
    hosts,
    message: {
      size: bytes.length,
      bytes,
      async *open() {
        yield bytes;
      },
    },
  };
}

function hostOf(server: ScriptedServer): RouteHost {
  assert.ok(server.endpoint.kind === 'tcp');
  return { name: '127.0.0.1', address: '127.0.0.1', port: server.endpoint.port };
}

const quick = {
  connectTimeoutMs: 200,
  commandTimeoutMs: 80,
  dataTimeoutMs: 80,
  finalTimeoutMs: 80,
  heloData: () => 'edge.example.test',
};
const both = ['a@example.test', 'b@example.test'];

function brief(o: RecipientOutcome | undefined): string {
  if (o === undefined) return 'missing';
  if (o.kind === 'delivered') return `=> ${o.reply?.lines[0]}`;
  return o.kind === 'failed' ? `** ${o.status.text}` : `== ${o.scope}: ${o.status.text}`;
}

async function deliver(
  script: Script,
  options: Partial<SmtpTransportOptions> = {},
  recipients: readonly string[] = both,
): Promise<string[]> {
  const server = await startScriptedServer(script, 'tcp');
  try {
    const transport = createSmtpTransport('t', {
      ...quick,
      ...(script.protocol === undefined ? {} : { protocol: script.protocol }),
      ...options,
    });
    const outcomes = await transport.deliver(
      batch(recipients, [hostOf(server)]),
      new AbortController().signal,
    );
    await transport.close();
    return outcomes.map(brief);
  } finally {
    await server[Symbol.asyncDispose]();
  }
}

const close: Act = { say: '', close: true };
const x = 'SMTP error from remote mail server after';

// What Exim 4.96 logged for the same servers; both protocols unless the case says otherwise.
const cases: readonly [
  name: string,
  script: Script,
  expected: readonly [string, string],
  only?: 'smtp' | 'lmtp',
][] = [
  [
    'one RCPT refused with two lines',
    { rcpt: (_, i) => (i === 0 ? '250 ok\r\n' : '550-5.1.1 no such user\r\n550 5.1.1 really\r\n') },
    ['=> ok', `** ${x} RCPT TO:<b@example.test>: 550-5.1.1 no such user\\n550 5.1.1 really`],
  ],
  [
    'RCPT put off',
    { rcpt: (_, i) => (i === 0 ? '450 later\r\n' : '250 ok\r\n') },
    [`== address: ${x} RCPT TO:<a@example.test>: 450 later`, '=> ok'],
  ],
  [
    'MAIL refused',
    { mail: () => '550 5.1.7 bad\r\n' },
    [
      `** ${x} pipelined MAIL FROM:<sender@example.com>: 550 5.1.7 bad`,
      `** ${x} pipelined MAIL FROM:<sender@example.com>: 550 5.1.7 bad`,
    ],
  ],
  [
    'MAIL put off',
    { mail: () => '450 bad\r\n' },
    [
      `== message: ${x} pipelined MAIL FROM:<sender@example.com>: 450 bad`,
      `== message: ${x} pipelined MAIL FROM:<sender@example.com>: 450 bad`,
    ],
  ],
  [
    'DATA refused',
    { data: '552 5.2.3 too big\r\n' },
    [`** ${x} pipelined DATA: 552 5.2.3 too big`, `** ${x} pipelined DATA: 552 5.2.3 too big`],
  ],
  [
    'banner 554',
    { banner: '554 go away\r\n' },
    [`** ${x} initial connection: 554 go away`, `** ${x} initial connection: 554 go away`],
  ],
  [
    'banner 421',
    { banner: '421 busy\r\n' },
    [`== host: ${x} initial connection: 421 busy`, `== host: ${x} initial connection: 421 busy`],
  ],
  [
    'closed before the banner',
    { banner: close },
    [
      '== host: Remote host closed connection in response to initial connection',
      '== host: Remote host closed connection in response to initial connection',
    ],
  ],
  [
    'no banner',
    { banner: '' },
    ['== host: SMTP timeout after initial connection', '== host: SMTP timeout after initial connection'],
  ],
  [
    'a banner that is none',
    { banner: 'garbage\r\n' },
    [
      '== host: Malformed SMTP reply in response to initial connection: garbage',
      '== host: Malformed SMTP reply in response to initial connection: garbage',
    ],
  ],
  [
    'LHLO refused',
    { helo: () => '502 no\r\n' },
    [`** ${x} LHLO edge.example.test: 502 no`, `** ${x} LHLO edge.example.test: 502 no`],
    'lmtp',
  ],
  [
    'EHLO and HELO refused',
    { helo: () => '502 no\r\n' },
    [`** ${x} HELO edge.example.test: 502 no`, `** ${x} HELO edge.example.test: 502 no`],
    'smtp',
  ],
  [
    'closed at MAIL',
    { mail: () => close },
    [
      '== host: Remote host closed connection in response to pipelined MAIL FROM:<sender@example.com>',
      '== host: Remote host closed connection in response to pipelined MAIL FROM:<sender@example.com>',
    ],
  ],
  [
    'closed at the second RCPT',
    { rcpt: (_, i) => (i === 0 ? '250 ok\r\n' : close) },
    [
      '== host: Remote host closed connection in response to pipelined RCPT TO:<b@example.test>',
      '== host: Remote host closed connection in response to pipelined RCPT TO:<b@example.test>',
    ],
  ],
  [
    'closed after the content',
    { content: () => close },
    [
      '== message: Remote host closed connection in response to end of data',
      '== message: Remote host closed connection in response to end of data',
    ],
  ],
  [
    'silent after the content',
    { content: () => '' },
    [
      `== message: SMTP timeout after end of data (${bytes.length} bytes written)`,
      `== message: SMTP timeout after end of data (${bytes.length} bytes written)`,
    ],
  ],
  [
    'nonsense after the content',
    { content: () => 'garbage\r\n' },
    [
      '== message: Malformed SMTP reply in response to end of data: garbage',
      '== message: Malformed SMTP reply in response to end of data: garbage',
    ],
  ],
  [
    'content refused',
    { content: () => '552 5.2.2 full\r\n' },
    [`** ${x} end of data: 552 5.2.2 full`, `** ${x} end of data: 552 5.2.2 full`],
    'smtp',
  ],
  [
    'content refused for one',
    { content: (i) => (i === 0 ? '552 5.2.2 full\r\n' : '250 2.0.0 ok\r\n') },
    ['** LMTP error after DATA: 552 5.2.2 full', '=> ok'],
    'lmtp',
  ],
  [
    'content put off for one',
    { content: (i) => (i === 0 ? '250 2.0.0 ok\r\n' : '452 4.2.2 full\r\n') },
    ['=> ok', '== message: LMTP error after DATA: 452 4.2.2 full'],
    'lmtp',
  ],
];

for (const [name, script, expected, only] of cases) {
  for (const protocol of ['smtp', 'lmtp'] as const) {
    if (only !== undefined && only !== protocol) continue;
    test(`${name} (${protocol})`, async () =>
      assert.deepEqual(await deliver({ ...script, protocol }), expected));
  }
}

test('outcomes carry the host, the reply, its status and the peer', async (t) => {
  const server = disposed(
    t,
    await startScriptedServer(
      { protocol: 'lmtp', rcpt: (p) => (p.startsWith('b') ? '550 5.1.1 no\r\n' : '250 ok\r\n') },
      'tcp',
    ),
  );
  const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp' });
  const host = hostOf(server);
  const [a, b] = await transport.deliver(batch(both, [host]), new AbortController().signal);
  const link = a?.kind === 'delivered' ? a.link : undefined;
  assert.deepEqual(a, {
    kind: 'delivered',
    reply: { code: 250, status: '2.0.0', lines: ['ok'] },
    host,
    link,
  });
  assert.deepEqual([link?.port, link?.local?.address, link?.pipelined], [host.port, '127.0.0.1', true]);
  assert.deepEqual(b?.kind === 'failed' && [b.status.code, b.status.reply?.code, b.status.peer], [
    '5.1.1',
    550,
    '127.0.0.1 [127.0.0.1]',
  ]);
  await transport.close();
});

test('one reply to the final dot is every accepted recipient’s in SMTP; HELO serves where EHLO is refused', async () => {
  const helo = (verb: string): string => (verb === 'EHLO' ? '502 no\r\n' : '250 test\r\n');
  assert.deepEqual(await deliver({ protocol: 'smtp', helo, content: () => '250 queued\r\n' }), [
    '=> queued',
    '=> queued',
  ]);
});

test('hosts are tried in order: whoever was put off goes to the next, who was settled does not', async (t) => {
  const first = disposed(
    t,
    await startScriptedServer(
      {
        protocol: 'lmtp',
        rcpt: (p) => (p.startsWith('a') ? '450 later\r\n' : p.startsWith('b') ? '550 no\r\n' : '250 ok\r\n'),
      },
      'tcp',
    ),
  );
  const second = disposed(
    t,
    await startScriptedServer({ protocol: 'lmtp', content: () => '250 second\r\n' }, 'tcp'),
  );
  const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp' });
  const three = ['a@example.test', 'b@example.test', 'c@example.test'];
  const outcomes = await transport.deliver(
    batch(three, [hostOf(first), hostOf(second)]),
    new AbortController().signal,
  );
  assert.deepEqual(outcomes.map(brief), ['=> second', `** ${x} RCPT TO:<b@example.test>: 550 no`, '=> ok']);
  assert.deepEqual(
    second.commands.filter((c) => c.startsWith('RCPT')),
    ['RCPT TO:<a@example.test>'],
  );
  await transport.close();
});

test('a host that refuses the connection is passed over; the last one’s words stay', async (t) => {
  const gone = await startScriptedServer({}, 'tcp');
  const host = hostOf(gone);
  await gone[Symbol.asyncDispose]();
  const alive = disposed(t, await startScriptedServer({ protocol: 'lmtp' }, 'tcp'));
  const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp' });
  const { signal } = new AbortController();
  assert.deepEqual((await transport.deliver(batch(both, [host, hostOf(alive)]), signal)).map(brief), [
    '=> ok',
    '=> ok',
  ]);
  const outcomes = await transport.deliver(batch(both, [host]), signal);
  assert.deepEqual(outcomes.map(brief), ['== host: Connection refused', '== host: Connection refused']);
  assert.deepEqual((await transport.deliver(batch(both, []), signal)).map(brief), [
    '== host: t transport called with no hosts set',
    '== host: t transport called with no hosts set',
  ]);
  await transport.close();
});

test('max_rcpt and multi_domain divide a batch; outcomes keep their places', async (t) => {
  const server = disposed(
    t,
    await startScriptedServer(
      {
        protocol: 'lmtp',
        helo: () => extensions.all,
        rcpt: (p) => (p.startsWith('bad') ? '550 no\r\n' : '250 ok\r\n'),
      },
      'tcp',
    ),
  );
  const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp', maxRcpt: 2, multiDomain: false });
  const recipients = ['a@one.test', 'bad@two.test', 'b@one.test', 'c@ONE.test', 'd@two.test'];
  const outcomes = await transport.deliver(batch(recipients, [hostOf(server)]), new AbortController().signal);
  assert.deepEqual(
    outcomes.map((o) => o.kind),
    ['delivered', 'failed', 'delivered', 'delivered', 'delivered'],
  );
  assert.equal(server.commands.filter((c) => c.startsWith('MAIL')).length, 3);
  assert.equal(transport.maxRecipients, 2);
  await transport.close();
});

test('the transport’s own hosts: used without router hosts or with hosts_override, and not this machine unless allowed', async (t) => {
  const server = disposed(t, await startScriptedServer({ protocol: 'lmtp' }, 'tcp'));
  const { port } = hostOf(server);
  assert.ok(port !== undefined);
  const { signal } = new AbortController();
  const base = {
    ...quick,
    protocol: 'lmtp' as const,
    port,
    hosts: [{ name: 'store.example.test' }],
    resolve: async () => ['127.0.0.1'],
  };
  const shut = createSmtpTransport('t', base);
  assert.deepEqual(
    brief((await shut.deliver(batch(['a@example.test'], []), signal))[0]),
    '== host: store.example.test [127.0.0.1] is the local host, and allow_localhost is not set',
  );
  const open = createSmtpTransport('t', { ...base, allowLocalhost: true, hostsOverride: true });
  const elsewhere = { name: 'never.example.test', address: '192.0.2.1' };
  const [o] = await open.deliver(batch(['a@example.test'], [elsewhere]), signal);
  assert.deepEqual(o?.kind === 'delivered' && o.host, {
    name: 'store.example.test',
    address: '127.0.0.1',
    port,
  });
  const lost = createSmtpTransport('t', { ...base, resolve: () => Promise.reject(new Error('no')) });
  assert.equal(
    brief((await lost.deliver(batch(['a@example.test'], []), signal))[0]),
    '== host: no IP address found for host store.example.test',
  );
  await Promise.all([shut.close(), open.close(), lost.close()]);
});

test('connection_max_messages, and one connection for messages that follow each other', async (t) => {
  const server = disposed(t, await startScriptedServer({ protocol: 'lmtp' }, 'tcp'));
  const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp', connectionMaxMessages: 2 });
  for (let i = 0; i < 4; i++)
    await transport.deliver(batch(both, [hostOf(server)]), new AbortController().signal);
  assert.equal(server.connections, 2);
  await transport.close();
});

test('SIZE carries the message size and size_addition; helo_data that fails defers', async (t) => {
  const server = disposed(
    t,
    await startScriptedServer({ protocol: 'smtp', helo: () => '250-test\r\n250 SIZE\r\n' }, 'tcp'),
  );
  const transport = createSmtpTransport('t', { ...quick });
  await transport.deliver(batch(['a@example.test'], [hostOf(server)]), new AbortController().signal);
  assert.ok(server.commands.includes(`MAIL FROM:<sender@example.com> SIZE=${bytes.length + 1024}`));
  await transport.close();
  const without = createSmtpTransport('t', {
    ...quick,
    heloData: () => ({ problem: 'failed to expand helo_data' }),
  });
  const [o] = await without.deliver(
    batch(['a@example.test'], [hostOf(server)]),
    new AbortController().signal,
  );
  assert.equal(brief(o), '== host: failed to expand helo_data');
  assert.deepEqual(without.calloutTarget([hostOf(server)]), {
    kind: 'impossible',
    reason: 'failed to expand helo_data',
  });
});

test('IGNOREQUOTA is asked for where it is wanted and offered', async (t) => {
  for (const offered of [true, false]) {
    const server = disposed(
      t,
      await startScriptedServer(
        { helo: () => `250-test\r\n250 ${offered ? 'IGNOREQUOTA' : 'HELP'}\r\n` },
        'tcp',
      ),
    );
    const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp', ignoreQuota: true });
    const [outcome] = await transport.deliver(
      batch(['a@example.test'], [hostOf(server)]),
      new AbortController().signal,
    );
    assert.equal(outcome?.kind, 'delivered');
    assert.equal(server.commands.includes('RCPT TO:<a@example.test> IGNOREQUOTA'), offered);
    await transport.close();
  }
});

test('callout target: endpoints in order with the default port; impossible without hosts', () => {
  const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp' });
  assert.deepEqual(
    transport.calloutTarget([
      { name: 'h', address: '192.0.2.1' },
      { name: 'h2', address: '192.0.2.2', port: 2525 },
    ]),
    {
      protocol: 'lmtp',
      endpoints: [
        { kind: 'tcp', host: '192.0.2.1', port: 24 },
        { kind: 'tcp', host: '192.0.2.2', port: 2525 },
      ],
      helo: 'edge.example.test',
      connectTimeoutMs: 200,
      commandTimeoutMs: 80,
    },
  );
  assert.equal('kind' in transport.calloutTarget([]), true);
});

test('aborted: rejects', async (t) => {
  const server = disposed(t, await startScriptedServer({ protocol: 'lmtp', mail: () => '' }, 'tcp'));
  const transport = createSmtpTransport('t', { ...quick, protocol: 'lmtp', commandTimeoutMs: 60_000 });
  const abort = new AbortController();
  const delivering = transport.deliver(batch(both, [hostOf(server)]), abort.signal);
  abort.abort();
  await assert.rejects(delivering, { code: 'ABORTED' });
  await transport.close();
});
