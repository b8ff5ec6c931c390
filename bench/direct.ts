// Direct hand-off beside our own spooled way, callout verification in both: from the load's first connect until the last message
// is in the store, and what the sender waits for its final reply.
import path from 'node:path';
import { startMailchute } from '../test/support/mailchute.ts';
import { freePort, until } from '../test/support/process.ts';
import { lineCounter } from '../test/support/relay-load.ts';
import { startOurStore, userNames } from './store.ts';
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
import { startSink } from './support/sink-run.ts';
import { cpuGroup, type CpuGroup } from './support/cpu-group.ts';
import { relayMain, relayRest, verifyingAcl } from './support/edges.ts';

export const directComparisons: readonly Comparison[] = [
  { name: 'direct-sink-0', run: (o) => direct(o, 'sink', 0) },
  { name: 'direct-sink-1', run: (o) => direct(o, 'sink', 1) },
  { name: 'direct-store-0', run: (o) => direct(o, 'store', 0) },
  // As many connections as the verification has.
  { name: 'direct-four-sink', run: (o) => direct({ ...o, sessions: 4 }, 'sink', 0) },
  { name: 'direct-four-store', run: (o) => direct({ ...o, sessions: 4 }, 'store', 0) },
  // Where nothing waits beside it, as in a queue runner that sends one message after the other.
  { name: 'direct-alone-sink', run: (o) => direct(few({ ...o, sessions: 1 }), 'sink', 0) },
  { name: 'direct-alone-store', run: (o) => direct(few({ ...o, sessions: 1 }), 'store', 0) },
];

const few = (o: BenchOptions): BenchOptions => ({ ...o, messages: Math.ceil(o.messages / 4) });

/** Where mail goes; `arrival` begins to watch and gives what resolves when so many more are there. */
interface End {
  readonly socket: string;
  readonly groups: readonly CpuGroup[];
  arrival(
    messages: number,
  ): Promise<() => Promise<{ readonly lastAtMs: number; readonly cpuSeconds: number }>>;
  stop(): Promise<void>;
}

async function direct(o: BenchOptions, to: 'sink' | 'store', perconn: number): Promise<void> {
  const folder = benchFolder();
  const end = to === 'sink' ? sinkEnd(folder) : await storeEnd(folder);
  const edge = async (name: string, more: string): Promise<Edge> => {
    const port = await freePort();
    const rest = relayRest('unix', { port: 0, socket: end.socket }).replace(
      /^acl_check_rcpt:\n/m,
      `acl_check_rcpt:\n${verifyingAcl('callout=no_cache')}`,
    );
    const main = `${relayMain}\ndaemon_smtp_ports = ${port}\n${more}`;
    const running = await startMailchute(path.join(folder, name), main, rest);
    const group = cpuGroup(`${name}-${to}-${perconn}`, running.running.pid);
    return {
      port,
      group,
      async stop() {
        await running.stop();
        group.close();
      },
    };
  };
  const straight = await edge('direct', 'direct_delivery_hosts = *');
  const spooled = await edge('spooled', '');
  try {
    const a = figures();
    const b = figures();
    for (const one of [straight, spooled])
      await directRound({ ...o, sessions: 16 }, figures(), one, end, o.warmUp, perconn);
    for (let i = 0; i < o.rounds; i++) {
      await directRound(o, a, straight, end, o.messages, perconn);
      await directRound(o, b, spooled, end, o.messages, perconn);
    }
    printFigures(
      `direct hand-off into ${to === 'sink' ? 'a sink' : 'our store, fsync on'} over unix, ${o.size} octets, one recipient, ${o.sessions} session${o.sessions === 1 ? '' : 's'}, ` +
        `${perconn === 0 ? 'persistent connections' : 'a connection for each message'}, callout=no_cache`,
      ['direct', a],
      ['spooled', b],
      'final reply',
    );
  } finally {
    await straight.stop();
    await spooled.stop();
    await end.stop();
  }
}

interface Edge {
  readonly port: number;
  readonly group: CpuGroup;
  stop(): Promise<void>;
}

async function directRound(
  o: BenchOptions,
  into: Figures,
  edge: Edge,
  target: End,
  messages: number,
  perconn: number,
): Promise<void> {
  const arrived = await target.arrival(messages);
  const end = roundOf([edge.group, ...target.groups]);
  const sent = await runProgram<LoadReport>('load.ts', {
    target: `127.0.0.1:${edge.port}`,
    messages,
    sessions: o.sessions,
    perconn,
    size: o.size,
  });
  const { lastAtMs, cpuSeconds: sinkSeconds } = await arrived();
  const used = end(sent.clientCpuSeconds + sinkSeconds);
  if (sent.accepted !== messages) throw new Error(JSON.stringify(sent.faults));
  const perSecond = messages / ((lastAtMs - sent.beganAtMs) / 1000);
  addRound(into, sent.endOfDataMs, edge.group, { perSecond, count: messages, ...used });
}

function sinkEnd(folder: string): End {
  const socket = path.join(folder, 'sink.sock');
  return {
    socket,
    groups: [],
    arrival: (messages) => startSink(`unix:${socket}`, messages),
    stop: () => Promise.resolve(),
  };
}

async function storeEnd(folder: string): Promise<End> {
  const store = await startOurStore(path.join(folder, 'store'), userNames(1000));
  const group = cpuGroup('direct-store', store.process.running.pid);
  const saved = lineCounter(path.join(folder, 'store/log/mainlog'), /: saved mail to INBOX$/);
  // So that every mailbox is there before anything counts.
  await runProgram('load.ts', { target: `unix:${store.socket}`, proto: 'lmtp', messages: 20, rcpts: 50 });
  return {
    socket: store.socket,
    groups: [group],
    arrival(messages) {
      const goal = saved() + messages;
      return Promise.resolve(async () => {
        await until(
          () => saved() >= goal,
          () => `${messages} arrive: ${saved()} of ${goal}`,
          120_000,
        );
        return { lastAtMs: performance.timeOrigin + performance.now(), cpuSeconds: 0 };
      });
    },
    async stop() {
      await store.process.stop();
      group.close();
    },
  };
}
