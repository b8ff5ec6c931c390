import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReplyParser } from '../protocol/reply-parser.ts';
import type { ByteStream, ByteStreamListener } from './byte-stream.ts';
import { ClientConnection } from './client-connection.ts';

/** A peer in the test's hand. */
function fake(): {
  readonly connection: ClientConnection;
  readonly written: string[];
  readonly peer: ByteStreamListener;
  state: { destroyed: boolean; full: boolean };
} {
  const written: string[] = [];
  const state = { destroyed: false, full: false };
  const listeners: ByteStreamListener[] = [];
  const stream: ByteStream = {
    write(octets) {
      written.push(typeof octets === 'string' ? octets : Buffer.from(octets).toString('latin1'));
      return !state.full;
    },
    finish: (text) => void written.push(text),
    destroy() {
      state.destroyed = true;
    },
    hold: () => undefined,
    listen: (l) => void listeners.push(l),
  };
  const connection = new ClientConnection({ kind: 'unix', path: '/x' }, stream, new ReplyParser());
  const [peer] = listeners;
  assert.ok(peer);
  return { connection, written, peer, state };
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const timeoutMs = 1000;

test('a flight is one write, its replies one result; replies already here are given without waiting', async () => {
  const { connection, written, peer } = fake();
  peer.received(bytes('220 hello\r\n'));
  assert.deepEqual(connection.exchange({ commands: '', expect: 1, timeoutMs }), {
    replies: [{ code: 220, lines: ['hello'] }],
  });
  const waiting = connection.exchange({
    commands: 'MAIL\r\n',
    body: [bytes('a'), bytes('b')],
    expect: 2,
    allow: 3,
    timeoutMs,
  });
  assert.ok(waiting instanceof Promise);
  assert.deepEqual(written, ['MAIL\r\nab']);
  peer.received(bytes('250 1\r\n25'));
  peer.received(bytes('0 2\r\n250 3\r\n'));
  assert.deepEqual(
    (await waiting).replies.map((r) => r.lines[0]),
    ['1', '2'],
  );
  const rest = connection.exchange({ commands: '', expect: 1, timeoutMs });
  assert.ok(!(rest instanceof Promise));
  assert.deepEqual(
    rest.replies.map((r) => r.lines[0]),
    ['3'],
  );
  assert.ok(connection.settled);
});

test('a flood of replies nobody asked for ends the connection at the first one too many', async () => {
  const { connection, peer, state } = fake();
  const waiting = connection.exchange({ commands: '', expect: 3, timeoutMs });
  peer.received(bytes('250 x\r\n'.repeat(500)));
  assert.deepEqual((await waiting).replies.length, 3);
  assert.deepEqual(connection.fault, { kind: 'unsolicited', text: '250 x' });
  assert.ok(state.destroyed);
  const after = connection.exchange({ commands: 'NOOP\r\n', expect: 1, timeoutMs });
  assert.deepEqual(after, { replies: [], fault: connection.fault });
});

test('what comes while resting ends the connection and is told', () => {
  for (const late of ['250 x\r\n', '25', '421 bye\r\n', 'junk\r\n']) {
    const { connection, peer, state } = fake();
    let lost = 0;
    connection.rest(() => lost++);
    peer.received(bytes(late));
    assert.equal(lost, 1, late);
    assert.ok(state.destroyed);
  }
});

test('the deadline is for each reply, not for all of them', async () => {
  const { connection, peer } = fake();
  const waiting = connection.exchange({ commands: '', expect: 8, timeoutMs: 300 });
  for (let i = 0; i < 8; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    peer.received(bytes(`250 ${i}\r\n`));
  }
  assert.equal((await waiting).replies.length, 8);
});

test('silence ends in a timeout, with the replies that came; later octets are ignored', async () => {
  const { connection, peer } = fake();
  const waiting = connection.exchange({ commands: '', expect: 2, timeoutMs: 20 });
  peer.received(bytes('250 a\r\n250-half'));
  const result = await waiting;
  assert.deepEqual([result.replies.length, result.fault], [1, { kind: 'timeout', timeoutMs: 20 }]);
  peer.received(bytes('\r\n250 late\r\n'));
  assert.deepEqual(connection.exchange({ commands: '', expect: 1, timeoutMs }), {
    replies: [],
    fault: result.fault,
  });
});

test('a streamed body waits for the peer to take it, and gives up when it does not', async () => {
  const { connection, written, peer, state } = fake();
  state.full = true;
  let produced = 0;
  const body = async function* (): AsyncIterable<Uint8Array> {
    for (; produced < 3; produced++) yield bytes('x');
  };
  const sending = connection.exchange({ commands: '', body, expect: 1, timeoutMs, blockTimeoutMs: 1000 });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(written, ['x']);
  peer.drained();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(written, ['x', 'x']);
  state.full = false;
  peer.drained();
  await new Promise((resolve) => setImmediate(resolve));
  peer.received(bytes('250 ok\r\n'));
  assert.equal((await sending).replies[0]?.code, 250);

  const stuck = fake();
  stuck.state.full = true;
  produced = 0;
  const result = await stuck.connection.exchange({
    commands: '',
    body,
    expect: 1,
    timeoutMs,
    blockTimeoutMs: 20,
  });
  assert.deepEqual(result, { replies: [], fault: { kind: 'timeout', timeoutMs: 20 } });
});

test('one exchange at a time', () => {
  const { connection } = fake();
  void connection.exchange({ commands: '', expect: 1, timeoutMs });
  assert.throws(() => connection.exchange({ commands: '', expect: 1, timeoutMs }));
  connection.destroy();
});
