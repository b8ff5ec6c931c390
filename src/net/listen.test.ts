import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { after, describe, it } from 'node:test';
import { MailError } from '../mail/mail-error.ts';
import { listen, type ListenAddress, type Listener } from './listen.ts';
import type { ServerConnection } from './server-connection.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-listen-'));
const asRoot = process.geteuid?.() === 0;
after(() => rmSync(folder, { recursive: true, force: true }));

/** Sends back what comes, until the end. */
async function echo(c: ServerConnection): Promise<void> {
  for (;;) {
    const got = await c.read(10_000, true);
    if (typeof got === 'string') return;
    c.write(got.toString('latin1'));
  }
}

function dial(l: Listener): Socket {
  return l.address.kind === 'tcp' ? connect(l.address.port, l.address.host) : connect(l.address.path);
}

async function talk(l: Listener, text: string): Promise<string> {
  const socket = dial(l);
  socket.end(text);
  let out = '';
  for await (const chunk of socket) out += String(chunk);
  return out;
}

const tcp: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 };
const unix = (name: string): ListenAddress & { kind: 'unix' } => ({
  kind: 'unix',
  path: path.join(folder, name),
});
const refused =
  (code: string) =>
  (e: unknown): boolean =>
    e instanceof MailError && e.code === code;

describe('listen', () => {
  it('serves TCP on a port of its own and tells which', async () => {
    const l = await listen(tcp, {}, echo);
    assert.ok(l.address.kind === 'tcp' && l.address.port > 0);
    assert.equal(await talk(l, 'hello'), 'hello');
    await assert.rejects(listen(l.address, {}, echo), refused('CONNECT'));
    await l.close();
    assert.equal(l.connections, 0);
  });

  it('serves a UNIX socket with the mode asked for, and takes it away again', async () => {
    const at = unix('mode');
    const l = await listen(at, { unixMode: 0o666 }, echo);
    assert.equal(statSync(at.path).mode & 0o777, 0o666);
    assert.equal(await talk(l, 'hello'), 'hello');
    await l.close();
    assert.equal(existsSync(at.path), false);
    const closed = await listen(at, {}, echo);
    assert.equal(statSync(at.path).mode & 0o777, 0o600);
    await closed.close();
  });

  it('replaces the socket of a dead process only', async () => {
    const stale = unix('stale');
    const script = `require('net').createServer().listen(${JSON.stringify(stale.path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    assert.ok(statSync(stale.path).isSocket());
    const l = await listen(stale, {}, echo);
    assert.equal(await talk(l, 'x'), 'x');
    await assert.rejects(listen(stale, {}, echo), refused('CONNECT'));
    assert.equal(await talk(l, 'still here'), 'still here');
    await l.close();
    const file = unix('file');
    writeFileSync(file.path, 'precious');
    await assert.rejects(listen(file, {}, echo), refused('CONNECT'));
    assert.equal(statSync(file.path).size, 8);
  });

  it('says so where the folder of a socket is missing', async () => {
    const { path } = unix('nowhere/socket');
    await assert.rejects(listen({ kind: 'unix', path }, {}, echo), /there is no folder .*nowhere$/);
  });

  it('gives a UNIX socket to a user and a group, before anybody else may connect', {
    skip: !asRoot,
  }, async () => {
    const at = unix('owned');
    const l = await listen(at, { unixMode: 0o660, unixOwner: { uid: 65_534, gid: 8 } }, echo);
    const { mode, uid, gid } = statSync(at.path);
    assert.deepEqual([mode & 0o777, uid, gid], [0o660, 65_534, 8]);
    await l.close();
    const group = await listen(at, { unixOwner: { gid: 8 } }, echo);
    assert.deepEqual([statSync(at.path).uid, statSync(at.path).gid], [0, 8]);
    await group.close();
  });

  it('says so where it may not give the socket away, and leaves none behind', { skip: !asRoot }, () => {
    const open = path.join(folder, 'open');
    mkdirSync(open);
    chmodSync(folder, 0o755);
    chmodSync(open, 0o777);
    const script = `
      import { listen } from ${JSON.stringify(path.join(import.meta.dirname, 'listen.ts'))};
      process.setgroups([]);
      process.setgid(65534);
      process.setuid(65534);
      await listen({ kind: 'unix', path: ${JSON.stringify(path.join(open, 's'))} }, { unixOwner: { uid: 1, gid: 8 } }, async () => undefined);`;
    const run = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script]);
    assert.match(String(run.stderr), /cannot be given to user 1 and group 8: Operation not permitted/);
    assert.notEqual(run.status, 0);
    assert.deepEqual(readdirSync(open), []);
  });

  it('turns away whom it is told to, with a word or without, at once or later', async () => {
    const asked: string[] = [];
    const answers = [
      '554 no\r\n',
      Promise.resolve('421 later\r\n'),
      '',
      undefined,
      Promise.resolve(undefined),
    ];
    const options = {
      refuse: (client: { readonly remoteAddress: string }) => {
        asked.push(client.remoteAddress);
        return answers.shift();
      },
    };
    const l = await listen(tcp, options, echo);
    for (const wanted of ['554 no\r\n', '421 later\r\n', '', 'x', 'x'])
      assert.equal(await talk(l, 'x'), wanted);
    assert.deepEqual(asked, Array(5).fill('127.0.0.1'));
    await l.close();
  });

  it('refuses connections beyond the bound, with a reply', async () => {
    const l = await listen(tcp, { maxConnections: 1, busyReply: '421 busy\r\n' }, echo);
    const first = dial(l);
    first.write('a');
    await once(first, 'data');
    assert.equal(await talk(l, ''), '421 busy\r\n');
    first.end();
    first.resume();
    await once(first, 'close');
    assert.equal(await talk(l, 'now'), 'now');
    await l.close();
  });

  it('closes on abort, cutting sessions that do not end in time', async () => {
    const stop = new AbortController();
    const hangs = Promise.withResolvers<void>();
    const l = await listen(tcp, { signal: stop.signal }, async (c) => {
      if ((await c.read(10_000, false)) !== 'lost') await hangs.promise;
    });
    const socket = dial(l);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    while (l.connections === 0) await new Promise(setImmediate);
    stop.abort();
    await l.close(50);
    await assert.rejects(listen(tcp, { signal: stop.signal }, echo));
    hangs.resolve();
    socket.destroy();
  });

  it('lives through a session that throws', async () => {
    const errors: unknown[] = [];
    const l = await listen(tcp, { onError: (e) => void errors.push(e) }, () =>
      Promise.reject(new Error('bug')),
    );
    const socket = dial(l);
    socket.on('error', () => undefined);
    await once(socket, 'close');
    const again = dial(l);
    again.on('error', () => undefined);
    await once(again, 'close');
    assert.equal(errors.length, 2);
    await l.close();
  });
});

describe('ServerConnection', () => {
  it('reads nothing more while the client leaves its replies unread', async () => {
    const got = Promise.withResolvers<unknown>();
    const l = await listen(tcp, {}, async (c) => {
      await c.read(10_000, false);
      // Far more than the kernel's buffers hold.
      for (let i = 0; i < 200; i++) c.write('x'.repeat(100_000));
      assert.equal(c.isCongested, true);
      got.resolve(await c.read(100, false));
    });
    const socket = dial(l);
    socket.pause();
    socket.write('one');
    await once(socket, 'connect');
    socket.write('two');
    assert.equal(await got.promise, 'timeout');
    socket.destroy();
    await l.close();
  });

  it('holds a client back that sends faster than it is read', async () => {
    const release = Promise.withResolvers<void>();
    let octets = 0;
    const l = await listen(tcp, {}, async (c) => {
      await release.promise;
      for (
        let chunk = await c.read(10_000, false);
        typeof chunk !== 'string';
        chunk = await c.read(10_000, false)
      )
        octets += chunk.length;
    });
    const socket = dial(l);
    const all = 64 * 1024 * 1024;
    socket.end(Buffer.alloc(all));
    socket.resume();
    await once(socket, 'connect');
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    assert.ok(socket.writableLength > 0, 'the client could send everything though nobody read');
    release.resolve();
    await once(socket, 'close');
    assert.equal(octets, all);
    await l.close();
  });

  it('tells a reset from an orderly end', async () => {
    const ends: string[] = [];
    const l = await listen(tcp, {}, async (c) => {
      for (let chunk = await c.read(10_000, false); ; chunk = await c.read(10_000, false)) {
        if (typeof chunk === 'string') return void ends.push(chunk);
      }
    });
    const first = dial(l);
    first.end('a');
    first.resume();
    await once(first, 'close');
    const second = dial(l);
    second.write('b');
    await once(second, 'connect');
    while (l.connections === 0) await new Promise(setImmediate);
    second.resetAndDestroy();
    while (ends.length < 2) await new Promise(setImmediate);
    assert.deepEqual(ends, ['end', 'lost']);
    await l.close();
  });

  it('says where the peer is, IPv4 as IPv4 on a dual-stack socket', async () => {
    const peer = Promise.withResolvers<string>();
    const probe = createServer();
    const dual = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(0, '::', () => resolve(true));
    });
    if (dual) probe.close();
    const l = await listen(dual ? { kind: 'tcp', host: '::', port: 0 } : tcp, {}, async (c) =>
      peer.resolve(c.peer.remoteAddress),
    );
    assert.ok(l.address.kind === 'tcp');
    const socket = connect(l.address.port, '127.0.0.1');
    assert.equal(await peer.promise, '127.0.0.1');
    socket.destroy();
    await l.close();
  });
});
