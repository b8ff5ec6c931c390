// Address verification: the same configuration, the same dialogues and the same servers for the real Exim and for ours.
// Replies, main logs and what the servers were asked must be the same, up to the listed differences.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { temporaryFolder, until } from '../support/process.ts';
import { needs } from '../support/peers.ts';
import {
  type Observed,
  startVerificationWorld,
  type VerificationWorld,
} from '../support/verification-world.ts';
import { aclsOf, cases, commandsOf, type VerificationCase } from './verification-cases.ts';
import { differences } from './verification-differences.ts';

const used = new Set<string>();

/** Ours, with every line that a listed difference explains replaced by Exim's. */
function explained(exim: readonly string[], ours: readonly string[]): string[] {
  const kept = ours.filter((line) => {
    const extra = differences.find((d) => d.extra?.test(line));
    if (extra !== undefined) used.add(extra.name);
    return extra === undefined;
  });
  return kept.map((line, i) => {
    const theirs = exim[i];
    if (theirs === undefined || theirs === line) return line;
    const found = differences.find((d) => d.explains?.(theirs, line));
    if (found !== undefined) used.add(found.name);
    return found === undefined ? line : theirs;
  });
}

/**
 * Both ask the same things first in the same order. Ours may ask less often: about a sender once a message, and about a
 * postmaster only where the address itself is good. Once more than Exim it asks only when a connection that it had kept is
 * closed.
 */
function checkQuestions(exim: Observed, ours: Observed, { fewer = [], anyOrder }: VerificationCase): void {
  const wanted = [...new Set(exim.asked)].filter(
    (q) => !fewer.some((word) => q.startsWith(`RCPT TO:<${word}@`)),
  );
  const order = (all: readonly string[]): readonly string[] => (anyOrder === true ? all.toSorted() : all);
  assert.deepEqual(order([...new Set(ours.asked)]), order(wanted));
  for (const question of wanted) {
    const count = (all: readonly string[]): number => all.filter((q) => q === question).length;
    const most = count(exim.asked) * (question.startsWith('RCPT TO:<bye@') ? 2 : 1);
    assert.ok(
      count(ours.asked) <= most,
      `${question}: ${count(ours.asked)} times, Exim ${count(exim.asked)}`,
    );
  }
}

suite('verification, beside the real Exim', { skip: needs('exim4') }, () => {
  const folder = temporaryFolder('verification');
  let world: VerificationWorld;
  before(async () => {
    world = await startVerificationWorld(folder.path, aclsOf(cases));
  });
  after(async () => {
    await world[Symbol.asyncDispose]();
    folder.remove();
  });
  for (const [i, c] of cases.entries())
    test(`${i} ${c.name}`, async () => {
      const commands = commandsOf(c, i);
      const [exim, ours] = await Promise.all([
        world.talk('exim', `c${i}`, commands),
        world.talk('ours', `c${i}`, commands),
      ]);
      assert.ok(exim.replies.length > 0);
      assert.deepEqual(explained(exim.replies, ours.replies), exim.replies);
      assert.deepEqual(explained(exim.log, ours.log), exim.log);
      checkQuestions(exim, ours, c);
    });
  test('every listed difference is there', () => {
    assert.deepEqual(
      differences.map((d) => d.name).filter((name) => !used.has(name)),
      [],
    );
  });
});

test('what is remembered is forgotten when its time is up', { skip: needs('exim4') }, async (t) => {
  const folder = temporaryFolder('verification-expiry');
  t.after(() => folder.remove());
  const all: readonly VerificationCase[] = [
    {
      name: 'short',
      rcpt: 'require verify = recipient/callout=random,postmaster',
      server: 'usual',
      to: ['ok', 'bad', 'ok', 'bad'],
    },
    {
      name: 'short, postmaster',
      rcpt: 'require verify = recipient/callout=postmaster',
      server: 'nobody',
      to: ['ok', 'ok'],
    },
    {
      name: 'short, random',
      rcpt: 'require verify = recipient/callout=random',
      server: 'all',
      to: ['ok', 'bad'],
    },
    {
      name: 'short, bounces',
      rcpt: 'require verify = recipient/callout',
      server: 'nobounce',
      to: ['ok', 'ok'],
    },
  ];
  const options = ['positive', 'negative', 'domain_positive', 'domain_negative'];
  await using world = await startVerificationWorld(
    folder.path,
    aclsOf(all),
    options.map((o) => `callout_${o}_expire = 1s`).join('\n'),
  );
  const ask = async (edge: 'exim' | 'ours'): Promise<string[][]> => {
    const asked: string[][] = [];
    for (const [i, c] of all.entries())
      asked.push([...new Set((await world.talk(edge, `c${i}`, commandsOf(c, i))).asked)]);
    return asked;
  };
  const first = [await ask('exim'), await ask('ours')];
  assert.deepEqual(first[1]?.slice(1), first[0]?.slice(1));
  // Exim looks at whole seconds.
  const end = Date.now() + 2500;
  await until(() => Date.now() > end, 'all of it has expired');
  assert.deepEqual([await ask('exim'), await ask('ours')], first);
});
