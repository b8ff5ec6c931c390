// A scripted DNS server on UDP and TCP: a zone in text, names that fail in every way, AD where the zone says so. It also
// runs by itself (`node dns-server.ts zone-file port`), for the real Exim in a network namespace of its own.
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { freePort } from './process.ts';

/**
 * Lines `name TTL TYPE data`; names without a dot at the end. Types as in zone files, and beside them what a name does:
 * `name 0 RCODE 2`, `name 0 DROP`, `name 0 AD` (answers about it are authenticated), `name 0 TRUNCATE` (on UDP),
 * `name 0 WRONGID`. A name with a record of some type exists; a `SOA` line is sent as authority of negative answers below it.
 */
export interface Zone {
  readonly lines: readonly (readonly [name: string, ttl: number, type: string, data: string])[];
}

export function parseZone(text: string): Zone {
  const lines = text.split('\n').flatMap((line) => {
    const m = /^(\S+)\s+(\d+)\s+(\S+)\s*(.*)$/.exec(line.trim());
    if (m === null || line.startsWith(';')) return [];
    return [[(m[1] ?? '').toLowerCase(), Number(m[2]), m[3] ?? '', m[4] ?? ''] as const];
  });
  return { lines };
}

const types: Readonly<Record<string, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  TLSA: 52,
  SPF: 99,
};

function nameOctets(name: string): Buffer {
  const labels = name === '.' ? [] : name.replace(/\.$/, '').split('.');
  return Buffer.concat([
    ...labels.flatMap((l) => [Buffer.from([l.length]), Buffer.from(l, 'latin1')]),
    Buffer.alloc(1),
  ]);
}

function u16(n: string | number | undefined): Buffer {
  const b = Buffer.alloc(2);
  b.writeUInt16BE(Number(n));
  return b;
}

function u32(n: string | number | undefined): Buffer {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(Number(n));
  return b;
}

function ipv6Octets(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array.from({ length: middle }, () => '0'), ...right];
  return Buffer.concat(groups.map((g) => u16(Number.parseInt(g, 16))));
}

function dataOctets(type: string, data: string): Buffer {
  const words = data.split(/\s+/);
  switch (type) {
    case 'A':
      return Buffer.from(data.split('.').map(Number));
    case 'AAAA':
      return ipv6Octets(data);
    case 'MX':
      return Buffer.concat([u16(words[0]), nameOctets(words[1] ?? '')]);
    case 'SRV':
      return Buffer.concat([u16(words[0]), u16(words[1]), u16(words[2]), nameOctets(words[3] ?? '')]);
    case 'SOA':
      return Buffer.concat([
        nameOctets(words[0] ?? ''),
        nameOctets(words[1] ?? ''),
        ...words.slice(2).map(u32),
      ]);
    case 'TXT':
    case 'SPF':
      return Buffer.concat(
        (data.match(/"[^"]*"/g) ?? []).flatMap((t) => [
          Buffer.from([t.length - 2]),
          Buffer.from(t.slice(1, -1), 'latin1'),
        ]),
      );
    case 'TLSA':
      return Buffer.concat([
        Buffer.from(words.slice(0, 3).map(Number)),
        Buffer.from(words.slice(3).join(''), 'hex'),
      ]);
    default:
      return nameOctets(data);
  }
}

/** A record whose owner is the name of the question, by a compression pointer, or another name. */
function recordOctets(owner: Buffer, ttl: number, type: string, data: string): Buffer {
  const rdata = dataOctets(type, data);
  return Buffer.concat([owner, u16(types[type]), u16(1), u32(ttl), u16(rdata.length), rdata]);
}

/** The answer to a query; undefined: none is sent. */
export function answerQuery(zone: Zone, query: Buffer, tcp: boolean): Buffer | undefined {
  let at = 12;
  const labels: string[] = [];
  for (let n = query[at] ?? 0; n > 0; n = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + n));
    at += n + 1;
  }
  const name = labels.join('.').toLowerCase();
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const of = (n: string, t: string): Zone['lines'] => zone.lines.filter((l) => l[0] === n && l[2] === t);
  if (of(name, 'DROP').length > 0) return undefined;
  const truncate = !tcp && of(name, 'TRUNCATE').length > 0;
  const parts: Buffer[] = [];
  let owner: Buffer = Buffer.from([0xc0, 12]);
  let current = name;
  let count = 0;
  for (let i = 0; i < 8; i++) {
    const found = zone.lines.filter((l) => l[0] === current && types[l[2]] === type);
    for (const [, ttl, t, data] of found) parts.push(recordOctets(owner, ttl, t, data));
    count += found.length;
    const alias = of(current, 'CNAME')[0];
    if (found.length > 0 || alias === undefined) break;
    parts.push(recordOctets(owner, alias[1], 'CNAME', alias[3]));
    count++;
    current = alias[3].toLowerCase();
    if (of(name, 'NOCHASE').length > 0) break;
    owner = nameOctets(current);
  }
  const exists = zone.lines.some(
    (l) => (l[0] === current || l[0].endsWith(`.${current}`)) && types[l[2]] !== undefined,
  );
  const rcode = Number(of(name, 'RCODE')[0]?.[3] ?? (exists || count > 0 ? 0 : 3));
  const authority: Buffer[] = [];
  if (count === 0)
    for (const [zoneName, ttl, , data] of zone.lines
      .filter((l) => l[2] === 'SOA' && (name === l[0] || name.endsWith(`.${l[0]}`)))
      .sort((a, b) => b[0].length - a[0].length)
      .slice(0, 1))
      authority.push(recordOctets(nameOctets(zoneName), ttl, 'SOA', data));
  const header = Buffer.alloc(12);
  header.writeUInt16BE(query.readUInt16BE(0) ^ (of(name, 'WRONGID').length > 0 ? 1 : 0), 0);
  header.writeUInt16BE(0x8180 | (of(name, 'AD').length > 0 ? 0x20 : 0) | (truncate ? 0x200 : 0) | rcode, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(truncate || rcode !== 0 ? 0 : count, 6);
  header.writeUInt16BE(truncate ? 0 : authority.length, 8);
  return Buffer.concat([
    header,
    question,
    ...(truncate || rcode !== 0 ? [] : parts),
    ...(truncate ? [] : authority),
  ]);
}

export interface DnsServer {
  readonly port: number;
  /** Names and types asked so far: `a.test 1`. */
  readonly asked: readonly string[];
  stop(): Promise<void>;
}

export async function startDnsServer(zone: Zone, wantedPort = 0): Promise<DnsServer> {
  const asked: string[] = [];
  const udp = createSocket('udp4');
  const note = (query: Buffer): void => {
    const end = query.indexOf(0, 12);
    asked.push(
      `${query
        .toString('latin1', 12, end)
        .replace(/[\x01-\x1f]/g, '.')
        .slice(1)} ${query.readUInt16BE(end + 1)}`,
    );
  };
  udp.on('message', (query, from) => {
    note(query);
    const answer = answerQuery(zone, query, false);
    if (answer !== undefined) udp.send(answer, from.port, from.address);
  });
  // Not one that the system gives to clients: the same number must be free for TCP.
  const port = wantedPort > 0 ? wantedPort : await freePort();
  await new Promise<void>((resolve) => void udp.bind(port, '127.0.0.1', resolve));
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (data) => {
      const answer = answerQuery(zone, data.subarray(2), true);
      if (answer === undefined) return;
      const size = Buffer.alloc(2);
      size.writeUInt16BE(answer.length);
      socket.end(Buffer.concat([size, answer]));
    });
  });
  await new Promise<void>((resolve, reject) => {
    tcp.on('error', reject);
    tcp.listen(port, '127.0.0.1', resolve);
  });
  return {
    port,
    asked,
    async stop() {
      udp.close();
      await new Promise((resolve) => tcp.close(resolve));
    },
  };
}

const [, program, zoneFile, port] = process.argv;
if (program === import.meta.filename && zoneFile !== undefined) {
  await startDnsServer(parseZone(readFileSync(zoneFile, 'latin1')), Number(port));
  console.log('listening');
}
