// Differential test: every line of expansions.txt is given to the real `exim4 -be` and to Mailchute, and the answers are
// the same, but for the differences listed here with their reasons. A difference that is gone must leave the list.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { expandText } from '../../src/expand/expand.ts';
import { findProgram, needs } from '../support/peers.ts';
import { accepted } from './expand-differences.ts';
import { makeFiles, makeScope } from './expand-world.ts';

let folder = '';
before(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-expand-'));
  makeFiles(folder);
});
after(() => rmSync(folder, { recursive: true, force: true }));

const source = readFileSync(path.join(import.meta.dirname, 'expansions.txt'), 'latin1');
const lines = source.split('\n').filter((l) => l !== '' && !l.startsWith('#'));

/** One answer a line; a marker line between two answers tells where each ends, for answers may hold newlines. */
function askExim(questions: readonly string[]): string[] {
  const input = questions.map((q, i) => `${q}\n@@${i}@@\n`).join('');
  const run = spawnSync(findProgram('exim4') ?? 'exim4', ['-C', path.join(folder, 'exim.conf'), '-be'], {
    input: Buffer.from(input, 'latin1'),
    encoding: 'latin1',
    env: { ...process.env, HOME_OF_EXPAND_TEST: 'home', TZ: 'UTC' },
    timeout: 60_000,
    maxBuffer: 1 << 26,
  });
  const answers: string[] = [];
  let rest = run.stdout;
  questions.forEach((question, i) => {
    const marker = `> @@${i}@@\n`;
    const end = rest.indexOf(marker);
    assert.notEqual(end, -1, `exim4 -be gave no answer to: ${question}\n${run.stderr}`);
    answers.push(rest.slice(rest.startsWith('> ') ? 2 : 0, end).replace(/\n$/, ''));
    rest = rest.slice(end + marker.length);
  });
  return answers;
}

async function askOurs(question: string): Promise<string> {
  const r = await expandText(question, makeScope(folder));
  if (r.kind === 'ok') return r.text;
  return `Failed: ${r.reason}`;
}

test('answers of exim4 -be and ours are the same', { skip: needs('exim4') }, async (t) => {
  process.env['HOME_OF_EXPAND_TEST'] = 'home';
  const questions = lines.map((l) => l.replaceAll('@DIR@', folder));
  const theirs = askExim(questions);
  const unlike: string[] = [];
  const used = new Set<string>();
  for (const [i, question] of questions.entries()) {
    const line = lines[i] ?? '';
    const ours = await askOurs(question);
    // As a C string, Exim's answer ends at a zero octet, and its reader drops white space around a line.
    if (ours.trim() === (theirs[i] ?? '').trim()) continue;
    if (accepted.has(line)) used.add(line);
    else unlike.push(`${line}\n  exim4: ${JSON.stringify(theirs[i])}\n  ours:  ${JSON.stringify(ours)}`);
  }
  t.diagnostic(`${lines.length} lines, ${used.size} accepted differences`);
  assert.equal(unlike.join('\n'), '');
  const gone = [...accepted.keys()].filter((line) => !used.has(line));
  assert.deepEqual(gone, [], 'these lines no longer differ: take them off the list');
  assert.ok(used.size <= lines.length / 20, 'more than a twentieth of the lines differ');
});
