// `mailchute callout` and `mailchute retry` beside a running daemon that has the same hints open.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type Mailchute, root, startMailchute } from '../support/mailchute.ts';
import { freePort, runToEnd, temporaryFolder, until } from '../support/process.ts';
import { type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { smtpTalk, submit } from '../support/smtp-talk.ts';

const refusal = '550-5.1.1 no such user\r\n550 5.1.1 ask somebody else\r\n';

suite('commands for hints', () => {
  const folder = temporaryFolder('hints-commands');
  let store: ScriptedServer;
  let edge: Mailchute;
  let port: number;
  before(async () => {
    store = await startScriptedServer(
      {
        rcpt: (to) =>
          to.startsWith('bad') ? refusal : to.startsWith('tmp') ? '451 4.2.0 busy\r\n' : '250 2.1.5 fine\r\n',
      },
      'tcp',
    );
    const storePort = store.endpoint.kind === 'tcp' ? store.endpoint.port : 0;
    port = await freePort();
    edge = await startMailchute(
      folder.path,
      `daemon_smtp_ports = ${port}\nacl_smtp_rcpt = rcpt`,
      `begin acl
rcpt:
  accept domains = down.test : routed.test
  require verify = recipient/callout
  accept
begin routers
down:
  driver = accept
  domains = down.test
  transport = down
routed:
  driver = manualroute
  domains = routed.test
  route_list = * 127.0.0.9
  self = send
  transport = down
gone:
  driver = redirect
  local_parts = gone
  allow_fail
  data = :fail: moved away
file:
  driver = accept
  domains = file.test
  transport = file
all:
  driver = accept
  transport = store
begin transports
store:
  driver = smtp
  protocol = lmtp
  hosts = 255.255.255.255 : 127.0.0.1
  allow_localhost
  port = ${storePort}
down:
  driver = smtp
  hosts = 127.0.0.9
  allow_localhost
  port = ${storePort}
file:
  driver = appendfile
  file = /dev/null
begin retry
* * F,2h,15m
`,
    );
  });
  after(async () => {
    await edge.stop();
    await store[Symbol.asyncDispose]();
    folder.remove();
  });

  const program = path.join(root, 'bin/mailchute');
  const mailchute = async (...words: string[]): Promise<{ code: number | string; lines: string[] }> => {
    const { code, output } = await runToEnd(program, [...words, '-C', edge.configFile]);
    return { code, lines: output.split('\n').filter((line) => line !== '') };
  };
  const rcpts = (): number => store.commands.filter((c) => c.startsWith('RCPT')).length;
  const askFor = async (...addresses: string[]): Promise<string[]> => {
    const talk = await smtpTalk(port);
    const replies: string[] = [];
    await talk.send('MAIL FROM:<s@in.test>\r\n');
    for (const address of addresses) replies.push(await talk.send(`RCPT TO:<${address}>\r\n`));
    talk.close();
    return replies;
  };

  test('list and show tell what the daemon has learnt; flush makes it ask again', async () => {
    assert.deepEqual(await mailchute('callout', 'list'), { code: 0, lines: [] });
    await askFor('ok@a.test', 'bad@a.test', 'ok@b.test');
    const place = store.endpoint.kind === 'tcp' ? `127.0.0.1:${store.endpoint.port}` : '';
    const listed = await until(async () => {
      const { lines } = await mailchute('callout', 'list');
      return lines.length === 5 ? lines : undefined;
    }, 'all is there');
    const times = / \d+s ago, expires in (\d\w+)/;
    assert.deepEqual(
      listed.map((line) => line.replace(times, ' TIMES').replace(place, 'PLACE')),
      [
        'a.test MAIL FROM:<> accepted TIMES',
        'b.test MAIL FROM:<> accepted TIMES',
        String.raw`bad@a.test refused TIMES: PLACE after RCPT TO:<bad@a.test>: 550-5.1.1 no such user\n550 5.1.1 ask somebody else`,
        'ok@a.test accepted TIMES',
        'ok@b.test accepted TIMES',
      ],
    );
    assert.deepEqual(
      listed.map((line) => times.exec(line)?.[1]?.replace(/\d+m.*$/, '')),
      ['6d23h', '6d23h', '1h', '23h', '23h'],
    );
    const shown = await mailchute('callout', 'show', 'bad@A.test');
    assert.deepEqual(
      shown.lines.map((line) => line.split(' ')[0]),
      ['a.test', 'bad@a.test'],
    );
    assert.equal((await mailchute('callout', 'show', 'b.test')).lines.length, 2);
    assert.deepEqual(await mailchute('callout', 'show', 'x@c.test'), {
      code: 1,
      lines: ['nothing is known of x@c.test'],
    });
    const before = rcpts();
    await askFor('ok@a.test', 'bad@a.test', 'ok@b.test');
    assert.equal(rcpts(), before);
    assert.deepEqual((await mailchute('callout', 'flush', 'bad@a.test')).lines, ['1 record forgotten']);
    // The daemon believes for a second what it has read.
    const asksAgain = (count: number, ...addresses: string[]): Promise<true> =>
      until(async () => {
        await askFor(...addresses);
        return rcpts() >= count || undefined;
      }, `${addresses.join()} is asked about`);
    await asksAgain(before + 1, 'ok@a.test', 'bad@a.test', 'ok@b.test');
    assert.equal(rcpts(), before + 1);
    await until(async () => (await mailchute('callout', 'list')).lines.length === 5, 'it is learnt again');
    assert.deepEqual((await mailchute('callout', 'flush', 'a.test')).lines, ['3 records forgotten']);
    await asksAgain(before + 2, 'ok@a.test', 'ok@b.test');
    assert.equal(rcpts(), before + 2);
    await mailchute('callout', 'flush', 'all');
    assert.deepEqual((await mailchute('callout', 'list')).lines, []);
  });

  test('test shows each step, and leaves the cache alone unless asked', async () => {
    const place = store.endpoint.kind === 'tcp' ? store.endpoint.port : 0;
    const plain = (lines: readonly string[]): string[] =>
      lines.map((line) => line.replace(/ \(\d+\.\d ms\)$/, ' (TIME)').replaceAll(`:${place}`, ':PORT'));
    const down = 'Network is unreachable after connect (TIME)';
    const ok = await mailchute('callout', 'test', 'ok@a.test', '--from', 'me@in.test', '--size', '5000');
    assert.equal(ok.code, 0);
    assert.deepEqual(plain(ok.lines), [
      'router all, transport store',
      `lmtp 255.255.255.255:PORT, MAIL FROM:<me@in.test> RCPT TO:<ok@a.test>: ${down}`,
      'lmtp 127.0.0.1:PORT, MAIL FROM:<me@in.test> RCPT TO:<ok@a.test>: 250 2.1.5 fine (TIME)',
      'ok@a.test verified (by callout)',
    ]);
    assert.deepEqual((await mailchute('callout', 'list')).lines, []);
    const bad = await mailchute('callout', 'test', 'bad@a.test', '--cache');
    assert.equal(bad.code, 2);
    assert.deepEqual(plain(bad.lines).slice(-4), [
      'a client would hear:',
      '  550-Callout verification failed:',
      '  550-550-5.1.1 no such user',
      String.raw`  550 550 5.1.1 ask somebody else`,
    ]);
    const before = rcpts();
    const again = await mailchute('callout', 'test', 'bad@a.test', '--cache');
    assert.match(
      again.lines[1] ?? '',
      /^bad@a\.test refused: Previous \(cached\) callout verification failure /,
    );
    const [reply = ''] = await askFor('bad@a.test');
    assert.match(reply, /^550-Callout verification failed:\n/);
    assert.equal(rcpts(), before, 'the daemon knows what the command learnt');
    const anybody = await mailchute('callout', 'test', 'bad@b.test', '--random');
    assert.equal(anybody.lines.at(-1), 'bad@b.test verified (by callout), as any local part there');
    assert.equal((await mailchute('callout', 'test', 'tmp@a.test')).code, 1);
    const gone = await mailchute('callout', 'test', 'gone@a.test');
    assert.deepEqual(gone.lines, [
      'router gone',
      'gone@a.test refused: moved away',
      'a client would hear:',
      '  550 moved away',
    ]);
    const file = await mailchute('callout', 'test', 'x@file.test');
    assert.equal(file.code, 0);
    assert.match(file.lines.at(-1) ?? '', /^x@file\.test verified \(by route\)$/);
  });

  test('retry tells which hosts are down, by address and by host', async () => {
    assert.deepEqual((await mailchute('retry')).lines, ['No retry data found']);
    for (const to of ['x@routed.test', 'x@down.test']) {
      const sent = await submit(port, { from: 's@in.test', to: [to], content: 'Subject: x\r\n\r\nx\r\n' });
      assert.match(sent.reply, /^250 /);
    }
    const lines = await until(async () => {
      const found = await mailchute('retry');
      return found.lines.length > 5 ? found.lines : undefined;
    }, 'both places are known to be down');
    const date = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`;
    assert.equal(lines.length, 10, lines.join('\n'));
    assert.equal(lines[0], 'Transport: down: Connection refused');
    const wanted = [
      String.raw`^Transport: down 127\.0\.0\.9 \[127\.0\.0\.9\]: Connection refused$`,
      `^  first failed: ${date} \\(\\d+s ago\\)$`,
      `^  last tried:   ${date} \\(\\d+s ago\\)$`,
      `^  next try at:  ${date} \\(in 1[45]m\\w*\\)$`,
      `^  final cutoff: ${date}; mail for it is returned when a try fails after that$`,
    ];
    for (const [i, pattern] of wanted.entries()) assert.match(lines[i + 5] ?? '', new RegExp(pattern));
    assert.equal((await mailchute('retry', '127.0.0.9')).lines.length, 5);
    assert.deepEqual((await mailchute('retry', 'elsewhere.test')).lines, [
      'No retry data found for elsewhere.test',
    ]);
    const of = await mailchute('retry', 'x@routed.test');
    assert.equal(of.lines[0], 'x@routed.test: transport down, hosts 127.0.0.9');
    assert.equal(of.lines.filter((line) => line.startsWith('Transport: ')).length, 2);
    assert.deepEqual((await mailchute('retry', 'x@a.test')).lines, [
      'x@a.test: transport store',
      'No retry data found for x@a.test',
    ]);
  });

  test('mistakes are told with the usage', async () => {
    for (const [words, problem] of [
      [['callout'], 'mailchute callout: what is to be done?'],
      [['callout', 'lst'], 'mailchute callout: unknown command lst'],
      [['callout', 'list', 'x'], 'mailchute callout: list takes no x'],
      [
        ['callout', 'flush'],
        'mailchute callout: flush: what is to be forgotten? An address, a domain, or all',
      ],
      [['callout', 'show'], 'mailchute callout: show: which address or domain?'],
      [['callout', 'show', 'a', 'b'], 'mailchute callout: show: one at a time, not also b'],
      [['callout', 'test', 'x'], 'mailchute callout: test: "x" is no address with a domain'],
      [['callout', 'list', '--cache'], 'mailchute callout: --cache is not understood'],
      [['callout', 'test', 'x@a.test', '--size'], 'mailchute callout: --size needs a value'],
      [['retry', 'a', 'b'], 'mailchute retry: one at a time, not also b'],
      [['retry', '-x'], 'mailchute retry: -x is not understood'],
      [['retry', '-C'], 'mailchute retry: -C needs a file'],
    ] as const) {
      const { code, output } = await runToEnd(program, words);
      assert.equal(code, 1, words.join(' '));
      const [first, second] = output.split('\n');
      assert.equal(first, problem);
      assert.match(second ?? '', /^usage:/);
    }
    const missing = await runToEnd(program, [
      'callout',
      'list',
      '-C',
      path.join(folder.path, 'no-such.conf'),
    ]);
    assert.equal(missing.code, 1);
    assert.match(missing.output, /no-such\.conf/);
  });
});
