import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { disposed } from '../../test/support/disposed.ts';
import {
  type Act,
  extensions,
  type Script,
  type ScriptedServer,
  startScriptedServer,
} from '../../test/support/scripted-server.ts';
import type { Hints, HintsDatabase } from '../hints/hints.ts';
import { type Address, isSyntaxError, parseAddress } from '../mail/address.ts';
import { formatReply } from '../mail/reply.ts';
import { createLmtpTransport } from '../transport/drivers/lmtp.ts';
import { createSmtpTransport } from '../transport/drivers/smtp.ts';
import type { Transport } from '../transport/transport.ts';
import { createCalloutCache, defaultCalloutExpiry } from './cache.ts';
import { type Callouts, createCallouts, defaultCalloutLimits } from './callout.ts';
import type { CalloutOptions, Verifier, VerifyResult } from './verifier.ts';
import { createVerifier } from './verify.ts';
import type { VerifierParts } from './verifier-parts.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (isSyntaxError(parsed)) throw new Error(parsed.text);
  return parsed;
}

/** Hints in memory, with times as the cache gave them. */
function memoryHints(): Hints & { readonly records: Map<string, { record: unknown; expiresAtMs: number }> } {
  const records = new Map<string, { record: unknown; expiresAtMs: number }>();
  const key = (database: HintsDatabase, k: string): string => `${database} ${k}`;
  return {
    records,
    get(database, k, nowMs) {
      const found = records.get(key(database, k));
      return found !== undefined && found.expiresAtMs > nowMs ? found.record : undefined;
    },
    async put(database, k, record, expiresAtMs) {
      records.set(key(database, k), { record, expiresAtMs });
    },
    async delete(database, k) {
      records.delete(key(database, k));
    },
    entries: () => [],
    tidy: async () => 0,
    close: async () => undefined,
  };
}

function placeOf({ endpoint }: ScriptedServer): string {
  return endpoint.kind === 'unix' ? endpoint.path : '';
}

const options: CalloutOptions = {
  timeoutMs: 100,
  connectTimeoutMs: 100,
  maxWaitMs: 400,
  deferOk: false,
  noCache: true,
  sender: null,
};

interface Fixture extends AsyncDisposable {
  readonly server: ScriptedServer;
  readonly verifier: Verifier;
  readonly callouts: Callouts;
}

async function fixture(
  script: Script,
  where: 'unix' | 'tcp',
  parts: Partial<VerifierParts> = {},
): Promise<Fixture> {
  const server = await startScriptedServer(script, where);
  const { endpoint } = server;
  const protocol = script.protocol ?? 'lmtp';
  const transport: Transport =
    endpoint.kind === 'unix'
      ? createLmtpTransport('t', {
          destination: { kind: 'socket', path: endpoint.path },
          helo: 'edge.example.test',
        })
      : createSmtpTransport('t', { protocol, heloData: () => 'edge.example.test' });
  const hosts =
    endpoint.kind === 'tcp'
      ? [{ name: 'store', address: endpoint.host, port: endpoint.port }]
      : [{ name: 'whatmeworry' }];
  const callouts = createCallouts();
  const verifier = createVerifier({
    route: async (a) => ({
      kind: 'routed',
      transport: 't',
      hosts,
      address: a,
      facts: { local: a.local, domain: a.domain, addressData: 'data' },
    }),
    transport: (name) => (name === 't' ? transport : undefined),
    callouts,
    ...parts,
  });
  return {
    server,
    verifier,
    callouts,
    async [Symbol.asyncDispose]() {
      await callouts.close();
      await transport.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

const { signal } = new AbortController();

function ask(
  f: Fixture,
  name = 'a@example.test',
  callout: Partial<CalloutOptions> = {},
): Promise<VerifyResult> {
  return f.verifier.verifyRecipient({ address: address(name), callout: { ...options, ...callout } }, signal);
}

function brief(r: VerifyResult): string {
  return r.kind === 'ok' ? `ok ${r.via}` : `${r.kind} ${r.stage}`;
}

for (const where of ['unix', 'tcp'] as const) {
  test(`known and unknown over ${where}, in Exim's words`, async (t) => {
    const script: Script = {
      helo: () => extensions.all,
      rcpt: (p) => (p.startsWith('a') ? '250 ok\r\n' : '550-5.1.1 no\r\n550 5.1.1 really\r\n'),
    };
    const f = disposed(t, await fixture(script, where));
    assert.deepEqual(await ask(f), {
      kind: 'ok',
      via: 'callout',
      addressData: 'data',
      known: { local: 'a', domain: 'example.test' },
    });
    const unknown = await ask(f, 'b@example.test');
    assert.equal(brief(unknown), 'fail rcpt');
    assert.ok(unknown.kind === 'fail');
    assert.equal(
      formatReply(unknown.reply),
      '550-Callout verification failed:\r\n550-550-5.1.1 no\r\n550 550 5.1.1 really\r\n',
    );
    const peer = f.server.endpoint.kind === 'unix' ? f.server.endpoint.path : '127.0.0.1 [127.0.0.1]';
    assert.equal(
      unknown.logReason,
      `${peer} : SMTP error from remote mail server after RCPT TO:<b@example.test>: 550-5.1.1 no\\n550 5.1.1 really`,
    );
    assert.deepEqual(f.server.commands, [
      'LHLO edge.example.test',
      'MAIL FROM:<>',
      'RCPT TO:<a@example.test>',
      'RSET',
      'MAIL FROM:<>',
      'RCPT TO:<b@example.test>',
      'RSET',
    ]);
    assert.equal(f.server.connections, 1);
  });
}

const close: Act = { say: '', close: true };
const defers: readonly [name: string, script: Script, stage: string, log: RegExp][] = [
  [
    '4xx to RCPT',
    { rcpt: () => '450 4.1.1 later\r\n' },
    'rcpt',
    /: SMTP error from remote mail server after RCPT TO:<a@example\.test>: 450 4\.1\.1 later$/,
  ],
  ['3xx to RCPT', { rcpt: () => '354 go\r\n' }, 'rcpt', /354 go$/],
  ['4xx to MAIL', { mail: () => '450 later\r\n' }, 'mail', /after MAIL FROM:<>: 450 later$/],
  ['421 to RCPT', { rcpt: () => '421 bye\r\n' }, 'rcpt', /421 bye$/],
  ['421 banner', { banner: '421 busy\r\n' }, 'connect', /after initial connection: 421 busy$/],
  [
    'silence at RCPT',
    { rcpt: () => '', rset: '' },
    'rcpt',
    /: SMTP timeout after RCPT TO:<a@example\.test>$/,
  ],
  ['no banner', { banner: '' }, 'connect', /: SMTP timeout after initial connection$/],
  [
    'closed at RCPT',
    { rcpt: () => close },
    'rcpt',
    /: response to "RCPT TO:<a@example\.test>" was: connection dropped$/,
  ],
  [
    'closed at once',
    { banner: close },
    'connect',
    /: response to "initial connection" was: connection dropped$/,
  ],
  [
    'nonsense at RCPT',
    { rcpt: () => 'hello there\r\n' },
    'rcpt',
    /Malformed SMTP reply in response to RCPT TO:<a@example\.test>: hello there$/,
  ],
  ['endless at RCPT', { rcpt: () => '250-more\r\n'.repeat(5000) }, 'rcpt', /Malformed/],
  [
    'not an LMTP server',
    { banner: 'SSH-2.0-x\r\n' },
    'connect',
    /Malformed SMTP reply in response to initial connection: SSH-2\.0-x$/,
  ],
];

for (const [name, script, stage, log] of defers) {
  for (const [extension, helo] of [
    ['pipelining', extensions.pipelining],
    ['none', extensions.none],
  ] as const) {
    test(`${name} defers and teaches the cache nothing (${extension})`, async (t) => {
      const hints = memoryHints();
      const f = disposed(
        t,
        await fixture({ helo: () => helo, ...script }, 'unix', {
          cache: createCalloutCache(hints, defaultCalloutExpiry, assert.fail),
        }),
      );
      const result = await ask(f, 'a@example.test', { noCache: false });
      assert.equal(brief(result), `defer ${stage}`);
      assert.ok(result.kind === 'defer');
      assert.equal(formatReply(result.reply), '451 Could not complete recipient verify callout\r\n');
      assert.match(result.logReason, /^Could not complete recipient verify callout: /);
      assert.match(result.logReason, log);
      assert.equal(hints.records.size, 0);
      assert.deepEqual(await ask(f, 'a@example.test', { deferOk: true }), {
        kind: 'ok',
        via: 'callout',
        forgiven: stage,
        addressData: 'data',
      });
    });
  }
}

test('store down: deferred', async () => {
  const path = join(tmpdir(), 'no-such-store');
  const callouts = createCallouts();
  const transport = createLmtpTransport('t', { destination: { kind: 'socket', path }, helo: 'x' });
  const verifier = createVerifier({
    route: async (a) => ({ kind: 'routed', transport: 't', hosts: [], address: a, facts: a }),
    transport: () => transport,
    callouts,
  });
  const result = await verifier.verifyRecipient(
    { address: address('a@example.test'), callout: options },
    signal,
  );
  assert.equal(brief(result), 'defer connect');
  assert.equal(
    result.kind === 'defer' && result.logReason,
    `Could not complete recipient verify callout: ${path} : No such file or directory`,
  );
  await callouts.close();
});

test('refused at MAIL or before: fails in that stage', async (t) => {
  for (const [script, stage] of [
    [{ mail: () => '550 no bounces\r\n' }, 'mail'],
    [{ banner: '554 go away\r\n' }, 'connect'],
    [{ helo: () => '502 what\r\n' }, 'connect'],
  ] satisfies [Script, string][]) {
    const f = disposed(t, await fixture(script, 'tcp'));
    assert.equal(brief(await ask(f)), `fail ${stage}`);
  }
  const f = disposed(t, await fixture({ mail: () => '550 no bounces\r\n' }, 'tcp'));
  const result = await ask(f);
  assert.ok(result.kind === 'fail');
  assert.equal(result.logReason, '127.0.0.1 [127.0.0.1] : response to "MAIL FROM:<>" was: 550 no bounces');
  assert.equal(formatReply(result.reply), '550-Callout verification failed:\r\n550 550 no bounces\r\n');
});

test('the same question at the same time is asked once; different ones share flights', async (t) => {
  const f = disposed(
    t,
    await fixture(
      { helo: () => extensions.all, rcpt: (p) => (p.startsWith('bad') ? '550 no\r\n' : '250 ok\r\n') },
      'unix',
    ),
  );
  const names = Array.from({ length: 60 }, (_, i) => `${i % 3 === 0 ? 'bad' : 'u'}${i % 20}@example.test`);
  const results = await Promise.all(names.map((n) => ask(f, n)));
  assert.deepEqual(
    results.map((r) => r.kind),
    names.map((n) => (n.startsWith('bad') ? 'fail' : 'ok')),
  );
  const asked = f.server.commands.filter((c) => c.startsWith('RCPT'));
  assert.equal(asked.length, new Set(names).size);
  assert.equal(f.server.connections, 1);
  assert.equal(f.server.commands.filter((c) => c.startsWith('MAIL')).length, 1);
  // Not kept: the same question later is asked again.
  await ask(f, 'u1@example.test');
  assert.equal(f.server.commands.filter((c) => c.startsWith('RCPT')).length, asked.length + 1);
});

test('flights are bounded and more connections are opened for a long queue', async (t) => {
  const server = disposed(t, await startScriptedServer({ helo: () => extensions.all }));
  const callouts = createCallouts({ ...defaultCalloutLimits, maxFlight: 10, maxConnections: 3 });
  const target = {
    protocol: 'lmtp',
    endpoints: [server.endpoint],
    helo: 'x',
    connectTimeoutMs: 100,
    commandTimeoutMs: 100,
  } as const;
  const answers = await Promise.all(
    Array.from({ length: 95 }, (_, i) =>
      callouts.ask(
        {
          target,
          sender: null,
          address: address(`u${i}@example.test`),
          connectTimeoutMs: 500,
          commandTimeoutMs: 500,
          maxWaitMs: 2000,
        },
        signal,
      ),
    ),
  );
  assert.ok(answers.every((a) => a.kind === 'accepted'));
  assert.ok(server.connections > 1 && server.connections <= 3);
  assert.ok(server.commands.filter((c) => c.startsWith('MAIL')).length >= 10);
  await callouts.close();
});

test('questions with different senders go in different transactions', async (t) => {
  const f = disposed(t, await fixture({ helo: () => extensions.all }, 'unix'));
  const results = await Promise.all([
    ask(f),
    ask(f, 'a@example.test', { sender: address('s@example.com') }),
    ask(f, 'b@example.test'),
  ]);
  assert.deepEqual(results.map(brief), ['ok callout', 'ok callout', 'ok callout']);
  assert.deepEqual(
    f.server.commands.filter((c) => c.startsWith('MAIL')),
    ['MAIL FROM:<>', 'MAIL FROM:<s@example.com>'],
  );
});

test('a store that restarts, or hangs up after some unknown recipients, is asked again for those left', async (t) => {
  let refusals = 0;
  const script: Script = {
    helo: () => extensions.all,
    rcpt: (p) =>
      p.startsWith('u')
        ? '250 ok\r\n'
        : ++refusals === 3
          ? { say: '550 no\r\n421 too many errors\r\n', close: true }
          : '550 no\r\n',
  };
  const f = disposed(t, await fixture(script, 'unix'));
  const results = await Promise.all(['x1', 'x2', 'x3', 'x4', 'u5'].map((n) => ask(f, `${n}@example.test`)));
  assert.deepEqual(
    results.map((r) => r.kind),
    ['fail', 'fail', 'fail', 'fail', 'ok'],
  );
  assert.equal(f.server.connections, 2);
  await f.server.hangUp();
  assert.equal((await ask(f, 'u6@example.test')).kind, 'ok');
});

test('a place that gives no session is left alone for a while, and that is told once', async (t) => {
  const server = disposed(t, await startScriptedServer({ banner: { say: '', close: true } }, 'tcp'));
  const notes: string[] = [];
  const callouts = createCallouts({ ...defaultCalloutLimits, firstRestMs: 150, longestRestMs: 300 }, (text) =>
    notes.push(text),
  );
  const question = {
    target: {
      protocol: 'lmtp',
      endpoints: [server.endpoint],
      helo: 'x',
      connectTimeoutMs: 500,
      commandTimeoutMs: 500,
    },
    sender: null,
    connectTimeoutMs: 500,
    commandTimeoutMs: 500,
    maxWaitMs: 1000,
  } as const;
  const askFor = (name: string) =>
    callouts.ask({ ...question, address: address(`${name}@example.test`) }, signal);
  assert.equal((await askFor('a')).kind, 'unclear');
  assert.equal((await askFor('b')).kind, 'unclear');
  assert.equal(server.connections, 1);
  server.script = {};
  assert.equal((await askFor('c')).kind, 'unclear');
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal((await askFor('d')).kind, 'accepted');
  assert.equal(server.connections, 2);
  assert.equal(notes.length, 2);
  assert.match(notes[0] ?? '', /gives no session; it is asked again in 150 ms/);
  assert.match(notes[1] ?? '', /answers again/);
  await callouts.close();
});

test('the size that the client gave is passed on, and a full mailbox is not remembered as unknown', async (t) => {
  const hints = memoryHints();
  const f = disposed(
    t,
    await fixture(
      {
        helo: () => '250-test\r\n250-PIPELINING\r\n250 SIZE 50000000\r\n',
        rcpt: (p) => (p.startsWith('full') ? '552 5.2.2 full\r\n' : '250 ok\r\n'),
      },
      'unix',
      { cache: createCalloutCache(hints, defaultCalloutExpiry, assert.fail) },
    ),
  );
  const cached = { noCache: false, sizeOctets: 12_345 };
  assert.equal(brief(await ask(f, 'full@example.test', cached)), 'fail rcpt');
  assert.equal(brief(await ask(f, 'full@example.test', cached)), 'fail rcpt');
  assert.equal(brief(await ask(f, 'other@example.test', cached)), 'ok callout');
  const mails = f.server.commands.filter((c) => c.startsWith('MAIL'));
  assert.deepEqual(
    mails,
    Array.from({ length: 3 }, () => 'MAIL FROM:<> SIZE=12345'),
  );
  assert.deepEqual([...hints.records.keys()].sort(), ['callout example.test', 'callout other@example.test']);
});

test('the next host is asked only where the one before gave no clear answer', async (t) => {
  const vague = disposed(t, await startScriptedServer({ rcpt: () => '450 later\r\n' }, 'tcp'));
  const clear = disposed(
    t,
    await startScriptedServer({ rcpt: (p) => (p.startsWith('a') ? '250 ok\r\n' : '550 no\r\n') }, 'tcp'),
  );
  const callouts = createCallouts();
  const base = { sender: null, connectTimeoutMs: 100, commandTimeoutMs: 100, maxWaitMs: 1000 };
  const target = (endpoints: readonly ScriptedServer[]) =>
    ({
      protocol: 'lmtp',
      endpoints: endpoints.map((s) => s.endpoint),
      helo: 'x',
      connectTimeoutMs: 100,
      commandTimeoutMs: 100,
    }) as const;
  const a = await callouts.ask(
    { ...base, target: target([vague, clear]), address: address('a@example.test') },
    signal,
  );
  const b = await callouts.ask(
    { ...base, target: target([clear, vague]), address: address('b@example.test') },
    signal,
  );
  assert.deepEqual([a.kind, b.kind], ['accepted', 'refused']);
  assert.equal(vague.commands.filter((c) => c.startsWith('RCPT')).length, 1);
  await callouts.close();
});

test('maxwait bounds the whole question; an abort ends the wait of one who asked, not of the other', async (t) => {
  const f = disposed(t, await fixture({ rcpt: () => '', rset: '' }, 'unix'));
  assert.equal(brief(await ask(f, 'a@example.test', { timeoutMs: 60_000, maxWaitMs: 50 })), 'defer connect');
  const abort = new AbortController();
  const request = {
    address: address('b@example.test'),
    callout: { ...options, timeoutMs: 300, maxWaitMs: 300 },
  };
  const first = f.verifier.verifyRecipient(request, abort.signal);
  const second = f.verifier.verifyRecipient(request, signal);
  abort.abort();
  await assert.rejects(first, { code: 'ABORTED' });
  assert.equal((await second).kind, 'defer');
});

test('routing decides first; what cannot be asked is deferred, never accepted', async () => {
  const callouts = createCallouts();
  const result = async (parts: Partial<VerifierParts>, callout: boolean): Promise<VerifyResult> => {
    const verifier = createVerifier({
      route: async () => ({ kind: 'discard' }),
      transport: () => undefined,
      callouts,
      ...parts,
    });
    return verifier.verifyRecipient(
      { address: address('a@example.test'), ...(callout ? { callout: options } : {}) },
      signal,
    );
  };
  const failed = await result(
    { route: async () => ({ kind: 'fail', reason: { text: 'Unrouteable address' } }) },
    true,
  );
  assert.deepEqual(failed, {
    kind: 'fail',
    stage: 'route',
    reply: { code: 550, lines: ['Unrouteable address'] },
    logReason: 'Unrouteable address',
  });
  const deferred = await result(
    { route: async () => ({ kind: 'defer', reason: { text: 'failed to open /secret/file' } }) },
    true,
  );
  assert.deepEqual(deferred, {
    kind: 'defer',
    stage: 'route',
    reply: { code: 451, lines: ['Temporary local problem - please try later'] },
    logReason: 'failed to open /secret/file',
  });
  const broken = await result({ route: () => Promise.reject(new Error('bug')) }, false);
  assert.equal(brief(broken), 'defer route');
  assert.equal(brief(await result({}, true)), 'ok route');
  const routed = {
    kind: 'routed',
    hosts: [],
    address: address('a@example.test'),
    facts: address('a@example.test'),
  } as const;
  assert.equal(brief(await result({ route: async () => routed }, false)), 'ok route');
  for (const [parts, log] of [
    [{ route: async () => routed }, /sets no transport/],
    [{ route: async () => ({ ...routed, transport: 'gone' }) }, /no transport gone/],
    [
      {
        route: async () => ({ ...routed, transport: 't' }),
        transport: () => createSmtpTransport('t', { heloData: () => 'x' }),
      },
      /neither router nor transport provided a host list/,
    ],
  ] satisfies [Partial<VerifierParts>, RegExp][]) {
    const r = await result(parts, true);
    assert.equal(brief(r), 'defer connect');
    assert.match(r.kind === 'defer' ? r.logReason : '', log);
  }
});

test('cache: answers are kept as long as Exim keeps them, per sender, and used without asking', async (t) => {
  const hints = memoryHints();
  let now = 1_000_000;
  const cache = createCalloutCache(hints, defaultCalloutExpiry, assert.fail);
  const f = disposed(
    t,
    await fixture({ rcpt: (p) => (p.startsWith('a') ? '250 ok\r\n' : '550 no\r\n') }, 'unix', {
      cache,
      nowMs: () => now,
    }),
  );
  const cached = { noCache: false };
  const rcpts = (): number => f.server.commands.filter((c) => c.startsWith('RCPT')).length;
  assert.equal(brief(await ask(f, 'a@example.test', cached)), 'ok callout');
  assert.deepEqual(await ask(f, 'a@example.test', cached), {
    kind: 'ok',
    via: 'cache',
    addressData: 'data',
    known: { local: 'a', domain: 'example.test' },
  });
  assert.equal(brief(await ask(f, 'b@example.test', cached)), 'fail rcpt');
  const reused = await ask(f, 'b@example.test', cached);
  assert.deepEqual(reused, {
    kind: 'fail',
    stage: 'rcpt',
    reply: { code: 550, lines: ['Callout verification failed:', '550 no'] },
    logReason: `Previous (cached) callout verification failure ${placeOf(f.server)} : SMTP error from remote mail server after RCPT TO:<b@example.test>: 550 no`,
    addressData: 'data',
  });
  assert.equal(rcpts(), 2);
  // no_cache neither reads nor writes; another sender is another question.
  await ask(f, 'a@example.test');
  await ask(f, 'a@example.test', { ...cached, sender: address('s@example.com') });
  assert.equal(rcpts(), 4);
  assert.deepEqual([...hints.records.keys()].sort(), [
    'callout a@example.test',
    'callout a@example.test/<s@example.com>',
    'callout b@example.test',
    'callout example.test',
  ]);
  const expiry = (key: string): number => (hints.records.get(`callout ${key}`)?.expiresAtMs ?? 0) - now;
  assert.deepEqual(
    [expiry('a@example.test'), expiry('b@example.test'), expiry('example.test')],
    [86_400_000, 7_200_000, 604_800_000],
  );
  now += 7_200_001;
  assert.equal(brief(await ask(f, 'a@example.test', cached)), 'ok cache');
  assert.equal(brief(await ask(f, 'b@example.test', cached)), 'fail rcpt');
  assert.equal(rcpts(), 5);
});

test('cache: a refused MAIL FROM:<> fails the whole domain for callouts with that sender, a refused banner does not', async (t) => {
  const hints = memoryHints();
  const now = 1_000_000;
  const cache = createCalloutCache(hints, defaultCalloutExpiry, assert.fail);
  const f = disposed(
    t,
    await fixture({ mail: (p) => (p === '' ? '550 no bounces\r\n' : '250 ok\r\n') }, 'unix', {
      cache,
      nowMs: () => now,
    }),
  );
  const cached = { noCache: false };
  assert.equal(brief(await ask(f, 'a@example.test', cached)), 'fail mail');
  const before = f.server.commands.length;
  const other = await ask(f, 'b@EXAMPLE.test', cached);
  assert.deepEqual(other, {
    kind: 'fail',
    stage: 'mail',
    reply: { code: 550, lines: ['Callout verification failed:', '550 no bounces'] },
    logReason: `(result of an earlier callout reused). ${placeOf(f.server)} : response to "MAIL FROM:<>" was: 550 no bounces`,
    addressData: 'data',
  });
  assert.equal(f.server.commands.length, before);
  assert.equal((hints.records.get('callout example.test')?.expiresAtMs ?? 0) - now, 10_800_000);
  assert.equal(
    brief(await ask(f, 'b@example.test', { ...cached, sender: address('s@example.com') })),
    'ok callout',
  );
  const clean = memoryHints();
  const g = disposed(
    t,
    await fixture({ banner: '554 go away\r\n' }, 'unix', {
      cache: createCalloutCache(clean, defaultCalloutExpiry, assert.fail),
    }),
  );
  assert.equal(brief(await ask(g, 'a@example.test', cached)), 'fail connect');
  assert.equal(clean.records.size, 0);
});

test('sender: the reply tells what was sent and answered', async (t) => {
  const f = disposed(
    t,
    await fixture({ protocol: 'smtp', rcpt: () => '550-5.1.1 no\r\n550 5.1.1 really no\r\n' }, 'tcp'),
  );
  const result = await f.verifier.verifySender(
    { address: address('s@example.com'), callout: options },
    signal,
  );
  assert.ok(result.kind === 'fail');
  assert.deepEqual(result.reply.lines, [
    'Called:   127.0.0.1',
    'Sent:     RCPT TO:<s@example.com>',
    'Response: 550-5.1.1 no',
    '550 5.1.1 really no',
  ]);
  f.server.script = { protocol: 'smtp', rcpt: () => '450 later\r\n' };
  const later = await f.verifier.verifySender(
    { address: address('s@example.com'), callout: options },
    signal,
  );
  assert.equal(later.kind === 'defer' && later.reply.lines[0], 'Could not complete sender verify callout');
});

test('random: a server that takes anybody, or cannot say, is not asked about somebody', async (t) => {
  const hints = memoryHints();
  const cache = createCalloutCache(hints, defaultCalloutExpiry, assert.fail);
  let random = '250 anybody\r\n';
  const f = disposed(
    t,
    await fixture(
      { rcpt: (p) => (p.startsWith('nobody@') ? random : p.startsWith('a') ? '250 ok\r\n' : '550 no\r\n') },
      'unix',
      { cache, randomLocalPart: async () => address('nobody@x').local },
    ),
  );
  const asked = (): string[] =>
    f.server.commands.filter((c) => c.startsWith('RCPT')).map((c) => /<(.*)>/.exec(c)?.[1] ?? '');
  const cached = { noCache: false, random: true };
  assert.deepEqual(await ask(f, 'b@all.test', cached), {
    kind: 'ok',
    via: 'callout',
    random: true,
    addressData: 'data',
  });
  assert.deepEqual(await ask(f, 'c@all.test', cached), {
    kind: 'ok',
    via: 'cache',
    random: true,
    addressData: 'data',
  });
  assert.deepEqual(asked(), ['nobody@all.test']);
  random = '451 later\r\n';
  assert.equal(brief(await ask(f, 'a@later.test', cached)), 'defer rcpt');
  assert.deepEqual(asked().slice(1), ['nobody@later.test']);
  random = '550 nobody\r\n';
  // What was learnt a moment ago counts, though the hints need not have it yet.
  assert.equal(brief(await ask(f, 'a@some.test', cached)), 'ok callout');
  assert.equal(brief(await ask(f, 'b@some.test', cached)), 'fail rcpt');
  assert.deepEqual(asked().slice(2), ['nobody@some.test', 'a@some.test', 'b@some.test']);
});

test('postmaster: asked with its own sender, remembered for the domain, and only then the address', async (t) => {
  const hints = memoryHints();
  const cache = createCalloutCache(hints, defaultCalloutExpiry, assert.fail);
  let postmaster = '451 busy\r\n';
  const f = disposed(
    t,
    await fixture({ rcpt: (p) => (p.startsWith('postmaster') ? postmaster : '250 ok\r\n') }, 'unix', {
      cache,
    }),
  );
  const asked = (): number => f.server.commands.filter((c) => c.startsWith('RCPT')).length;
  const cached = { noCache: false, postmaster: { sender: address('pm@example.com'), full: false } };
  assert.equal(brief(await ask(f, 'a@example.test', cached)), 'defer rcpt');
  assert.ok(f.server.commands.includes('MAIL FROM:<pm@example.com>'));
  postmaster = '550 none\r\n';
  assert.equal(brief(await ask(f, 'a@example.test', cached)), 'fail postmaster');
  assert.equal(asked(), 4);
  assert.equal(brief(await ask(f, 'b@example.test', cached)), 'fail postmaster');
  assert.equal(asked(), 4);
  // Without the parameter its postmaster does not matter.
  assert.equal(brief(await ask(f, 'a@example.test', { noCache: false })), 'ok cache');
});

test('two lessons of one callout are both kept where the hints are slow', async () => {
  const slow = memoryHints();
  const put = slow.put.bind(slow);
  slow.put = async (...words) => {
    await new Promise((resolve) => setImmediate(resolve));
    return put(...words);
  };
  const cache = createCalloutCache(slow, defaultCalloutExpiry, assert.fail);
  const subject = address('a@example.test');
  cache.remember(subject, null, { of: 'random', result: 'reject' }, 1000);
  cache.remember(subject, null, { of: 'address', result: 'accept' }, 1000);
  const question = { address: address('b@example.test'), sender: null, random: true, postmaster: false };
  assert.deepEqual(cache.lookup(question, 1000), { kind: 'ask', random: 'reject' });
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(cache.lookup(question, 1000), { kind: 'ask', random: 'reject' });
});
