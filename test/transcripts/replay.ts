// Reads `.smtp` and `.lmtp` files and plays them against an endpoint, ours or a real Exim's or Dovecot's.
//
//   @peers ours exim        whom the dialogue holds for (default: ours); first lines of the file
//   @option name value      how our session is set up for it
//   # ...                   a comment
//   C: text                 the client sends the line with CRLF; C lines in a row leave in one write
//   C> text                 the same with \r \n \t \0 \\ \xNN \(c*9000) escapes and no CRLF
//   S: text                 a line the server answers; `*` stands for any run of characters
//   S: ...                  any further lines of the same reply
//   S: (closed)             the server closes the connection
//   C: (tls)                the client makes a TLS handshake and goes on over it
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Endpoint } from '../../src/mail/endpoint.ts';

export type Step =
  | { readonly kind: 'send'; readonly line: number; readonly octets: Buffer }
  | { readonly kind: 'expect'; readonly line: number; readonly text: string }
  | { readonly kind: 'tls'; readonly line: number };

export interface Transcript {
  readonly file: string;
  readonly peers: readonly string[];
  readonly options: ReadonlyMap<string, string>;
  readonly steps: readonly Step[];
}

export interface ReplayOptions {
  /** Leave `x.y.z ` statuses out of the comparison, for a peer that does not send them. */
  readonly ignoreStatus?: boolean;
  /** Most time for one reply, milliseconds. Default 10000. */
  readonly timeoutMs?: number;
  /** Send every octet by itself. */
  readonly octetwise?: boolean;
}

export function readTranscript(file: string): Transcript {
  const options = new Map<string, string>();
  let peers: readonly string[] = ['ours'];
  const steps: Step[] = [];
  readFileSync(file, 'utf8')
    .split('\n')
    .forEach((text, i) => {
      const line = i + 1;
      const body = text.slice(3);
      const last = steps.at(-1);
      if (text === '' || text.startsWith('#')) return;
      if (text.startsWith('@peers ')) peers = text.slice(7).trim().split(/\s+/);
      else if (text.startsWith('@option ')) {
        const [, name = '', value = ''] = text.split(/\s+/);
        options.set(name, value);
      } else if (text === 'C: (tls)') steps.push({ kind: 'tls', line });
      else if (/^C[:>]/.test(text)) {
        const octets = text[1] === ':' ? Buffer.from(`${body}\r\n`, 'latin1') : unescape(body);
        if (last?.kind === 'send')
          steps[steps.length - 1] = { ...last, octets: Buffer.concat([last.octets, octets]) };
        else steps.push({ kind: 'send', line, octets });
      } else if (text.startsWith('S:')) steps.push({ kind: 'expect', line, text: body });
      else throw new Error(`${file}:${line}: not a line of a transcript: ${text}`);
    });
  return { file, peers, options, steps };
}

function unescape(text: string): Buffer {
  const plain: Record<string, string> = { r: '\r', n: '\n', t: '\t', '0': '\0', '\\': '\\' };
  const out = text.replace(
    /\\(?:\((.)\*(\d+)\)|(x[0-9a-fA-F]{2}|.))/g,
    (_, c: string, count: string, e: string) => {
      if (c !== undefined) return c.repeat(Number(count));
      return e.length === 3 ? String.fromCharCode(Number.parseInt(e.slice(1), 16)) : (plain[e] ?? e);
    },
  );
  return Buffer.from(out, 'latin1');
}

/** Plays the steps; throws an Error that names file and line where an answer differs. */
export async function replay(t: Transcript, endpoint: Endpoint, o: ReplayOptions = {}): Promise<void> {
  if (endpoint.kind === 'pipe') throw new Error('a transcript is played over a socket');
  let socket: Socket =
    endpoint.kind === 'tcp' ? connect(endpoint.port, endpoint.host) : connect(endpoint.path);
  socket.setNoDelay(true);
  let lines = new LineReader(socket, o.timeoutMs ?? 10_000);
  let openReply = false;
  try {
    for (const [i, step] of t.steps.entries()) {
      if (step.kind === 'send') {
        await send(socket, step.octets, o.octetwise === true);
        continue;
      }
      if (step.kind === 'tls') {
        socket.removeAllListeners('data');
        const secure = connectTls({ socket, rejectUnauthorized: false });
        await once(secure, 'secureConnect');
        socket = secure;
        lines = new LineReader(socket, o.timeoutMs ?? 10_000);
        continue;
      }
      const where = `${t.file}:${step.line}`;
      if (step.text === '...') {
        while (openReply)
          openReply = /^\d{3}-/.test((await lines.next()) ?? fail(where, step.text, '(closed)'));
        continue;
      }
      const got = await lines.next();
      if (step.text === '(closed)') {
        if (got !== undefined) fail(where, step.text, got);
        continue;
      }
      if (got === undefined) fail(where, step.text, '(closed)');
      const normal = (text: string): string =>
        o.ignoreStatus === true ? text.replace(/^(\d{3}[ -])\d\.\d{1,3}\.\d{1,3} /, '$1') : text;
      const lastOfReply = t.steps[i + 1];
      // "..." stands for what may follow, so the hyphen before it is not compared.
      const loose = lastOfReply?.kind === 'expect' && lastOfReply.text === '...';
      const hyphen = (text: string): string => (loose ? text.replace(/^(\d{3})[ -]/, '$1 ') : text);
      if (!globMatches(hyphen(normal(step.text)), hyphen(normal(got)))) fail(where, step.text, got);
      openReply = /^\d{3}-/.test(got);
    }
  } finally {
    socket.destroy();
  }
}

function fail(where: string, wanted: string, got: string): never {
  throw new Error(`${where}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
}

function globMatches(pattern: string, text: string): boolean {
  const source = pattern.split('*').map((p) => p.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${source.join('.*')}$`, 's').test(text);
}

async function send(socket: Socket, octets: Buffer, octetwise: boolean): Promise<void> {
  const parts = octetwise ? [...octets].map((b) => Buffer.of(b)) : [octets];
  for (const part of parts) {
    await new Promise<void>((resolve) => {
      // A write to a connection the server has closed is told by the next read.
      if (socket.writable) socket.write(part, () => resolve());
      else resolve();
    });
    if (octetwise) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lines of a socket, one octet a character; undefined once it is closed. */
export class LineReader {
  #text = '';
  #over = false;
  #wake: (() => void) | undefined;
  readonly #timeoutMs: number;

  constructor(socket: Socket, timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    const over = (): void => {
      this.#over = true;
      this.#wake?.();
    };
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#wake?.();
    });
    socket.on('end', over);
    socket.on('close', over);
    socket.on('error', over);
  }

  async next(): Promise<string | undefined> {
    const deadline = performance.now() + this.#timeoutMs;
    for (;;) {
      const end = this.#text.indexOf('\r\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return line;
      }
      if (this.#over) return undefined;
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`no reply within ${this.#timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
