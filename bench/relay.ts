// The relay path beside the real Exim: from the first connect of the load to the last final reply of an LMTP sink.
import path from 'node:path';
import { startExim } from '../test/support/exim.ts';
import { startMailchute } from '../test/support/mailchute.ts';
import { freePort } from '../test/support/process.ts';
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
import { startSink } from './support/sink-run.ts';
import { eximMain, relayMain, relayRest } from './support/edges.ts';

export const relayComparisons: readonly Comparison[] = [
  { name: 'relay-unix-0', run: (o) => relay(o, 'unix', 0) },
  { name: 'relay-tcp-0', run: (o) => relay(o, 'tcp', 0) },
  { name: 'relay-unix-1', run: (o) => relay(o, 'unix', 1) },
];

async function relay(o: BenchOptions, link: 'tcp' | 'unix', perconn: number): Promise<void> {
  const folder = benchFolder();
  const hop = { port: await freePort(), socket: path.join(folder, 'sink.sock') };
  const listen = link === 'tcp' ? `127.0.0.1:${hop.port}` : `unix:${hop.socket}`;
  const port = await freePort();
  const exim = await startExim(
    path.join(folder, 'exim'),
    `${relayMain}\n${eximMain}`,
    relayRest(link, hop, link === 'unix' ? '  user = Debian-exim' : ''),
  );
  const ours = await startMailchute(
    path.join(folder, 'ours'),
    `${relayMain}\ndaemon_smtp_ports = ${port}`,
    relayRest(link, hop),
  );
  const eximGroup = cpuGroup(`exim-${link}-${perconn}`, exim.pid);
  const ourGroup = cpuGroup(`ours-${link}-${perconn}`, ours.running.pid);
  try {
    const a = figures();
    const b = figures();
    const one = (into: Figures, to: number, messages: number, group: CpuGroup): Promise<void> =>
      relayRound(o, into, `127.0.0.1:${to}`, listen, messages, perconn, group);
    await one(figures(), port, o.warmUp, ourGroup);
    for (let i = 0; i < o.rounds; i++) {
      await one(a, port, o.messages, ourGroup);
      await one(b, exim.port, o.peerMessages, eximGroup);
    }
    const how =
      perconn === 0 ? 'persistent connections' : `${perconn} message${perconn === 1 ? '' : 's'} a connection`;
    printFigures(
      `relay over ${link}, ${o.size} octets, one recipient, ${o.sessions} sessions, ${how}${eximGroup.exact ? '' : ' (CPU by process tree)'}`,
      ['mailchute', a],
      ['exim', b],
      'end of data',
    );
  } finally {
    await ours.stop();
    await exim.stop();
    eximGroup.close();
    ourGroup.close();
  }
}

async function relayRound(
  o: BenchOptions,
  into: Figures,
  target: string,
  listen: string,
  messages: number,
  perconn: number,
  group: CpuGroup,
): Promise<void> {
  const arrived = await startSink(listen, messages);
  const end = roundOf([group]);
  const sent = await runProgram<LoadReport>('load.ts', {
    target,
    messages,
    sessions: o.sessions,
    perconn,
    size: o.size,
  });
  const got = await arrived();
  const used = end(sent.clientCpuSeconds + got.cpuSeconds);
  const perSecond = messages / ((got.lastAtMs - sent.beganAtMs) / 1000);
  addRound(into, sent.endOfDataMs, group, { perSecond, count: messages, ...used });
}
