/** The client of `edge.test.ts`: some SMTP connections that send without pause and connect again when they are cut. */
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { address, type Ledger, type Sent, textOf } from './edge-ledger.ts';

export interface Load {
  /** Lets what is under way end and closes; resolves when all connections are gone. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  readonly port: number;
  readonly connections: number;
  readonly ledger: Ledger;
  readonly below: (n: number) => number;
  /** Recipients of one message, repeated ones included. */
  readonly chooseUsers: (below: (n: number) => number) => readonly string[];
}

const reconnectMs = 4;
/** Content up to 131,072 octets lies in the database, longer content in a file of its own. */
const sizes = [0, 500, 500, 1000, 1000, 2000, 4096, 4096, 4096, 20_000];
const rareSizes = [131_071, 131_072, 131_073, 200_000, 300_000];

export function startLoad(options: LoadOptions): Load {
  let stopping = false;
  const lanes = Array.from({ length: options.connections }, async (_, i) => {
    // One in three waits for each reply, the others send MAIL, RCPT and DATA together.
    while (!stopping) {
      await session(options, i % 3 === 2, () => stopping);
      await pause(reconnectMs);
    }
  });
  return {
    async stop() {
      stopping = true;
      await Promise.all(lanes);
    },
  };
}

/** One connection, to its end, whoever ends it. */
function session(options: LoadOptions, step: boolean, stopping: () => boolean): Promise<void> {
  const { ledger, below } = options;
  const socket = connect({ host: '127.0.0.1', port: options.port, noDelay: true });
  socket.setEncoding('latin1');
  const left = { messages: 1 + below(40) };
  let state: 'greeting' | 'helo' | 'commands' | 'content' | 'quit' = 'greeting';
  let commands: string[] = [];
  let answered = 0;
  let sent: Sent | undefined;

  function next(): void {
    if (stopping() || left.messages-- === 0) {
      state = 'quit';
      socket.write('QUIT\r\n');
      return;
    }
    const users = options.chooseUsers(below);
    const size = (below(25) === 0 ? rareSizes[below(rareSizes.length)] : sizes[below(sizes.length)]) ?? 0;
    sent = ledger.begin(users, size);
    const { n } = sent;
    commands = [
      `MAIL FROM:<${address('sender', n)}>\r\n`,
      ...users.map((user) => `RCPT TO:<${address(user, n)}>\r\n`),
      'DATA\r\n',
    ];
    state = 'commands';
    answered = 0;
    socket.write(step ? (commands[0] ?? '') : commands.join(''));
  }

  function onReply(code: number, line: string): void {
    if (code === 421) {
      socket.destroy();
      return;
    }
    switch (state) {
      case 'greeting':
        state = 'helo';
        socket.write('EHLO load.test\r\n');
        return;
      case 'helo':
        next();
        return;
      case 'commands':
        answered++;
        if (code !== (answered === commands.length ? 354 : 250)) {
          ledger.faults.push(`${commands[answered - 1]?.trim()} was answered ${line}`);
          socket.destroy();
        } else if (answered === commands.length) void sendContent();
        else if (step) socket.write(commands[answered] ?? '');
        return;
      case 'content':
        if (sent !== undefined) {
          sent.stage = code === 250 ? 'accepted' : 'refused';
          sent.queueId = /^250 OK id=(\S+)$/.exec(line)?.[1];
          if (sent.queueId === undefined) ledger.faults.push(`m${sent.n} was answered ${line}`);
          sent = undefined;
          ledger.passed('accepted');
        }
        next();
        return;
      case 'quit':
        socket.end();
    }
  }

  async function sendContent(): Promise<void> {
    if (sent === undefined) return;
    state = 'content';
    const text = textOf(sent.n, sent.size);
    // Large content in parts, so that a kill may fall between them.
    for (let at = 0; at < text.length; at += 60_000)
      if (!socket.write(text.slice(at, at + 60_000), 'latin1')) await drained(socket);
    if (socket.destroyed) return;
    sent.stage = 'dotted';
    socket.write('.\r\n');
    ledger.passed('dotted');
  }

  let rest = '';
  socket.on('data', (chunk) => {
    const lines = `${rest}${String(chunk)}`.split('\r\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line[3] !== '-') onReply(Number(line.slice(0, 3)), line);
  });
  socket.on('error', () => socket.destroy());
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      socket.off('drain', go).off('close', go);
      resolve();
    };
    if (socket.destroyed) resolve();
    else socket.on('drain', go).on('close', go);
  });
}
