// `npm test`: installs the peers that the tests need where it can (root with apt), says which are missing where it
// cannot, then runs every test file; one that fails is run once more alone, and that is said. In CI (CI=true) a skipped test is a failure: a peer that is not there proves nothing.
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { findProgram, peers } from './support/peers.ts';

const root = path.resolve(import.meta.dirname, '..');
const ci = process.env['CI'] === 'true';
process.env['UV_THREADPOOL_SIZE'] ??= '16';

function missingPackages(): string[] {
  return [...new Set(peers.filter((p) => findProgram(p.program) === undefined).map((p) => p.package))];
}

function install(packages: readonly string[]): void {
  if (process.getuid?.() !== 0 || findProgram('apt-get') === undefined) return;
  console.log(`installing what the tests run against: ${packages.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]): number | null =>
    spawnSync('apt-get', args, { env, stdio: ['ignore', 'ignore', 'inherit'], timeout: 600_000 }).status;
  apt('update', '-qq');
  const undo = startNoServices();
  apt('install', '-y', '-qq', '--no-install-recommends', ...packages);
  undo();
}

/** Keeps packages from starting their servers: the tests start their own (invoke-rc.d(8), policy-rc.d). */
function startNoServices(): () => void {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return () => undefined;
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  return () => rmSync(policy, { force: true });
}

const absent = missingPackages();
if (absent.length > 0) install(absent);
const still = missingPackages();
if (still.length > 0) console.log(`not installed, tests that need them are skipped: ${still.join(' ')}`);

const patterns = process.argv.slice(2);
const files = globSync(patterns.length > 0 ? patterns : ['src/**/*.test.ts', 'test/**/*.test.ts'], {
  cwd: root,
})
  .filter((f) => !f.includes('fixture'))
  .sort();
if (files.length === 0) throw new Error('no test files');

/** Of a file that fails, this many are run once more, alone: peers that share two cores with other tests can be slow. */
const secondChances = 3;

/** A test may stand in a module that test files import: those are what can be run. */
function testFilesOf(file: string): readonly string[] {
  const all = files.map((f) => path.join(root, f));
  if (all.includes(file)) return [file];
  const name = `/${path.basename(file)}'`;
  return all.filter((f) => readFileSync(f, 'utf8').includes(name));
}

interface Outcome {
  readonly passed: number;
  readonly skipped: readonly string[];
  readonly failures: readonly { readonly file: string; readonly name: string }[];
}

async function runFiles(names: readonly string[], concurrency: number): Promise<Outcome> {
  let passed = 0;
  const skipped: string[] = [];
  const failures: { file: string; name: string }[] = [];
  const stream = run({
    files: [...names],
    concurrency,
    cwd: root,
    timeout: 240_000,
    execArgv: ['--test-force-exit'],
  });
  stream.on('test:pass', (t) => {
    if (t.skip !== undefined && t.skip !== false)
      skipped.push(`${t.name}${typeof t.skip === 'string' ? `: ${t.skip}` : ''}`);
    else if (t.details.type !== 'suite') passed++;
  });
  stream.on('test:fail', (t) => failures.push({ file: t.file ?? 'no file', name: t.name }));
  for await (const text of stream.compose(new spec())) process.stdout.write(text as string);
  return { passed, skipped, failures };
}

const first = await runFiles(
  files.map((f) => path.join(root, f)),
  2,
);
const failedFiles = [...new Set(first.failures.flatMap((f) => testFilesOf(f.file)))];
const again =
  failedFiles.length > 0 && failedFiles.length <= secondChances ? await runFiles(failedFiles, 1) : undefined;
const { passed, skipped } = first;
// A second run in which nothing ran proves nothing.
const { failures } = again === undefined || again.passed === 0 ? first : again;
if (again !== undefined)
  for (const { file, name } of first.failures)
    console.log(`failed at first, then run again alone: ${path.relative(root, file)}: ${name}`);
if (skipped.length > 0) console.log(`skipped:\n  ${skipped.join('\n  ')}`);
if (ci && skipped.length > 0) console.log('CI=true: a skip is a failure');
console.log(`${passed} passed, ${failures.length} failed, ${skipped.length} skipped`);
process.exit(
  failures.length > 0 || passed + (again?.passed ?? 0) === 0 || (ci && skipped.length > 0) ? 1 : 0,
);
