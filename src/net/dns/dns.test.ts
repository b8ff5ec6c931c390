import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assert as check, nat, property, string, uint8Array } from 'fast-check';
import { answerQuery, parseZone, startDnsServer, type DnsServer } from '../../../test/support/dns-server.ts';
import { createDnsClient } from './client.ts';
import { decodeMessage, dnsTypes, encodeName, encodeQuery } from './message.ts';
import { parseResolverFile } from './resolver-file.ts';

const zone = parseZone(`
a.test 300 A 192.0.2.1
a.test 300 SOA ns.test root.test 1 2 3 4 50
long.test 300 TXT "over TCP"
long.test 0 TRUNCATE
forged.test 300 A 192.0.2.66
forged.test 0 WRONGID
silent.test 0 DROP
broken.test 0 RCODE 2
secure.test 300 A 192.0.2.2
secure.test 0 AD
`);

describe('DNS messages', () => {
  it('are read whatever the octets, cut or changed anywhere', () => {
    const query = encodeQuery({ id: 7, name: 'a.test', type: dnsTypes.A, dnssec: true });
    assert.ok(query !== undefined);
    const good = answerQuery(zone, query, true);
    assert.ok(good !== undefined);
    check(property(uint8Array({ maxLength: 200 }), (octets) => void decodeMessage(octets)));
    check(
      property(nat(good.length), nat(good.length - 1), nat(255), (length, at, octet) => {
        const changed = Buffer.from(good);
        changed[at] = octet;
        decodeMessage(changed);
        decodeMessage(changed.subarray(0, length));
      }),
    );
  });

  it('end although pointers lead in a circle', () => {
    const header = Buffer.from([0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for (const name of [
      [0xc0, 12],
      [0xc0, 14, 0xc0, 12],
      [1, 97, 0xc0, 12],
    ])
      assert.equal(decodeMessage(Buffer.concat([header, Buffer.from([...name, 0, 1, 0, 1])])), undefined);
  });

  it('hold names of any octets, and none that are too long or have an empty label', () => {
    check(
      property(string({ unit: 'binary-ascii', maxLength: 300 }), (name) => {
        const octets = encodeName(name);
        assert.ok(octets === undefined || octets.length <= 255);
      }),
    );
    assert.deepEqual([...(encodeName('a\\.b.c') ?? [])], [3, 97, 46, 98, 1, 99, 0]);
    assert.deepEqual([...(encodeName('a.') ?? [])], [1, 97, 0]);
    for (const bad of ['a..b', '.a', 'x'.repeat(64), `${'x.'.repeat(130)}y`])
      assert.equal(encodeName(bad), undefined);
  });
});

describe('DNS client', () => {
  let server: DnsServer;
  before(async () => {
    server = await startDnsServer(zone);
  });
  after(() => server.stop());
  const client = (ports: readonly number[] = [server.port], attempts = 1, timeoutMs = 10_000) =>
    createDnsClient({
      settings: () => ({
        servers: ports.map((port) => ({ address: '127.0.0.1', port })),
        timeoutMs,
        attempts,
      }),
    });

  it('gives records, and whether they are authenticated', async () => {
    const plain = await client().query('A.test', dnsTypes.A);
    assert.ok(plain.kind === 'answer' && !plain.authenticated);
    assert.deepEqual(
      plain.records.map((r) => [r.name, r.ttlSeconds, r.data.kind]),
      [['A.test', 300, 'address']],
    );
    const secure = await client().query('secure.test', dnsTypes.A, { dnssec: true });
    assert.ok(secure.kind === 'answer' && secure.authenticated);
  });

  it('tells no such name from no such records, and for how long', async () => {
    assert.deepEqual(await client().query('x.a.test', dnsTypes.A), {
      kind: 'no-name',
      authenticated: false,
      zone: 'a.test',
      keepSeconds: 50,
    });
    assert.equal((await client().query('a.test', dnsTypes.MX)).kind, 'no-data');
    assert.equal((await client().query('a..test', dnsTypes.A)).kind, 'no-name');
  });

  it('asks over TCP for what does not fit', async () => {
    const answer = await client().query('long.test', dnsTypes.TXT);
    assert.ok(answer.kind === 'answer');
    assert.deepEqual(answer.records[0]?.data, { kind: 'text', items: ['over TCP'] });
  });

  it('takes no answer that has another number', async () => {
    assert.equal((await client([server.port], 1, 200).query('forged.test', dnsTypes.A)).kind, 'again');
  });

  it('asks as often as it may, then the next server', async () => {
    const asked = server.asked.length;
    assert.equal((await client([server.port], 2, 200).query('silent.test', dnsTypes.A)).kind, 'again');
    assert.equal(server.asked.length, asked + 2);
    assert.equal((await client().query('broken.test', dnsTypes.A)).kind, 'again');
    const other = await startDnsServer(parseZone('broken.test 300 A 192.0.2.9'));
    try {
      assert.equal((await client([server.port, other.port]).query('broken.test', dnsTypes.A)).kind, 'answer');
    } finally {
      await other.stop();
    }
  });
});

describe('resolv.conf', () => {
  it('gives servers, time and attempts within bounds', () => {
    const text =
      '# c\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions timeout:3 attempts:99 rotate\nnameserver a\nnameserver b\n';
    assert.deepEqual(parseResolverFile(text), {
      servers: [
        { address: '192.0.2.1', port: 53 },
        { address: '2001:db8::1', port: 53 },
        { address: 'a', port: 53 },
      ],
      timeoutMs: 3000,
      attempts: 5,
    });
    assert.deepEqual(parseResolverFile('').servers, [{ address: '127.0.0.1', port: 53 }]);
  });
});
