import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { makeCertificate } from '../../test/support/certificate.ts';
import { needs } from '../../test/support/peers.ts';
import { temporaryFolder } from '../../test/support/process.ts';
import { MailError } from '../mail/mail-error.ts';
import { listen, type Listener } from './listen.ts';
import type { ServerConnection } from './server-connection.ts';
import type { TlsFacts } from './tls-accept.ts';
import { openTlsContexts, type TlsContexts, type TlsIdentity } from './tls-context.ts';

const folder = temporaryFolder('tls');
after(() => folder.remove());

interface Server {
  readonly listener: Listener;
  /** What each handshake came to. */
  readonly results: (TlsFacts | string)[];
  /** What was read over TLS. */
  readonly got: string[];
}

/** Waits for `GO`, says `ok` and goes on over TLS, where it sends back what comes. */
async function serve(
  contexts: TlsContexts,
  timeoutMs = 10_000,
  beforeTls?: (c: ServerConnection) => Promise<void>,
): Promise<Server> {
  const results: (TlsFacts | string)[] = [];
  const got: string[] = [];
  const listener = await listen({ kind: 'tcp', host: '127.0.0.1', port: 0 }, {}, async (c) => {
    const first = await c.read(10_000, true);
    if (typeof first === 'string') return;
    c.write('ok');
    c.flush();
    await beforeTls?.(c);
    const result = await c.startTls(contexts.current(), timeoutMs);
    results.push(result);
    if (typeof result === 'string') return;
    for (;;) {
      const chunk = await c.read(10_000, true);
      if (typeof chunk === 'string') return;
      got.push(chunk.toString('latin1'));
      c.write(chunk.toString('latin1'));
    }
  });
  return { listener, results, got };
}

async function dial({ listener }: Server): Promise<Socket> {
  assert.ok(listener.address.kind === 'tcp');
  const socket = connect({ port: listener.address.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => undefined);
  socket.write('GO');
  await once(socket, 'data');
  return socket;
}

async function secure(server: Server, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ socket: await dial(server), rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

async function closed(socket: Socket): Promise<void> {
  socket.resume();
  socket.once('end', () => socket.end());
  // once() would reject for an error before it.
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
}

async function echo(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text, 'latin1');
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return chunk.toString('latin1');
}

const quiet = (error: unknown): void => assert.fail(String(error));
const contextsOf = (identity: TlsIdentity): TlsContexts => openTlsContexts(identity, quiet);

describe('TLS on an accepted connection', { skip: needs('openssl') }, () => {
  it('goes on where the plain text ended, octet for octet, and tells protocol and cipher', async () => {
    const server = await serve(contextsOf(makeCertificate(folder.path)));
    const old = await secure(server, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' });
    assert.equal(await echo(old, 'a\x00\xff\r\n'), 'a\x00\xff\r\n');
    const socket = await secure(server, { ciphers: 'TLS_CHACHA20_POLY1305_SHA256' });
    assert.equal(await echo(socket, 'x'), 'x');
    assert.deepEqual(server.results, [
      { protocol: 'TLSv1.2', cipher: 'ECDHE-ECDSA-AES128-GCM-SHA256', bits: 128 },
      { protocol: 'TLSv1.3', cipher: 'TLS_CHACHA20_POLY1305_SHA256', bits: 256 },
    ]);
    old.end();
    socket.end();
    await Promise.all([closed(old), closed(socket)]);
    await server.listener.close();
  });

  it('carries a megabyte in both directions to a client that closes its side', async () => {
    const server = await serve(contextsOf(makeCertificate(folder.path)));
    const socket = await secure(server);
    const text = '0123456789abcdef'.repeat(65_536);
    socket.end(text, 'latin1');
    let back = 0;
    for await (const chunk of socket) back += (chunk as Buffer).length;
    assert.equal(back, text.length);
    assert.equal(server.got.join(''), text);
    await server.listener.close();
  });

  it('takes nothing that came before the handshake', async () => {
    const contexts = contextsOf(makeCertificate(folder.path));
    const waits = async (c: ServerConnection): Promise<void> => {
      while (!c.hasInput) await new Promise(setImmediate);
    };
    for (const beforeTls of [waits, undefined]) {
      const server = await serve(contexts, 10_000, beforeTls);
      const socket = await dial(server);
      socket.write('MAIL FROM:<evil@example.test>\r\n');
      await closed(socket);
      await server.listener.close();
      assert.deepEqual(server.got, []);
      assert.deepEqual(server.results, [
        beforeTls === undefined ? 'wrong version number' : 'plain text sent before the TLS handshake',
      ]);
    }
  });

  it('says why a handshake came to nothing', async () => {
    const server = await serve(contextsOf(makeCertificate(folder.path)), 150);
    const garbage = await dial(server);
    garbage.write('this is no TLS record at all\r\n');
    await closed(garbage);
    const gone = await dial(server);
    gone.end(Buffer.from([22, 3, 1, 0, 200]));
    await closed(gone);
    const slow = await dial(server);
    slow.write(Buffer.from([22, 3, 1]));
    await closed(slow);
    const old = await dial(server);
    const tls = connectTls({
      socket: old,
      rejectUnauthorized: false,
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1.1',
    });
    tls.on('error', () => undefined);
    await closed(tls);
    await server.listener.close();
    assert.deepEqual(server.results.slice(0, 3), [
      'wrong version number',
      'disconnected during the TLS handshake',
      'TLS handshake timed out',
    ]);
    assert.equal(typeof server.results[3], 'string');
    assert.equal(server.listener.connections, 0);
  });

  it('ends a connection on which a record is forged', async () => {
    const server = await serve(contextsOf(makeCertificate(folder.path)));
    const plain = await dial(server);
    const socket = connectTls({ socket: plain, rejectUnauthorized: false });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    assert.equal(await echo(socket, 'mine'), 'mine');
    const handle = (plain as unknown as { _handle: { fd: number } })._handle;
    writeFileSync(handle.fd, 'QUIT\r\nnot a record\r\n');
    await closed(socket);
    await server.listener.close();
    assert.deepEqual(server.got, ['mine']);
  });

  it('takes a lower bound and a list of ciphers', async () => {
    const identity = { ...makeCertificate(folder.path), minVersion: 'TLSv1.3' } as const;
    const server = await serve(contextsOf(identity));
    const old = connectTls({ socket: await dial(server), rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
    const [error] = (await once(old, 'error')) as [Error];
    assert.match(String(error), /protocol version/i);
    await server.listener.close();
    const one = await serve(
      contextsOf({ ...makeCertificate(folder.path), ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE+AESGCM' }),
    );
    await closed((await secure(one)).end());
    const [facts] = one.results;
    assert.ok(typeof facts === 'object' && facts.cipher === 'TLS_AES_128_GCM_SHA256');
    await one.listener.close();
  });
});

describe('certificates', { skip: needs('openssl') }, () => {
  const open = (identity: TlsIdentity) => (): unknown => openTlsContexts(identity, quiet);
  const complaint =
    (pattern: RegExp) =>
    (e: unknown): boolean =>
      e instanceof MailError && e.code === 'CONNECT' && pattern.test(e.message);

  it('are refused with their names where they cannot be used', () => {
    const good = makeCertificate(folder.path, 'good');
    const other = makeCertificate(folder.path, 'other');
    const missing = path.join(folder.path, 'nowhere.pem');
    assert.throws(open({ certificateFile: missing }), complaint(/nowhere\.pem: ENOENT/));
    assert.throws(
      open({ ...good, privateKeyFile: other.privateKeyFile }),
      complaint(/good\.pem with the key .*other\.key/),
    );
    assert.throws(open({ ...good, ciphers: 'NO-SUCH-CIPHER' }), complaint(/no cipher match/i));
  });

  it('are read anew when their files change; sessions and a pair half written do no harm', async (t) => {
    const files = makeCertificate(folder.path, 'renewed');
    const next = makeCertificate(folder.path, 'next');
    const problems: unknown[] = [];
    const contexts = openTlsContexts(files, (e) => void problems.push(e));
    const server = await serve(contexts);
    const names: (string | undefined)[] = [];
    const visit = async (): Promise<TLSSocket> => {
      const socket = await secure(server);
      names.push(socket.getPeerCertificate().subject.CN as string);
      return socket;
    };
    const first = await visit();
    let now = performance.now();
    t.mock.method(performance, 'now', () => now);
    copyFileSync(next.certificateFile, files.certificateFile);
    now += 2_000;
    await closed((await visit()).end());
    now += 2_000;
    await closed((await visit()).end());
    assert.equal(problems.length, 1);
    copyFileSync(next.privateKeyFile, files.privateKeyFile);
    now += 2_000;
    await closed((await visit()).end());
    rmSync(files.certificateFile);
    now += 2_000;
    await closed((await visit()).end());
    assert.deepEqual(names, [
      'renewed.example.test',
      'renewed.example.test',
      'renewed.example.test',
      'next.example.test',
      'next.example.test',
    ]);
    assert.equal(problems.length, 2);
    assert.equal(await echo(first, 'still here'), 'still here');
    await closed(first.end());
    await server.listener.close();
  });
});
