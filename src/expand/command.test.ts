import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { runCommand, type CommandResult } from './command.ts';
import { commandWords } from './command-words.ts';

const setting = { cwd: '/', environment: { ONLY: 'this' } };
const limits = { timeoutMs: 30_000, maxOctets: 10_000 };

/** Neither gone nor waiting to be reaped. */
function runs(pid: string): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

const sh = (script: string, over: Partial<typeof limits> = {}): Promise<CommandResult> =>
  runCommand(['/bin/sh', '-c', script], setting, { ...limits, ...over });

describe('runCommand', () => {
  it('reads both outputs in order, and the exit code', async () => {
    assert.deepEqual(await sh('echo out; echo err >&2; echo out; exit 3'), {
      kind: 'exited',
      code: 3,
      output: 'out\nerr\nout\n',
    });
  });

  it('gives nothing to read and only the environment it was told', async () => {
    assert.deepEqual(await sh('cat; echo "$ONLY$HOME"'), { kind: 'exited', code: 0, output: 'this\n' });
  });

  it('hands octets over and back', async () => {
    const r = await runCommand(['/bin/echo', 'caf\xc3\xa9'], setting, limits);
    assert.deepEqual(r, { kind: 'exited', code: 0, output: 'caf\xc3\xa9\n' });
    assert.equal((await runCommand(['/bin/echo', '\xff'], setting, limits)).kind, 'error');
    assert.equal((await runCommand(['/bin/echo', 'a\0b'], setting, limits)).kind, 'error');
  });

  it('is 127 for what cannot be run, without a search path', async () => {
    const tooLong = ['/bin/echo', 'x'.repeat(1_000_000)];
    for (const words of [['/nonexistent'], ['echo', 'x'], ['/etc/passwd'], ['/'], [''], tooLong])
      assert.deepEqual(await runCommand(words, setting, limits), { kind: 'exited', code: 127, output: '' });
  });

  it('tells the signal', async () => {
    assert.deepEqual(await sh('kill -9 $$'), { kind: 'killed', signal: 9 });
  });

  it('kills the command and its children when the time is up', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-command-'));
    const file = path.join(folder, 'pids');
    const r = await sh(`sleep 600 & echo $! $$ > ${file}; wait`, { timeoutMs: 500 });
    assert.deepEqual(r, { kind: 'error', reason: 'command timed out' });
    const pids = readFileSync(file, 'utf8').trim().split(' ');
    assert.equal(pids.length, 2);
    while (pids.some(runs)) await setImmediate();
    rmSync(folder, { recursive: true });
  });

  it('bounds the output', async () => {
    const r = await sh('while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done');
    assert.deepEqual(r, { kind: 'error', reason: 'command wrote more than 10000 octets' });
  });
});

describe('commandWords', () => {
  it('splits as Exim does', () => {
    assert.deepEqual(commandWords(`/bin/x  a\tb 'c d' "e\\"f g"h i"j k" '' "un closed`), [
      '/bin/x',
      'a',
      'b',
      'c d',
      'e"f g',
      'h',
      'i"j',
      'k"',
      '',
      'un closed',
    ]);
    assert.deepEqual(commandWords('  '), []);
  });
});
