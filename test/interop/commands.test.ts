// The two commands from outside: -bV beside the real Exim's, launchers, and what they say of wrong words and files.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { version } from '../../src/app/version.ts';
import { programs, writeConfig } from '../support/daemon-world.ts';
import { needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

const folder = temporaryFolder('commands');
after(() => folder.remove());
let folders = 0;
const newFolder = (): string => path.join(folder.path, `w${++folders}`);
const bounded = { timeoutMs: 20_000 };

describe('-bV', () => {
  const config = writeConfig(newFolder(), 'daemon_smtp_ports = 2525');

  test("has the lines of Exim's, by which administrators see what is built in", {
    skip: needs('exim4'),
  }, async (t) => {
    const startedAt = performance.now();
    const ours = await runToEnd(programs.exim, ['-C', config.file, '-bV'], bounded);
    t.diagnostic(`bin/exim -bV took ${Math.round(performance.now() - startedAt)} ms`);
    const peer = await runToEnd(programs.peer, ['-C', config.file, '-bV'], bounded);
    assert.equal(ours.code, 0, ours.output);
    assert.equal(peer.code, 0, peer.output);
    assert.ok(
      ours.output.startsWith(`Mailchute version ${version}, for configurations of Exim version 4.96\n`),
    );
    assert.match(peer.output, /^Exim version 4\.\d+ /);
    const words = (text: string, line: string): string[] =>
      new RegExp(`^${line}:(.*)$`, 'm').exec(text)?.[1]?.trim().split(/[ /]/) ??
      assert.fail(`no ${line} in ${text}`);
    for (const driver of ['lmtp', 'smtp']) assert.ok(words(ours.output, 'Transports').includes(driver));
    for (const line of ['Support for', 'Routers', 'Transports', 'Authenticators']) {
      const known = new Set(words(peer.output, line));
      for (const word of words(ours.output, line))
        assert.ok(word === '' || known.has(word), `${line}: ${word}`);
    }
    assert.ok(words(ours.output, 'Lookups \\(built-in\\)').includes('lsearch'));
    assert.ok(words(ours.output, 'Routers').includes('manualroute'));
    const last = (text: string): string | undefined => text.trimEnd().split('\n').at(-1);
    assert.equal(last(ours.output), `Configuration file is ${config.file}`);
    assert.equal(last(peer.output), last(ours.output));
  });

  test('by symbolic links, from any folder, without environment', async () => {
    const links = newFolder();
    mkdirSync(path.join(links, 'a b'), { recursive: true });
    symlinkSync(programs.exim, path.join(links, 'sendmail'));
    symlinkSync('../sendmail', path.join(links, 'a b/second'));
    symlinkSync(path.dirname(programs.exim), path.join(links, 'folder'));
    const direct = await runToEnd(programs.exim, ['-bV'], bounded);
    for (const [program, words, cwd] of [
      [path.join(links, 'sendmail'), ['-bV'], '/'],
      ['./a b/second', ['-bV'], links],
      ['folder/exim', ['-bV'], links],
      ['/usr/bin/env', ['-i', programs.exim, '-bV'], '/'],
      ['/usr/bin/env', ['-i', 'PATH=/usr/bin:/bin', './sendmail', '-bV'], links],
    ] as const) {
      const run = await runToEnd(program, words, { ...bounded, cwd });
      assert.deepEqual([run.code, run.output], [0, direct.output], program);
    }
    symlinkSync(programs.mailchute, path.join(links, 'mc'));
    const run = await runToEnd('./mc', ['--version'], { ...bounded, cwd: links });
    assert.deepEqual([run.code, run.output], [0, `Mailchute ${version}\n`]);
  });
});

describe('what is wrong is said, and ends with 1', { concurrency: 3 }, () => {
  const port = '-oX 127.0.0.1';
  const { file } = writeConfig(newFolder(), 'daemon_smtp_ports = 2525');
  for (const [words, message] of [
    [[], /^exim: nothing to do: give -bd, -bdf, -q, -bP or -bV$/],
    [['-bp'], /^exim: option "-bp" is not supported$/],
    [
      ['-C', file, 'bob@example.test'],
      /^exim: "bob@example\.test" is not understood: messages are taken by SMTP only$/,
    ],
    [['-bdf', '-C'], /^exim: option -C needs a value$/],
    [['-C', file, '-bdf', '-qx'], /^exim: malformed queue interval in "-qx"/],
    [['-C', file, '-bdf', '-q0s'], /^exim: malformed queue interval in "-q0s"/],
    [['-C', file, '-qff'], /^exim: malformed queue interval in "-qff"/],
    [['-C', file, '-q1s'], /^exim: -q with a time goes with -bd or -bdf/],
    [['-C', file, '-bdf', '-q'], /^exim: -q without a time is one queue run/],
    [['-C', file, '-q', ...port.split(' ')], /^exim: -q with a time, -oX and -oP go with -bd or -bdf$/],
    [['-C', file, '-bdf', '-Dx=1'], /^exim: macro name set by -D must start with an upper case letter$/],
    [['-C', file, '-bdf', '-oX', ''], /^exim: option -oX needs a value$/],
    [['-C', file, '-bdf', '-oX', ':'], /^exim: -oX: ":" names no port or interface$/],
    [['-C', file, '-bdf', '-oX', 'nosuchport'], /^exim: .*"nosuchport" is not a port$/],
    [['-C', file, '-bdf', '-oX', '65536'], /^exim: .*"65536" is not a port$/],
    [
      ['-C', file, '-bdf', '-oX', '127.0.0.1.x'],
      /^exim: .*"127\.0\.0\.1\.x" is not an IP address, or one with a port$/,
    ],
    [
      ['-C', file, '-bdf', '-oX', 'mx.example.test'],
      /^exim: .*"mx\.example\.test" is not an IP address, or one with a port$/,
    ],
    [
      ['-C', file, '-bdf', '-oX', '192.0.2.1.2525'],
      /^exim: cannot listen on \[192\.0\.2\.1\]:2525: .*EADDRNOTAVAIL/,
    ],
  ] as const)
    test(`exim ${words.map((w) => (w === file ? 'FILE' : w === '' ? "''" : w)).join(' ')}`, async () => {
      const run = await runToEnd(programs.exim, words, bounded);
      assert.match(run.output.trimEnd(), message);
      assert.equal(run.code, 1);
    });

  for (const [words, message] of [
    [[], /^usage:\n/],
    [['serve'], /^unknown command serve\nusage:\n/],
    [['--nope'], /^unknown command --nope\nusage:\n/],
    [['start', '--nope'], /^mailchute start: --nope is not understood\nusage:\n/],
    [['start', '--config'], /^mailchute start: --config is not understood\nusage:\n/],
    [['store'], /^usage:\n/],
    [['store', file], /^mailchute: nothing to serve: the configuration has no stores$/],
    [['store', file, '-x'], /^-x is not understood\nusage:\n/],
    [['check'], /^usage:\n/],
    [['check', file, 'more'], /^more is not understood\nusage:\n/],
    [['send', '--nope'], /^mailchute send: .*--nope/],
    [['send'], /^mailchute send: no recipient\nusage: /],
  ] as const)
    test(`mailchute ${words.map((w) => (w === file ? 'FILE' : w)).join(' ')}`, async () => {
      const run = await runToEnd(programs.mailchute, words, bounded);
      assert.match(run.output.trimEnd(), message);
      assert.equal(run.code, 1);
    });

  test('mailchute --help and send --help end with 0', async () => {
    for (const words of [['--help'], ['send', '--help']]) {
      const run = await runToEnd(programs.mailchute, words, bounded);
      assert.equal(run.code, 0);
      assert.match(run.output, /^usage:/i);
    }
  });
});

describe('a configuration that is wrong stops start-up', { skip: needs('exim4'), concurrency: 3 }, () => {
  const router = (lines: string): string => `begin acl\ncheck_rcpt:\n  accept\nbegin routers\nr1:\n${lines}`;
  const transports = '\nbegin transports\nt1:\n  driver = lmtp\n  socket = /nowhere\n';
  for (const [name, main, rest, at, message] of [
    ['an unknown option', 'no_such_option = 1', undefined, /^no_such_option/, /no_such_option.* unknown/],
    ['a value that is none', 'recipients_max = many', undefined, /^recipients_max/, /recipients_max/],
    ['an unknown router driver', '', router(`  driver = nosuch${transports}`), /driver = nosuch/, /nosuch/],
    ['no driver', '', router(`  transport = t1${transports}`), undefined, /r1.*driver|driver.*r1/],
    [
      'an unknown transport driver',
      '',
      `${router('  driver = accept\n  transport = t1')}\nbegin transports\nt1:\n  driver = nosuch\n`,
      /driver = nosuch/,
      /nosuch/,
    ],
    [
      'a transport that does not exist',
      '',
      router(`  driver = accept\n  transport = t2${transports}`),
      /transport = t2/,
      /t2/,
    ],
    ['an ACL that does not exist', 'acl_smtp_rcpt = nosuch', undefined, /^acl_smtp_rcpt/, /nosuch/],
    [
      'logs to syslog',
      'log_file_path = syslog',
      undefined,
      /^log_file_path/,
      /syslog, which is not supported/,
    ],
    [
      'a section that does not exist',
      '',
      'begin acl\ncheck_rcpt:\n  accept\nbegin nosuch\n',
      /^begin nosuch/,
      /nosuch/,
    ],
  ] as const)
    test(name, async (t) => {
      const config = writeConfig(newFolder(), main, rest);
      const lines = readFileSync(config.file, 'latin1').split('\n');
      const line = at === undefined ? undefined : 1 + lines.findIndex((l) => at.test(l.trim()));
      const run = await runToEnd(programs.exim, ['-C', config.file, '-bdf'], bounded);
      assert.equal(run.code, 1, run.output);
      const [first = ''] = run.output.split('\n');
      assert.match(first, message);
      assert.ok(first.startsWith(`${config.file}:${line ?? ''}`), `${first} names line ${line}`);
      assert.ok(!existsSync(config.pidFile));
      const checked = await runToEnd(programs.mailchute, ['check', config.file], bounded);
      assert.equal(checked.code, 1);
      assert.ok(checked.output.includes(first), checked.output);
      assert.match(checked.output, /: 1 error\n$/);
      const peer = await runToEnd(programs.peer, ['-C', config.file, '-bV'], bounded);
      const where = /Exim configuration error in line (\d+)/.exec(peer.output)?.[1];
      if (where === undefined) t.diagnostic('Exim names no line');
      else if (line !== undefined && where !== `${line}`)
        t.diagnostic(`Exim names line ${where}, we ${line}`);
    });

  test('a configuration that cannot be read', async () => {
    for (const file of [path.join(folder.path, 'nothere'), folder.path])
      for (const [program, words] of [
        [programs.exim, ['-C', file, '-bd']],
        [programs.exim, ['-C', file, '-bV']],
        [programs.mailchute, ['check', file]],
      ] as const) {
        const run = await runToEnd(program, words, bounded);
        assert.equal(run.code, 1, run.output);
        assert.ok(run.output.includes(file), run.output);
        assert.match(run.output, /no such file|not a regular file/);
      }
  });

  test('check tells all of them, in the order of the lines, and ends with 0 where there is none', async () => {
    const wrong = writeConfig(
      newFolder(),
      'first_wrong = 1\nrecipients_max = many',
      'begin acl\ncheck_rcpt:\n  accept nosuch = 1\nbegin routers\nr1:\n  driver = accept\n  transport = t9\n',
    );
    const run = await runToEnd(programs.mailchute, ['check', wrong.file], bounded);
    assert.equal(run.code, 1);
    const told = [...run.output.matchAll(/^(\S+):(\d+):.*?(first_wrong|recipients_max|nosuch|t9)/gm)];
    assert.deepEqual(
      told.map((m) => m[3]),
      ['first_wrong', 'recipients_max', 'nosuch', 't9'],
      run.output,
    );
    for (const m of told) assert.equal(m[1], wrong.file);
    assert.deepEqual(
      told.map((m) => Number(m[2])),
      told.map((m) => Number(m[2])).toSorted((a, b) => a - b),
    );
    assert.ok(run.output.endsWith(`${wrong.file}: 4 errors\n`));
    const right = writeConfig(newFolder(), 'daemon_smtp_ports = MYPORT');
    const defined = await runToEnd(programs.mailchute, ['check', right.file, '-DMYPORT=2525'], bounded);
    assert.equal(defined.code, 0, defined.output);
    assert.ok(defined.output.endsWith(`${right.file}: no errors\n`));
  });

  test('nothing to listen on', async () => {
    const { file } = writeConfig(newFolder(), 'daemon_smtp_ports =');
    const run = await runToEnd(programs.exim, ['-C', file, '-bdf'], bounded);
    assert.deepEqual(
      [run.code, run.output],
      [1, 'exim: nothing to serve: daemon_smtp_ports is empty and there are no stores\n'],
    );
  });
});
