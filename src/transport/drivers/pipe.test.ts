import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { until } from '../../../test/support/process.ts';
import { type PipeCommand, runPipe, type PipeResult } from './pipe.ts';

const root = process.geteuid?.() === 0;
const identity = root
  ? { uid: 65_534, gid: 65_534 }
  : { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

function run(
  argv: PipeCommand['argv'],
  over: Partial<PipeCommand> = {},
  input = 'hello\n',
): Promise<PipeResult> {
  const command: PipeCommand = {
    transport: 't',
    text: argv.join(' '),
    argv,
    path: '/bin:/usr/bin',
    environment: { A: 'b' },
    identity,
    currentDirectory: '/',
    umask: 0o022,
    timeoutMs: 60_000,
    timeoutDefer: false,
    maxOutput: 20_480,
    ignoreStatus: false,
    tempErrors: [75, 73],
    freezeExecFail: false,
    freezeSignal: false,
    ...over,
  };
  const content = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from(input);
  };
  return runPipe(command, content(), new AbortController().signal);
}

test('the message is its input, and its output comes back', async () => {
  assert.deepEqual(await run(['cat']), { outcome: { kind: 'done' }, output: 'hello\n' });
  assert.deepEqual(await run(['sh', '-c', 'echo "$A $PATH"; umask; pwd >&2'], { umask: 0o077 }), {
    outcome: { kind: 'done' },
    output: 'b /bin:/usr/bin\n0077\n/\n',
  });
});

test('arguments are what they are, for a shell too', async () => {
  const odd = '$(id) `id` ; "\' \\ *';
  for (const umask of [0o022, 0o027]) assert.equal((await run(['printf', '%s', odd], { umask })).output, odd);
});

test('a command need not read its input', async () => {
  assert.deepEqual((await run(['true'], {}, 'x'.repeat(5_000_000))).outcome, { kind: 'done' });
});

test('it runs as its user, without other groups', { skip: !root && 'needs root' }, async () => {
  assert.equal((await run(['sh', '-c', 'id -u; id -G'])).output, '65534\n65534\n');
});

test('a time-out kills the whole group', async () => {
  const { outcome, output } = await run(['sh', '-c', 'sleep 60 & echo $!; wait'], { timeoutMs: 300 });
  assert.deepEqual(outcome, { kind: 'failed', text: 'pipe delivery process timed out' });
  // Gone, or dead and waiting for whoever adopted it.
  const stat = `/proc/${Number(output)}/stat`;
  await until(
    () => !existsSync(stat) || / Z /.test(readFileSync(stat, 'latin1')),
    'the command of the shell is dead',
  );
  assert.equal((await run(['sleep', '60'], { timeoutMs: 100, timeoutDefer: true })).outcome.kind, 'deferred');
});

test('exec failures and signals freeze where they should', async () => {
  const failed = await run(['/nonexistent'], { freezeExecFail: true, ignoreStatus: true });
  assert.ok(failed.outcome.kind === 'deferred' && failed.outcome.freeze === true);
  const killed = await run(['sh', '-c', 'kill -KILL $$'], { freezeSignal: true });
  assert.ok(killed.outcome.kind === 'deferred' && killed.outcome.freeze === true);
  assert.equal((await run(['/nonexistent'], { ignoreStatus: true })).outcome.kind, 'done');
  assert.equal((await run(['sh', '-c', 'exit 9'], { tempErrors: '*' })).outcome.kind, 'deferred');
});

test('output is bounded', async () => {
  const { outcome, output } = await run(['sh', '-c', 'while :; do echo yyyyyyyyyyyyyyyy; done'], {
    maxOutput: 1000,
  });
  assert.equal(outcome.kind, 'failed');
  assert.ok(output.length < 1100 && output.endsWith('*** Too much output - remainder discarded ***\n'));
});

test('what cannot be read ends the command', async () => {
  const content = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from('a');
    throw new Error('gone');
  };
  const command = {
    transport: 't',
    text: 'cat',
    argv: ['cat'] as const,
    path: '/bin',
    environment: {},
    identity,
  };
  const { outcome } = await runPipe(
    {
      ...command,
      currentDirectory: '/',
      umask: 0o022,
      timeoutMs: 60_000,
      timeoutDefer: false,
      maxOutput: 100,
      ignoreStatus: true,
      tempErrors: [],
      freezeExecFail: false,
      freezeSignal: false,
    },
    content(),
    new AbortController().signal,
  );
  assert.deepEqual(outcome, { kind: 'deferred', text: 'cannot read the message: gone' });
});
