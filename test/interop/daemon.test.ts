// The daemon from outside, as init scripts use it: where it listens (as the real Exim does), what it writes, signals.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import {
  type ConfigFolder,
  gone,
  greeting,
  processFacts,
  programs,
  serveForeground,
  writeConfig,
} from '../support/daemon-world.ts';
import { needs, needsRoot } from '../support/peers.ts';
import { freePort, runToEnd, type Running, start, temporaryFolder, until } from '../support/process.ts';
import { smtpTalk } from '../support/smtp-talk.ts';
import { swaks } from '../support/swaks.ts';

const folder = temporaryFolder('daemon');
chmodSync(folder.path, 0o755);
after(() => folder.remove());
let folders = 0;
const newFolder = (): string => path.join(folder.path, `w${++folders}`);
const bounded = { timeoutMs: 20_000 };

/** Serves in the foreground until the test ends. */
async function serving(t: TestContext, config: ConfigFolder, ...words: string[]): Promise<Running> {
  const running = await serveForeground(config.file, words);
  t.after(() => running.stop());
  return running;
}

/** Starts the real Exim in the foreground until the test ends. */
async function peerServing(t: TestContext, config: ConfigFolder, ...words: string[]): Promise<void> {
  const peer = start(programs.peer, ['-C', config.file, '-bdf', ...words]);
  t.after(() => peer.stop());
  await until(
    () => config.mainLog().includes('daemon started'),
    () => `exim4 starts: ${peer.output()}`,
  );
}

/** The text of a file once it is there. */
const appeared = (file: string): Promise<string> =>
  until(() => (existsSync(file) && readFileSync(file, 'latin1')) || undefined, `${file} is written`);
const pidIn = (file: string): number => Number(readFileSync(file, 'latin1'));

describe('where the daemon listens', { skip: needsRoot('exim4'), concurrency: 2 }, () => {
  for (const [name, main, oX] of [
    ['daemon_smtp_ports: a list with its own separator', 'daemon_smtp_ports = <, A, B', ''],
    [
      'local_interfaces: some with a port',
      'daemon_smtp_ports = A\nlocal_interfaces = <; 127.0.0.1 ; [127.0.0.2]:B',
      '',
    ],
    ['local_interfaces: address.port', 'daemon_smtp_ports = A\nlocal_interfaces = 127.0.0.2.B', ''],
    ['local_interfaces: all of IPv4', 'daemon_smtp_ports = A\nlocal_interfaces = 0.0.0.0', ''],
    ['-oX: ports', 'daemon_smtp_ports = 9', 'A:B'],
    ['-oX: an interface', 'daemon_smtp_ports = A', '127.0.0.2'],
    ['-oX: an interface with a port in brackets', 'daemon_smtp_ports = A', '<; [127.0.0.2]:B'],
    ['-oX: interfaces and ports', 'daemon_smtp_ports = 9', '<; 127.0.0.2 ; A ; 127.0.0.1.B'],
  ] as const)
    test(name, async (t) => {
      const answersOf = async (serve: typeof serving | typeof peerServing): Promise<string[]> => {
        const [a, b] = [await freePort(), await freePort()];
        const fill = (text: string): string => text.replace(/\bA\b/g, `${a}`).replace(/\bB\b/g, `${b}`);
        await serve(t, writeConfig(newFolder(), fill(main)), ...(oX === '' ? [] : ['-oX', fill(oX)]));
        const found: string[] = [];
        for (const host of ['127.0.0.1', '127.0.0.2'])
          for (const port of [a, b])
            if ((await greeting(port, host))?.startsWith('220 mx.example.test ESMTP') === true)
              found.push(`${host} ${port === a ? 'A' : 'B'}`);
        return found;
      };
      const [ours, peer] = await Promise.all([answersOf(serving), answersOf(peerServing)]);
      assert.ok(peer.length > 0, 'Exim answers');
      assert.deepEqual(ours, peer);
    });
});

describe('files', { concurrency: 2 }, () => {
  test('spool, logs and pid file are where the configuration says, in folders made for them', async (t) => {
    const port = await freePort();
    const home = newFolder();
    const config = writeConfig(
      home,
      `daemon_smtp_ports = ${port}
spool_directory = ${home}/deep/er/spool
log_file_path = $spool_directory/logs/$primary_hostname-%s
pid_file_path = $spool_directory/../run/pid`,
    );
    const running = await serving(t, config);
    assert.equal(pidIn(`${home}/deep/er/run/pid`), running.pid);
    const log = await appeared(`${home}/deep/er/spool/logs/mx.example.test-main`);
    assert.match(
      log,
      new RegExp(
        `^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d mailchute \\S+ daemon started: pid=${running.pid}, .*\\[127\\.0\\.0\\.1\\]:${port}$`,
        'm',
      ),
    );
    assert.ok(existsSync(`${home}/deep/er/spool/spool`));
    await running.stop();
    assert.equal(await running.ended, 0);
    assert.ok(!existsSync(`${home}/deep/er/run/pid`));
  });

  test('an empty log_file_path means the spool', async (t) => {
    const config = writeConfig(newFolder(), `daemon_smtp_ports = ${await freePort()}\nlog_file_path =`);
    await serving(t, config);
    assert.match(await appeared(path.join(config.spool, 'log/mainlog')), /daemon started/);
  });

  test('with -oX a pid file is written only for -oP, as in Exim', { skip: needs('exim4') }, async (t) => {
    const check = async (serve: typeof serving | typeof peerServing): Promise<void> => {
      const config = writeConfig(newFolder(), 'daemon_smtp_ports = 9');
      const other = path.join(config.folder, 'other.pid');
      await serve(t, config, '-oX', `${await freePort()}`);
      await serve(t, config, '-oX', `${await freePort()}`, '-oP', other);
      await until(() => existsSync(other) && processFacts(pidIn(other)) !== undefined, 'the pid is written');
      assert.ok(!existsSync(config.pidFile));
    };
    await Promise.all([check(serving), check(peerServing)]);
  });
});

test('-bd goes into the background, serves on, reloads at SIGHUP and ends at SIGTERM', async (t) => {
  const [first, second] = [await freePort(), await freePort()];
  const home = newFolder();
  const config = writeConfig(home, `daemon_smtp_ports = ${first}`);
  const run = await runToEnd(programs.exim, ['-C', 'conf', '-bd', '-q1s'], { ...bounded, cwd: home });
  assert.deepEqual([run.code, run.output], [0, '']);
  const pid = pidIn(config.pidFile);
  t.after(() => processFacts(pid) !== undefined && process.kill(pid, 'SIGKILL'));
  assert.match((await greeting(first)) ?? 'nobody', /^220 /, 'it listens when the command ends');
  assert.equal(processFacts(pid)?.session, pid, 'it is in a session of its own');
  assert.notEqual(processFacts(pid)?.parent, process.pid);

  await t.test('a log that cannot be written does not end it, though nobody hears of that', async () => {
    rmSync(path.join(home, 'log'), { recursive: true });
    writeFileSync(path.join(home, 'log'), 'no folder');
    const sent = await swaks(home, first, { to: ['x@elsewhere.test'] });
    assert.match(sent.output, /550 .*relay not permitted/);
    assert.match((await greeting(first)) ?? 'nobody', /^220 /);
    rmSync(path.join(home, 'log'));
    await until(async () => {
      await swaks(home, first, { to: ['x@elsewhere.test'] });
      return config.mainLog().includes('rejected RCPT');
    }, 'the log is made anew');
  });

  await t.test('SIGHUP with errors in the file: the old configuration stays', async () => {
    const good = readFileSync(config.file, 'latin1');
    writeFileSync(config.file, `wrong = 1\n${good}`);
    process.kill(pid, 'SIGHUP');
    await until(() => config.mainLog().includes('SIGHUP: the configuration has errors'), 'it says so');
    assert.match(config.mainLog(), /conf:1: main option "wrong" unknown/);
    assert.match((await greeting(first)) ?? 'nobody', /^220 /);
    writeFileSync(config.file, good.replace(`= ${first}`, `= ${second}`));
  });

  await t.test('SIGHUP: the new configuration, in the same process', async () => {
    process.kill(pid, 'SIGHUP');
    await until(async () => (await greeting(second)) !== undefined, 'it listens on the new port');
    assert.equal(await greeting(first), undefined);
    assert.equal(pidIn(config.pidFile), pid);
  });

  await t.test(
    'SIGHUP in the middle of a message: the port is open again at once, and the message is taken',
    async () => {
      const talk = await smtpTalk(second);
      await talk.send('MAIL FROM:<sender@client.test>\r\n');
      assert.match(await talk.send('RCPT TO:<alice@open.test>\r\n'), /^250/);
      assert.match(await talk.send('DATA\r\n'), /^354/);
      const before = [...config.mainLog().matchAll(/daemon started/g)].length;
      process.kill(pid, 'SIGHUP');
      await until(() => [...config.mainLog().matchAll(/daemon started/g)].length > before, 'it says so');
      assert.match((await greeting(second)) ?? 'nobody', /^220 /);
      assert.match(await talk.send('Subject: held up\r\n\r\nbody\r\n.\r\n'), /^250 OK id=/);
      assert.match(await talk.send('NOOP\r\n'), /^421 /);
      talk.close();
      // The runner of the new configuration finds it.
      await until(
        () => /== alice@open\.test R=all T=down/.test(config.mainLog()),
        () => config.mainLog(),
      );
    },
  );

  await t.test('SIGTERM: sessions are told, the pid file goes, the log says so', async () => {
    const socket = net.connect(second, '127.0.0.1');
    let said = '';
    const over = new Promise((resolve) => socket.on('close', resolve));
    socket.on('data', (d) => (said += d.toString('latin1')));
    await until(() => said.includes('\r\n'), 'the greeting comes');
    process.kill(pid, 'SIGTERM');
    await over;
    await gone(pid);
    assert.match(said, /\r\n421 /);
    assert.ok(!existsSync(config.pidFile));
    assert.match(config.mainLog(), new RegExp(`daemon stopped: pid=${pid}\n$`));
    assert.equal(await greeting(second), undefined);
  });
});

test('-bd that cannot start says why, ends with 1 and leaves nothing running', async () => {
  const port = await freePort();
  const server = net.createServer().listen(port, '127.0.0.1');
  const config = writeConfig(newFolder(), `daemon_smtp_ports = ${port}`);
  const run = await runToEnd(programs.exim, ['-C', config.file, '-bd'], bounded);
  await new Promise((resolve) => server.close(resolve));
  assert.equal(run.code, 1);
  assert.match(run.output, new RegExp(`^exim: cannot listen on \\[127\\.0\\.0\\.1\\]:${port}: .*EADDRINUSE`));
  assert.equal(await greeting(port), undefined);
});

describe('a second daemon', { concurrency: 2 }, () => {
  test('on the same port: it says so, and the first is not disturbed', async (t) => {
    const port = await freePort();
    const config = writeConfig(newFolder(), `daemon_smtp_ports = ${port}`);
    const running = await serving(t, config);
    const run = await runToEnd(programs.exim, ['-C', config.file, '-bdf'], bounded);
    assert.equal(run.code, 1);
    assert.match(
      run.output,
      new RegExp(`^exim: cannot listen on \\[127\\.0\\.0\\.1\\]:${port}: .*EADDRINUSE`),
    );
    assert.equal(pidIn(config.pidFile), running.pid, 'the pid file is still that of the first');
    assert.match((await greeting(port)) ?? 'nobody', /^220 /);
    assert.match(config.mainLog(), /daemon not started: cannot listen on/);
    assert.doesNotMatch(config.mainLog(), /daemon stopped/);
  });

  test('on the same spool: both serve, as two Exims do', { skip: needs('swaks') }, async (t) => {
    const [first, second] = [await freePort(), await freePort()];
    const config = writeConfig(newFolder(), `daemon_smtp_ports = ${first}`);
    await serving(t, config);
    await serving(t, config, '-oX', `${second}`);
    for (const port of [first, second]) {
      const sent = await swaks(config.folder, port, { to: ['a@queued.test'] });
      assert.equal(sent.code, 0, sent.output);
    }
    const ids = [...config.mainLog().matchAll(/ (\S+) <= /g)].map((m) => m[1]);
    assert.equal(new Set(ids).size, 2);
  });
});

describe('queue runs', { skip: needs('swaks'), concurrency: 2 }, () => {
  const refused = / == a@\S+ R=all T=down defer \(111\).*: Connection refused\n/;

  async function taken(config: ConfigFolder, port: number, to: string): Promise<void> {
    const sent = await swaks(config.folder, port, { to: [to] });
    assert.equal(sent.code, 0, sent.output);
    await until(() => config.mainLog().includes(' <= '), 'it is logged');
  }

  test('-q: one run, which tries what is due, and ends', async (t) => {
    const port = await freePort();
    const config = writeConfig(newFolder(), `daemon_smtp_ports = ${port}`);
    const running = await serving(t, config);
    await taken(config, port, 'a@open.test');
    await until(() => refused.test(config.mainLog()), 'it is tried at once');
    await running.stop();
    await until(async () => {
      const before = config.mainLog().length;
      const run = await runToEnd(programs.exim, ['-C', config.file, '-q'], bounded);
      assert.deepEqual([run.code, run.output], [0, '']);
      const added = config.mainLog().slice(before);
      const [, inside = ''] =
        /^.* Start queue run: pid=\d+\n([\s\S]*)^.* End queue run: pid=\d+\n$/m.exec(added) ?? [];
      assert.match(added, /Start queue run: pid=(\d+)\n[\s\S]* End queue run: pid=\1\n$/);
      return refused.test(inside);
    }, 'its retry time has come');
  });

  test('-q: mail that "control = queue" holds back', async (t) => {
    const port = await freePort();
    const config = writeConfig(newFolder(), `daemon_smtp_ports = ${port}`);
    const running = await serving(t, config);
    await taken(config, port, 'a@queued.test');
    await running.stop();
    assert.doesNotMatch(config.mainLog(), refused);
    await runToEnd(programs.exim, ['-C', config.file, '-q'], bounded);
    assert.match(config.mainLog(), refused);
  });

  test('-q1s: the daemon makes one by itself', async (t) => {
    const port = await freePort();
    const config = writeConfig(newFolder(), `daemon_smtp_ports = ${port}`);
    await serving(t, config, '-q1s');
    await taken(config, port, 'a@queued.test');
    await until(() => refused.test(config.mainLog()), 'it is tried');
  });
});
