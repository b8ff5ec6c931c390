// What the handler hears of the client: as it connected, as a trusted host tells by XCLIENT, and over TLS.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, describe, it } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { makeCertificate, type CertificateFiles } from '../../../test/support/certificate.ts';
import { needs } from '../../../test/support/peers.ts';
import { temporaryFolder } from '../../../test/support/process.ts';
import {
  createLmtpServer,
  reply,
  type Listener,
  type LmtpClientFacts,
  type LmtpIncident,
  type LmtpListenOptions,
  type LmtpServerOptions,
  type Recipient,
} from './index.ts';

const folder = temporaryFolder('lmtp-client');
after(() => folder.remove());
let made: CertificateFiles | undefined;
const certificate = (): CertificateFiles => (made ??= makeCertificate(folder.path));

interface Server {
  readonly listener: Listener;
  readonly clients: LmtpClientFacts[];
  readonly recipients: Recipient[];
  readonly incidents: LmtpIncident[];
  close(): Promise<void>;
}

async function serve(
  listenOptions: LmtpListenOptions,
  options: Partial<LmtpServerOptions> = {},
): Promise<Server> {
  const clients: LmtpClientFacts[] = [];
  const recipients: Recipient[] = [];
  const incidents: LmtpIncident[] = [];
  const server = createLmtpServer(
    { hostname: 'store.example.test', onIncident: (i) => void incidents.push(i), ...options },
    {
      begin: async (client) => {
        clients.push(client);
        return {
          rcpt: async (r) => {
            recipients.push(r);
            return reply(250, '2.1.5', 'OK');
          },
          deliver: async (_content, accepted) => accepted.map(() => reply(250, '2.0.0', 'Saved')),
          end: () => undefined,
        };
      },
    },
  );
  const listener = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 }, listenOptions);
  return { listener, clients, recipients, incidents, close: () => server.close() };
}

function portOf({ listener }: Server): number {
  assert.ok(listener.address.kind === 'tcp');
  return listener.address.port;
}

/** Sends all in one piece and gives the octets that come until the end. */
async function talk(socket: Socket, text: string): Promise<string> {
  socket.end(text, 'latin1');
  let out = '';
  for await (const chunk of socket) out += (chunk as Buffer).toString('latin1');
  return out;
}

const plain = (s: Server): Socket => connect({ port: portOf(s), host: '127.0.0.1', allowHalfOpen: true });

const mail = 'MAIL FROM:<a@example.test>\r\nRSET\r\n';

describe('XCLIENT', () => {
  it('makes another of the client, attribute by attribute', async () => {
    const s = await serve({ trusts: (address) => address === '127.0.0.1' });
    const all =
      'ADDR=IPV6:2001:db8::7 PORT=4711 HELO=first.example.test LOGIN=joe+40example.test SESSION=abc TTL=3 ' +
      'TIMEOUT=30 PROTO=ESMTP DESTNAME=mx.example.test DESTADDR=192.0.2.25 DESTPORT=25';
    await talk(
      plain(s),
      `${mail}LHLO c.test\r\nXCLIENT ${all}\r\n${mail}LHLO <none>\r\n${mail}XCLIENT ADDR=192.0.2.9 TTL=2 SESSION=new\r\n${mail}QUIT\r\n`,
    );
    const [before, told, again, last] = s.clients;
    assert.ok(before !== undefined && told !== undefined && again !== undefined && last !== undefined);
    const { remotePort, sessionId, ...rest } = before;
    assert.ok(remotePort !== undefined && remotePort > 0);
    assert.match(sessionId, /^[\w-]{22}$/);
    assert.deepEqual(rest, { remoteAddress: '127.0.0.1', lhlo: '' });
    const forwarded = {
      fromAddress: '127.0.0.1',
      login: 'joe@example.test',
      ttl: 3,
      timeoutSeconds: 30,
      proto: 'ESMTP',
      destName: 'mx.example.test',
      destAddress: '192.0.2.25',
      destPort: 25,
    };
    const client = { remoteAddress: '2001:db8::7', remotePort: 4711 };
    assert.deepEqual(told, { ...client, lhlo: 'first.example.test', sessionId: 'abc:T2', forwarded });
    assert.deepEqual(again, { ...client, lhlo: '', sessionId: 'abc:T3', forwarded });
    assert.deepEqual(last, {
      remoteAddress: '192.0.2.9',
      remotePort: 0,
      lhlo: '',
      sessionId: 'new:T4',
      forwarded: { ...forwarded, ttl: 2 },
    });
    await s.close();
  });

  it('lets no name of a session out of its place, and no reply grow too long', async () => {
    const s = await serve({ trusts: async () => true });
    await talk(
      plain(s),
      `XCLIENT SESSION=a+20b+0D+0A250+20c\r\n${mail}XCLIENT SESSION=${'x'.repeat(500)}\r\n${mail}XCLIENT SESSION=\r\n${mail}QUIT\r\n`,
    );
    assert.deepEqual(
      s.clients.map((c) => c.sessionId),
      ['a?b??250?c', `${'x'.repeat(100)}:T2`, `${'x'.repeat(100)}:T3`],
    );
    await s.close();
  });

  it('is for trusted hosts, as XRCPTFORWARD is', async () => {
    for (const trusted of [true, false]) {
      const s = await serve({ trusts: () => trusted });
      const out = await talk(
        plain(s),
        `XCLIENT ADDR=192.0.2.1\r\nMAIL FROM:<>\r\nRCPT TO:<u@example.test> XRCPTFORWARD=dmFyPXZhbHVl\r\nQUIT\r\n`,
      );
      assert.equal(/^550 5\.7\.14 You are not/m.test(out), !trusted);
      assert.equal(/^550 5\.7\.14 Unacceptable XRCPTFORWARD=/m.test(out), !trusted);
      assert.equal(s.clients[0]?.remoteAddress, trusted ? '192.0.2.1' : '127.0.0.1');
      assert.deepEqual(
        s.recipients.map((r) => r.forward),
        trusted ? ['dmFyPXZhbHVl'] : [],
      );
      await s.close();
    }
  });

  it('leaves the answer to LHLO short enough for Exim, whatever is offered', async () => {
    for (const hostname of ['s', 'store.example.test', 'h'.repeat(300)]) {
      const s = await serve(
        { trusts: () => true, ...(needs('openssl') === false ? { tls: certificate() } : {}) },
        { hostname, dsn: true, smtputf8: true, limits: { maxMessageOctets: 9e15 } },
      );
      const out = await talk(plain(s), 'LHLO c.test\r\n');
      const lhlo = out.slice(out.indexOf('250'));
      assert.ok(lhlo.length <= 240, `${lhlo.length}: ${lhlo}`);
      assert.match(lhlo, /^250-[sh][^\r\n]*\r\n(?:250-.*\r\n)+250 XRCPTFORWARD\r\n$/);
      assert.match(
        lhlo,
        /^250-XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT(?: DESTNAME DESTADDR DESTPORT)?\r$/m,
      );
      await s.close();
    }
  });
});

describe('TLS', { skip: needs('openssl') }, () => {
  it('by STARTTLS: all that was said in the clear is forgotten', async () => {
    const s = await serve({ trusts: () => true, tls: certificate() });
    const socket = connect({ port: portOf(s), host: '127.0.0.1', allowHalfOpen: true });
    socket.write(
      `LHLO evil.test\r\nXCLIENT ADDR=192.0.2.66 SESSION=evil LOGIN=evil\r\n${mail}MAIL FROM:<>\r\nSTARTTLS\r\n`,
    );
    let text = '';
    while (!text.includes('Begin TLS')) text += String((await once(socket, 'data'))[0]);
    const secure = connectTls({ socket, rejectUnauthorized: false });
    await once(secure, 'secureConnect');
    await talk(secure, `RCPT TO:<u@example.test>\r\n${mail}LHLO c.test\r\n${mail}QUIT\r\n`);
    const [evil, , first, second] = s.clients;
    assert.equal(evil?.sessionId, 'evil');
    assert.ok(first?.tls !== undefined && second !== undefined);
    const { tls, remotePort: _, sessionId, ...rest } = first;
    assert.deepEqual(rest, { remoteAddress: '127.0.0.1', lhlo: '', protocol: 'LMTPS' });
    assert.match(sessionId, /^[\w-]{22}:T3$/);
    assert.deepEqual([tls.protocol, tls.bits], ['TLSv1.3', 256]);
    assert.equal(second.lhlo, 'c.test');
    assert.deepEqual(s.recipients, []);
    await s.close();
  });

  it('from the first octet; who speaks plain text there is told nothing', async () => {
    const s = await serve({ tls: { ...certificate(), onConnect: true } }, { smtputf8: true });
    const secure = connectTls({ port: portOf(s), host: '127.0.0.1', rejectUnauthorized: false });
    const out = await talk(secure, `LHLO c.test\r\nSTARTTLS\r\nMAIL FROM:<> SMTPUTF8\r\nQUIT\r\n`);
    assert.match(out, /^220 store\.example\.test /);
    assert.doesNotMatch(out, /250.STARTTLS/);
    assert.match(out, /^502 5\.5\.1 TLS is already active\.\r$/m);
    assert.equal(s.clients[0]?.protocol, 'UTF8LMTPS');
    assert.doesNotMatch(await talk(plain(s), 'LHLO c.test\r\nQUIT\r\n'), /^220/);
    assert.deepEqual(
      s.incidents.map((i) => (i.kind === 'tls' ? i.reason : i.kind)),
      ['bad-command', 'wrong version number'],
    );
    await s.close();
  });

  it('turns nobody away in plain text where it comes first', async () => {
    const refuse = (): string => '554 no\r\n';
    const s = await serve({ tls: { ...certificate(), onConnect: true }, refuse });
    assert.equal(await talk(plain(s), ''), '');
    await s.close();
    const clear = await serve({ tls: certificate(), refuse });
    assert.equal(await talk(plain(clear), ''), '554 no\r\n');
    await clear.close();
  });

  it('is not offered without a certificate that can be used', async () => {
    await assert.rejects(
      serve({ tls: { certificateFile: `${folder.path}/nowhere` } }),
      /cannot use the certificate/,
    );
    const s = await serve({});
    assert.match(await talk(plain(s), 'STARTTLS\r\nQUIT\r\n'), /502 5\.5\.1 TLS support is not enabled\./);
    await s.close();
  });

  it('ends a connection on which commands follow STARTTLS', async () => {
    const s = await serve({ tls: certificate() });
    const out = await talk(plain(s), 'STARTTLS\r\nMAIL FROM:<evil@example.test>\r\n');
    assert.match(out, /^220 [^\r]*\r\n220 2\.0\.0 Begin TLS negotiation now\.\r\n$/);
    assert.deepEqual(s.clients, []);
    assert.ok(s.incidents.some((i) => i.kind === 'tls'));
    await s.close();
  });
});
