import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import {
  createLmtpServer,
  formatPath,
  reply,
  type Listener,
  type LmtpHandler,
  type LmtpIncident,
  type LmtpServerOptions,
  type MessageSource,
  type Recipient,
  type Reply,
} from './index.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-lmtp-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let sockets = 0;

interface Server {
  readonly listener: Listener;
  readonly incidents: LmtpIncident[];
  close(graceMs?: number): Promise<void>;
}

async function serve(handler: Partial<Handler>, options: Partial<LmtpServerOptions> = {}): Promise<Server> {
  const incidents: LmtpIncident[] = [];
  const server = createLmtpServer(
    { hostname: 'store.example.test', onIncident: (i) => void incidents.push(i), ...options },
    handlerOf(handler),
  );
  const listener = await server.listen({ kind: 'unix', path: path.join(folder, `s${sockets++}`) });
  return { listener, incidents, close: (graceMs) => server.close(graceMs) };
}

interface Handler {
  rcpt(r: Recipient): Promise<Reply>;
  deliver(
    content: MessageSource,
    accepted: readonly number[],
    recipients: readonly Recipient[],
    signal: AbortSignal,
  ): Promise<readonly Reply[]>;
  end(): void;
}

function handlerOf(h: Partial<Handler>): LmtpHandler {
  return {
    begin: async () => {
      const recipients: Recipient[] = [];
      return {
        rcpt: async (r) => {
          recipients.push(r);
          return h.rcpt?.(r) ?? reply(250, '2.1.5', 'OK');
        },
        deliver: async (content, accepted, signal) =>
          h.deliver?.(content, accepted, recipients, signal) ??
          accepted.map(() => reply(250, '2.0.0', 'Saved')),
        end: () => h.end?.(),
      };
    },
  };
}

/** Sends a session in one piece and gives every line that comes back. */
async function session(l: Listener, ...lines: string[]): Promise<string[]> {
  assert.ok(l.address.kind === 'unix');
  const socket = connect({ path: l.address.path, allowHalfOpen: true });
  socket.end(`LHLO c.test\r\n${lines.join('')}QUIT\r\n`, 'latin1');
  let out = '';
  for await (const chunk of socket) out += String(chunk);
  return out
    .split('\r\n')
    .slice(0, -1)
    .filter((line) => !/^(220|250-|250 PIPELINING|221)/.test(line));
}

const envelope = (n: number): string =>
  `MAIL FROM:<a@example.test>\r\n${'RCPT TO:<u@example.test>\r\n'.repeat(n)}`;

describe('createLmtpServer', () => {
  it('gives a large message to the handler from a file, and keeps nothing of it', async () => {
    const directory = path.join(folder, 'spill');
    mkdirSync(directory);
    const body = `${'x'.repeat(998)}\r\n`.repeat(2_000);
    let got = '';
    let inMemory: boolean | undefined;
    const s = await serve(
      {
        deliver: async (content, accepted) => {
          inMemory = content.bytes !== undefined;
          for await (const chunk of content.open(new AbortController().signal))
            got += Buffer.from(chunk).toString('latin1');
          return accepted.map(() => reply(250, '2.0.0', 'Saved'));
        },
      },
      { temporaryDirectory: directory },
    );
    const lines = await session(
      s.listener,
      envelope(1),
      `DATA\r\n${body}.\r\n`,
      envelope(1),
      `BDAT ${body.length} LAST\r\n${body}`,
    );
    assert.deepEqual(lines.filter((l) => l.endsWith('Saved')).length, 2);
    assert.equal(inMemory, false);
    assert.equal(got, body + body);
    assert.deepEqual(readdirSync(directory), []);
    await s.close();
  });

  it('keeps a reply of the handler on its line, whatever is in it', async () => {
    const s = await serve({
      rcpt: async () => reply(250, '2.1.5', 'a\r\n550 b\u010d\u010a550 c\0'),
      deliver: async () => [{ code: 451, lines: ['x\n550 y', 'z\r'] }],
    });
    const lines = await session(s.listener, envelope(1), 'DATA\r\nx\r\n.\r\n');
    assert.deepEqual(lines.slice(1), ['250 2.1.5 a??550 b??550 c?', '354 OK', '451-x?550 y', '451 z?']);
    await s.close();
  });

  it('answers 451 for each recipient where temporary storage fails', async () => {
    const s = await serve(
      {},
      { temporaryDirectory: path.join(folder, 'missing'), limits: { maxMemoryOctets: 10 } },
    );
    const lines = await session(s.listener, envelope(2), `DATA\r\n${'x'.repeat(100)}\r\n.\r\nNOOP\r\n`);
    assert.deepEqual(lines.slice(-3), [
      '451 4.3.0 Temporary internal error',
      '451 4.3.0 Temporary internal error',
      '250 2.0.0 OK',
    ]);
    assert.ok(s.incidents.some((i) => i.kind === 'fault'));
    await s.close();
  });

  it('answers for every accepted recipient whatever the handler returns', async () => {
    const answers: ((n: number) => readonly Reply[])[] = [
      () => [],
      () => [reply(250, '2.0.0', 'Saved')],
      (n) => Array.from({ length: n + 3 }, () => reply(250, '2.0.0', 'Saved')),
    ];
    for (const answer of answers) {
      let rcpts = 0;
      const s = await serve({
        rcpt: async (r) =>
          rcpts++ === 1 ? reply(550, '5.1.1', `${formatPath(r.address)} no`) : reply(250, '2.1.5', 'OK'),
        deliver: async (_content, accepted) => {
          assert.deepEqual(accepted, [0, 2, 3]);
          return answer(accepted.length);
        },
      });
      const lines = await session(s.listener, envelope(4), 'DATA\r\n.\r\n');
      const final = lines.slice(lines.indexOf('354 OK') + 1);
      assert.equal(final.length, 3);
      for (const line of final)
        assert.match(line, /^(250 2\.0\.0 Saved|451 4\.3\.0 <u@example\.test> Temporary internal error)$/);
      assert.ok(s.incidents.some((i) => i.kind === 'fault'));
      await s.close();
    }
  });

  it('keeps every reply, all its lines together, under 240 octets', async () => {
    const long = 'y'.repeat(1_000);
    const s = await serve(
      {
        rcpt: async (r) =>
          r.address.local === 'u'
            ? reply(250, '2.1.5', long)
            : { code: 550, status: '5.1.1', lines: [long, long, long] },
        deliver: async (_content, accepted) =>
          accepted.map(() => ({ code: 250, status: '2.0.0' as const, lines: ['short', long] as const })),
      },
      {
        hostname: `${'h'.repeat(300)}.test`,
        greeting: long,
        dsn: true,
        smtputf8: true,
        limits: { maxMessageOctets: 1e12 },
      },
    );
    assert.ok(s.listener.address.kind === 'unix');
    const socket = connect({ path: s.listener.address.path, allowHalfOpen: true });
    socket.end(
      `LHLO c.test\r\n${envelope(1)}RCPT TO:<v@example.test>\r\nDATA\r\n.\r\n${'z'.repeat(9000)}\r\nQUIT\r\n`,
    );
    let out = '';
    for await (const chunk of socket) out += String(chunk);
    const replies = out.match(/(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n/g) ?? [];
    assert.equal(replies.join(''), out);
    assert.equal(replies.length, 9);
    for (const r of replies) assert.ok(r.length <= 240, `${r.length}: ${r}`);
    assert.match(
      replies[1] ?? '',
      /^250-h+\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-SIZE 1000000000000\r\n250 SMTPUTF8\r\n$/,
    );
    await s.close();
  });

  it('ends every transaction once, however it ended', async () => {
    let ends = 0;
    const s = await serve({ end: () => void ends++ });
    await session(
      s.listener,
      envelope(1),
      'RSET\r\n',
      envelope(1),
      'LHLO again\r\n',
      envelope(1),
      'DATA\r\n.\r\n',
      envelope(1),
      'BDAT 3\r\na\r\n',
      'RSET\r\n',
      envelope(1),
    );
    assert.equal(ends, 5);
    await s.close();
    assert.equal(ends, 5);
  });

  it('numbers the transactions of a session as Dovecot does, and no two sessions alike', async () => {
    const ids: string[] = [];
    const server = createLmtpServer(
      { hostname: 'store.example.test' },
      {
        begin: async (client) => {
          ids.push(client.sessionId);
          assert.equal(client.lhlo, 'c.test');
          assert.equal(client.remoteAddress, undefined);
          return { refused: reply(451, '4.3.0', 'later') };
        },
      },
    );
    const l = await server.listen({ kind: 'unix', path: path.join(folder, `s${sockets++}`) });
    assert.deepEqual(await session(l, envelope(0), envelope(0)), ['451 4.3.0 later', '451 4.3.0 later']);
    await session(l, envelope(0));
    assert.match(ids[0] ?? '', /^[\w-]{22}$/);
    assert.equal(ids[1], `${ids[0]}:T2`);
    assert.equal(new Set(ids).size, 3);
    await server.close();
  });

  it('tells deliveries to stop when it is closed and they take too long', async () => {
    const started = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<void>();
    const s = await serve({
      deliver: (_content, _accepted, _recipients, signal) =>
        new Promise((_resolve, reject) => {
          started.resolve();
          signal.addEventListener('abort', () => {
            stopped.resolve();
            reject(new Error('stopped'));
          });
        }),
    });
    const lines = session(s.listener, envelope(1), 'DATA\r\n.\r\n').catch(() => []);
    await started.promise;
    await s.close(50);
    await stopped.promise;
    await lines;
  });
});

describe('sessions', () => {
  it('are told at their beginning and at their end, with the reason and the state in which that found them', async () => {
    const told: string[] = [];
    const ends: LmtpServerOptions = {
      hostname: 'store.example.test',
      limits: { maxBadCommands: 2, idleTimeoutMs: 300 },
      onConnect: (client) => void told.push(`connect "${client}"`),
      onDisconnect: ({ client, reason, state }) => void told.push(`"${client}" ${reason} (${state})`),
    };
    const server = await serve({}, ends);
    const { address } = server.listener;
    assert.ok(address.kind === 'unix');
    const talk = (text: string, end: boolean): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(address.path, () => (end ? socket.end(text) : socket.write(text)));
        socket.resume().on('close', () => resolve());
      });
    const begun = 'LHLO c.test\r\nMAIL FROM:<>\r\n';
    for (const [text, end] of [
      ['QUIT\r\n', false],
      [`${begun}RCPT TO:<a@x.test>\r\nQUIT\r\n`, false],
      ['LHLO c.test\r\n', true],
      [begun, false],
      ['A\r\nB\r\nC\r\n', false],
      [`${begun}RCPT TO:<a@x.test>\r\nDATA\r\nx`, true],
      ['NOOP\n', false],
    ] as const)
      await talk(text, end);
    await server.close();
    assert.deepEqual(
      told,
      [
        'Logged out (GREETING)',
        'Logged out (RCPT TO)',
        'Connection closed (READY)',
        'Disconnected for inactivity (MAIL FROM)',
        'Too many invalid commands. (GREETING)',
        'Connection closed (DATA)',
        'Protocol error (GREETING)',
      ].flatMap((text) => ['connect ""', `"" ${text}`]),
    );
  });
});
