/**
 * kill -9 of the whole program at random moments under load: the ledger of what was accepted at the SMTP side and what came
 * out at the other end balances. Moments are by the clock and by events (the 250 has just come, the store has just taken a
 * message and not answered yet), and also fall into start-up and into an orderly stop. MAILCHUTE_CRASH_SEED=N repeats a run,
 * as far as a run that hangs on time can be repeated.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { runnerDefaults } from '../../src/queue/runner.ts';
import { openLmdbSpool } from '../../src/spool/drivers/lmdb/lmdb-spool.ts';
import type { SpoolEntry } from '../../src/spool/spool.ts';
import { openAcl, pageMain, pageUnix, retrySection } from '../support/configurations.ts';
import { root } from '../support/mailchute.ts';
import { type Running, start, temporaryFolder, until } from '../support/process.ts';
import { Ledger, type LogText, type Moment, seeded, type Verdict } from './edge-ledger.ts';
import { startLoad } from './edge-load.ts';
import { startSink } from './edge-sink.ts';

type Below = (n: number) => number;
type Life = 'load' | 'start-up' | 'stop';

const connections = 9;
const goodUsers = Array.from({ length: 8 }, (_, i) => `good${i}`);

/** One edge, its folder and its lives. */
interface World {
  readonly t: TestContext;
  readonly folder: string;
  readonly port: number;
  readonly ledger: Ledger;
  readonly below: Below;
  /** By number of the life: it was killed. */
  readonly killed: boolean[];
  /** Octets of the main log at the end of each life. */
  readonly logEnds: number[];
  /** Told of each life before it begins, with its number. */
  readonly onLife: (era: number, running: Running) => void;
  /** Looks at what it left behind. */
  readonly onDeath: () => void;
  /** Undone in reverse order when the test is over. */
  readonly cleanup: (() => unknown)[];
}

test('edge with a store that survives: 64 kills, and the ledger balances', {
  timeout: 200_000,
}, async (t) => {
  // Few recipients a transaction, so that some messages need several and are recorded in parts.
  const world = await makeWorld(t, 'crash-edge', (folder) =>
    pageUnix({ port: 0, socket: path.join(folder, 'sink') }).replace('batch_max = 200', 'batch_max = 2'),
  );
  const sink = await startSink(path.join(world.folder, 'sink'), world.ledger, world.below);
  world.cleanup.push(() => sink.close());
  const chooseUsers = (below: Below): readonly string[] =>
    Array.from({ length: below(3) === 0 ? 1 + below(6) : 1 }, () => {
      const special = below(12);
      return special < 4
        ? (['bad', 'drop', 'late', 'grey'][special] ?? '')
        : (goodUsers[below(goodUsers.length)] ?? '');
    });
  const verdict = await live(
    { ...world, onLife: (era) => (sink.era = era) },
    { load: 40, 'start-up': 12, stop: 12 },
    ['dotted', 'accepted', 'taken', 'answered'],
    chooseUsers,
  );
  assert.ok(verdict.bounced > 50, 'there were bounces');
  // Else no kill fell between the store's answer and our record, and the rule was not put to the test.
  assert.ok(verdict.duplicates > 0, 'nothing was ever delivered twice');
});

test('edge and store in one process: 28 kills, and the Maildirs balance', { timeout: 200_000 }, async (t) => {
  const users = [...goodUsers, 'sender'];
  const world = await makeWorld(t, 'crash-both', (folder) => {
    fs.writeFileSync(path.join(folder, 'users'), users.map((user) => `${user}:::::::\n`).join(''));
    const socket = path.join(folder, 'lmtp');
    return `${pageUnix({ port: 0, socket })}
begin directories
users:
        driver = passwd_file
        file = ${folder}/users
        username_format = %Ln

begin stores
mailboxes:
        driver = maildir
        sockets = ${socket}
        directories = users
        maildir = ${folder}/mail/$local_part_data
        recipient_delimiter = +
`;
  });
  const eras = new Map<number, number>();
  const seen = new Set<string>();
  const readMail = (): void => {
    for (const user of users) {
      const fresh = path.join(world.folder, 'mail', user, 'new');
      for (const name of fs.existsSync(fresh) ? fs.readdirSync(fresh) : []) {
        if (seen.size === seen.add(`${user}/${name}`).size) continue;
        const text = fs.readFileSync(path.join(fresh, name), 'latin1');
        const [, pid, stored, virtual] = /P(\d+)\..*,S=(\d+),W=(\d+)$/.exec(name) ?? [];
        const lines = text.split('\n').length - 1;
        if (Number(stored) !== text.length || Number(virtual) !== text.length + lines)
          world.ledger.faults.push(`${user}/new/${name} has ${text.length} octets and ${lines} lines`);
        world.ledger.arrived([user], text.replaceAll('\n', '\r\n'), eras.get(Number(pid)) ?? -1);
      }
    }
  };
  const chooseUsers = (below: Below): readonly string[] =>
    Array.from({ length: below(3) === 0 ? 1 + below(6) : 1 }, () =>
      below(10) === 0 ? 'bad' : (goodUsers[below(goodUsers.length)] ?? ''),
    );
  const verdict = await live(
    { ...world, onLife: (era, { pid }) => eras.set(pid, era), onDeath: readMail },
    { load: 18, 'start-up': 5, stop: 5 },
    ['dotted', 'accepted'],
    chooseUsers,
  );
  assert.ok(verdict.bounced > 20, 'there were bounces');
});

async function makeWorld(t: TestContext, name: string, sections: (folder: string) => string): Promise<World> {
  const seed = Number(process.env['MAILCHUTE_CRASH_SEED'] ?? Math.floor(Math.random() * 1_000_000));
  t.diagnostic(`MAILCHUTE_CRASH_SEED=${seed}`);
  const temporary = temporaryFolder(name);
  const folder = temporary.path;
  const cleanup: (() => unknown)[] = [() => temporary.remove()];
  t.after(async () => {
    for (const undo of cleanup.toReversed()) await undo();
  });
  const port = await quietPort();
  fs.writeFileSync(
    path.join(folder, 'mailchute.conf'),
    `primary_hostname = mx.example.test
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/%slog
pid_file_path = ${folder}/mailchute.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${port}
${pageMain}
${openAcl}
${sections(folder)}
${retrySection}`,
  );
  return {
    t,
    folder,
    port,
    ledger: new Ledger(),
    below: seeded(seed),
    killed: [],
    logEnds: [],
    onLife: () => undefined,
    onDeath: () => undefined,
    cleanup,
  };
}

/** Lives and dies as often as asked for, in random order, then drains the queue and gives the last balance. */
async function live(
  world: World,
  lives: Readonly<Record<Life, number>>,
  moments: readonly Moment[],
  chooseUsers: (below: Below) => readonly string[],
): Promise<Verdict> {
  const { t, below, ledger } = world;
  const load = startLoad({ port: world.port, connections, ledger, below, chooseUsers });
  world.cleanup.push(() => load.stop());
  const plan = (['load', 'start-up', 'stop'] as const).flatMap((kind) =>
    Array.from({ length: lives[kind] }, () => kind),
  );
  for (let round = 0; plan.length > 0; round++) {
    const kind = plan.splice(below(plan.length), 1)[0] ?? 'load';
    await oneLife(world, kind, moments);
    if (ledger.faults.length > 0) break;
    if (round % 6 === 5) await balance(world, `after life ${round} (${kind})`);
  }
  // The last life: it ends the queue.
  const last = await beginLife(world);
  await last.printed(/^ready$/m);
  await load.stop();
  const spool = openLmdbSpool({ directory: path.join(world.folder, 'spool/spool') });
  try {
    await until(
      async () => (await entriesOf(spool)).length === 0,
      `the queue is empty; log:\n${tail(world)}`,
    );
  } finally {
    await spool.close();
  }
  await last.stop();
  assert.equal(await last.ended, 0, last.output());
  endLife(world, false);
  const verdict = await balance(world, 'at the end');
  t.diagnostic(
    `${ledger.messages.length} messages begun; ${JSON.stringify({ ...verdict, faults: undefined })}`,
  );
  assert.equal(verdict.accepted, verdict.delivered + verdict.bounced, 'accepted = delivered + bounced');
  assert.equal(verdict.queued, 0);
  assert.ok(verdict.accepted > 300, `only ${verdict.accepted} recipients were accepted`);
  assert.ok(verdict.unansweredKept > 0, 'no kill fell between commit and answer');
  assert.deepEqual(
    fs.readdirSync(path.join(world.folder, 'spool/spool/body')),
    [],
    'no content file is left',
  );
  assert.equal(fs.existsSync(path.join(world.folder, 'log/paniclog')), false, tail(world, 'paniclog'));
  return verdict;
}

/** Starts on what the life before left behind. It must succeed at the first try. */
async function beginLife(world: World): Promise<Running> {
  const running = start(path.join(root, 'bin/exim'), [
    '-C',
    path.join(world.folder, 'mailchute.conf'),
    '-bdf',
    '-q1s',
  ]);
  world.onLife(world.killed.length, running);
  world.cleanup.push(() => running.kill('SIGKILL'));
  return running;
}

function endLife(world: World, killed: boolean): void {
  world.killed.push(killed);
  const log = path.join(world.folder, 'log/mainlog');
  world.logEnds.push(fs.existsSync(log) ? fs.statSync(log).size : 0);
  world.onDeath();
}

async function oneLife(world: World, kind: Life, moments: readonly Moment[]): Promise<void> {
  const { below, ledger } = world;
  const running = await beginLife(world);
  if (kind === 'start-up') await Promise.race([running.printed(/^ready$/m), pause(below(200))]);
  else {
    await running.printed(/^ready$/m);
    const moment = below(2) === 0 ? moments[below(moments.length)] : undefined;
    if (kind === 'load' && moment !== undefined) {
      await new Promise<void>((resolve) => {
        // By the clock where the event does not come so often.
        const timer = setTimeout(resolve, 400);
        ledger.trap(moment, 1 + below(300), () => {
          running.kill('SIGKILL');
          clearTimeout(timer);
          resolve();
        });
      });
      ledger.noTrap();
    } else await pause(50 + below(350));
    if (kind === 'stop') {
      running.kill('SIGTERM');
      await Promise.race([running.ended, pause(below(60))]);
    }
  }
  running.kill('SIGKILL');
  const ended = await running.ended;
  const killed = ended === 'SIGKILL';
  assert.ok(killed || (kind === 'stop' && ended === 0), `the edge ended with ${ended}:\n${running.output()}`);
  assert.match(running.output(), /^(?:ready\n)?$/);
  endLife(world, killed);
}

/** Compares ledger, log and spool while nothing runs. */
async function balance(world: World, when: string): Promise<Verdict> {
  const log = path.join(world.folder, 'log/mainlog');
  const logText: LogText = { text: fs.readFileSync(log, 'latin1'), ends: world.logEnds };
  const corrupt: string[] = [];
  const spool = openLmdbSpool({
    directory: path.join(world.folder, 'spool/spool'),
    onCorrupt: (id, error) => corrupt.push(`${id}: ${error.message}`),
  });
  const entries = await entriesOf(spool);
  await spool.close();
  const verdict = world.ledger.check(logText, entries, world.killed, runnerDefaults.maxMessages);
  assert.deepEqual(corrupt, [], when);
  assert.deepEqual(verdict.faults.slice(0, 20), [], `${verdict.faults.length} faults ${when}`);
  assert.equal(verdict.accepted, verdict.delivered + verdict.bounced + verdict.queued, when);
  return verdict;
}

async function entriesOf(spool: ReturnType<typeof openLmdbSpool>): Promise<SpoolEntry[]> {
  const entries: SpoolEntry[] = [];
  for await (const entry of spool.inspect({})) entries.push(entry);
  return entries;
}

function tail(world: World, name = 'mainlog'): string {
  const file = path.join(world.folder, 'log', name);
  return fs.existsSync(file) ? fs.readFileSync(file, 'latin1').slice(-3000) : '';
}

/**
 * A free port below those that the system gives to clients: while the edge is down, a client that tries again and again
 * could otherwise be given the port itself, connect to itself and keep it.
 */
async function quietPort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.on('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
