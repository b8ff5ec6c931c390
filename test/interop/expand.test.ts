// Differential test: every line of expansions.txt and expand-grid.ts, and with a message those of expansions-message.txt,
// is given to `exim4 -be` and to our `exim -be`. The answers are the same but for the differences of expand-differences.ts,
// which are under one in a hundred. A difference that is gone must leave the list.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { findProgram, needs } from '../support/peers.ts';
import { expansionDifferences, type ExpansionDifference } from './expand-differences.ts';
import { gridLines } from './expand-grid.ts';
import { makeFiles } from './expand-world.ts';

const ours = path.join(import.meta.dirname, '../../bin/exim');

let folder = '';
before(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-expand-'));
  makeFiles(folder);
});
after(() => rmSync(folder, { recursive: true, force: true }));

function linesOf(file: string): string[] {
  const text = readFileSync(path.join(import.meta.dirname, file), 'latin1');
  return text.split('\n').filter((l) => l !== '' && !l.startsWith('#'));
}

/** One answer a line; a marker line between two answers tells where each ends, for answers may hold newlines. */
function ask(program: string, mode: readonly string[], lines: readonly string[]): string[] {
  const questions = lines.map((l) => l.replaceAll('@DIR@', folder));
  const run = spawnSync(program, ['-C', path.join(folder, 'main.conf'), ...mode], {
    input: Buffer.from(questions.map((q, i) => `${q}\n@@${i}@@\n`).join(''), 'latin1'),
    encoding: 'latin1',
    env: { ...process.env, HOME_OF_EXPAND_TEST: 'home', TZ: 'UTC' },
    timeout: 100_000,
    maxBuffer: 1 << 26,
  });
  let rest = run.stdout;
  return questions.map((question, i) => {
    const marker = `> @@${i}@@\n`;
    const end = rest.indexOf(marker);
    assert.notEqual(end, -1, `${program} gave no answer to: ${question}\n${run.stderr}`);
    const answer = rest.slice(rest.startsWith('> ') ? 2 : 0, end).replace(/\n$/, '');
    rest = rest.slice(end + marker.length);
    return answer.replaceAll(folder, '@DIR@');
  });
}

function compare(
  t: TestContext,
  mode: readonly string[],
  lines: readonly string[],
  known: readonly ExpansionDifference[],
): void {
  const theirs = ask(findProgram('exim4') ?? 'exim4', mode, lines);
  const mine = ask(ours, mode, lines);
  const accepted = new Map(known.map((d) => [d.expression, d]));
  const unlike: string[] = [];
  const used = new Set<string>();
  for (const [i, line] of lines.entries()) {
    const [a = '', b = ''] = [theirs[i], mine[i]];
    // The readers of both drop white space around a line.
    if (a.trim() === b.trim()) continue;
    const difference = accepted.get(line);
    if (difference?.theirs === a && difference.ours === b) used.add(line);
    else unlike.push(`${line}\n  exim4: ${JSON.stringify(a)}\n  ours:  ${JSON.stringify(b)}`);
  }
  const share = (100 * (lines.length - used.size - unlike.length)) / lines.length;
  t.diagnostic(`${lines.length} lines, ${share.toFixed(2)} % equal, ${used.size} listed differences`);
  assert.equal(unlike.join('\n'), '');
  const gone = known.filter((d) => !used.has(d.expression)).map((d) => d.expression);
  assert.deepEqual(gone, [], 'these lines no longer differ so: take them off the list or correct it');
  assert.ok(share >= 99, 'more than one line in a hundred differs');
}

const skip = needs('exim4');

test('answers of exim4 -be and ours are the same', { skip }, (t) => {
  const lines = [...new Set([...gridLines(), ...linesOf('expansions.txt')])];
  assert.ok(lines.length >= 1500);
  compare(
    t,
    ['-be'],
    lines,
    expansionDifferences.filter((d) => d.withMessage !== true),
  );
});

test('with a message too', { skip }, (t) => {
  const known = expansionDifferences.filter((d) => d.withMessage === true);
  compare(t, ['-bem', path.join(folder, 'message')], linesOf('expansions-message.txt'), known);
});
