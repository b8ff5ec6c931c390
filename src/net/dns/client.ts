/**
 * A stub resolver: asks the machine's recursive servers over UDP, and over TCP where the answer does not fit (RFC 1035
 * §4.2, RFC 7766). Node's own says neither which answers DNSSEC has checked nor how long all of them are good.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { decodeMessage, encodeQuery, type DnsMessage, type DnsRecord } from './message.ts';
import { resolverFile, type DnsServer, type ResolverSettings } from './resolver-file.ts';

export type DnsAnswer =
  /** Records of the answer section, aliases included, in the order of the server. */
  | {
      readonly kind: 'answer';
      readonly records: readonly DnsRecord[];
      readonly authenticated: boolean;
      readonly authoritative: boolean;
    }
  /**
   * The name does not exist, or has no such records. Where the server says so: `zone`, that the answer is about, and
   * `keepSeconds`, how long it is good (RFC 2308).
   */
  | {
      readonly kind: 'no-name' | 'no-data';
      readonly authenticated: boolean;
      readonly zone?: string;
      readonly keepSeconds?: number;
    }
  /** No server could say now. */
  | { readonly kind: 'again'; readonly reason: string };

export interface DnsClientOptions {
  /** Where to ask; by default what `/etc/resolv.conf` says now. */
  readonly settings?: () => ResolverSettings;
}

export interface DnsQuestionOptions {
  readonly dnssec?: boolean;
  /** In place of the settings' own. */
  readonly timeoutMs?: number | undefined;
  readonly attempts?: number | undefined;
}

export interface DnsClient {
  query(name: string, type: number, options?: DnsQuestionOptions): Promise<DnsAnswer>;
}

const maxRunning = 500;
const maxTcpOctets = 65_535;

export function createDnsClient(options: DnsClientOptions = {}): DnsClient {
  const settings = options.settings ?? resolverFile();
  let running = 0;
  return {
    async query(name, type, question = {}) {
      if (running >= maxRunning) return { kind: 'again', reason: 'too many DNS questions are running' };
      running++;
      try {
        return await ask(name, type, settings(), question);
      } finally {
        running--;
      }
    },
  };
}

async function ask(
  name: string,
  type: number,
  settings: ResolverSettings,
  { dnssec = false, timeoutMs = settings.timeoutMs, attempts = settings.attempts }: DnsQuestionOptions,
): Promise<DnsAnswer> {
  let reason = 'no server';
  for (let attempt = 0; attempt < attempts; attempt++)
    for (const server of settings.servers) {
      const id = randomInt(0x10000);
      const octets = encodeQuery({ id, name, type, dnssec });
      // A name that cannot be written down does not exist.
      if (octets === undefined) return { kind: 'no-name', authenticated: false };
      let message = await exchangeUdp(server, octets, { id, name, type }, timeoutMs);
      if (typeof message !== 'string' && message.truncated)
        message = await exchangeTcp(server, octets, { id, name, type }, timeoutMs);
      if (typeof message === 'string') reason = message;
      else {
        const answer = answerOf(message);
        if (answer.kind !== 'again') return answer;
        ({ reason } = answer);
      }
    }
  return { kind: 'again', reason };
}

function answerOf(message: DnsMessage): DnsAnswer {
  const { rcode, authenticated, authoritative } = message;
  const soa = message.authority.find((r) => r.data.kind === 'soa');
  const minimum = soa?.data.kind === 'soa' ? soa.data.numbers[4] : undefined;
  const keep =
    soa === undefined || minimum === undefined
      ? {}
      : { zone: soa.name, keepSeconds: Math.min(soa.ttlSeconds, minimum) };
  if (rcode === 3) return { kind: 'no-name', authenticated, ...keep };
  if (rcode !== 0) return { kind: 'again', reason: `the server answered with code ${rcode}` };
  if (message.answers.length === 0) return { kind: 'no-data', authenticated, ...keep };
  return { kind: 'answer', records: message.answers, authenticated, authoritative };
}

interface Expected {
  readonly id: number;
  readonly name: string;
  readonly type: number;
}

/** The message, where it answers the question; anything else did not come from who was asked. */
function accepted(octets: Uint8Array, expected: Expected): DnsMessage | undefined {
  const message = decodeMessage(octets);
  if (message === undefined || !message.isResponse || message.id !== expected.id) return undefined;
  const { question } = message;
  // Some servers leave the question out of a refusal.
  if (question === undefined) return message.rcode === 0 ? undefined : message;
  const asked = expected.name.replace(/\.$/, '').toLowerCase();
  return question.type === expected.type && question.name.toLowerCase() === asked ? message : undefined;
}

/** Each question has a socket of its own, hence a port that is hard to guess (RFC 5452). A text says why there is no answer. */
function exchangeUdp(
  server: DnsServer,
  octets: Buffer,
  expected: Expected,
  timeoutMs: number,
): Promise<DnsMessage | string> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4');
    let done = false;
    const once = (result: DnsMessage | string): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(
      () => once(`no answer from ${server.address} in ${timeoutMs / 1000} s`),
      timeoutMs,
    );
    socket.on('error', (e) => once(`${server.address}: ${e.message}`));
    socket.on('message', (data) => {
      const message = accepted(data, expected);
      if (message !== undefined) once(message);
    });
    socket.connect(server.port, server.address, () => {
      if (!done) socket.send(octets);
    });
  });
}

function exchangeTcp(
  server: DnsServer,
  octets: Buffer,
  expected: Expected,
  timeoutMs: number,
): Promise<DnsMessage | string> {
  return new Promise((resolve) => {
    const socket = connect({ host: server.address, port: server.port });
    const once = (result: DnsMessage | string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => once(`no answer from ${server.address} over TCP in ${timeoutMs / 1000} s`),
      timeoutMs,
    );
    let received = Buffer.alloc(0);
    socket.on('error', (e) => once(`${server.address}: ${e.message}`));
    socket.on('close', () => once(`${server.address} closed the connection`));
    socket.on('data', (data: Buffer) => {
      received = Buffer.concat([received, data]);
      if (received.length < 2) return;
      const length = received.readUInt16BE(0);
      if (received.length > maxTcpOctets + 2) once(`${server.address} sent too much`);
      else if (received.length >= length + 2)
        once(
          accepted(received.subarray(2, length + 2), expected) ?? `${server.address} sent a malformed answer`,
        );
    });
    socket.on('connect', () => {
      const size = Buffer.alloc(2);
      size.writeUInt16BE(octets.length);
      socket.write(Buffer.concat([size, octets]));
    });
  });
}
