import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder, until } from '../../../test/support/process.ts';
import { loadProgram } from '../program.ts';
import { warningCommands } from './quota-warnings.ts';

const threshold = { bytes: { fixed: 1 }, messages: { fixed: 0 } };

async function withCommands(
  timeoutMs: number,
  run: (
    begin: (command: string, username?: string) => void,
    folder: string,
    told: readonly string[],
    close: () => void,
  ) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder('quota-warnings');
  try {
    const conf = path.join(folder.path, 'conf');
    writeFileSync(conf, 'keep_environment =\nadd_environment = KEPT=yes\n');
    const { program } = loadProgram(conf, new Map());
    if (program === undefined) throw new Error('the configuration is wrong');
    const told: string[] = [];
    const commands = warningCommands(program, timeoutMs, (text) => told.push(text));
    await run(
      (command, username = 'u@example.test') =>
        commands.run({ username, extra: {} }, { ...threshold, command }),
      folder.path,
      told,
      () => commands.close(),
    );
  } finally {
    folder.remove();
  }
}

function script(folder: string, text: string): string {
  const file = path.join(folder, 'script');
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

test('words are expanded each by itself and go to no shell; the environment is that of the configuration', () =>
  withCommands(10_000, async (begin, folder, told) => {
    const out = path.join(folder, 'out');
    const file = script(folder, `printf '[%s]' "$@" "$KEPT" "$HOME" > ${out}.part; mv ${out}.part ${out}`);
    const username = "o'x; touch hacked@example.test";
    begin(`${file} 95% "a b" $local_part_data $domain_data 'c;d' \${home}`, username);
    await until(
      () => existsSync(out),
      () => told.join('\n'),
    );
    assert.equal(readFileSync(out, 'latin1'), "[95%][a b][o'x; touch hacked][example.test][c;d][][yes][]");
    assert.deepEqual(told, []);
  }));

test('what goes wrong is told: a failure, a word that cannot be expanded, no program, a relative one', () =>
  withCommands(10_000, async (begin, folder, told) => {
    const file = script(folder, 'echo oops; exit 3');
    begin(file);
    begin(`${file} \${if`);
    begin(`${file} $local_part`);
    begin('/nonexistent/x');
    begin('relative');
    await until(
      () => told.length === 5,
      () => told.join('\n'),
    );
    const all = told.join('\n');
    assert.match(all, /u@example\.test: \S+script ended with 3: oops/);
    assert.match(all, /"\$local_part" uses what came from the wire/);
    assert.match(all, /\/nonexistent\/x ended with 127/);
    assert.match(all, /"relative" is not an absolute path/);
  }));

test('no more than four run at one time, each no longer than its deadline; after closing none begins', () =>
  withCommands(1500, async (begin, folder, told, close) => {
    const marks = path.join(folder, 'run-');
    const file = script(folder, `touch ${marks}$1; exec sleep 100`);
    const running = (): number => readdirSync(folder).filter((n) => n.startsWith('run-')).length;
    for (let i = 0; i < 6; i++) begin(`${file} ${i}`);
    await until(() => running() === 4, 'four run');
    await until(() => running() === 6, 'the others follow');
    assert.ok(told.length >= 2 && told.every((t) => t.includes('command timed out')), told.join('\n'));
    for (let i = 6; i < 12; i++) begin(`${file} ${i}`);
    close();
    begin(`${file} 99`);
    await until(
      () => told.filter((t) => t.includes('the store is closing')).length >= 3,
      () => told.join('\n'),
    );
    assert.equal(existsSync(`${marks}99`), false);
    await until(
      () => told.length === 13,
      () => told.join('\n'),
    );
  }));
