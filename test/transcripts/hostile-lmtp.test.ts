// Clients that lie to the LMTP server about sizes, flood it, or break its TLS: it answers, keeps little and goes on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, describe, it } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { Listener } from '../../src/net/listen.ts';
import { makeCertificate } from '../support/certificate.ts';
import { needs } from '../support/peers.ts';
import { start, temporaryFolder, type Running } from '../support/process.ts';
import { LineReader } from './replay.ts';
import { newSeen, startLmtp, type Seen } from './servers.ts';

const program = new URL('./lmtp-process.ts', import.meta.url).pathname;
const folder = temporaryFolder('hostile');
after(() => folder.remove());

const envelope = 'LHLO c.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<user1@example.test>\r\n';

/** Sends all in one piece and gives the lines that come back, until the server closes. */
async function session(l: Listener, text: string, end = true): Promise<string[]> {
  assert.ok(l.address.kind === 'tcp');
  const socket = connect({ port: l.address.port, host: l.address.host, allowHalfOpen: true });
  const lines = new LineReader(socket, 20_000);
  if (end) socket.end(text, 'latin1');
  else socket.write(text, 'latin1');
  const out: string[] = [];
  for (let line = await lines.next(); line !== undefined; line = await lines.next())
    if (!/^(?:220|250-|250 PIPELINING|250 SIZE)/.test(line)) out.push(line);
  socket.destroy();
  return out;
}

async function withServer(body: (l: Listener, seen: Seen) => Promise<void>): Promise<void> {
  const seen = newSeen();
  const l = await startLmtp(seen, { limits: { maxMessageOctets: 1_000_000 } });
  try {
    await body(l, seen);
    assert.deepEqual(seen.errors, []);
  } finally {
    await l.close(200);
  }
}

const accepted = ['250 2.1.0 OK', '250 2.1.5 OK'];

describe('BDAT that lies', () => {
  it('about its size: nothing is stored of a chunk that never ends, and no octet of it is a command', async () => {
    await withServer(async (l, seen) => {
      for (const size of ['999999999999999', '1000001', '100']) {
        const out = await session(l, `${envelope}BDAT ${size} LAST\r\nSubject: x\r\n\r\nRSET\r\nQUIT\r\n`);
        assert.deepEqual(out, accepted, size);
      }
      assert.deepEqual(seen.messages, []);
      assert.equal(seen.events.filter((e) => e === 'lost').length, 3);
    });
  });

  it('with what is no size: the octets behind it may be anything, so nothing more is read', async () => {
    await withServer(async (l, seen) => {
      for (const size of [
        '',
        '-1',
        '+5',
        '0x5',
        '1e3',
        '5.0',
        '99999999999999999999999',
        '18446744073709551615',
        '5;',
        '\xb2',
      ]) {
        const out = await session(
          l,
          `${envelope}BDAT ${size} LAST\r\nMAIL FROM:<evil@example.test>\r\n`,
          false,
        );
        assert.equal(out.length, 3, size);
        assert.match(
          out[2] ?? '',
          /^50[01] 5\.5\.[24] Invalid (?:chunk size parameter|command syntax)$/,
          size,
        );
      }
      assert.deepEqual(seen.messages, []);
    });
  });

  it('about the end: a second LAST belongs to no message', async () => {
    await withServer(async (l, seen) => {
      const out = await session(
        l,
        `${envelope}BDAT 4 LAST\r\nabcdBDAT 6 LAST\r\nQUIT\r\nBDAT 0 LAST\r\nNOOP\r\nQUIT\r\n`,
      );
      assert.deepEqual(
        out.map((line) => line.slice(0, 9)),
        ['250 2.1.0', '250 2.1.5', '250 2.0.0', '503 5.5.0', '503 5.5.0', '250 2.0.0', '221 2.0.0'],
      );
      assert.equal(seen.messages.length, 1);
    });
  });

  it('in thousands of chunks of nothing', async () => {
    await withServer(async (l, seen) => {
      const chunks = 'BDAT 0\r\n'.repeat(20_000);
      const out = await session(l, `${envelope}${chunks}BDAT 2 LAST\r\n\r\nQUIT\r\n`);
      assert.equal(out.filter((line) => line === '250 2.0.0 Added 0 octets').length, 20_000);
      assert.match(out.at(-2) ?? '', /Saved$/);
      assert.equal(seen.messages[0]?.content, '\r\n');
    });
  });
});

describe('NULs and other octets', () => {
  it('make no command, whatever stands around them', async () => {
    await withServer(async (l, seen) => {
      const bad = [
        '\0',
        'NOOP\0',
        '\0NOOP',
        'MAIL FROM:<a\0@example.test>',
        'RCPT TO:<user1@example.test\0.evil.test>',
        'QUIT\x01',
      ];
      const out = await session(l, `${bad.map((line) => `${line}\r\n`).join('')}NOOP\r\nQUIT\r\n`);
      assert.deepEqual(out, [
        ...bad.map(() => '500 5.5.2 Invalid command syntax'),
        '250 2.0.0 OK',
        '221 2.0.0 Bye',
      ]);
      assert.deepEqual(seen.messages, []);
    });
  });

  it('in names and addresses stay data', async () => {
    await withServer(async (l, seen) => {
      const locals = [
        '../../etc/passwd',
        '/etc/passwd',
        '..',
        '%d/%u',
        '$local_part',
        '~root',
        '"../x"',
        '"a\\\0"',
        '"; rm -rf /"',
        '-rf',
        '|/bin/sh',
        '`id`',
        'user1/../user2',
      ];
      const text = locals.map((local) => `RCPT TO:<${local}@example.test>\r\n`).join('');
      const out = await session(
        l,
        `LHLO ../../x\r\nMAIL FROM:<../../x@example.test>\r\n${text}BDAT 0 LAST\r\nNOOP\r\nQUIT\r\n`,
      );
      for (const line of out.slice(1, -3)) assert.match(line, /^50[01] |^550 5\.1\.1 </);
      assert.deepEqual(out.slice(-3), ['503 5.5.0 No valid recipients', '250 2.0.0 OK', '221 2.0.0 Bye']);
      assert.deepEqual(seen.messages, []);
    });
  });
});

/** Resident memory of a process, KiB (proc(5)). */
function residentKiB({ pid }: Running): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
}

async function withProcess(
  words: readonly string[],
  body: (port: number, server: Running) => Promise<void>,
): Promise<void> {
  const server = start(process.execPath, [program, ...words]);
  try {
    await body(Number((await server.printed(/^port (\d+)/m))[1]), server);
  } finally {
    await server.stop();
  }
}

/** Writes parts for as long as there are any, as fast as they are taken. */
async function pour(socket: Socket, part: Buffer, times: number): Promise<void> {
  for (let i = 0; i < times; i++) if (!socket.write(part)) await once(socket, 'drain');
}

/** Waits for so many more replies and gives the last; made for millions of them. */
function replyCounter(socket: Socket): (count: number) => Promise<string> {
  let replies = 0;
  let wanted = 0;
  let tail = '';
  let wake: (() => void) | undefined;
  socket.on('data', (chunk: Buffer) => {
    const text = tail + chunk.toString('latin1');
    const end = text.lastIndexOf('\n') + 1;
    const lines = text.slice(0, end).split('\r\n').slice(0, -1);
    replies += lines.filter((line) => line[3] !== '-').length;
    tail = text.slice(end);
    latest = lines.at(-1) ?? latest;
    if (replies >= wanted) wake?.();
  });
  let latest = '';
  return async (count) => {
    wanted += count;
    if (replies < wanted)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    return latest;
  };
}

async function greeted(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  await once(socket, 'data');
  return socket;
}

describe('memory', () => {
  it('does not grow with a command of 50 MB, a message of 200 MB beyond the bound, or a million recipients', async () => {
    await withProcess([], async (port, server) => {
      const socket = connect(port, '127.0.0.1');
      const last = replyCounter(socket);
      socket.write('LHLO c.test\r\n');
      await last(2);
      const before = residentKiB(server);
      await pour(socket, Buffer.alloc(65_536, 'x'), 800);
      socket.write('\r\n');
      assert.equal(await last(1), '500 5.5.2 Line too long');
      socket.write('MAIL FROM:<a@example.test>\r\nRCPT TO:<user1@example.test>\r\nDATA\r\n');
      await last(3);
      await pour(socket, Buffer.alloc(65_536, 'x'), 3_200);
      socket.write('\r\n.\r\n');
      assert.equal(await last(1), '552 5.2.3 Message size exceeds administrative limit');
      socket.write('MAIL FROM:<a@example.test>\r\n');
      await last(1);
      const some = Buffer.from('RCPT TO:<user1@example.test>\r\n'.repeat(2_000));
      const answered = last(1_000_000);
      await pour(socket, some, 500);
      assert.equal(await answered, '451 4.5.3 Too many recipients');
      const grown = residentKiB(server) - before;
      assert.ok(grown < 150_000, `${grown} KiB more than before`);
      socket.write('BDAT 2 LAST\r\n\r\n');
      assert.match((await last(10_000)) ?? '', /Saved$/);
      socket.destroy();
    });
  });

  it('of a thousand sessions that wait is a small part of a process each', async () => {
    await withProcess([], async (port, server) => {
      await greeted(port);
      const before = residentKiB(server);
      const open: Socket[] = [];
      for (let i = 0; i < 10; i++)
        open.push(...(await Promise.all(Array.from({ length: 100 }, () => greeted(port)))));
      const each = (residentKiB(server) - before) / open.length;
      assert.ok(each < 100, `${each} KiB each`);
      for (const socket of open) socket.destroy();
    });
  });
});

describe('TLS', { skip: needs('openssl') }, () => {
  it('broken in a hundred ways leaves the server to the others', async () => {
    const { certificateFile, privateKeyFile } = makeCertificate(folder.path);
    await withProcess([certificateFile, privateKeyFile], async (port) => {
      const hello = Buffer.from('16030100', 'hex');
      const noise = (i: number): Buffer =>
        Buffer.concat([
          hello,
          Buffer.from(Array.from({ length: 3 + i * 7 }, (_, n) => (n * 31 + i * 17) & 0xff)),
        ]);
      await Promise.all(
        Array.from({ length: 100 }, async (_, i) => {
          const socket = await greeted(port);
          const gone = new Promise((resolve) => socket.once('close', resolve));
          socket.write('STARTTLS\r\n');
          await once(socket, 'data');
          socket.resume();
          if (i % 3 === 0) socket.write(noise(i));
          if (i % 3 === 1) socket.write('MAIL FROM:<a@example.test>\r\n'.repeat(i));
          if (i % 10 === 2) socket.resetAndDestroy();
          else socket.end();
          await gone;
        }),
      );
      const socket = await greeted(port);
      socket.write('STARTTLS\r\n');
      await once(socket, 'data');
      const secure = connectTls({ socket, rejectUnauthorized: false });
      const lines = new LineReader(secure, 10_000);
      secure.write(`${envelope}BDAT 0 LAST\r\nQUIT\r\n`);
      const out: string[] = [];
      for (let line = await lines.next(); line !== undefined; line = await lines.next()) out.push(line);
      assert.match(out.at(-2) ?? '', /Saved$/);
      assert.equal(out.at(-1), '221 2.0.0 Bye');
    });
  });
});
