import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { createSecureContext, TLSSocket } from 'node:tls';
import { makeCertificate } from '../../../test/support/certificate.ts';
import { temporaryFolder } from '../../../test/support/process.ts';
import { connectLmtp, type LmtpConnectOptions } from './connect.ts';
import { SessionError } from '../../net/open-session.ts';

const folder = temporaryFolder('lmtp-client-tls');
after(() => folder.remove());
const files = makeCertificate(folder.path);
const cert = readFileSync(files.certificateFile, 'latin1');
const key = readFileSync(files.privateKeyFile, 'latin1');

interface Behaviour {
  readonly offer?: boolean;
  /** The answer to STARTTLS, as it stands. */
  readonly answer?: string;
  /** What comes instead of a handshake. */
  readonly garbage?: string;
  readonly implicit?: boolean;
  /** Stays silent where the handshake should be. */
  readonly silent?: boolean;
}

/** A server that does TLS; gives its port, and the commands it got inside TLS. */
async function serve(b: Behaviour): Promise<{ port: number; inside: string[]; close(): void }> {
  const inside: string[] = [];
  const open = new Set<Socket>();
  const speak = (socket: Socket, secure: boolean): void => {
    socket.on('error', () => undefined);
    socket.on('data', (octets: Buffer) => {
      for (const line of octets
        .toString('latin1')
        .split('\r\n')
        .filter((l) => l !== '')) {
        if (secure) inside.push(line);
        if (line.startsWith('LHLO'))
          socket.write(
            secure
              ? '250-s\r\n250 PIPELINING\r\n'
              : b.offer === false
                ? '250 s\r\n'
                : '250-s\r\n250 STARTTLS\r\n',
          );
        else if (line === 'STARTTLS') {
          const answer = b.answer ?? '220 go\r\n';
          socket.removeAllListeners('data');
          socket.write(answer + (b.garbage ?? ''));
          if (answer.startsWith('220') && b.garbage === undefined && b.silent !== true) upgrade(socket);
        } else if (line === 'QUIT') socket.end('221 bye\r\n');
      }
    });
  };
  const upgrade = (socket: Socket): TLSSocket => {
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: createSecureContext({ cert, key }),
    });
    speak(secure, true);
    return secure;
  };
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    if (b.implicit === true) {
      if (b.silent === true) return;
      upgrade(socket).write('220 ready\r\n');
    } else {
      socket.write('220 ready\r\n');
      speak(socket, false);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  if (bound === null || typeof bound !== 'object') throw new Error('no port');
  return {
    port: bound.port,
    inside,
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

type Tls = NonNullable<LmtpConnectOptions['tls']>;
const trusted: Omit<Tls, 'mode'> = { peerName: 'server.example.test', verify: true, ca: cert };

/** The session's capabilities, or why there is none. */
async function open(b: Behaviour, tls: Omit<Tls, 'mode'> = trusted, timeoutMs = 5_000): Promise<string> {
  const server = await serve(b);
  const mode = b.implicit === true ? 'implicit' : 'starttls';
  try {
    const session = await connectLmtp(
      { kind: 'tcp', host: '127.0.0.1', port: server.port },
      { helo: 'c.test', tls: { ...tls, mode }, connectTimeoutMs: timeoutMs, commandTimeoutMs: timeoutMs },
    );
    await session.connection.close();
    return `${[...session.capabilities.keywords.keys()].join()} after ${server.inside.join()}`;
  } catch (error) {
    assert.ok(error instanceof SessionError, String(error));
    const { after: when, reply, fault } = error.failure;
    return `${when ?? 'connecting'}: ${reply?.code ?? ''} ${fault.kind} ${'text' in fault ? fault.text : ''}`;
  } finally {
    server.close();
  }
}

test('STARTTLS: what is offered inside counts; the certificate must be trusted and name the server', async () => {
  assert.match(await open({}), /^PIPELINING after LHLO c\.test,?(?:QUIT)?$/);
  assert.match(await open({ implicit: true }), /^PIPELINING after LHLO c\.test,?(?:QUIT)?$/);
  for (const implicit of [false, true]) {
    assert.match(
      await open({ implicit }, { peerName: 'other.test', verify: true, ca: cert }),
      /io TLS: .*other\.test/,
    );
    assert.match(
      await open({ implicit }, { peerName: 'server.example.test', verify: true }),
      /io TLS: .*self.signed/i,
    );
    assert.match(await open({ implicit }, { peerName: '127.0.0.1', verify: false }), /^PIPELINING/);
  }
});

test('no TLS, no session: not offered, refused, nonsense, silence', async () => {
  assert.match(await open({ offer: false }), /^STARTTLS: {2}io the server does not offer STARTTLS/);
  assert.match(await open({ answer: '454 4.7.0 not now\r\n' }), /^STARTTLS: 454 /);
  assert.match(await open({ answer: '' }, trusted, 200), /^STARTTLS: {2}timeout/);
  assert.match(await open({ garbage: 'HTTP/1.1 400 Bad Request\r\n\r\n' }), /^STARTTLS: /);
  assert.match(await open({ silent: true }, trusted, 200), /^STARTTLS: {2}io TLS handshake timed out/);
  assert.match(await open({ implicit: true, silent: true }, trusted, 200), /^connecting: {2}timeout/);
});

test('what came in the clear together with the 220 is not taken for a reply inside TLS', async () => {
  const told = await open({ garbage: '250-evil\r\n250 PIPELINING\r\n' });
  assert.match(told, /^STARTTLS: {2}(?:unsolicited|io)/);
});
