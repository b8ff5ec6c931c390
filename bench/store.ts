// The store beside the real Dovecot: deliveries a second as they are acknowledged, and the memory of open sessions.
import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { startDovecot, type Dovecot } from '../test/support/dovecot.ts';
import { startMailchute, type Mailchute } from '../test/support/mailchute.ts';
import { freePort, until } from '../test/support/process.ts';
import { readTarget } from './support/arguments.ts';
import {
  type BenchOptions,
  type Comparison,
  type Figures,
  type LoadReport,
  addRound,
  benchFolder,
  figures,
  printFigures,
  roundOf,
  runProgram,
} from './support/bench.ts';
import { cpuGroup, type CpuGroup } from './support/cpu-group.ts';
import { replyLines } from './support/reply-lines.ts';
import { round } from './support/statistics.ts';

export const storeComparisons: readonly Comparison[] = [
  { name: 'store-unix-1', run: (o) => deliver(o, 'unix', 1) },
  { name: 'store-tcp-1', run: (o) => deliver(o, 'tcp', 1) },
  { name: 'store-unix-50', run: (o) => deliver(o, 'unix', 50) },
  { name: 'store-tcp-50', run: (o) => deliver(o, 'tcp', 50) },
  { name: 'store-idle', run: idle },
];

/** What served Dovecot best here. */
export const tunedDovecot = `service lmtp {
  process_min_avail = 8
  service_count = 0
  process_limit = 500
  client_limit = 1
}
auth_cache_size = 10M
auth_cache_ttl = 1 hour
lmtp_user_concurrency_limit = 0
lmtp_rcpt_check_quota = no`;

export interface BenchStore {
  readonly process: Mailchute;
  readonly port: number;
  readonly socket: string;
}

export function userNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `user${i + 1}`);
}

/** Our store for `users` in a folder of its own; more options of the section in `more`. */
export async function startOurStore(
  folder: string,
  users: readonly string[],
  more = '',
): Promise<BenchStore> {
  const port = await freePort();
  const socket = path.join(folder, 'lmtp');
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'users'), `${users.map((u) => `${u}:{PLAIN}x:::::`).join('\n')}\n`);
  const running = await startMailchute(
    folder,
    'daemon_smtp_ports =',
    `begin directories
users:
  driver = passwd_file
  file = ${folder}/users
  username_format = %Ln

begin stores
mailboxes:
  driver = maildir
  sockets = ${socket}
  listen = <; 127.0.0.1:${port}
  directories = users
  maildir = ${folder}/mail/$local_part_data
  mail_fsync = optimized
${more}`,
  );
  return { process: running, port, socket };
}

interface Both {
  readonly ours: BenchStore;
  readonly theirs: Dovecot;
  readonly ourGroup: CpuGroup;
  readonly theirGroup: CpuGroup;
  stop(): Promise<void>;
}

async function startBoth(name: string, dovecotExtra: string, ourExtra = ''): Promise<Both> {
  const folder = benchFolder();
  const users = userNames(1000);
  const theirs = await startDovecot(path.join(folder, 'dovecot'), { users, extra: dovecotExtra });
  const ours = await startOurStore(path.join(folder, 'ours'), users, ourExtra);
  const theirGroup = cpuGroup(`dovecot-${name}`, theirs.pid);
  const ourGroup = cpuGroup(`store-${name}`, ours.process.running.pid);
  return {
    ours,
    theirs,
    ourGroup,
    theirGroup,
    async stop() {
      await ours.process.stop();
      await theirs.stop();
      theirGroup.close();
      ourGroup.close();
    },
  };
}

/** Where `--storeSessions` says nothing, each side gets as many as serve it best. */
const sessionCounts = [8, 16, 48, 96] as const;

interface Side {
  readonly target: string;
  readonly group: CpuGroup;
  /** In a round. */
  readonly messages: number;
}

async function deliver(o: BenchOptions, link: 'tcp' | 'unix', rcpts: number): Promise<void> {
  const both = await startBoth(`${link}-${rcpts}`, tunedDovecot);
  const { ours, theirs } = both;
  const messages = Math.ceil(o.storeMessages / rcpts);
  const our: Side = {
    target: link === 'tcp' ? `127.0.0.1:${ours.port}` : `unix:${ours.socket}`,
    group: both.ourGroup,
    messages,
  };
  const their: Side = {
    target: link === 'tcp' ? `127.0.0.1:${theirs.lmtpPort}` : `unix:${theirs.lmtpSocket}`,
    group: both.theirGroup,
    messages: Math.ceil(messages / 3),
  };
  const { size } = o;
  const one = (into: Figures, side: Side, sessions: number, count = side.messages): Promise<void> =>
    storeRound(into, side, { messages: count, rcpts, sessions, size });
  /** The number of sessions with the highest rate. */
  const best = async (side: Side): Promise<number> => {
    if (o.storeSessions > 0) return o.storeSessions;
    const rates = new Map<number, number>();
    for (const sessions of sessionCounts) {
      const tried = figures();
      await one(tried, side, sessions);
      rates.set(sessions, tried.perSecond[0] ?? 0);
    }
    return [...rates].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  };
  try {
    // So that every mailbox is there before anything counts.
    for (const side of [our, their])
      await storeRound(figures(), side, { messages: 20, rcpts: 50, sessions: 16, size });
    await one(figures(), our, 48, Math.ceil(o.warmUp / rcpts));
    const ourSessions = await best(our);
    const theirSessions = await best(their);
    const a = figures();
    const b = figures();
    for (let i = 0; i < o.rounds; i++) {
      await one(a, our, ourSessions);
      await one(b, their, theirSessions);
    }
    printFigures(
      `store over ${link}, ${size} octets, ${rcpts} recipient${rcpts === 1 ? '' : 's'} a message, ${ourSessions} and ${theirSessions} sessions, 1000 users, fsync on`,
      ['mailchute', a],
      ['dovecot', b],
      'end of data',
    );
  } finally {
    await both.stop();
  }
}

async function storeRound(
  into: Figures,
  { target, group }: Side,
  load: {
    readonly messages: number;
    readonly rcpts: number;
    readonly sessions: number;
    readonly size: number;
  },
): Promise<void> {
  const end = roundOf([group]);
  const sent = await runProgram<LoadReport>('load.ts', { target, proto: 'lmtp', ...load });
  const used = end(sent.clientCpuSeconds);
  if (sent.accepted !== load.messages * load.rcpts) throw new Error(JSON.stringify(sent.faults));
  addRound(into, sent.endOfDataMs, group, {
    perSecond: sent.recipientsPerSecond,
    count: sent.accepted,
    ...used,
  });
}

/** Dovecot has a process for each session; these limits let it have so many. */
const dovecotForMany = (sessions: number): string => `service lmtp {
  process_limit = ${sessions + 100}
  client_limit = 1
  service_count = 0
}
service auth {
  client_limit = ${sessions * 3 + 1000}
}
service stats {
  client_limit = ${sessions * 3 + 1000}
}
service anvil {
  client_limit = ${sessions * 3 + 1000}
}
lmtp_user_concurrency_limit = 0`;

/** Proportional set size of the process trees: with nobody there, then with sessions that have said LHLO and a recipient. */
async function idle(o: BenchOptions): Promise<void> {
  const both = await startBoth('idle', dovecotForMany(o.idle), `  max_connections = ${o.idle + 100}\n`);
  try {
    const report = async (name: string, target: string, group: CpuGroup): Promise<number> => {
      const warm = await openSessions(target, 1);
      const empty = group.memoryMiB();
      for (const socket of warm) socket.destroy();
      const sockets = await openSessions(target, o.idle);
      const open = group.memoryMiB();
      for (const socket of sockets) socket.destroy();
      console.log(
        `  ${name.padEnd(10)}${round(empty, 0).toString().padStart(7)} MiB with one session, ${round(open, 0)} MiB with ${o.idle}: ` +
          `${round(((open - empty) / o.idle) * 1024, 0)} KiB each`,
      );
      return open;
    };
    console.log(
      `memory (PSS of the process tree) with ${o.idle} open sessions, each with a recipient accepted`,
    );
    const ours = await report('mailchute', `127.0.0.1:${both.ours.port}`, both.ourGroup);
    const theirs = await report('dovecot', `127.0.0.1:${both.theirs.lmtpPort}`, both.theirGroup);
    console.log(`  ratio     dovecot needs ${round(theirs / ours, 1)} times as much\n`);
  } finally {
    await both.stop();
  }
}

async function openSessions(target: string, count: number): Promise<net.Socket[]> {
  const sockets: net.Socket[] = [];
  let ready = 0;
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const user = (next++ % 1000) + 1;
      const socket = net.connect(readTarget(target));
      sockets.push(socket);
      socket.setEncoding('latin1');
      const said = [
        'LHLO idle.test\r\n',
        `MAIL FROM:<a@b.example>\r\n`,
        `RCPT TO:<user${user}@example.test>\r\n`,
      ];
      await new Promise<void>((resolve, reject) => {
        socket.on('error', reject);
        socket.on('close', () => reject(new Error(`${target} closed session ${sockets.length}`)));
        socket.on(
          'data',
          replyLines((code, line) => {
            if (code >= 400) reject(new Error(line));
            const command = said.shift();
            if (command === undefined) {
              ready++;
              resolve();
            } else socket.write(command);
          }),
        );
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(20, count) }, lane));
  await until(() => ready === count, 'all sessions are open');
  for (const socket of sockets) socket.removeAllListeners('close');
  return sockets;
}
