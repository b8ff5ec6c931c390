// Mail handed over while its sender waits (control = cutthrough_delivery, direct_delivery_hosts): every end that a hand-over can have.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startMailchute, type Mailchute } from '../support/mailchute.ts';
import { acceptedId, completed, linesAbout } from '../support/message-log.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { extensions, type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { openMessage, transact } from '../support/smtp-talk.ts';

const letter = (subject: string): string =>
  `From: <s@in.test>\r\nTo: <r@a.test>\r\nMessage-ID: <${subject}@in.test>\r\nSubject: ${subject}\r\n\r\nbody\r\n`;

describe('direct delivery', () => {
  const folder = temporaryFolder('direct');
  let a: ScriptedServer;
  let b: ScriptedServer;
  const edges = new Map<string, { edge: Mailchute; port: number }>();

  /** Domains go to the store of their name; the client's sender chooses what the ACL asks for. */
  async function startEdge(
    name: string,
    main: string,
    acl: string,
    dataAcl = '  accept add_header = X-Data-ACL: seen',
  ): Promise<void> {
    const port = await freePort();
    const tcp = b.endpoint.kind === 'tcp' ? b.endpoint.port : 0;
    const unix = a.endpoint.kind === 'unix' ? a.endpoint.path : '';
    const edge = await startMailchute(
      path.join(folder.path, name),
      `qualify_domain = in.test\ndaemon_smtp_ports = ${port}\nacl_smtp_rcpt = rcpt\nacl_smtp_data = data\n${main}`,
      `begin acl
rcpt:
${acl}
  accept
data:
  deny message = not this one
       condition = \${if match{$h_subject:}{virus}}
${dataAcl}
begin routers
a:
  driver = accept
  domains = a.test
  transport = unix
b:
  driver = manualroute
  domains = b.test
  route_list = * 127.0.0.1
  self = send
  transport = tcp
back:
  driver = accept
  domains = in.test
  transport = unix
begin transports
unix:
  driver = lmtp
  socket = ${unix}
  batch_max = 100
tcp:
  driver = smtp
  protocol = lmtp
  port = ${tcp}
begin retry
* * F,1h,1s
`,
    );
    edges.set(name, { edge, port });
  }

  before(async () => {
    a = await startScriptedServer({}, 'unix');
    b = await startScriptedServer({}, 'tcp');
    await startEdge('control', '', '  warn control = cutthrough_delivery');
    await startEdge('pass', '', '  warn control = cutthrough_delivery/defer=pass');
    await startEdge('option', 'direct_delivery_hosts = 127.0.0.1\nprdr_enable = true', '');
    await startEdge('stream', 'direct_delivery_hosts = *\nmessage_size_limit = 50M', '', '  accept');
    await startEdge(
      'option-pass',
      'direct_delivery_hosts = *\ndirect_delivery_defer = pass\nprdr_enable = true',
      '',
    );
  });
  after(async () => {
    for (const { edge } of edges.values()) await edge.stop();
    await a[Symbol.asyncDispose]();
    await b[Symbol.asyncDispose]();
    folder.remove();
  });
  beforeEach(() => {
    a.script = { helo: () => extensions.all };
    b.script = { helo: () => extensions.all };
  });

  /** Gives the replies of {@link transact}. */
  const send = (name: string, subject: string, to: readonly string[], mail = ''): Promise<string[]> =>
    transact(edges.get(name)?.port ?? 0, { from: 's@in.test', mail, to, content: letter(subject) });

  const log = (name: string): string => edges.get(name)?.edge.mainLog() ?? '';
  const through = (name: string, replies: readonly string[]): Promise<string[]> =>
    completed(() => log(name), replies);
  const copies = (server: ScriptedServer, subject: string): number =>
    server.contents.filter((c) => c.includes(`Subject: ${subject}\r\n`)).length;

  for (const name of ['control', 'pass', 'option', 'option-pass'])
    test(`${name}: all stores take it: nothing is spooled, and the log says so`, async () => {
      const subject = `all-${name}`;
      const replies = await send(name, subject, ['r@a.test', 'r@b.test', 's@a.test']);
      acceptedId(replies);
      assert.deepEqual([copies(a, subject), copies(b, subject)], [1, 1]);
      const lines = await through(name, replies);
      assert.deepEqual(
        lines.map((l) => l.replace(/ S=.*| H=.*/, '').replace(/ C=.*/, '')),
        [
          // The store that answers first comes first.
          ...lines.slice(0, 3).map((l) => l.replace(/ S=.*| H=.*/, '').replace(/ C=.*/, '')),
          '<= s@in.test',
          'Completed',
        ],
      );
      for (const one of ['r <r@a.test> R=a T=unix', 's <s@a.test> R=a T=unix', 'r@b.test R=b T=tcp'])
        assert.ok(
          lines.slice(0, 3).some((l) => l.startsWith(`>> ${one}`)),
          one,
        );
      const stored = a.contents.find((c) => c.includes(subject));
      const text = stored?.toString('latin1') ?? '';
      assert.match(text, /^Received: from /);
      assert.match(text, /\r\nX-Data-ACL: seen\r\n\r\nbody\r\n$/);
    });

  test('an unknown recipient is refused at RCPT though no ACL asked', async () => {
    a.script = {
      helo: () => extensions.all,
      rcpt: (p) => (p.startsWith('no') ? '550 5.1.1 unknown here\r\n' : '250 ok\r\n'),
    };
    const replies = await send('control', 'unknown', ['nobody@a.test', 'r@a.test']);
    assert.match(replies[1] ?? '', /^550[- ].*\n?.*unknown here/);
    assert.match(replies[2] ?? '', /^250/);
    acceptedId(replies);
    assert.match(log('control'), /rejected RCPT <nobody@a\.test>: .*unknown here/);
  });

  test("refused by all for good: the store's words reach the sender, and there is no bounce", async () => {
    a.script = { helo: () => extensions.all, content: () => '552 5.2.2 mailbox full\r\n' };
    const replies = await send('control', 'full', ['r@a.test', 'q@a.test']);
    assert.equal(replies.at(-1), '552 5.2.2 mailbox full');
    b.script = { helo: () => extensions.all, content: () => '550 5.7.1 no such mail\r\n' };
    const both = await send('control', 'full-both', ['r@a.test', 'q@b.test']);
    assert.deepEqual(both.at(-1)?.split('\n'), [
      '550-<r@a.test> mailbox full',
      '550 <q@b.test> no such mail',
    ]);
    assert.match(log('control'), /rejected after DATA: .*mailbox full/);
    assert.doesNotMatch(log('control'), /<= <> /);
  });

  test('some stored, some refused: 250, and a bounce for the refused', async () => {
    b.script = { helo: () => extensions.all, content: () => '550 5.7.1 policy\r\n' };
    const replies = await send('control', 'mixed', ['r@a.test', 'q@b.test']);
    const lines = await through('control', replies);
    assert.match(lines.join('\n'), /^\*\* q@b\.test .*policy/m);
    await until(
      () => a.contents.some((c) => c.includes('delivery-status') && c.includes('q@b.test')),
      'the bounce comes',
    );
    const whole = a.contents.filter((c) =>
      /^Received: .*\r\n(?:[^\r]*\r\n)*?Subject: mixed\r\n/.test(c.toString('latin1')),
    );
    assert.equal(whole.filter((c) => !c.includes('delivery-status')).length, 1);
  });

  for (const [what, content] of [
    ['puts it off', '450 4.2.0 later\r\n'],
    ['dies after the final dot', { say: '', close: true }],
  ] as const)
    test(`one store has it, another ${what}: the rest is spooled before the 250, and comes once`, async () => {
      b.script = { helo: () => extensions.all, content: () => content };
      const subject = `later-${what.slice(0, 4)}`;
      const replies = await send('pass', subject, ['r@a.test', 'q@b.test']);
      const id = acceptedId(replies);
      await until(() => linesAbout(log('pass'), id).some((l) => l.startsWith('== q@b.test')), 'it is logged');
      b.script = { helo: () => extensions.all };
      const before = copies(b, subject);
      await through('pass', replies);
      assert.equal(copies(b, subject), before + 1);
      assert.equal(copies(a, subject), 1);
    });

  test('nobody takes it now: spooled, or the sender keeps it with defer=pass', async () => {
    const later = { helo: () => extensions.all, content: () => '450 4.2.0 come later\r\n' };
    a.script = later;
    const kept = await send('pass', 'passed', ['r@a.test']);
    assert.equal(kept.at(-1), '450 4.2.0 come later');
    const spooled = await send('control', 'spooled', ['r@a.test']);
    acceptedId(spooled);
    a.script = { helo: () => extensions.all };
    await through('control', spooled);
    assert.doesNotMatch(log('pass'), /passed@in\.test/);
  });

  test('the store does not see a message that the DATA ACL refuses', async () => {
    const replies = await send('control', 'virus', ['r@a.test', 'r@b.test']);
    assert.equal(replies.at(-1), '550 not this one');
    assert.deepEqual([copies(a, 'virus'), copies(b, 'virus')], [0, 0]);
  });

  test('PRDR: each recipient has its own answer, and nothing is bounced', async () => {
    b.script = { helo: () => extensions.all, content: () => '550 5.7.1 policy\r\n' };
    const replies = await send('option', 'prdr', ['r@a.test', 'q@b.test', 'r@a.test'], ' PRDR');
    assert.deepEqual(replies.slice(4, 7), ['250 2.1.5 Accepted', '550 5.7.1 policy', '250 2.1.5 Accepted']);
    acceptedId(replies);
    b.script = { helo: () => extensions.all, content: () => '450 4.2.0 later\r\n' };
    const passed = await send('option-pass', 'prdr-pass', ['r@a.test', 'q@b.test'], ' PRDR');
    assert.deepEqual(passed.slice(3, 5), ['250 2.1.5 Accepted', '450 4.2.0 later']);
    const spooled = await send('option', 'prdr-spool', ['r@a.test', 'q@b.test'], ' PRDR');
    assert.deepEqual(spooled.slice(3, 5), ['250 2.1.5 Accepted', '250 2.1.5 Accepted']);
    b.script = { helo: () => extensions.all };
    await through('option', spooled);
    assert.ok(linesAbout(log('option-pass'), acceptedId(passed)).length > 1);
    assert.doesNotMatch(log('option') + log('option-pass'), /<= <> /);
  });

  /** Some 4 MB of lines, some of which begin with a dot. */
  const large = '.a line of the large message that is not at its end yet\r\n'.repeat(70_000);

  /** Sends the head of a large message, and gives what sends the rest. */
  async function begin(subject: string, to: readonly string[]) {
    const talk = await openMessage(edges.get('stream')?.port ?? 0, { from: 's@in.test', to });
    talk.write(letter(subject) + large.slice(0, 58 * 20_000).replaceAll('.a line', '..a line'));
    return {
      talk,
      end: (): Promise<string> =>
        talk.send(`${large.slice(58 * 20_000).replaceAll('.a line', '..a line')}.\r\n`),
    };
  }
  const dataCommands = (server: ScriptedServer): number =>
    server.commands.filter((c) => c.startsWith('DATA')).length;

  test('a large message is on its way to the stores before its end has come, whole and once', async () => {
    const before = [dataCommands(a), dataCommands(b)] as const;
    const { talk, end } = await begin('large', ['r@a.test', 'r@b.test']);
    await until(() => dataCommands(a) > before[0] && dataCommands(b) > before[1], 'both stores were asked');
    assert.deepEqual([copies(a, 'large'), copies(b, 'large')], [0, 0]);
    const reply = await end();
    talk.close();
    acceptedId([reply]);
    for (const server of [a, b]) {
      const [content, ...more] = server.contents.filter((c) => c.includes('Subject: large\r\n'));
      assert.equal(more.length, 0);
      const text = content?.toString('latin1') ?? '';
      assert.match(text, /^Received: from /);
      assert.ok(text.endsWith(`\r\n\r\nbody\r\n${large}`), 'the content is whole');
    }
    const lines = await through('stream', [reply]);
    assert.deepEqual(
      lines.map((l) => l.slice(0, 3)),
      ['>> ', '>> ', '<= ', 'Com'],
    );
  });

  test('refused by the DATA ACL at its end: no store takes what it got', async () => {
    const before = dataCommands(a);
    const { talk, end } = await begin('virus-large', ['r@a.test', 'r@b.test']);
    await until(() => dataCommands(a) > before, 'the store was asked');
    assert.equal(await end(), '550 not this one');
    talk.close();
    await a.quiet();
    assert.deepEqual([copies(a, 'virus-large'), copies(b, 'virus-large')], [0, 0]);
    assert.doesNotMatch(log('stream'), /virus-large@in\.test/);
  });

  test('the sender goes away in the middle: no store takes what it got', async () => {
    const before = dataCommands(a);
    const { talk } = await begin('gone', ['r@a.test']);
    await until(() => dataCommands(a) > before, 'the store was asked');
    talk.close();
    await a.quiet();
    assert.equal(copies(a, 'gone'), 0);
  });

  test('a store that hangs up in the middle gets the message from the spool later, another has it', async () => {
    b.script = { helo: () => extensions.all, data: { say: '354 go\r\n', close: 'reset' } };
    const { talk, end } = await begin('hangup', ['r@a.test', 'r@b.test']);
    const reply = await end();
    talk.close();
    acceptedId([reply]);
    b.script = { helo: () => extensions.all };
    await through('stream', [reply]);
    assert.deepEqual([copies(a, 'hangup'), copies(b, 'hangup')], [1, 1]);
    const content = b.contents.findLast((c) => c.includes('Subject: hangup\r\n'))?.toString('latin1') ?? '';
    assert.ok(content.endsWith(`\r\n\r\nbody\r\n${large}`), 'the content is whole');
  });
});
