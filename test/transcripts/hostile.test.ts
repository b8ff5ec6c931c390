// Clients that break rules, break off, or do not listen: nothing may be lost, forged, kept in memory or left open.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Listener } from '../../src/net/listen.ts';
import { LineReader } from './replay.ts';
import { eximLimits, newSeen, startLmtp, startSmtp, type Seen } from './servers.ts';

const smtpSession =
  'EHLO c.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n' +
  'Subject: x\r\n\r\n..\r\n.x\r\nbye\r\n.\r\nMAIL FROM:<a@example.test>\r\nRSET\r\nQUIT\r\n';
const lmtpSession =
  'LHLO c.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<user1@example.test>\r\nRCPT TO:<user1@example.test>\r\n' +
  'DATA\r\n..\r\nbye\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<user2@example.test>\r\nBDAT 3\r\na\r\nBDAT 5 LAST\r\nb\r\n\r\nQUIT\r\n';

function open(listener: Listener): { socket: Socket; lines: LineReader } {
  assert.ok(listener.address.kind === 'tcp');
  const socket = connect({
    port: listener.address.port,
    host: listener.address.host,
    allowHalfOpen: true,
    noDelay: true,
  });
  return { socket, lines: new LineReader(socket, 20_000) };
}

async function rest(lines: LineReader): Promise<string[]> {
  const out: string[] = [];
  for (let line = await lines.next(); line !== undefined; line = await lines.next()) out.push(line);
  return out;
}

/** Reads the last line of each of the next replies. */
async function replies(lines: LineReader, count: number): Promise<string[]> {
  const out: string[] = [];
  while (out.length < count) {
    const line = await lines.next();
    if (line === undefined) break;
    if (line[3] !== '-') out.push(line);
  }
  return out;
}

async function withServer(listener: Promise<Listener>, body: (l: Listener) => Promise<void>): Promise<void> {
  const l = await listener;
  try {
    await body(l);
  } finally {
    await l.close(200);
  }
}

const protocols = [
  {
    name: 'SMTP',
    session: smtpSession,
    messages: 1,
    start: (seen: Seen) => startSmtp(seen, { enforceSync: false }),
  },
  { name: 'LMTP', session: lmtpSession, messages: 2, start: (seen: Seen) => startLmtp(seen) },
];

for (const { name, session, messages, start } of protocols) {
  describe(`${name}: a pipelined session`, () => {
    it('gives the same replies and messages split at every octet', async () => {
      const seen = newSeen();
      await withServer(start(seen), async (l) => {
        const octets = Buffer.from(session, 'latin1');
        let whole: string[] | undefined;
        for (let at = 0; at < octets.length; at++) {
          const { socket, lines } = open(l);
          socket.write(octets.subarray(0, at));
          await turn();
          socket.write(octets.subarray(at));
          // Session ids differ; everything else must not.
          const got = (await rest(lines)).map((line) => line.replace(/> \S+ Saved/, '> ID Saved'));
          socket.destroy();
          whole ??= got;
          assert.deepEqual(got, whole, `split at ${at}`);
        }
        assert.equal(seen.messages.length, messages * octets.length);
        assert.equal(new Set(seen.messages.map((m) => JSON.stringify(m))).size, messages);
        assert.match(seen.messages[0]?.content ?? '', /^(Subject: x\r\n\r\n\.\r\nx\r\n|\.\r\n)bye\r\n$/);
        assert.deepEqual(seen.errors, []);
      });
    });

    it('may break off at every octet', async () => {
      const seen = newSeen();
      const octets = Buffer.from(session, 'latin1');
      await withServer(start(seen), async (l) => {
        for (let at = 0; at <= octets.length; at++) {
          const { socket } = open(l);
          await once(socket, 'connect');
          socket.write(octets.subarray(0, at));
          // Half of them break off with a reset, half in order.
          if (at % 2 === 0) socket.resetAndDestroy();
          else {
            socket.end();
            socket.resume();
            await once(socket, 'close');
          }
        }
      });
      assert.deepEqual(seen.errors, []);
      const finalDots = [...session.matchAll(/\r\n\.\r\n|LAST\r\nb\r\n\r\n/g)].map(
        (m) => m.index + m[0].length,
      );
      const orderly = Array.from({ length: octets.length + 1 }, (_, i) => i).filter((i) => i % 2 === 1);
      const least = finalDots.reduce((n, end) => n + orderly.filter((i) => i >= end).length, 0);
      const most = finalDots.reduce((n, end) => n + octets.length + 1 - end, 0);
      assert.ok(
        seen.messages.length >= least && seen.messages.length <= most,
        `${least} <= ${seen.messages.length} <= ${most}`,
      );
      if (name === 'SMTP') assert.equal(seen.events.filter((e) => e === 'closed').length, octets.length + 1);
    });
  });

  describe(`${name}: bounds`, () => {
    it('a command line of 10 MB is refused once and dropped', async () => {
      await withServer(start(newSeen()), async (l) => {
        const { socket, lines } = open(l);
        await lines.next();
        for (let i = 0; i < 160; i++) socket.write(Buffer.alloc(65_536, 'x'));
        socket.write('\r\nNOOP\r\n');
        assert.match((await lines.next()) ?? '', /^500 5\.5\.2 Line too long/);
        assert.match((await lines.next()) ?? '', /^250 2\.0\.0 OK/);
        socket.destroy();
      });
    });

    it('a client that never reads is not read any more, and is dropped in the end', async () => {
      const seen = newSeen();
      const quick =
        name === 'SMTP'
          ? startSmtp(seen, { enforceSync: false, limits: { ...eximLimits, idleTimeoutMs: 300 } })
          : startLmtp(seen, { limits: { idleTimeoutMs: 300 } });
      await withServer(quick, async (l) => {
        assert.ok(l.address.kind === 'tcp');
        const socket = connect(l.address.port, l.address.host);
        socket.pause();
        socket.on('error', () => socket.destroy());
        const batch = Buffer.from('NOOP\r\n'.repeat(10_000));
        let sent = 0;
        const closed = new Promise((resolve) => socket.once('close', resolve));
        const pump = (): void => {
          while (!socket.destroyed && socket.write(batch)) sent += batch.length;
          sent += batch.length;
        };
        socket.on('drain', pump);
        pump();
        await closed;
        // The kernel's buffers take some megabytes in each direction; without a bound this would go on for ever.
        assert.ok(sent < 100_000_000, `${sent} octets were read`);
        while (l.connections > 0) await turn();
      });
    });

    it('says goodbye to an idle client', async () => {
      const seen = newSeen();
      const quick =
        name === 'SMTP'
          ? startSmtp(seen, { limits: { ...eximLimits, idleTimeoutMs: 60 } })
          : startLmtp(seen, { limits: { idleTimeoutMs: 60 } });
      await withServer(quick, async (l) => {
        const { socket, lines } = open(l);
        await lines.next();
        const last = await rest(lines);
        assert.match(
          last.join(),
          name === 'SMTP'
            ? /^421 4\.4\.2 edge\.example\.test: SMTP command timeout - closing connection$/
            : /^421 4\.4\.2 store\.example\.test Disconnected for inactivity$/,
        );
        socket.destroy();
      });
    });

    it('answers a whole session of a client that has closed its side', async () => {
      const seen = newSeen();
      await withServer(start(seen), async (l) => {
        const { socket, lines } = open(l);
        socket.end(session.replace(/QUIT\r\n$/, ''));
        const got = await rest(lines);
        assert.match(got.at(-1) ?? '', /^250/);
        assert.equal(seen.messages.length, messages);
        socket.destroy();
      });
    });
  });
}

describe('SMTP: messages', () => {
  it('an endless line is drained and refused, by size and by line', async () => {
    const seen = newSeen();
    for (const [limits, wanted] of [
      [{ ...eximLimits, maxMessageOctets: 1_000_000 }, /^552 5\.3\.4 Message size exceeds maximum permitted/],
      [
        { ...eximLimits, maxMessageOctets: 0, maxDataLineOctets: 998 },
        /^550 5\.6\.0 maximum allowed line length is 998 octets/,
      ],
    ] as const) {
      await withServer(startSmtp(seen, { limits }), async (l) => {
        const { socket, lines } = open(l);
        await lines.next();
        socket.write('EHLO c.test\r\n');
        await replies(lines, 1);
        socket.write('MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n');
        assert.match((await replies(lines, 3)).at(-1) ?? '', /^354/);
        for (let i = 0; i < 160; i++) socket.write(Buffer.alloc(65_536, 'x'));
        socket.write('\r\nRSET\r\n.\r\nQUIT\r\n');
        const [data, quit] = await replies(lines, 2);
        assert.match(data ?? '', wanted);
        assert.match(quit ?? '', /^221/);
        socket.destroy();
      });
    }
    assert.deepEqual(seen.messages, []);
    assert.equal(seen.events.filter((e) => e.startsWith('abort')).length, 2);
    assert.ok(seen.incidents.some((i) => i.kind === 'limit'));
  });

  it('a data timeout aborts the message', async () => {
    const seen = newSeen();
    await withServer(startSmtp(seen, { limits: { ...eximLimits, idleTimeoutMs: 80 } }), async (l) => {
      const { socket, lines } = open(l);
      await lines.next();
      socket.write('EHLO c.test\r\n');
      await replies(lines, 1);
      socket.write('MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n');
      await replies(lines, 3);
      socket.write('no end');
      assert.deepEqual(await rest(lines), [
        '421 4.4.2 edge.example.test SMTP incoming data timeout - closing connection.',
      ]);
      socket.destroy();
    });
    assert.deepEqual(seen.events, ['abort: timeout', 'closed']);
    assert.ok(seen.incidents.some((i) => i.kind === 'timeout'));
  });

  it('none is forged by line ends that are none', async () => {
    for (const end of [
      '\n.\n',
      '\n.\r\n',
      '\r.\r\n',
      '\r\n.\n',
      '\r.\r',
      '\r\n.\r',
      '\n\n.\r\n',
      '\r\r\n.\n',
      '\r\n\0.\r\n',
    ]) {
      const seen = newSeen();
      await withServer(startSmtp(seen), async (l) => {
        const { socket, lines } = open(l);
        await lines.next();
        socket.write('EHLO c.test\r\n');
        await replies(lines, 1);
        socket.write('MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n');
        await replies(lines, 3);
        const forged = 'MAIL FROM:<evil@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nforged\r\n.\r\n';
        socket.write(`hello${end}${forged}`);
        await replies(lines, 1);
        socket.write('QUIT\r\n');
        assert.equal((await rest(lines)).length, 1, JSON.stringify(end));
        socket.destroy();
      });
      assert.ok(
        seen.messages.every((m) => m.sender === 'a@example.test'),
        JSON.stringify(end),
      );
      assert.ok(seen.messages.length === 0 || end.includes('\0'), JSON.stringify(end));
    }
  });

  it('100,000 recipients get 100,000 replies, and no more than the bound are kept', async () => {
    const seen = newSeen();
    await withServer(startSmtp(seen, { limits: { ...eximLimits, maxRecipients: 50 } }), async (l) => {
      const { socket, lines } = open(l);
      await lines.next();
      socket.write('EHLO c.test\r\n');
      await replies(lines, 1);
      socket.write('MAIL FROM:<a@example.test>\r\n');
      socket.write('RCPT TO:<b@example.test>\r\n'.repeat(100_000));
      const got = await replies(lines, 100_001);
      assert.equal(got.filter((r) => r === '250 2.1.5 Accepted').length, 50);
      assert.equal(got.filter((r) => r === '452 4.5.3 too many recipients').length, 99_950);
      socket.write('DATA\r\n');
      await replies(lines, 1);
      socket.write('.\r\n');
      await replies(lines, 1);
      socket.destroy();
    });
    assert.equal(seen.messages[0]?.recipients.length, 50);
    assert.equal(seen.incidents.filter((i) => i.kind === 'limit').length, 1);
  });
});

describe('LMTP: messages', () => {
  it('100,000 recipients get 100,000 replies, and as many after the message as were accepted', async () => {
    const seen = newSeen();
    await withServer(startLmtp(seen, { limits: { maxRecipients: 5_000 } }), async (l) => {
      const { socket, lines } = open(l);
      await lines.next();
      socket.write(
        `LHLO c.test\r\nMAIL FROM:<a@example.test>\r\n${'RCPT TO:<user1@example.test>\r\n'.repeat(100_000)}BDAT 2 LAST\r\n\r\n`,
      );
      const got = await replies(lines, 100_002 + 5_000);
      assert.equal(got.filter((r) => r === '250 2.1.5 OK').length, 5_000);
      assert.equal(got.filter((r) => r === '451 4.5.3 Too many recipients').length, 95_000);
      assert.equal(got.filter((r) => r.endsWith('Saved')).length, 5_000);
      socket.destroy();
    });
    assert.equal(seen.messages[0]?.recipients.length, 5_000);
  });
});

describe('shutting down', () => {
  it('ends idle sessions at once and lets a message finish first', async () => {
    const seen = newSeen();
    const l = await startSmtp(seen);
    const idle = open(l);
    await idle.lines.next();
    const busy = open(l);
    await busy.lines.next();
    busy.socket.write('EHLO c.test\r\n');
    await replies(busy.lines, 1);
    busy.socket.write('MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n');
    await replies(busy.lines, 3);
    const closed = l.close(10_000);
    assert.deepEqual(await rest(idle.lines), [
      '421 4.3.2 edge.example.test Service not available - closing connection',
    ]);
    busy.socket.write('the last one\r\n.\r\n');
    assert.deepEqual(await rest(busy.lines), [
      '250 2.0.0 OK id=1u2WxY-000aBc-1f',
      '421 4.3.2 edge.example.test Service not available - closing connection',
    ]);
    idle.socket.destroy();
    busy.socket.destroy();
    await closed;
    assert.equal(seen.messages.length, 1);
  });
});
