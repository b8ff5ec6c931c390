import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { disposed } from '../../../test/support/disposed.ts';
import {
  type Act,
  extensions,
  type Script,
  startScriptedServer,
} from '../../../test/support/scripted-server.ts';
import { type Address, isSyntaxError, parseAddress } from '../../mail/address.ts';
import { parseQueueId } from '../../mail/message-id.ts';
import type { RecipientOutcome } from '../../mail/outcome.ts';
import type { Batch, Transport } from '../transport.ts';
import { createLmtpTransport } from './lmtp.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (isSyntaxError(parsed)) throw new Error(parsed.text);
  return parsed;
}

const bytes = Buffer.from('Subject: x\r\n\r\nhello\r\n');
const id = parseQueueId('1u2WxY-000aBc-1f');

function batch(...names: readonly string[]): Batch {
  assert.ok(id);
  return {
    id,
    sender: address('sender@example.com'),
    recipients: names.map((n) => ({ address: address(`${n}@example.test`) })),
    envelope: {},
    hosts: [{ name: 'whatmeworry' }],
    message: {
      size: bytes.length,
      bytes,
      async *open() {
        yield bytes;
      },
    },
  };
}

function transportTo(path: string): Transport {
  return createLmtpTransport('t_lmtp', {
    destination: { kind: 'socket', path },
    helo: 'edge.example.test',
    batchMax: 20,
    timeoutMs: 80,
  });
}

function brief(o: RecipientOutcome): string {
  if (o.kind === 'delivered') return `=> ${o.reply?.lines[0]}`;
  return o.kind === 'failed' ? `** ${o.status.text}` : `== ${o.scope}: ${o.status.text}`;
}

async function deliver(script: Script): Promise<string[]> {
  const server = await startScriptedServer(script);
  try {
    assert.ok(server.endpoint.kind === 'unix');
    const transport = transportTo(server.endpoint.path);
    const outcomes = await transport.deliver(batch('a', 'b'), new AbortController().signal);
    await transport.close();
    return outcomes.map(brief);
  } finally {
    await server[Symbol.asyncDispose]();
  }
}

const close: Act = { say: '', close: true };

// What Exim 4.96's lmtp transport logged for the same servers.
const cases: readonly [name: string, script: Script, expected: readonly [string, string]][] = [
  [
    'RCPT refused',
    { rcpt: (_, i) => (i === 0 ? '250 ok\r\n' : '550-5.1.1 no such user\r\n550 5.1.1 really\r\n') },
    ['=> ok', '** LMTP error after RCPT TO:<b@example.test>: 550-5.1.1 no such user\\n550 5.1.1 really'],
  ],
  [
    'MAIL put off',
    { mail: () => '450 bad\r\n' },
    [
      '== message: LMTP error after MAIL FROM:<sender@example.com>: 450 bad',
      '== message: LMTP error after MAIL FROM:<sender@example.com>: 450 bad',
    ],
  ],
  [
    'DATA refused',
    { data: '552 5.2.3 too big\r\n' },
    ['** LMTP error after DATA: 552 5.2.3 too big', '** LMTP error after DATA: 552 5.2.3 too big'],
  ],
  [
    'one mailbox full',
    { content: (i) => (i === 0 ? '250 2.0.0 ok\r\n' : '452 4.2.2 full\r\n') },
    ['=> ok', '== message: LMTP error after end of data: 452 4.2.2 full'],
  ],
  [
    'a second reply that never comes',
    { content: (i) => (i === 0 ? '250 2.0.0 ok\r\n' : '') },
    ['=> ok', `== message: LMTP timeout after end of data (${bytes.length} bytes written)`],
  ],
  [
    'closed after the first reply',
    { content: (i) => (i === 0 ? '250 2.0.0 ok\r\n' : close) },
    ['=> ok', '== message: LMTP connection closed after end of data'],
  ],
  [
    'nonsense after the first reply',
    { content: (i) => (i === 0 ? '250 2.0.0 ok\r\n' : 'xyz garbage\r\n') },
    ['=> ok', '== message: Malformed LMTP response after end of data: xyz garbage'],
  ],
  [
    'banner 554',
    { banner: '554 go away\r\n' },
    [
      '** LMTP error after initial connection: 554 go away',
      '** LMTP error after initial connection: 554 go away',
    ],
  ],
  [
    'LHLO put off',
    { helo: () => '450 no\r\n' },
    [
      '== host: LMTP error after LHLO edge.example.test: 450 no',
      '== host: LMTP error after LHLO edge.example.test: 450 no',
    ],
  ],
  [
    'silent at MAIL',
    { mail: () => '', rcpt: () => '', data: '' },
    [
      '== message: LMTP timeout after MAIL FROM:<sender@example.com>',
      '== message: LMTP timeout after MAIL FROM:<sender@example.com>',
    ],
  ],
];

for (const [name, script, expected] of cases)
  test(name, async () => assert.deepEqual(await deliver(script), expected));

test('no socket: deferred with Exim’s words, and delivered once it is there', async () => {
  const path = join(tmpdir(), 'no-such-lmtp-socket');
  const transport = transportTo(path);
  const text = `Failed to connect to socket ${path} for t_lmtp transport: No such file or directory`;
  assert.deepEqual((await transport.deliver(batch('a'), new AbortController().signal)).map(brief), [
    `== host: ${text}`,
  ]);
  await transport.close();
});

test('a command that cannot be run', async () => {
  const command = join(tmpdir(), 'no-such-command');
  const transport = createLmtpTransport('t', {
    destination: { kind: 'command', argv: [command] },
    helo: 'x',
  });
  const text = `Failed to run command ${command} for t transport: No such file or directory`;
  assert.deepEqual((await transport.deliver(batch('a'), new AbortController().signal)).map(brief), [
    `== host: ${text}`,
  ]);
  assert.deepEqual(transport.calloutTarget([]), {
    protocol: 'lmtp',
    endpoints: [{ kind: 'pipe', argv: [command] }],
    helo: 'x',
    connectTimeoutMs: 300_000,
    commandTimeoutMs: 300_000,
  });
});

test('batch_max divides; one connection serves all of it and the next message', async (t) => {
  const server = disposed(t, await startScriptedServer({ helo: () => extensions.all }));
  assert.ok(server.endpoint.kind === 'unix');
  const transport = createLmtpTransport('t', {
    destination: { kind: 'socket', path: server.endpoint.path },
    helo: 'x',
  });
  assert.equal(transport.maxRecipients, 1);
  for (let i = 0; i < 2; i++) {
    const outcomes = await transport.deliver(batch('a', 'a', 'b'), new AbortController().signal);
    assert.deepEqual(
      outcomes.map((o) => o.kind),
      ['delivered', 'delivered', 'delivered'],
    );
  }
  assert.equal(server.contents.length, 6);
  assert.equal(server.connections, 1);
  await transport.close();
});
