// SMTP and LMTP message load. One line of JSON on standard output.
//   node bench/load.ts --target 127.0.0.1:2525 --proto smtp --sessions 8 --messages 5000 --rcpts 1 --size 4096
//   --perconn N   messages a connection (0: keep the connection for the whole run)
//   --step        wait for every reply, in place of MAIL, RCPT and DATA in one write
import net from 'node:net';
import { readArguments, readTarget } from './support/arguments.ts';
import { replyLines } from './support/reply-lines.ts';
import { percentile, round } from './support/statistics.ts';

const o = readArguments({
  target: '',
  proto: 'smtp',
  sessions: 8,
  messages: 1000,
  rcpts: 1,
  size: 4096,
  users: 1000,
  user: 'user',
  domain: 'example.test',
  from: 'sender@b.example',
  perconn: 0,
  step: false,
  timeout: 300,
});
const target = readTarget(o.target);
const lmtp = o.proto === 'lmtp';
const content = makeContent(o.size);

let started = 0;
let done = 0;
let failed = 0;
let accepted = 0;
let refused = 0;
let connections = 0;
let user = 0;
let beganAt = 0;
let lastAt = 0;
const endOfData: number[] = [];
const faults = new Map<string, number>();

function fault(text: string): void {
  faults.set(text, (faults.get(text) ?? 0) + 1);
}

/** `size` octets in all, of which some 250 are the header that each message gets. */
function makeContent(size: number): string {
  const line = 'The quick brown fox jumps over the lazy dog; pack my box with five dozen jugs\r\n';
  const lines = line
    .repeat(Math.ceil(Math.max(0, size - 250) / line.length))
    .slice(0, Math.max(0, size - 252));
  return `${lines.replace(/\r$/, '')}\r\n.\r\n`;
}

function header(n: number): string {
  return (
    `Message-ID: <${n}.${process.pid}.${beganAt.toString(36)}@load.test>\r\nDate: ${new Date().toUTCString()}\r\n` +
    `From: Load Sender <${o.from}>\r\nTo: Load List <list@${o.domain}>\r\nSubject: load test message ${n}\r\n` +
    'MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n'
  );
}

type Stage = 'greeting' | 'helo' | 'envelope' | 'content' | 'reset' | 'quit';

function session(): void {
  connections++;
  const socket = net.connect(target);
  socket.setEncoding('latin1');
  let stage: Stage = 'greeting';
  let sent = 0;
  let answered = 0;
  let taken = 0;
  let awaited = 0;
  let dotAt = 0;
  let commands: string[] = [];
  let busy = false;
  let closed = false;

  function next(): void {
    if (started >= o.messages || (o.perconn > 0 && sent >= o.perconn)) {
      stage = 'quit';
      socket.write('QUIT\r\n');
      return;
    }
    started++;
    sent++;
    busy = true;
    answered = 0;
    taken = 0;
    stage = 'envelope';
    commands = [`MAIL FROM:<${o.from}>\r\n`];
    for (let i = 0; i < o.rcpts; i++) {
      user = (user % o.users) + 1;
      commands.push(`RCPT TO:<${o.user}${user}@${o.domain}>\r\n`);
    }
    commands.push('DATA\r\n');
    socket.write(o.step ? (commands[0] ?? '') : commands.join(''));
  }

  function finish(good: boolean): void {
    busy = false;
    if (good) {
      done++;
      lastAt = performance.now();
      endOfData.push(lastAt - dotAt);
    } else failed++;
    if (done + failed >= o.messages) {
      socket.end('QUIT\r\n');
      report();
    } else next();
  }

  function onReply(code: number, line: string): void {
    switch (stage) {
      case 'greeting':
        if (code !== 220) {
          fault(line.slice(0, 60));
          socket.destroy();
          return;
        }
        stage = 'helo';
        socket.write(lmtp ? 'LHLO load.test\r\n' : 'EHLO load.test\r\n');
        return;
      case 'helo':
        next();
        return;
      case 'envelope': {
        if (answered > 0 && answered <= o.rcpts) {
          if (code < 400) taken++;
          else {
            refused++;
            fault(`RCPT ${line.slice(0, 60)}`);
          }
        } else if (answered === 0 && code >= 400) fault(`MAIL ${line.slice(0, 60)}`);
        if (answered === o.rcpts + 1) {
          if (code !== 354) {
            fault(`DATA ${line.slice(0, 60)}`);
            stage = 'reset';
            socket.write('RSET\r\n');
            return;
          }
          awaited = lmtp ? taken : 1;
          stage = 'content';
          dotAt = performance.now();
          socket.write(header(started) + content, 'latin1');
          return;
        }
        answered++;
        if (o.step) socket.write(commands[answered] ?? '');
        return;
      }
      case 'content':
        if (code < 400) accepted += lmtp ? 1 : taken;
        else {
          refused++;
          fault(`content ${line.slice(0, 60)}`);
          if (!lmtp) {
            finish(false);
            return;
          }
        }
        if (--awaited === 0) finish(true);
        return;
      case 'reset':
        finish(false);
        return;
      case 'quit':
        socket.end();
        return;
    }
  }

  socket.on('data', replyLines(onReply));
  socket.on('error', (error: NodeJS.ErrnoException) => fault(error.code ?? error.message));
  socket.on('close', () => {
    if (closed) return;
    closed = true;
    if (busy) {
      fault(`closed during ${stage}`);
      started--;
    }
    if ([...faults.values()].reduce((a, b) => a + b, 0) > o.messages + 1000) giveUp('too many faults');
    if (started < o.messages) setImmediate(session);
  });
}

function giveUp(why: string): never {
  console.error(why, JSON.stringify({ started, done, failed, faults: Object.fromEntries(faults) }));
  process.exit(3);
}

function report(): void {
  clearTimeout(guard);
  const sorted = endOfData.toSorted((a, b) => a - b);
  const seconds = (lastAt - beganAt) / 1000;
  const cpu = process.cpuUsage();
  console.log(
    JSON.stringify({
      target: o.target,
      proto: o.proto,
      sessions: o.sessions,
      rcpts: o.rcpts,
      perconn: o.perconn,
      messages: done,
      accepted,
      refused,
      failed,
      connections,
      seconds: round(seconds),
      messagesPerSecond: round(done / seconds, 1),
      recipientsPerSecond: round(accepted / seconds, 1),
      endOfDataMs: { p50: round(percentile(sorted, 0.5)), p99: round(percentile(sorted, 0.99)) },
      clientCpuSeconds: round((cpu.user + cpu.system) / 1e6),
      beganAtMs: round(performance.timeOrigin + beganAt, 1),
      faults: Object.fromEntries(faults),
    }),
  );
  process.exit(failed > 0 ? 1 : 0);
}

const guard = setTimeout(() => giveUp('timeout'), o.timeout * 1000);
beganAt = performance.now();
for (let i = 0; i < Math.min(o.sessions, o.messages); i++) session();
