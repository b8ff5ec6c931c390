// Recipient verification load: MAIL, --per RCPTs in one write, RSET, and again. One line of JSON on standard output.
//   node bench/rcpt.ts --target 127.0.0.1:2525 --conns 4 --rcpts 2000 --per 50
//   --single      a connection for each recipient: EHLO, MAIL and RCPT in one write, QUIT
//   --hurry       with it, closes its side with QUIT and does not wait for 221 before the next connection
//   --proto lmtp  to ask a store itself
import net from 'node:net';
import { readArguments, readTarget } from './support/arguments.ts';
import { replyLines } from './support/reply-lines.ts';
import { percentile, round } from './support/statistics.ts';

const o = readArguments({
  target: '',
  proto: 'smtp',
  conns: 4,
  rcpts: 2000,
  per: 50,
  users: 1000,
  user: 'user',
  domain: 'example.test',
  from: 'sender@b.example',
  single: false,
  hurry: false,
  timeout: 240,
});
const target = readTarget(o.target);
const per = o.single ? 1 : o.per;
const hello = o.proto === 'lmtp' ? 'LHLO load.test\r\n' : 'EHLO load.test\r\n';
let asked = 0;
let answered = 0;
let accepted = 0;
let refused = 0;
let deferred = 0;
let connections = 0;
let user = 0;
let beganAt = 0;
let lastAt = 0;
const batchMs: number[] = [];
const faults = new Map<string, number>();

function report(): never {
  const sorted = batchMs.toSorted((a, b) => a - b);
  const cpu = process.cpuUsage();
  const seconds = (lastAt - beganAt) / 1000;
  console.log(
    JSON.stringify({
      target: o.target,
      conns: o.conns,
      per,
      answered,
      accepted,
      refused,
      deferred,
      connections,
      seconds: round(seconds),
      recipientsPerSecond: round(answered / seconds, 1),
      batchMs: { p50: round(percentile(sorted, 0.5)), p99: round(percentile(sorted, 0.99)) },
      clientCpuSeconds: round((cpu.user + cpu.system) / 1e6),
      faults: Object.fromEntries(faults),
    }),
  );
  process.exit(answered < o.rcpts ? 1 : 0);
}

/** MAIL and the next recipients; undefined where all have been asked. */
function batch(): { readonly text: string; readonly count: number } | undefined {
  const count = Math.min(per, o.rcpts - asked);
  if (count <= 0) return undefined;
  asked += count;
  let text = `MAIL FROM:<${o.from}>\r\n`;
  for (let i = 0; i < count; i++) {
    user = (user % o.users) + 1;
    text += `RCPT TO:<${o.user}${user}@${o.domain}>\r\n`;
  }
  return { text, count };
}

function connection(): void {
  if (asked >= o.rcpts) return;
  connections++;
  const socket = net.connect(target);
  socket.setEncoding('latin1');
  let stage: 'greeting' | 'helo' | 'mail' | 'rcpt' | 'quit' | 'over' = 'greeting';
  let outstanding = 0;
  let sentAt = 0;
  const begin = (): void => {
    const next = batch();
    if (next === undefined) {
      stage = 'over';
      socket.end('QUIT\r\n');
      return;
    }
    outstanding = next.count;
    stage = 'mail';
    sentAt = performance.now();
    socket.write(next.text);
  };
  const count = (code: number, line: string): void => {
    answered++;
    outstanding--;
    lastAt = performance.now();
    if (code < 300) accepted++;
    else {
      if (code < 500) deferred++;
      else refused++;
      const text = line.replace(/[\w.+-]*@[\w.-]*/g, '@').slice(0, 60);
      faults.set(text, (faults.get(text) ?? 0) + 1);
    }
    if (outstanding > 0) return;
    batchMs.push(lastAt - sentAt);
    if (answered >= o.rcpts) report();
    if (o.single) {
      if (o.hurry) {
        stage = 'over';
        socket.end('QUIT\r\n');
        connection();
      } else {
        stage = 'quit';
        socket.write('QUIT\r\n');
      }
    } else {
      stage = 'helo';
      socket.write('RSET\r\n');
    }
  };
  socket.on(
    'data',
    replyLines((code, line) => {
      switch (stage) {
        case 'greeting':
          if (code !== 220) {
            socket.destroy();
            return;
          }
          stage = 'helo';
          socket.write(hello);
          return;
        case 'helo':
          begin();
          return;
        case 'mail':
          stage = 'rcpt';
          return;
        case 'rcpt':
          count(code, line);
          return;
        case 'quit':
          stage = 'over';
          socket.end();
          connection();
          return;
        case 'over':
          return;
      }
    }),
  );
  socket.on('error', () => undefined);
  socket.on('close', () => {
    if (stage === 'over') return;
    asked -= outstanding;
    faults.set(`closed during ${stage}`, (faults.get(`closed during ${stage}`) ?? 0) + 1);
    if (connections > 2 * o.rcpts + 1000) report();
    setImmediate(connection);
  });
}

setTimeout(report, o.timeout * 1000).unref();
beganAt = performance.now();
for (let i = 0; i < o.conns; i++) connection();
