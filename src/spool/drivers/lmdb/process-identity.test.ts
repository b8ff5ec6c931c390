import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { Writable } from 'node:stream';
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

test('a zombie is gone', async (t) => {
  // The shell's child ends only when the shell has become `sleep`, which never waits for it.
  const shell = spawn('/bin/sh', ['-c', '/bin/sh -c "read x" <&3 & echo $!; exec sleep 1000 3<&-'], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  const exit = once(shell, 'exit');
  t.after(async () => {
    shell.kill('SIGKILL');
    await exit;
  });
  assert.ok(shell.stdout);
  const [line]: unknown[] = await once(shell.stdout, 'data');
  const pid = Number(String(line));
  const read = (file: string): string => fs.readFileSync(file, 'latin1');
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  while (read(`/proc/${shell.pid}/comm`).trim() !== 'sleep') await turn();
  const end = shell.stdio[3];
  if (end instanceof Writable) end.end();
  const stat = (): string[] => read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? [];
  while (stat()[0] !== 'Z') await turn();
  const self = ownIdentity();
  assert.equal(isGone({ ...self, pid, startTicks: stat()[19] ?? '' }, self), true);
});
