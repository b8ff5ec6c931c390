/** An SMTP or LMTP server that behaves as badly as a test wants: every reply is the script's. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '../../src/mail/endpoint.ts';

/** Octets to send as they stand (with their CRLF), possibly none; or that and something worse. */
export type Act =
  | string
  /** Closes afterwards; `reset`: without having read all (over TCP, what was said may be lost with it). */
  | { readonly say: string; readonly close: true | 'reset' }
  /** Reads nothing more, and stays. */
  | { readonly say: string; readonly deaf: true }
  /** Says `say`, then `endless` again and again until the client has gone: as fast as it is taken, or now and then. */
  | { readonly say: string; readonly endless: string; readonly everyMs?: number };

export interface Script {
  readonly protocol?: 'lmtp' | 'smtp';
  readonly banner?: Act;
  /** The answer to LHLO, EHLO and HELO. */
  readonly helo?: (verb: string) => Act;
  readonly mail?: (path: string) => Act;
  /** `index` counts the RCPT commands of the transaction from 0. */
  readonly rcpt?: (path: string, index: number) => Act;
  readonly data?: Act;
  /** The answer for one accepted recipient after the content (in SMTP: the one answer); `index` counts from 0. */
  readonly content?: (index: number, received: Buffer) => Act;
  /** After BDAT LAST with no accepted recipient. */
  readonly contentForNobody?: Act;
  /** Said once while the content arrives. */
  readonly early?: Act;
  readonly rset?: Act;
  readonly xclient?: Act;
  /** Holds from the second connection, and from the second MAIL, on. */
  readonly again?: Script;
}

export interface ScriptedServer extends AsyncDisposable {
  readonly endpoint: Endpoint;
  /** Connections made so far. */
  readonly connections: number;
  /** Command lines of all connections, in order. */
  readonly commands: readonly string[];
  /** Message contents received, dots taken off. */
  readonly contents: readonly Buffer[];
  /** All octets said to the first connection. */
  readonly said: string;
  /** Writes of the client that arrived together on the first connection: flights, roughly. */
  readonly reads: number;
  /** Changes the script for what comes. */
  script: Script;
  /** Destroys all connections and goes on listening. */
  hangUp(): Promise<void>;
  /** The same, and goes on as if it had just been started with that script. */
  restart(script: Script): Promise<void>;
  /** Resolves when no connection is open. */
  quiet(): Promise<void>;
}

const ok = '250 2.0.0 ok\r\n';

export const extensions = {
  all: '250-test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n',
  pipelining: '250-test\r\n250-PIPELINING\r\n250 8BITMIME\r\n',
  chunking: '250-test\r\n250 CHUNKING\r\n',
  none: '250 test\r\n',
} as const;

/** Starts on a UNIX socket in a temporary folder, or on a free TCP port of 127.0.0.1. */
export async function startScriptedServer(
  script: Script,
  where: 'unix' | 'tcp' = 'unix',
): Promise<ScriptedServer> {
  const state = {
    script,
    connections: 0,
    commands: [] as string[],
    contents: [] as Buffer[],
    said: '',
    reads: 0,
    mails: 0,
    open: new Set<Socket>(),
  };
  const server = createServer({ noDelay: true }, (socket) => serve(socket, state));
  const folder = mkdtempSync(join(tmpdir(), 'scripted-'));
  const path = join(folder, 's');
  await new Promise<void>((resolve) => {
    if (where === 'unix') server.listen(path, resolve);
    else server.listen(0, '127.0.0.1', resolve);
  });
  const bound = server.address();
  const endpoint: Endpoint =
    typeof bound === 'object' && bound !== null
      ? { kind: 'tcp', host: '127.0.0.1', port: bound.port }
      : { kind: 'unix', path };
  return {
    endpoint,
    get connections() {
      return state.connections;
    },
    get commands() {
      return state.commands;
    },
    get contents() {
      return state.contents;
    },
    get said() {
      return state.said;
    },
    get reads() {
      return state.reads;
    },
    get script() {
      return state.script;
    },
    set script(next: Script) {
      state.script = next;
    },
    hangUp: () => destroyAll(state.open),
    async restart(next) {
      await destroyAll(state.open);
      Object.assign(state, { script: next, connections: 0, mails: 0, said: '', reads: 0 });
      state.commands.length = state.contents.length = 0;
    },
    async quiet() {
      for (const socket of state.open) await closed(socket);
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise<void>((resolve) => server.close(() => resolve()));
      await destroyAll(state.open);
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
}

async function destroyAll(open: ReadonlySet<Socket>): Promise<void> {
  const waits = [...open].map(closed);
  for (const socket of open) socket.destroy();
  await Promise.all(waits);
}

interface State {
  script: Script;
  connections: number;
  readonly commands: string[];
  readonly contents: Buffer[];
  said: string;
  reads: number;
  mails: number;
  readonly open: Set<Socket>;
}

function sayOf(what: Act): string {
  return typeof what === 'string' ? what : what.say;
}

/** Writes the text until the socket is gone, and no faster than it is taken. */
function sayForEver(socket: Socket, text: string, everyMs: number | undefined): void {
  const more = (): void => {
    if (socket.destroyed) return;
    if (everyMs !== undefined) {
      socket.write(text, 'latin1');
      setTimeout(more, everyMs);
    } else if (socket.write(text.repeat(64), 'latin1')) setImmediate(more);
    else socket.once('drain', more);
  };
  more();
}

function serve(socket: Socket, state: State): void {
  const first = ++state.connections === 1;
  let input: Buffer = Buffer.alloc(0);
  let rcpts = 0;
  let accepted = 0;
  let mode: { kind: 'commands' } | { kind: 'data' } | { kind: 'chunk'; octets: number } = {
    kind: 'commands',
  };
  let earlySaid = false;
  let output = '';
  /** What keeps it from answering anything more. */
  let last: Exclude<Act, string> | undefined;
  state.open.add(socket);
  socket.on('close', () => state.open.delete(socket));
  socket.on('error', () => undefined);

  const now = (): Script =>
    state.script.again !== undefined && (!first || state.mails > 1) ? state.script.again : state.script;
  const act = (what: Act): void => {
    if (last !== undefined) return;
    const say = sayOf(what);
    output += say;
    if (first) state.said += say;
    if (typeof what !== 'string') last = what;
  };
  const flush = (): void => {
    if (output !== '') socket.write(output, 'latin1');
    output = '';
    if (last === undefined) return;
    if ('endless' in last) {
      socket.removeAllListeners('data').resume();
      sayForEver(socket, last.endless, last.everyMs);
    } else if ('deaf' in last) socket.pause();
    else if (last.close === 'reset' && socket.remoteFamily !== undefined) socket.resetAndDestroy();
    else if (last.close === 'reset') socket.destroy();
    else socket.destroySoon();
  };
  const contentDone = (content: Buffer): void => {
    state.contents.push(content);
    const script = now();
    const answers = script.protocol === 'smtp' ? 1 : accepted;
    if (accepted === 0) act(script.contentForNobody ?? '503 5.5.1 no valid recipients\r\n');
    else for (let i = 0; i < answers; i++) act(script.content?.(i, content) ?? ok);
    rcpts = accepted = 0;
    mode = { kind: 'commands' };
  };
  const command = (line: string): void => {
    state.commands.push(line);
    if (/^MAIL /i.test(line)) state.mails++;
    const script = now();
    const [verb = '', argument = ''] = line.toUpperCase().split(' ');
    const path = /<([^>]*)>/.exec(line)?.[1] ?? '';
    switch (verb) {
      case 'LHLO':
      case 'EHLO':
      case 'HELO':
        return act(script.helo?.(verb) ?? extensions.pipelining);
      case 'MAIL':
        rcpts = accepted = 0;
        return act(script.mail?.(path) ?? '250 2.1.0 ok\r\n');
      case 'RCPT': {
        const answer = script.rcpt?.(path, rcpts++) ?? '250 2.1.5 ok\r\n';
        if (sayOf(answer).startsWith('2')) accepted++;
        return act(answer);
      }
      case 'DATA': {
        const answer =
          script.data ?? (accepted > 0 ? '354 go ahead\r\n' : '503 5.5.1 no valid recipients\r\n');
        if (sayOf(answer).startsWith('354')) mode = { kind: 'data' };
        return act(answer);
      }
      case 'BDAT':
        mode = { kind: 'chunk', octets: Number(argument) };
        return undefined;
      case 'RSET':
        rcpts = accepted = 0;
        return act(script.rset ?? '250 2.0.0 reset\r\n');
      case 'XCLIENT':
        return act(script.xclient ?? '220 test ready\r\n');
      case 'QUIT':
        return act({ say: '221 2.0.0 bye\r\n', close: true });
      default:
        return act('500 5.5.2 what?\r\n');
    }
  };
  const step = (): boolean => {
    const { early } = now();
    if (mode.kind !== 'commands' && early !== undefined && !earlySaid && input.length > 0) {
      earlySaid = true;
      act(early);
      if (last !== undefined) return false;
    }
    if (mode.kind === 'chunk') {
      if (input.length < mode.octets) return false;
      const content = input.subarray(0, mode.octets);
      input = input.subarray(mode.octets);
      contentDone(content);
      return true;
    }
    if (mode.kind === 'data') {
      const end = input.subarray(0, 3).toString('latin1') === '.\r\n' ? 0 : input.indexOf('\r\n.\r\n') + 2;
      if (end === 1) return false;
      const content = input
        .subarray(0, end)
        .toString('latin1')
        .replace(/(^|\r\n)\./g, '$1');
      input = input.subarray(end + 3);
      contentDone(Buffer.from(content, 'latin1'));
      return true;
    }
    const end = input.indexOf('\r\n');
    if (end < 0) return false;
    const line = input.subarray(0, end).toString('latin1');
    input = input.subarray(end + 2);
    command(line);
    return true;
  };
  socket.on('data', (octets) => {
    if (first) state.reads++;
    input = Buffer.concat([input, octets]);
    while (last === undefined && step());
    flush();
  });
  act(now().banner ?? '220 test ready\r\n');
  flush();
}
