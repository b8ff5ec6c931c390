import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { assert as check, property, string, uint8Array } from 'fast-check';
import { readRadiusConfig } from './radius-config.ts';
import { accessRequestOf, hidden, readReply } from './radius-packet.ts';
import { askRadius } from './radius.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'mailchute-radius-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function file(text: string): string {
  const name = path.join(folder, `f${files++}`);
  writeFileSync(name, text, 'latin1');
  return name;
}

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex');
const md5 = (...parts: readonly Buffer[]): Buffer => createHash('md5').update(Buffer.concat(parts)).digest();

describe('packets of RFC 2865', () => {
  // §7.1: "nemo" with the password "arctangent", the secret "xyzzy5461".
  const secret = Buffer.from('xyzzy5461');
  const authenticator = hex('0f403f9473978057bd83d5cb98f4227a');
  const request = { octets: hex('01000038'), authenticator };
  const accept = hex('02000026 86fe220e7624ba2a1005f6bf9b55e0b2 060600000001 0f0600000000 0e06c0a80103');

  it('hide the password as its example does', () => {
    const octets = hidden(Buffer.from('arctangent'), authenticator, secret);
    assert.equal(octets.toString('hex'), '0dbe708d93d413ce3196e43f782a0aee');
  });

  it('are genuine or nothing', () => {
    assert.deepEqual(readReply(accept, request, secret, false), { kind: 'accept' });
    assert.deepEqual(readReply(accept, request, secret, true), { kind: 'unsigned' });
    for (let i = 0; i < accept.length * 8; i++) {
      const broken = Buffer.from(accept);
      broken.writeUInt8(broken.readUInt8(i >> 3) ^ (1 << (i & 7)), i >> 3);
      assert.deepEqual(readReply(broken, request, secret, false), { kind: 'none' }, `bit ${i}`);
    }
    assert.deepEqual(readReply(accept.subarray(0, 37), request, secret, false), { kind: 'none' });
    // What comes after the packet's length is padding.
    assert.deepEqual(readReply(Buffer.concat([accept, hex('0000')]), request, secret, false), {
      kind: 'accept',
    });
  });

  it('are read whatever they hold', () => {
    const own = accessRequestOf({ user: 'u', password: 'p', identifier: 'mx' }, secret);
    check(
      property(uint8Array({ maxLength: 60 }), (octets) => {
        const packet = Buffer.concat([own.octets.subarray(0, 4), Buffer.alloc(16), octets]);
        packet.writeUInt16BE(packet.length, 2);
        const rest = packet.subarray(20);
        md5(packet.subarray(0, 4), own.authenticator, rest, secret).copy(packet, 4);
        assert.notEqual(readReply(packet, own, secret, true).kind, 'accept');
        readReply(Buffer.from(octets), own, secret, false);
      }),
    );
  });
});

/** What a server understands of a request: written anew from the RFC. */
interface Heard {
  readonly packet: Buffer;
  readonly attributes: ReadonlyMap<number, Buffer>;
  readonly password: string;
  readonly signed: boolean;
}

function read(packet: Buffer, secret: string): Heard {
  const attributes = new Map<number, Buffer>();
  let signature = -1;
  for (let at = 20; at < packet.readUInt16BE(2); at += packet.readUInt8(at + 1)) {
    if (packet.readUInt8(at) === 80) signature = at + 2;
    attributes.set(packet.readUInt8(at), packet.subarray(at + 2, at + packet.readUInt8(at + 1)));
  }
  const cipher = attributes.get(2) ?? Buffer.alloc(0);
  let password = '';
  for (let at = 0; at < cipher.length; at += 16) {
    const mask = md5(Buffer.from(secret), at === 0 ? packet.subarray(4, 20) : cipher.subarray(at - 16, at));
    for (let i = 0; i < 16; i++)
      password += String.fromCharCode(cipher.readUInt8(at + i) ^ mask.readUInt8(i));
  }
  const zeroed = Buffer.from(packet);
  zeroed.fill(0, signature, signature + 16);
  const mac = createHmac('md5', secret).update(zeroed).digest();
  return {
    packet,
    attributes,
    password: password.replace(/\0+$/, ''),
    signed: signature > 0 && mac.equals(packet.subarray(signature, signature + 16)),
  };
}

/** A reply, signed or not. */
function reply(code: number, to: Buffer, secret: string, signed = true): Buffer {
  const packet = Buffer.alloc(signed ? 38 : 20);
  packet.writeUInt8(code, 0);
  packet.writeUInt8(to.readUInt8(1), 1);
  packet.writeUInt16BE(packet.length, 2);
  to.copy(packet, 4, 4, 20);
  if (signed) {
    packet.writeUInt8(80, 20);
    packet.writeUInt8(18, 21);
    createHmac('md5', secret).update(packet).digest().copy(packet, 22);
  }
  md5(packet, Buffer.from(secret)).copy(packet, 4);
  return packet;
}

/** A server on loopback; `serve` gives the datagrams to answer with. */
async function server(
  secret: string,
  serve: (heard: Heard, count: number) => readonly Buffer[],
): Promise<{ readonly port: number; readonly heard: Heard[] } & AsyncDisposable> {
  const socket: Socket = createSocket('udp4');
  const all: Heard[] = [];
  socket.on('message', (packet: Buffer, from: RemoteInfo) => {
    const heard = read(packet, secret);
    all.push(heard);
    for (const answer of serve(heard, all.length)) socket.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    port: socket.address().port,
    heard: all,
    [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

const fast = 'radius_timeout 1\nradius_retries 1\n';
const ask = (config: string, user: string, password: string, limitMs?: number) =>
  askRadius(file(config), 'mx.test', { user, password }, limitMs);

describe('RADIUS servers', () => {
  it('learn name, password and who asks', async () => {
    await using s = await server('s3cret', ({ packet, attributes, password, signed }) => {
      const right = signed && attributes.get(1)?.toString('latin1') === 'nemo' && password === longPassword;
      return [reply(right ? 2 : 3, packet, 's3cret')];
    });
    const longPassword = 'p\xe9 of more than sixteen octets, : too';
    const config = `# a comment\nauthserver 127.0.0.1:${s.port}:s3cret\nnas-ip 192.0.2.1\ndefault_realm\n${fast}`;
    assert.deepEqual(await ask(config, 'nemo', longPassword), { kind: 'accepted' });
    assert.deepEqual(await ask(config, 'nemo', 'wrong'), { kind: 'rejected' });
    assert.deepEqual(await ask(config, 'nemo', ''), { kind: 'rejected' });
    assert.deepEqual(await ask(config, 'nemo', `${longPassword}\0`), { kind: 'rejected' });
    const [first] = s.heard;
    assert.equal(first?.attributes.get(32)?.toString(), 'mx.test');
    assert.deepEqual([...(first?.attributes.get(4) ?? [])], [192, 0, 2, 1]);
    assert.equal(first?.attributes.get(6)?.readUInt32BE(0), 8);
    assert.equal(
      new Set(s.heard.map((h) => h.packet.toString('hex', 4, 20))).size,
      3,
      'a new authenticator each',
    );
  });

  it('are asked again with the same octets, then the next one', async () => {
    await using deaf = await server('a', () => []);
    await using slow = await server('b', ({ packet }, n) => (n < 2 ? [] : [reply(2, packet, 'b')]));
    const secrets = file('# host secret\n127.0.0.9/127.0.0.1 b\n');
    const config = `authserver 127.0.0.1:${deaf.port}:a,127.0.0.1:${slow.port}\nservers ${secrets}\n${fast}`;
    assert.deepEqual(await ask(config, 'u', 'p'), { kind: 'accepted' });
    assert.equal(deaf.heard.length, 2);
    assert.deepEqual(deaf.heard[0]?.packet, deaf.heard[1]?.packet);
    assert.equal(slow.heard.length, 2);
  });

  it('are not heard where the reply is forged, and a challenge is no yes', async () => {
    await using s = await server('a', ({ packet }) => {
      const other = Buffer.from(packet);
      other.writeUInt8((packet.readUInt8(1) + 1) & 0xff, 1);
      const spoiled = reply(2, packet, 'a');
      spoiled.writeUInt8(spoiled.readUInt8(30) ^ 1, 30);
      const forged = [
        Buffer.alloc(0),
        Buffer.alloc(20),
        packet,
        reply(2, packet, 'wrong'),
        reply(2, other, 'a'),
        spoiled,
      ];
      return [...forged, reply(2, packet, 'a', false), reply(11, packet, 'a')];
    });
    const config = `authserver 127.0.0.1:${s.port}:a\n${fast}`;
    assert.deepEqual(await ask(config, 'u', 'p'), {
      kind: 'unknown',
      reason: 'RADIUS: unexpected response (11)',
    });
  });

  it('without a Message-Authenticator are heard only where the file allows it', async () => {
    await using s = await server('a', ({ packet }) => [reply(2, packet, 'a', false)]);
    const config = `authserver 127.0.0.1:${s.port}:a\nradius_timeout 1\nradius_retries 0\n`;
    const answer = await ask(config, 'u', 'p');
    assert.match('reason' in answer ? answer.reason : '', /no Message-Authenticator/);
    assert.deepEqual(await ask(`${config}require-message-authenticator no\n`, 'u', 'p'), {
      kind: 'accepted',
    });
  });

  it('that are silent or not there end in time', async () => {
    const late = { kind: 'unknown', reason: 'RADIUS: timed out' };
    const settings = 'radius_timeout 60\nradius_retries 10\n';
    let port = 0;
    {
      await using deaf = await server('a', () => []);
      ({ port } = deaf);
      assert.deepEqual(await ask(`authserver 127.0.0.1:${port}:a\n${settings}`, 'u', 'p', 50), late);
    }
    assert.deepEqual(await ask(`authserver 127.0.0.1:${port}:a\n${settings}`, 'u', 'p', 50), late);
    const bound = `authserver 127.0.0.1:${port}:a\nbindaddr 192.0.2.1\n${settings}`;
    const answer = await ask(bound, 'u', 'p', 5000);
    assert.match('reason' in answer ? answer.reason : '', /Cannot assign|address not available/i);
  });

  it('get no name and no password that does not fit', async () => {
    const config = 'authserver 127.0.0.1:9:a\n';
    for (const [user, password] of [
      ['', 'p'],
      ['u'.repeat(254), 'p'],
      ['u', 'p'.repeat(129)],
    ] as const)
      assert.equal((await ask(config, user, password)).kind, 'unknown');
  });
});

describe('radiusclient.conf', () => {
  it('is refused by file, line and key where it cannot be obeyed', () => {
    const secrets = file('other x\n');
    for (const [text, problem] of [
      ['', /no authserver$/],
      ['authserver h\n', /no secret for h: there is no line "servers"/],
      [`authserver h\nservers ${secrets}\n`, /no secret for h in /],
      ['authserver h\nservers /nonexist\n', /can't open \/nonexist: No such file/],
      ['authserver h:0:s\n', /authserver h: malformed$/],
      ['authserver h:99999:s\n', /malformed$/],
      ['\nradius_timeout 0\n', /:2: radius_timeout 0: must be 1 to 60 seconds$/],
      ['radius_retries 99\n', /must be 0 to 10$/],
      ['bindaddr h\n', /must be \* or an address$/],
      ['nas-ip h\n', /must be an IPv4 address$/],
      ['serv-type tls\n', /only udp is supported$/],
      ['require-message-authenticator perhaps\n', /must be yes or no$/],
      ['default_realm example.test\n', /is not supported$/],
      ['nosuch key\n', /:1: nosuch key: is not supported$/],
    ] as const) {
      const config = readRadiusConfig(file(text));
      assert.match(typeof config === 'string' ? config : '', problem, text);
      // A secret is never told.
      assert.doesNotMatch(JSON.stringify(config), /:s\b/);
    }
    assert.equal(readRadiusConfig('/nonexist'), "RADIUS: can't open /nonexist: No such file or directory");
  });

  it('has what clients usually have in it', () => {
    const config = readRadiusConfig(
      file(
        'auth_order radius\nlogin_tries 4\nauthserver [::1]:1645:se:cret\nauthserver h::x, i\nservers /nonexist\nacctserver h\nbindaddr *\nradius_deadtime 0\nserv-type udp\nnas-identifier me\n',
      ),
    );
    assert.equal(config, "RADIUS: can't open /nonexist: No such file or directory");
    const full = readRadiusConfig(
      file('authserver [::1]:1645:se:cret\nauthserver h::x\ndictionary /d\nnas-identifier me\n'),
    );
    assert.deepEqual(full, {
      servers: [
        { host: '::1', port: 1645, secret: 'se:cret' },
        { host: 'h', port: 1812, secret: 'x' },
      ],
      timeoutMs: 10_000,
      attempts: 4,
      bindAddress: undefined,
      nasIdentifier: 'me',
      nasIp: undefined,
      requireSigned: true,
    });
  });

  it('is read or refused whatever it says', () => {
    check(
      property(string({ unit: 'binary-ascii', maxLength: 200 }), (text) => {
        readRadiusConfig(file(text));
      }),
      { numRuns: 50 },
    );
  });
});
