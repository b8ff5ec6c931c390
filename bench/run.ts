// `npm run bench`: the relay path beside the real Exim and the store beside the real Dovecot, in one run, as ratios.
// Rounds alternate between the two, and each figure is the median of its rounds, since machines are noisy; CPU time per
// message is the figure that noise moves least. Needs exim4 and dovecot-lmtpd (`npm test` installs them as root).
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startDovecot } from '../test/support/dovecot.ts';
import { startExim } from '../test/support/exim.ts';
import { startMailchute } from '../test/support/mailchute.ts';
import { findProgram } from '../test/support/peers.ts';
import { freePort, runToEnd, start, temporaryFolder } from '../test/support/process.ts';
import { readArguments } from './support/arguments.ts';
import { cpuGroup, type CpuGroup } from './support/cpu-group.ts';
import { eximMain, relayMain, relayRest } from './support/edges.ts';
import { median, round } from './support/statistics.ts';

const o = readArguments({
  rounds: 3,
  messages: 4000,
  peerMessages: 800,
  storeMessages: 6000,
  size: 4096,
  sessions: 16,
  only: '',
});
const here = import.meta.dirname;

/** Removed when all is measured: a file system that has just freed many files is slow at making new ones for a while. */
const folders: ReturnType<typeof temporaryFolder>[] = [];

function benchFolder(): ReturnType<typeof temporaryFolder> {
  const folder = temporaryFolder('bench');
  folders.push(folder);
  return folder;
}

interface Figures {
  perSecond: number[];
  cpuMs: number[];
  eodP50: number[];
  memoryMiB: number;
}

interface LoadReport {
  readonly messages: number;
  readonly accepted: number;
  readonly recipientsPerSecond: number;
  readonly beganAtMs: number;
  readonly endOfDataMs: { readonly p50: number; readonly p99: number };
  readonly faults: Readonly<Record<string, number>>;
}

function figures(): Figures {
  return { perSecond: [], cpuMs: [], eodP50: [], memoryMiB: 0 };
}

async function load(words: Readonly<Record<string, string | number>>): Promise<LoadReport> {
  const list = Object.entries(words).flatMap(([k, v]) => [`--${k}`, String(v)]);
  const run = await runToEnd(process.execPath, [path.join(here, 'load.ts'), ...list], { timeoutMs: 300_000 });
  const line = run.output.split('\n').find((l) => l.startsWith('{'));
  if (run.code !== 0 || line === undefined) throw new Error(`load failed: ${run.output}`);
  return JSON.parse(line) as LoadReport;
}

/** One round through a relay: from the first connect to the last final reply of the sink. */
async function relayRound(
  into: Figures,
  target: string,
  listen: string,
  messages: number,
  perconn: number,
  group: CpuGroup,
): Promise<void> {
  const sink = start(process.execPath, [
    path.join(here, 'sink.ts'),
    '--listen',
    listen,
    '--rcpts',
    String(messages),
    '--timeout',
    '280',
  ]);
  await sink.printed(/ready/);
  const before = group.cpuSeconds();
  const sent = await load({ target, messages, sessions: o.sessions, perconn, size: o.size });
  await sink.ended;
  const got = JSON.parse(
    sink
      .output()
      .split('\n')
      .find((l) => l.startsWith('{')) ?? '{}',
  ) as { recipients: number; lastAtMs: number };
  if (got.recipients !== messages) throw new Error(`the sink got ${got.recipients} of ${messages}`);
  into.perSecond.push(messages / ((got.lastAtMs - sent.beganAtMs) / 1000));
  into.cpuMs.push(((group.cpuSeconds() - before) / messages) * 1000);
  into.eodP50.push(sent.endOfDataMs.p50);
  into.memoryMiB = Math.max(into.memoryMiB, group.memoryMiB());
}

/** One round into a store: recipients a second as the store acknowledged them. */
async function storeRound(
  into: Figures,
  target: string,
  messages: number,
  rcpts: number,
  group: CpuGroup,
): Promise<void> {
  const before = group.cpuSeconds();
  const sent = await load({ target, proto: 'lmtp', messages, rcpts, sessions: o.sessions, size: o.size });
  into.perSecond.push(sent.recipientsPerSecond);
  into.cpuMs.push(((group.cpuSeconds() - before) / sent.accepted) * 1000);
  into.eodP50.push(sent.endOfDataMs.p50);
  into.memoryMiB = Math.max(into.memoryMiB, group.memoryMiB());
}

function print(title: string, peerName: string, ours: Figures, peer: Figures): void {
  const line = (name: string, f: Figures): string =>
    `  ${name.padEnd(10)} ${round(median(f.perSecond), 0).toString().padStart(7)}/s   ${round(median(f.cpuMs), 3).toString().padStart(7)} ms CPU each   end of data p50 ${round(median(f.eodP50), 1).toString().padStart(6)} ms   memory ${round(f.memoryMiB, 0)} MiB`;
  console.log(`${title}\n${line('mailchute', ours)}\n${line(peerName, peer)}`);
  console.log(
    `  ratio      ${round(median(ours.perSecond) / median(peer.perSecond), 1)} times the rate, ${round(median(peer.cpuMs) / median(ours.cpuMs), 1)} times less CPU\n`,
  );
}

async function relay(link: 'tcp' | 'unix', perconn: number): Promise<void> {
  const folder = benchFolder();
  chmodSync(folder.path, 0o755);
  const hop = { port: await freePort(), socket: path.join(folder.path, 'sink.sock') };
  const listen = link === 'tcp' ? `127.0.0.1:${hop.port}` : `unix:${hop.socket}`;
  const port = await freePort();
  const exim = await startExim(
    path.join(folder.path, 'exim'),
    `${relayMain}\n${eximMain}`,
    relayRest(link, hop, link === 'unix' ? '  user = Debian-exim' : ''),
  );
  const ours = await startMailchute(
    path.join(folder.path, 'ours'),
    `${relayMain}\ndaemon_smtp_ports = ${port}`,
    relayRest(link, hop),
  );
  const eximGroup = cpuGroup(`exim-${link}-${perconn}`, exim.pid);
  const ourGroup = cpuGroup(`ours-${link}-${perconn}`, ours.running.pid);
  try {
    const a = figures();
    const b = figures();
    await relayRound(figures(), `127.0.0.1:${port}`, listen, o.messages, perconn, ourGroup);
    for (let i = 0; i < o.rounds; i++) {
      await relayRound(a, `127.0.0.1:${port}`, listen, o.messages, perconn, ourGroup);
      await relayRound(b, `127.0.0.1:${exim.port}`, listen, o.peerMessages, perconn, eximGroup);
    }
    const how =
      perconn === 0 ? 'persistent connections' : `${perconn} message${perconn === 1 ? '' : 's'} a connection`;
    print(
      `relay over ${link}, ${o.size} octets, one recipient, ${o.sessions} sessions, ${how}${eximGroup.exact ? '' : ' (CPU by process tree)'}`,
      'exim',
      a,
      b,
    );
  } finally {
    await ours.stop();
    await exim.stop();
    eximGroup.close();
    ourGroup.close();
  }
}

async function store(link: 'tcp' | 'unix', rcpts: number): Promise<void> {
  const folder = benchFolder();
  chmodSync(folder.path, 0o755);
  const users = Array.from({ length: 1000 }, (_, i) => `user${i + 1}`);
  const dovecot = await startDovecot(path.join(folder.path, 'dovecot'), { users, extra: tunedDovecot });
  const port = await freePort();
  const socket = path.join(folder.path, 'store.sock');
  mkdirSync(path.join(folder.path, 'ours'));
  writeFileSync(path.join(folder.path, 'users'), `${users.map((u) => `${u}:{PLAIN}x:::::`).join('\n')}\n`);
  const ours = await startMailchute(
    path.join(folder.path, 'ours'),
    'daemon_smtp_ports =',
    `begin directories
users:
  driver = passwd_file
  file = ${folder.path}/users
  username_format = %Ln

begin stores
mailboxes:
  driver = maildir
  sockets = ${socket}
  listen = <; 127.0.0.1:${port}
  directories = users
  maildir = ${folder.path}/ours/mail/$local_part_data
  mail_fsync = optimized
`,
  );
  const dovecotGroup = cpuGroup(`dovecot-${link}-${rcpts}`, dovecot.pid);
  const ourGroup = cpuGroup(`store-${link}-${rcpts}`, ours.running.pid);
  try {
    const a = figures();
    const b = figures();
    const ourTarget = link === 'tcp' ? `127.0.0.1:${port}` : `unix:${socket}`;
    const theirTarget = link === 'tcp' ? `127.0.0.1:${dovecot.lmtpPort}` : `unix:${dovecot.lmtpSocket}`;
    const count = Math.ceil(o.storeMessages / rcpts);
    const peerCount = Math.ceil(count / 3);
    await storeRound(figures(), ourTarget, count, rcpts, ourGroup);
    await storeRound(figures(), theirTarget, peerCount, rcpts, dovecotGroup);
    for (let i = 0; i < o.rounds; i++) {
      await storeRound(a, ourTarget, count, rcpts, ourGroup);
      await storeRound(b, theirTarget, peerCount, rcpts, dovecotGroup);
    }
    print(
      `store over ${link}, ${o.size} octets, ${rcpts} recipient${rcpts === 1 ? '' : 's'} a message, ${o.sessions} sessions, fsync on`,
      'dovecot',
      a,
      b,
    );
  } finally {
    await ours.stop();
    await dovecot.stop();
    dovecotGroup.close();
    ourGroup.close();
  }
}

const tunedDovecot = `service lmtp {
  process_min_avail = 8
  service_count = 0
  process_limit = 500
  client_limit = 1
}
auth_cache_size = 10M
auth_cache_ttl = 1 hour
lmtp_user_concurrency_limit = 0
lmtp_rcpt_check_quota = no`;

for (const program of ['exim4', 'dovecot'])
  if (findProgram(program) === undefined) throw new Error(`${program} is not installed`);
process.env['UV_THREADPOOL_SIZE'] ??= '16';
console.log(`${os.cpus().length} cores, Node ${process.version}, ${o.rounds} rounds, medians\n`);
const wanted = (name: string): boolean => o.only === '' || name.startsWith(o.only);
try {
  if (wanted('relay-unix-0')) await relay('unix', 0);
  if (wanted('relay-tcp-0')) await relay('tcp', 0);
  if (wanted('relay-unix-1')) await relay('unix', 1);
  if (wanted('store-unix-1')) await store('unix', 1);
  if (wanted('store-tcp-1')) await store('tcp', 1);
  if (wanted('store-unix-50')) await store('unix', 50);
} finally {
  for (const folder of folders) folder.remove();
}
