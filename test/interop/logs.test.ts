// One mail history through our edge and through the real Exim, with the same configuration, into the same store: the
// main logs say the same, and Debian's exigrep and eximstats read ours as they read Exim's.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { programName } from '../../src/app/version.ts';
import { storesSection } from '../support/configurations.ts';
import { startExim, type Exim } from '../support/exim.ts';
import { logDifferences, normalised } from '../support/log-differences.ts';
import {
  history,
  historyMain,
  historyRest,
  linesOf,
  type LoggedEdge,
  type World,
} from '../support/log-history.ts';
import { startMailchute, type Mailchute } from '../support/mailchute.ts';
import { findProgram, needsRoot } from '../support/peers.ts';
import { freePort, runToEnd, temporaryFolder, until } from '../support/process.ts';
import { ownedByMail, writeUsers } from '../support/store.ts';

describe('main log', { skip: needsRoot('exim4', 'exigrep', 'eximstats', 'swaks') }, () => {
  const folder = temporaryFolder('logs');
  const oursFile = path.join(folder.path, 'ours.log');
  const eximFile = path.join(folder.path, 'exim.log');
  let store: Mailchute;
  let exim: Exim;
  let mine: Mailchute;
  let ours: LoggedEdge;
  let world: World;
  let version = '';

  before(async () => {
    chmodSync(folder.path, 0o755);
    const end = path.join(folder.path, 'store');
    mkdirSync(path.join(end, 'mail'), { recursive: true });
    writeUsers(end, ['alice', 'bob', 'carol', 'dave']);
    const address = { port: await freePort(), socket: path.join(end, 'lmtp') };
    store = await startMailchute(end, '', storesSection(address, end, ownedByMail));
    world = {
      folder: path.join(folder.path, 'letters'),
      mail: path.join(end, 'mail'),
      store: address,
      latePort: await freePort(),
      lateSocket: path.join(folder.path, 'late'),
    };
    exim = await startExim(path.join(folder.path, 'exim'), historyMain, historyRest(world));
    version = /^Exim version (\S+)/m.exec(await exim.run('-bV'))?.[1] ?? '';
    const port = await freePort();
    mine = await startMailchute(
      path.join(folder.path, 'ours'),
      `${historyMain}\ndaemon_smtp_ports = ${port}`,
      historyRest(world),
    );
    ours = { port, mainLog: () => mine.mainLog() };
    await until(
      () => [exim, ours].every((e) => e.mainLog().includes('daemon started')),
      'both have logged that they started',
    );
  });
  after(async () => {
    await exim?.stop();
    await mine?.stop();
    await store?.stop();
    folder.remove();
  });

  test('every step of the history leaves the same lines, but for the differences that are meant', async (t) => {
    const differences = logDifferences(programName, version);
    const used = new Set<string>();
    for (const step of history)
      await t.test(step.name, async () => {
        const [theirs = [], own = []] = await linesOf(step, [exim, ours], world);
        const expected = normalised(theirs, 'exim', differences, used);
        assert.ok(expected.length > 0, 'the step leaves no line');
        const actual = normalised(own, 'ours', differences, used);
        if (step.anyOrder === true) assert.deepEqual(actual.toSorted(), expected.toSorted());
        else assert.deepEqual(actual, expected);
      });
    const stale = differences.filter((d) => !used.has(d.name)).map((d) => d.name);
    assert.deepEqual(stale, [], 'differences that are none any more');
    writeFileSync(oursFile, mine.mainLog(), 'latin1');
    // eximstats takes Exim's line for each host that refused a connection for a rejection.
    const refusals = /^\S+ \S+ \S{16} H=\S+ \[\S+\] Connection refused\n/gm;
    writeFileSync(eximFile, exim.mainLog().replace(refusals, ''), 'latin1');
  });

  test("ids have Exim's form, never repeat, and sort in the order of their arrival lines", () => {
    const ids = arrivals(mine.mainLog());
    assert.equal(ids.length, received);
    for (const id of ids) assert.match(id, /^[0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}$/);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(ids, ids.toSorted());
    const now = Date.now() / 1000;
    for (const id of ids) {
      const second = id
        .slice(0, 6)
        .split('')
        .reduce((n, c) => n * 62 + base62.indexOf(c), 0);
      assert.ok(second <= now && second > now - 600, `${id} says when it was made`);
    }
  });

  describe('exigrep', () => {
    for (const [pattern, messages, unfinished] of [
      ['dave@open', 1, 0],
      ['carol', 2, 0],
      ['nobody@open', 3, 1],
      ['rejected RCPT', 0, 0],
      ['nobody@elsewhere', 0, 0],
    ] as const)
      test(`by ${pattern}`, async () => {
        const own = await exigrep(pattern, oursFile);
        assert.equal(arrivals(own).length, messages, own);
        assert.equal(own.match(/has not completed/g)?.length ?? 0, unfinished);
        const theirs = await exigrep(pattern, eximFile);
        assert.deepEqual(shape(own), shape(theirs));
      });

    test('by id: the message with all its lines, and the bounce about it', async () => {
      const log = mine.mainLog();
      const id = /^\S+ \S+ (\S+) \*\* nobody@open/m.exec(log)?.[1] ?? '';
      const own = await exigrep(id, oursFile);
      const lines = log.split('\n').filter((l) => l.includes(` ${id} `));
      for (const line of lines) assert.ok(own.includes(line), line);
      const [first, bounce, more] = arrivals(own);
      assert.equal(first, id);
      assert.equal(more, undefined);
      assert.match(own, new RegExp(`${bounce} <= <> R=${id} P=local`));
      assert.match(own, new RegExp(`${bounce} => alice@example\\.test`));
    });
  });

  test('eximstats counts what happened, in every table as in the log of Exim', async () => {
    const own = await eximstats(oursFile);
    const [, total = ''] = /Grand total summary\n-+\n([\s\S]*?)\n\n/.exec(own) ?? [];
    const row = (name: string): string[] =>
      new RegExp(`^  ${name} (.*)$`, 'm').exec(total)?.[1]?.trim().split(/\s+/).slice(1) ?? [];
    // Messages, sending hosts, then messages with an address delayed and failed, each with its share.
    assert.deepEqual(
      row('Received').filter((w) => !w.includes('%')),
      [`${received}`, '3', '3', '4'],
    );
    // Messages, addresses, hosts.
    assert.deepEqual(row('Delivered'), ['18', '22', '2']);
    assert.match(total, /^ {2}Rejects +4 +1$/m);
    assert.deepEqual(table(own, 'Deliveries by transport').map(nameAndCount), [
      'late_tcp 1',
      'late_unix 1',
      'lmtp_tcp 13',
      'lmtp_unix 3',
    ]);
    assert.deepEqual(
      table(own, 'Top 50 host destinations by message count').map((r) =>
        r.replace(/^(\d+) +(\d+) .* (\S+)$/, '$3 $1 $2'),
      ),
      ['127.0.0.1 14 16', 'x 4 6'],
    );
    assert.match(own, /^Errors encountered: 4$/m);
    assert.match(own, /^ {4}2 nobody@open\.test R=tcp T=lmtp_tcp H=127\.0\.0\.1 \[127\.0\.0\.1\]:$/m);
    assert.deepEqual(withoutVolumes(own), withoutVolumes(await eximstats(eximFile)));
  });
});

/** Messages of the history, bounces included. */
const received = history.reduce((n, step) => n + step.completed + (step.frozen ?? 0), 0);

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Ids of the `<=` lines, in order. */
function arrivals(log: string): string[] {
  return [...log.matchAll(/^\S+ \S+ (\S+) <= /gm)].map((m) => m[1] ?? '');
}

async function exigrep(pattern: string, file: string): Promise<string> {
  const { code, output } = await runToEnd(findProgram('exigrep') ?? 'exigrep', [pattern, file]);
  assert.equal(code, 0, output);
  return output;
}

/** What exigrep found, as the kinds of line it has, without the lines that only Exim writes. */
function shape(found: string): string[] {
  return found
    .split('\n')
    .filter((l) => !/[Rr]etry time not|Message is frozen|queue run|is locked/.test(l))
    .map(
      (l) =>
        / (<=|=>|->|\*\*|==|Completed|rejected|Frozen)( |$)/.exec(l)?.[1] ??
        l.replace(/\S{16} has/, 'ID has'),
    );
}

async function eximstats(file: string): Promise<string> {
  const { code, output } = await runToEnd(findProgram('eximstats') ?? 'eximstats', ['-h0', file]);
  assert.equal(code, 0, output);
  return output;
}

/** The rows of a table, without its head. */
function table(text: string, title: string): string[] {
  const [, body = ''] = new RegExp(`^${title}\\n-+\\n.*\\n([\\s\\S]*?)\\n\\n`, 'm').exec(text) ?? [];
  return body.split('\n').map((l) => l.trim());
}

function nameAndCount(row: string): string {
  const words = row.split(/\s+/);
  return `${words[0]} ${words.at(-1)}`;
}

/** All tables without octets, the time of the report, and the local user who hands in Exim's bounces. */
function withoutVolumes(text: string): string[] {
  return text
    .replace(/^Top 50 local senders by [\s\S]*?\n\n/gm, '')
    .replace(/^Exim statistics from .*\n/gm, '')
    .replace(/^( {2}\S+ +)\d\S*( +\d+)$/gm, '$1$2')
    .replace(/^((?: +\d+){1,2})(?: +\d+){2}( {3}\S.*)$/gm, '$1$2')
    .split('\n')
    .map((l) => l.replace(/ +/g, ' '));
}
