import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { isGone, ownIdentity } from './process-identity.ts';

test('a process is alive until it is gone, and its number with another start is another process', async () => {
  const self = ownIdentity();
  assert.equal(self.pid, process.pid);
  assert.equal(isGone(self, self), false);
  assert.equal(isGone({ ...self, startTicks: '1' }, self), true);
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); process.stdout.write("x")'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const pid = child.pid ?? assert.fail();
  const startTicks =
    fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[19] ?? assert.fail();
  const other = { ...self, pid, startTicks };
  assert.equal(isGone(other, self), false);
  assert.equal(isGone({ ...other, startTicks: `${startTicks}1` }, self), true);
  assert.equal(isGone({ ...other, bootId: 'earlier' }, self), true);
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
  assert.equal(isGone(other, self), true);
  assert.equal(
    isGone({ ...other, pidNamespace: 'pid:[1]' }, self),
    false,
    'what cannot be seen may be alive',
  );
});

test('a zombie is gone', async () => {
  // The shell starts a child that ends at once, and becomes `sleep`, which never waits for it.
  const shell = spawn('/bin/sh', ['-c', 'true & echo $!; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line]: unknown[] = await once(shell.stdout, 'data');
  const pid = Number(String(line));
  const stat = (): string[] =>
    fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  while (stat()[0] !== 'Z') await new Promise((resolve) => setImmediate(resolve));
  const self = ownIdentity();
  assert.equal(isGone({ ...self, pid, startTicks: stat()[19] ?? '' }, self), true);
  const exit = once(shell, 'exit');
  shell.kill('SIGKILL');
  await exit;
});
