/** One question and answer over a socket: what `${readsocket` does. */
import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { systemErrorText } from './system-error.ts';

export interface SocketRequest {
  /** A path, or `inet:host:port`. Octets. */
  readonly name: string;
  readonly request: string;
  readonly timeoutMs: number;
  /** Whether the sending side is closed after the request. */
  readonly shutdown: boolean;
  readonly tls: boolean;
  readonly maxOctets: number;
}

/** The answer up to the end of file, or what went wrong in Exim's words. */
export type SocketAnswer = { readonly text: string } | { readonly reason: string };

type Place =
  | { readonly path: string }
  | { readonly host: string; readonly port: number; readonly addresses: readonly string[] };

export async function askSocket(q: SocketRequest): Promise<SocketAnswer> {
  const place = await findPlace(q.name);
  if ('reason' in place) return place;
  if ('path' in place) return exchange(connect({ path: place.path }), q, `socket ${q.name}`);
  let last: SocketAnswer = { reason: `no IP address found for host ${place.host}` };
  for (const address of place.addresses) {
    last = await exchange(connect({ host: address, port: place.port }), q, `any address for ${place.host}`);
    if ('text' in last || !last.reason.startsWith('failed to connect')) return last;
  }
  return last;
}

async function findPlace(name: string): Promise<Place | { readonly reason: string }> {
  if (!name.startsWith('inet:')) return { path: Buffer.from(name, 'latin1').toString() };
  const found = /^inet:(.*):([^:]+)$/s.exec(name);
  if (found === null) return { reason: `missing port for readsocket ${name.slice(5)}` };
  const [, host = '', portText = ''] = found;
  const port = portNumber(portText);
  if (port === undefined) return { reason: `unknown port ${portText} for readsocket` };
  const bare = host.replace(/^\[(.*)\]$/s, '$1');
  if (isIP(bare) !== 0) return { host, port, addresses: [bare] };
  if (bare === '') return { reason: `no IP address found for host ${host}` };
  try {
    const addresses = await lookup(bare, { all: true });
    return { host, port, addresses: addresses.map((a) => a.address) };
  } catch {
    return { reason: `no IP address found for host ${host}` };
  }
}

/** A number, or the name of a TCP service. */
function portNumber(text: string): number | undefined {
  // As a 16-bit number, like Exim's.
  if (/^[0-9]+$/.test(text)) return Number(text) % 65_536;
  try {
    for (const line of readFileSync('/etc/services', 'latin1').split('\n')) {
      const [name, place = '', ...aliases] = (line.split('#')[0] ?? '').trim().split(/\s+/);
      if (place.endsWith('/tcp') && [name, ...aliases].includes(text)) return Number.parseInt(place, 10);
    }
  } catch {
    // Without the file no name is known.
  }
  return undefined;
}

function exchange(plain: Socket, q: SocketRequest, target: string): Promise<SocketAnswer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let stage: 'connect' | 'tls' | 'talk' = 'connect';
    let socket = plain;
    const settle = (answer: SocketAnswer): void => {
      clearTimeout(timer);
      socket.destroy();
      plain.destroy();
      resolve(answer);
    };
    const timer = setTimeout(
      () =>
        settle({
          reason: {
            connect: `failed to connect to ${target}: Connection timed out`,
            tls: 'TLS connect failed: timed out',
            talk: 'socket read timed out',
          }[stage],
        }),
      q.timeoutMs,
    );
    const failed = (e: Error): void => {
      const why = systemErrorText(e);
      if (stage === 'connect') settle({ reason: `failed to connect to ${target}: ${why}` });
      else if (stage === 'tls') settle({ reason: `TLS connect failed: ${e.message}` });
      else settle({ reason: `request read/write on socket failed: ${why}` });
    };
    const talk = (): void => {
      stage = 'talk';
      timer.refresh();
      if (q.request !== '') socket.write(q.request, 'latin1');
      // A shutdown of TLS would end the answer too.
      if (q.shutdown && !q.tls) socket.end();
      socket.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > q.maxOctets) settle({ reason: `answer of socket is longer than ${q.maxOctets} octets` });
        else chunks.push(chunk);
      });
      socket.on('end', () => settle({ text: Buffer.concat(chunks).toString('latin1') }));
    };
    plain.on('error', failed);
    plain.on('connect', () => {
      if (!q.tls) return talk();
      stage = 'tls';
      // As in Exim: encryption without a check of who answers.
      socket = connectTls({ socket: plain, rejectUnauthorized: false }, talk);
      socket.on('error', failed);
    });
  });
}
