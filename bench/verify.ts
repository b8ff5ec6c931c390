// Recipient verification by callout beside the real Exim, both asking the same real Dovecot: four connections, fifty RCPTs a
// transaction in one write, or a connection for each.
import path from 'node:path';
import { startDovecot } from '../test/support/dovecot.ts';
import { startExim } from '../test/support/exim.ts';
import { startMailchute } from '../test/support/mailchute.ts';
import { freePort } from '../test/support/process.ts';
import {
  type BenchOptions,
  type Comparison,
  type Figures,
  addRound,
  benchFolder,
  figures,
  printFigures,
  roundOf,
  runProgram,
} from './support/bench.ts';
import { cpuGroup, type CpuGroup } from './support/cpu-group.ts';
import { eximMain, relayRest, verifyingAcl } from './support/edges.ts';
import { tunedDovecot, userNames } from './store.ts';

export const verifyComparisons: readonly Comparison[] = [
  { name: 'verify-nocache', run: (o) => verify(o, nocache) },
  { name: 'verify-cold', run: (o) => verify(o, cold) },
  { name: 'verify-warm', run: (o) => verify(o, warm) },
  { name: 'verify-single', run: (o) => verify(o, single) },
  { name: 'verify-hurry', run: (o) => verify(o, hurry) },
];

interface Kind {
  readonly title: string;
  readonly callout: string;
  /** The domain that a round asks about: a new one is not in the cache. */
  readonly domain: (round: number) => string;
  /** Questions of a round, ours and the peer's. */
  readonly questions: (o: BenchOptions) => readonly [number, number];
  readonly words?: Readonly<Record<string, string | number | true>>;
  /** Asks everything once beforehand. */
  readonly fill?: true;
}

const quarter = (o: BenchOptions): readonly [number, number] => [o.questions, Math.ceil(o.questions / 4)];
const nocache: Kind = {
  title: 'no_cache',
  callout: 'callout=no_cache',
  domain: () => 'example.test',
  questions: quarter,
};
const cold: Kind = {
  title: 'cold cache',
  callout: 'callout',
  domain: (round) => `r${round}.example.test`,
  questions: quarter,
};
const warm: Kind = {
  title: 'warm cache',
  callout: 'callout',
  domain: () => 'example.test',
  questions: (o) => [o.questions * 4, o.questions * 2],
  fill: true,
};
/**
 * A connection for each question needs a port for each, which Linux keeps for a minute. The client waits for 221 before it closes,
 * as RFC 5321 §4.1.1.10 wants and mail servers do: Exim sends it when the client closes, or after 200 ms.
 */
const single: Kind = {
  ...nocache,
  title: 'no_cache, one recipient a connection, the client waits for 221',
  questions: (o) => [Math.ceil(o.questions / 4), Math.ceil(o.questions / 100)],
  words: { single: true },
};
/** The client closes its side together with QUIT and waits for nothing. */
const hurry: Kind = {
  ...single,
  title: 'no_cache, one recipient a connection, the client does not wait for 221',
  questions: (o) => [Math.ceil(o.questions / 4), Math.ceil(o.questions / 20)],
  words: { single: true, hurry: true },
};

interface RcptReport {
  readonly answered: number;
  readonly accepted: number;
  readonly recipientsPerSecond: number;
  readonly clientCpuSeconds: number;
  readonly batchMs: { readonly p50: number; readonly p99: number };
  readonly faults: Readonly<Record<string, number>>;
}

async function verify(o: BenchOptions, kind: Kind): Promise<void> {
  const folder = benchFolder();
  const [ourCount, peerCount] = kind.questions(o);
  const users = Math.max(o.questions, 1000);
  const dovecot = await startDovecot(path.join(folder, 'dovecot'), {
    users: userNames(users),
    extra: tunedDovecot,
  });
  const hop = { port: dovecot.lmtpPort, socket: dovecot.lmtpSocket };
  const main = `domainlist local_domains = example.test : *.example.test
acl_smtp_rcpt = acl_check_rcpt
smtp_accept_max = 1100
smtp_accept_max_per_connection = 1000000
recipients_max = 100000`;
  const rest = relayRest('tcp', hop).replace(
    /^acl_check_rcpt:\n/m,
    `acl_check_rcpt:\n${verifyingAcl(kind.callout)}`,
  );
  const exim = await startExim(path.join(folder, 'exim'), `${main}\n${eximMain}`, rest);
  const port = await freePort();
  const ours = await startMailchute(path.join(folder, 'ours'), `${main}\ndaemon_smtp_ports = ${port}`, rest);
  const groups = {
    dovecot: cpuGroup('verify-dovecot', dovecot.pid),
    exim: cpuGroup('verify-exim', exim.pid),
    ours: cpuGroup('verify-ours', ours.running.pid),
  };
  let rounds = 0;
  const ask = async (into: Figures, to: number, rcpts: number, group: CpuGroup): Promise<void> => {
    const words = { target: `127.0.0.1:${to}`, rcpts, users, domain: kind.domain(rounds++), ...kind.words };
    const end = roundOf([group, groups.dovecot]);
    const report = await runProgram<RcptReport>('rcpt.ts', words);
    const used = end(report.clientCpuSeconds);
    if (report.accepted !== rcpts) throw new Error(JSON.stringify(report));
    addRound(into, report.batchMs, group, { perSecond: report.recipientsPerSecond, count: rcpts, ...used });
  };
  try {
    const a = figures();
    const b = figures();
    if (kind.fill) await ask(figures(), port, users, groups.ours);
    await ask(figures(), exim.port, kind.fill ? users : Math.ceil(peerCount / 4), groups.exim);
    await ask(figures(), port, kind.words === undefined ? o.warmUp : ourCount, groups.ours);
    for (let i = 0; i < o.rounds; i++) {
      await ask(a, port, ourCount, groups.ours);
      await ask(b, exim.port, peerCount, groups.exim);
    }
    printFigures(
      `RCPT verification by callout to Dovecot, ${kind.title}, 4 connections${kind.words === undefined ? ', 50 RCPTs a transaction' : ''}`,
      ['mailchute', a],
      ['exim', b],
      'replies',
    );
  } finally {
    await ours.stop();
    await exim.stop();
    await dovecot.stop();
    for (const group of Object.values(groups)) group.close();
  }
}
