import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { disposed } from '../../../test/support/disposed.ts';
import { extensions, type Script, startScriptedServer } from '../../../test/support/scripted-server.ts';
import { type Address, isSyntaxError, parseAddress } from '../../mail/address.ts';
import { messageFromBytes } from './content.ts';
import { createLmtpPool, type LmtpSendResult } from './pool.ts';
import type { LmtpMessage } from './transaction.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (isSyntaxError(parsed)) throw new Error(parsed.text);
  return parsed;
}

const content = messageFromBytes(Buffer.from('Subject: x\r\n\r\nhello\r\n'));

function to(...names: string[]): LmtpMessage {
  return {
    envelope: { sender: null, recipients: names.map((n) => ({ address: address(`${n}@example.test`) })) },
    content,
  };
}

function kinds(sent: LmtpSendResult): string[] {
  return sent.kind === 'done' ? sent.result.recipients.map((r) => r.kind) : [sent.kind];
}

const all: Script = { helo: () => extensions.all };

test('a connection is used again, without RSET after a complete transaction and with one after an incomplete one', async (t) => {
  const server = disposed(
    t,
    await startScriptedServer({
      helo: () => extensions.pipelining,
      rcpt: (path) => (path.startsWith('bad') ? '550 5.1.1 no\r\n' : '250 ok\r\n'),
    }),
  );
  const pool = disposed(t, createLmtpPool({ maxPerEndpoint: 1 }));
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['accepted']);
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['accepted']);
  assert.equal(server.commands.includes('RSET'), false);
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('bad'), {})), ['refused']);
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('bad', 'a'), {})), ['refused', 'accepted']);
  assert.equal(server.commands.filter((c) => c === 'RSET').length, 1);
  assert.equal(server.connections, 1);
});

for (const contentForNobody of ['', '503 5.5.1 nobody\r\n', '250 ok\r\n'])
  test(`a connection on which nobody was accepted after BDAT is not used again: ${contentForNobody.trim() || 'no answer'}`, async (t) => {
    const server = disposed(
      t,
      await startScriptedServer({
        ...all,
        rcpt: (p) => (p.startsWith('bad') ? '550 no\r\n' : '250 ok\r\n'),
        contentForNobody,
      }),
    );
    const pool = disposed(t, createLmtpPool({ maxPerEndpoint: 1 }));
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(kinds(await pool.send(server.endpoint, to('bad'), {})), ['refused']);
      assert.deepEqual(kinds(await pool.send(server.endpoint, to('good', 'bad'), {})), [
        'accepted',
        'refused',
      ]);
    }
    assert.equal(server.connections, 4);
  });

test('a peer that restarted is noticed while the connection lies idle, or by the first command', async (t) => {
  const server = disposed(t, await startScriptedServer(all));
  const pool = disposed(t, createLmtpPool());
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['accepted']);
  await server.hangUp();
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['accepted']);
  assert.equal(server.connections, 2);

  // The peer closes when it sees MAIL: once more on a fresh connection, nothing was accepted.
  let closes = 1;
  server.script = { ...all, mail: () => (closes-- > 0 ? { say: '', close: true } : '250 ok\r\n') };
  const sent = await pool.send(server.endpoint, to('a'), {});
  assert.deepEqual(kinds(sent), ['accepted']);
  assert.equal(sent.kind === 'done' && sent.session, 'new');
  assert.equal(server.connections, 3);
});

test('on a fresh connection nothing is tried again, nor after a reply to MAIL', async (t) => {
  const server = disposed(t, await startScriptedServer({ ...all, mail: () => ({ say: '', close: true }) }));
  const pool = disposed(t, createLmtpPool());
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['unanswered']);
  assert.equal(server.connections, 1);
  server.script = all;
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['accepted']);
  server.script = { ...all, rcpt: () => ({ say: '', close: true }) };
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['unanswered']);
  assert.equal(server.connections, 2);
});

test('a 421 or an extra reply while idle ends the connection without harm', async (t) => {
  for (const late of ['421 4.4.2 idle too long\r\n', '250 one more\r\n', '250-par']) {
    const server = disposed(t, await startScriptedServer({ ...all, content: () => `250 ok\r\n${late}` }));
    const pool = disposed(t, createLmtpPool());
    for (let i = 0; i < 3; i++)
      assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['accepted'], late);
    assert.equal(server.connections, 3);
    assert.equal(pool.size, 0);
  }
});

test('no more connections than allowed; who waits is served in turn', async (t) => {
  const server = disposed(t, await startScriptedServer(all));
  const pool = disposed(t, createLmtpPool({ maxPerEndpoint: 2 }));
  const sent = await Promise.all(
    Array.from({ length: 20 }, (_, i) => pool.send(server.endpoint, to(`u${i}`), {})),
  );
  assert.ok(sent.every((s) => kinds(s)[0] === 'accepted'));
  assert.equal(server.connections, 2);
  assert.equal(server.contents.length, 20);
});

test('waiting is bounded, and ends when aborted', async (t) => {
  const server = disposed(t, await startScriptedServer({ ...all, mail: () => '' }));
  const pool = createLmtpPool({ maxPerEndpoint: 1, maxWaiting: 1 });
  const stop = new AbortController();
  const first = pool.send(server.endpoint, to('a'), {}, stop.signal);
  const second = pool.send(server.endpoint, to('b'), {}, stop.signal);
  const third = await pool.send(server.endpoint, to('c'), {});
  assert.deepEqual(kinds(third), ['no-session']);
  stop.abort();
  await assert.rejects(first, { code: 'ABORTED' });
  await assert.rejects(second, { code: 'ABORTED' });
  await pool.close();
  assert.equal(pool.size, 0);
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('d'), {})), ['no-session']);
});

test('idle connections are closed after their time, and after their number of messages', async (t) => {
  const server = disposed(t, await startScriptedServer(all));
  const brief = disposed(t, createLmtpPool({ idleTimeoutMs: 20 }));
  await brief.send(server.endpoint, to('a'), {});
  assert.equal(brief.size, 1);
  await server.quiet();
  assert.equal(brief.size, 0);
  assert.equal(server.commands.at(-1), 'QUIT');
  const few = disposed(t, createLmtpPool({ maxUses: 2 }));
  for (let i = 0; i < 4; i++) await few.send(server.endpoint, to('a'), {});
  assert.equal(server.connections, 3);
});

test('nobody there: the failure says what the system said', async (t) => {
  const pool = disposed(t, createLmtpPool());
  const missing = await pool.send({ kind: 'unix', path: join(tmpdir(), 'no-such-socket-here') }, to('a'), {});
  assert.deepEqual(missing, {
    kind: 'no-session',
    failure: { fault: { kind: 'io', text: 'No such file or directory' } },
  });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  assert.ok(typeof bound === 'object' && bound !== null);
  server.close();
  await once(server, 'close');
  const refused = await pool.send({ kind: 'tcp', host: '127.0.0.1', port: bound.port }, to('a'), {});
  assert.deepEqual(refused, {
    kind: 'no-session',
    failure: { fault: { kind: 'io', text: 'Connection refused' } },
  });
  assert.equal(pool.size, 0);
});

test('greetings that are none', async (t) => {
  const cases: readonly [Script, { after: string; code?: number; fault?: string }][] = [
    [{ banner: '554 5.3.2 no service\r\n' }, { after: 'initial connection', code: 554 }],
    [{ banner: '421 busy\r\n' }, { after: 'initial connection', code: 421 }],
    [{ banner: { say: '', close: true } }, { after: 'initial connection', fault: 'closed' }],
    [{ banner: '' }, { after: 'initial connection', fault: 'timeout' }],
    [{ banner: 'SSH-2.0-x\r\n' }, { after: 'initial connection', fault: 'malformed' }],
    [{ banner: '220 a\r\n220 b\r\n' }, { after: 'LHLO edge.example.test', fault: 'unsolicited' }],
    [{ helo: () => '502 5.5.1 no LHLO here\r\n' }, { after: 'LHLO edge.example.test', code: 502 }],
    [{ helo: () => ({ say: '', close: true }) }, { after: 'LHLO edge.example.test', fault: 'closed' }],
  ];
  for (const [script, expected] of cases) {
    const server = disposed(t, await startScriptedServer(script));
    const pool = disposed(t, createLmtpPool());
    const sent = await pool.send(server.endpoint, to('a'), {
      helo: 'edge.example.test',
      commandTimeoutMs: 50,
    });
    assert.equal(sent.kind, 'no-session');
    if (sent.kind !== 'no-session') continue;
    assert.equal(sent.failure.after, expected.after);
    assert.equal(sent.failure.reply?.code, expected.code);
    if (expected.fault !== undefined) assert.equal(sent.failure.fault.kind, expected.fault);
    await server.quiet();
    assert.equal(pool.size, 0);
  }
});

test('a command that speaks LMTP on its standard input and output', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lmtp-pipe-'));
  try {
    const script = join(folder, 'server.mjs');
    writeFileSync(
      script,
      `process.stdout.write('220 pipe\\r\\n'); let buf = ''; let n = 0; let data = false;
       process.stdin.setEncoding('latin1').on('data', (c) => { buf += c; for (;;) {
         const end = data ? buf.indexOf('\\r\\n.\\r\\n') : buf.indexOf('\\r\\n'); if (end < 0) return;
         const line = buf.slice(0, end); buf = buf.slice(end + (data ? 5 : 2));
         if (data) { process.stdout.write('250 ok\\r\\n'.repeat(n)); n = 0; data = false; continue; }
         const v = line.slice(0, 4);
         if (v === 'RCPT') n++;
         if (v === 'DATA') data = true;
         if (v === 'QUIT') process.exit(0);
         process.stdout.write(v === 'LHLO' ? '250-pipe\\r\\n250 PIPELINING\\r\\n' : v === 'DATA' ? '354 go\\r\\n' : '250 ok\\r\\n'); } });`,
    );
    const pool = createLmtpPool();
    const endpoint = { kind: 'pipe', argv: [process.execPath, script] } as const;
    assert.deepEqual(kinds(await pool.send(endpoint, to('a', 'b'), {})), ['accepted', 'accepted']);
    const again = await pool.send(endpoint, to('c'), {});
    assert.deepEqual(kinds(again), ['accepted']);
    assert.equal(again.kind === 'done' && again.session, 'reused');
    await pool.close();

    const other = disposed(t, createLmtpPool());
    const missing = await other.send({ kind: 'pipe', argv: [join(folder, 'none')] }, to('a'), {});
    assert.deepEqual(missing, {
      kind: 'no-session',
      failure: { fault: { kind: 'io', text: 'No such file or directory' } },
    });
    const fails = await other.send(
      { kind: 'pipe', argv: ['/bin/sh', '-c', 'echo no mail today >&2; exit 75'] },
      to('a'),
      {},
    );
    assert.deepEqual(fails.kind === 'no-session' && fails.failure, {
      after: 'initial connection',
      fault: { kind: 'io', text: 'command ended with exit status 75: no mail today' },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('inquire: MAIL, RCPTs and RSET in one flight, by position', async (t) => {
  const server = disposed(
    t,
    await startScriptedServer({
      ...all,
      rcpt: (p) => (p.startsWith('bad') ? '550 5.1.1 no\r\n' : '250 ok\r\n'),
    }),
  );
  const pool = disposed(t, createLmtpPool());
  for (let i = 0; i < 2; i++) {
    const asked = await pool.inquire(
      server.endpoint,
      null,
      [address('a@x.test'), address('bad@x.test'), address('a@x.test')],
      {},
    );
    assert.equal(asked.kind, 'done');
    if (asked.kind === 'done')
      assert.deepEqual(
        asked.result.answers.map((a) => a.kind === 'reply' && a.reply.code),
        [250, 550, 250],
      );
  }
  assert.equal(server.connections, 1);
  assert.equal(server.reads, 3);
  assert.deepEqual(kinds(await pool.send(server.endpoint, to('a'), {})), ['accepted']);
});
