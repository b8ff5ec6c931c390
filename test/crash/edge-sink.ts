/** The store of `edge.test.ts`: an LMTP server that outlives the edge and enters what it takes into the ledger. */
import { createServer, type Socket } from 'node:net';
import { fateOf, type Ledger, readAddress } from './edge-ledger.ts';

export interface Sink {
  /** Number of the life that the edge is in; connections belong to the one in which they were made. */
  era: number;
  close(): Promise<void>;
}

/**
 * Listens on a UNIX socket. Every second connection offers CHUNKING, and some replies are held back a few milliseconds,
 * so that more transactions are under way when a kill comes. A recipient is taken when its 2xx is about to be written.
 */
export async function startSink(path: string, ledger: Ledger, below: (n: number) => number): Promise<Sink> {
  const open = new Set<Socket>();
  const putOff = new Set<string>();
  const sink = { era: 0 };
  let connections = 0;
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    serve(socket, sink.era, connections++ % 2 === 0);
  });

  function serve(socket: Socket, era: number, chunking: boolean): void {
    let input: Buffer = Buffer.alloc(0);
    let mode: 'command' | 'data' | number = 'command';
    let accepted: string[] = [];
    let held = false;
    const say = (text: string): void => {
      if (socket.writable) socket.write(text, 'latin1');
    };

    /** True the first time a recipient is asked about. */
    const putOffNow = (to: string): boolean => putOff.size < putOff.add(to).size;

    function rcpt(to: string): string {
      const { user } = readAddress(to);
      if (user === 'sender') accepted.push(to);
      else if (fateOf(user) === 'bad') return '550 5.1.1 no such user\r\n';
      else if (fateOf(user) === 'grey' && putOffNow(to)) return '450 4.2.0 come again\r\n';
      else accepted.push(to);
      return '250 2.1.5 ok\r\n';
    }

    function take(content: string): void {
      const taken: string[] = [];
      let replies = '';
      for (const to of accepted) {
        const { user } = readAddress(to);
        const fate = user === 'sender' ? 'good' : fateOf(user);
        if (fate === 'drop') replies += '550 5.7.1 not this one\r\n';
        else if (fate === 'late' && putOffNow(to)) replies += '451 4.2.0 later\r\n';
        else {
          taken.push(user);
          replies += '250 2.0.0 saved\r\n';
        }
      }
      accepted = [];
      ledger.arrived(taken, content, era);
      ledger.passed('taken');
      if (below(4) > 0) {
        say(replies);
        ledger.passed('answered');
        return;
      }
      held = true;
      setTimeout(() => {
        held = false;
        say(replies);
        ledger.passed('answered');
        work();
      }, 1 + below(8));
    }

    function command(line: string): void {
      const [verb = '', argument = ''] = line.split(' ');
      const path = /<([^>]*)>/.exec(line)?.[1] ?? '';
      switch (verb) {
        case 'LHLO':
          return say(
            `250-sink.test\r\n250-PIPELINING\r\n${chunking ? '250-CHUNKING\r\n' : ''}250-8BITMIME\r\n250 SIZE\r\n`,
          );
        case 'MAIL':
        case 'RSET':
          accepted = [];
          return say('250 2.0.0 ok\r\n');
        case 'RCPT':
          return say(rcpt(path));
        case 'DATA':
          if (accepted.length === 0) return say('503 5.5.1 no recipients\r\n');
          mode = 'data';
          return say('354 go ahead\r\n');
        case 'BDAT':
          mode = Number(argument);
          return undefined;
        case 'QUIT':
          say('221 2.0.0 bye\r\n');
          socket.end();
          return undefined;
        default:
          ledger.faults.push(`the edge said ${line}`);
          socket.destroy();
      }
    }

    /** One step; false where more has to come. */
    function step(): boolean {
      if (mode === 'command') {
        const end = input.indexOf('\r\n');
        if (end < 0) return false;
        const line = input.toString('latin1', 0, end);
        input = input.subarray(end + 2);
        command(line);
        return true;
      }
      if (mode === 'data') {
        const end = input.indexOf('\r\n.\r\n');
        if (end < 0) return false;
        const content = input.toString('latin1', 0, end + 2).replaceAll('\r\n.', '\r\n');
        input = input.subarray(end + 5);
        mode = 'command';
        take(content);
        return true;
      }
      if (input.length < mode) return false;
      const content = input.toString('latin1', 0, mode);
      input = input.subarray(mode);
      mode = 'command';
      if (accepted.length > 0) take(content);
      else say('503 5.5.1 no recipients\r\n');
      return true;
    }

    function work(): void {
      while (!held && step());
    }

    socket.on('data', (octets) => {
      input = input.length === 0 ? octets : Buffer.concat([input, octets]);
      work();
    });
    socket.on('error', () => socket.destroy());
    say('220 sink.test LMTP\r\n');
  }

  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    get era() {
      return sink.era;
    },
    set era(value) {
      sink.era = value;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
