// An LMTP (or, with --smtp, SMTP) server that counts and keeps nothing. Ends after --rcpts accepted recipients with one
// line of JSON; recipients whose local part begins with "bad" are refused.
//   node bench/sink.ts --listen 127.0.0.1:2600 --rcpts 5000        (or --listen unix:/tmp/sink.sock)
import fs from 'node:fs';
import net from 'node:net';
import { readArguments, readTarget } from './support/arguments.ts';
import { round } from './support/statistics.ts';

const o = readArguments({ listen: '', rcpts: 0, smtp: false, timeout: 600 });
const target = readTarget(o.listen);
let connections = 0;
let messages = 0;
let recipients = 0;
let refused = 0;
let firstAt = 0;
let lastAt = 0;
const perTransaction = new Map<number, number>();
const now = (): number => performance.timeOrigin + performance.now();

function report(why: string): never {
  const cpu = process.cpuUsage();
  console.log(
    JSON.stringify({
      why,
      connections,
      messages,
      recipients,
      refused,
      perTransaction: Object.fromEntries(perTransaction),
      firstAtMs: round(firstAt, 1),
      lastAtMs: round(lastAt, 1),
      cpuSeconds: round((cpu.user + cpu.system) / 1e6),
    }),
  );
  process.exit(0);
}

const greeting = '250-sink.test\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 SIZE\r\n';

const server = net.createServer({ noDelay: true }, (socket) => {
  connections++;
  if (firstAt === 0) firstAt = now();
  socket.setEncoding('latin1');
  socket.write('220 sink.test LMTP\r\n');
  let rest = '';
  let inData = false;
  let accepted = 0;
  socket.on('data', (chunk) => {
    rest += String(chunk);
    let out = '';
    for (;;) {
      if (inData) {
        const atOnce = rest.startsWith('.\r\n');
        const end = atOnce ? 0 : rest.indexOf('\r\n.\r\n');
        if (end < 0) {
          if (rest.length > 4) rest = rest.slice(-4);
          break;
        }
        rest = rest.slice(atOnce ? 3 : end + 5);
        inData = false;
        out += '250 2.0.0 ok\r\n'.repeat(o.smtp ? 1 : accepted);
        messages++;
        recipients += accepted;
        perTransaction.set(accepted, (perTransaction.get(accepted) ?? 0) + 1);
        accepted = 0;
        lastAt = now();
        if (o.rcpts > 0 && recipients >= o.rcpts) {
          socket.write(out);
          setTimeout(() => report('rcpts'), 20);
          return;
        }
        continue;
      }
      const end = rest.indexOf('\n');
      if (end < 0) break;
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      switch (line.slice(0, 4).toUpperCase()) {
        case 'RCPT':
          if (/<bad/i.test(line)) {
            refused++;
            out += '550 5.1.1 no such user\r\n';
          } else {
            accepted++;
            out += '250 2.1.5 ok\r\n';
          }
          break;
        case 'MAIL':
          accepted = 0;
          out += '250 2.1.0 ok\r\n';
          break;
        case 'DATA':
          inData = accepted > 0;
          out += inData ? '354 go\r\n' : '503 5.5.1 no recipient\r\n';
          break;
        case 'LHLO':
        case 'EHLO':
        case 'HELO':
          out += greeting;
          break;
        case 'QUIT':
          socket.end(`${out}221 2.0.0 bye\r\n`);
          return;
        case 'RSET':
        case 'NOOP':
          accepted = 0;
          out += '250 2.0.0 ok\r\n';
          break;
        default:
          out += '502 5.5.2 unknown\r\n';
      }
    }
    if (out !== '') socket.write(out);
  });
  socket.on('error', () => socket.destroy());
});
if ('path' in target) fs.rmSync(target.path, { force: true });
server.listen({ ...target, backlog: 1024 }, () => {
  if ('path' in target) fs.chmodSync(target.path, 0o666);
  console.error('ready');
});
process.on('SIGTERM', () => report('term'));
setTimeout(() => report('timeout'), o.timeout * 1000).unref();
