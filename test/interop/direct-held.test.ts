// The transaction in which a recipient was asked about carries the message (control = cutthrough_delivery, direct_delivery_hosts):
// when it does, when it must not, and that it is given back.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type Mailchute, startMailchute } from '../support/mailchute.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import {
  extensions,
  type Script,
  type ScriptedServer,
  startScriptedServer,
} from '../support/scripted-server.ts';
import { type SmtpTalk, smtpTalk } from '../support/smtp-talk.ts';

const letter = (subject: string): string =>
  `Message-ID: <${subject}@in.test>\r\nSubject: ${subject}\r\n\r\nbody\r\n`;

const helo = (): string => extensions.all;
const withoutChunking = (): string => extensions.pipelining;

describe('held transactions of direct delivery', () => {
  const folder = temporaryFolder('direct-held');
  const stores = new Map<string, ScriptedServer>();
  let edge: Mailchute;
  let port = 0;

  const store = (name: string): ScriptedServer => {
    const found = stores.get(name);
    assert.ok(found !== undefined);
    return found;
  };
  const portOf = (name: string): number => {
    const { endpoint } = store(name);
    return endpoint.kind === 'tcp' ? endpoint.port : 0;
  };
  const protocolOf = (name: string): Script => (name === 'smtp' ? { protocol: 'smtp' } : {});

  before(async () => {
    for (const name of ['unix', 'tcp', 'smtp'] as const)
      stores.set(name, await startScriptedServer(protocolOf(name), name === 'unix' ? 'unix' : 'tcp'));
    const { endpoint } = store('unix');
    port = await freePort();
    edge = await startMailchute(
      folder.path,
      `qualify_domain = in.test
daemon_smtp_ports = ${port}
acl_smtp_rcpt = rcpt
acl_smtp_predata = predata
acl_smtp_data = data
smtp_accept_max = 100`,
      `begin acl
rcpt:
  warn    control = cutthrough_delivery
  deny    local_parts = denied
          verify = recipient/callout=no_cache
  accept  domains = cached.unix.test
          verify = recipient/callout
  accept  local_parts = asked : ^asked-
          verify = recipient/callout=no_cache
  deny    local_parts = asked : ^asked-
          message = not there
  accept
predata:
  deny    sender_domains = predata.test
  accept
data:
  deny    condition = \${if match{$h_subject:}{virus}}
          message = not this one
  accept  add_header = X-Data-ACL: seen
begin routers
unix:
  driver = accept
  domains = unix.test : cached.unix.test
  transport = unix
alias:
  driver = redirect
  domains = alias.test
  data = $local_part@unix.test
errors:
  driver = accept
  domains = errors.test
  errors_to = owner@in.test
  transport = unix
single:
  driver = accept
  domains = single.test
  transport = single
sent:
  driver = accept
  domains = sent.test
  transport = sent
edited:
  driver = accept
  domains = edited.test
  transport = edited
tcp:
  driver = manualroute
  domains = tcp.test
  route_list = * 127.0.0.1
  self = send
  transport = tcp
smtp:
  driver = manualroute
  domains = smtp.test
  route_list = * 127.0.0.1
  self = send
  transport = smtp
back:
  driver = accept
  domains = in.test
  transport = unix
begin transports
unix:
  driver = lmtp
  socket = ${endpoint.kind === 'unix' ? endpoint.path : ''}
  batch_max = 100
single:
  driver = lmtp
  socket = ${endpoint.kind === 'unix' ? endpoint.path : ''}
sent:
  driver = lmtp
  socket = ${endpoint.kind === 'unix' ? endpoint.path : ''}
  return_path = other@in.test
edited:
  driver = lmtp
  socket = ${endpoint.kind === 'unix' ? endpoint.path : ''}
  headers_add = X-Transport: seen
tcp:
  driver = smtp
  protocol = lmtp
  port = ${portOf('tcp')}
smtp:
  driver = smtp
  port = ${portOf('smtp')}
begin retry
* * F,1h,1s
`,
    );
  });
  after(async () => {
    await edge?.stop();
    for (const one of stores.values()) await one[Symbol.asyncDispose]();
    folder.remove();
  });
  beforeEach(async () => {
    for (const [name, one] of stores) await one.restart({ ...protocolOf(name), helo });
  });

  const greeting = /^(?:LHLO|EHLO|QUIT)/;
  /** What a store was told, greetings left out and sizes replaced. */
  const told = (name: string): string[] =>
    store(name)
      .commands.filter((c) => !greeting.test(c))
      .map((c) => c.replace(/^BDAT \d+/, 'BDAT n'));
  const count = (name: string, command: RegExp): number => told(name).filter((c) => command.test(c)).length;
  const idOf = (reply: string): string => /^250 OK id=(\S+)/.exec(reply)?.[1] ?? '';

  async function talkTo(
    to: readonly string[],
    from = 's@in.test',
  ): Promise<{ readonly talk: SmtpTalk; readonly replies: readonly string[] }> {
    const talk = await smtpTalk(port);
    const replies = [await talk.send(`MAIL FROM:<${from}>\r\n`)];
    for (const one of to) replies.push(await talk.send(`RCPT TO:<${one}>\r\n`));
    return { talk, replies: replies.slice(1) };
  }

  async function finish(talk: SmtpTalk, subject: string): Promise<string> {
    try {
      const go = await talk.send('DATA\r\n');
      return go.startsWith('354') ? await talk.send(`${letter(subject)}.\r\n`) : go;
    } finally {
      talk.close();
    }
  }

  async function deliver(subject: string, to: readonly string[], from?: string): Promise<string> {
    const { talk } = await talkTo(to, from);
    return finish(talk, subject);
  }

  for (const [name, greet, content] of [
    ['unix', helo, ['BDAT n LAST']],
    ['unix', withoutChunking, ['DATA']],
    ['unix', () => extensions.none, ['DATA']],
    ['tcp', helo, ['BDAT n LAST']],
    ['tcp', withoutChunking, ['DATA']],
    ['smtp', helo, ['BDAT n LAST']],
    ['smtp', withoutChunking, ['DATA']],
    ['smtp', () => extensions.none, ['DATA']],
  ] as const)
    test(`${name}: RCPTs and content in one transaction on one connection (${content[0]}, ${greet().length})`, async () => {
      store(name).script = { ...protocolOf(name), helo: greet };
      const reply = await deliver(`one-${name}`, [`r@${name}.test`, `asked@${name}.test`]);
      assert.match(reply, /^250 OK id=/);
      assert.deepEqual(told(name), [
        'MAIL FROM:<s@in.test>',
        `RCPT TO:<r@${name}.test>`,
        `RCPT TO:<asked@${name}.test>`,
        ...content,
      ]);
      assert.equal(store(name).connections, 1);
      const [got, ...more] = store(name).contents.map((c) => c.toString('latin1'));
      assert.equal(more.length, 0);
      assert.match(got ?? '', /^Received: [\s\S]*\r\nX-Data-ACL: seen\r\n\r\nbody\r\n$/);
    });

  test('a batch with DATA behind it is one flight, where the store takes no chunks', async () => {
    store('unix').script = { helo: withoutChunking };
    const talk = await smtpTalk(port);
    const batch = [
      'MAIL FROM:<s@in.test>',
      'RCPT TO:<asked-1@unix.test>',
      'RCPT TO:<asked-2@unix.test>',
      'DATA',
    ];
    assert.match(await talk.send(`${batch.join('\r\n')}\r\n`), /^250/);
    for (const expected of [/^250/, /^250/, /^354/]) assert.match(await talk.send(''), expected);
    assert.match(await talk.send(`${letter('batch')}.\r\n`), /^250 OK id=/);
    talk.close();
    assert.deepEqual(told('unix'), [
      'MAIL FROM:<s@in.test>',
      'RCPT TO:<asked-1@unix.test>',
      'RCPT TO:<asked-2@unix.test>',
      'DATA',
    ]);
    // LHLO, the envelope with DATA, the content.
    assert.equal(store('unix').reads, 3);
    assert.equal(store('unix').contents.length, 1);
  });

  for (const timeout of ['0s', '5w'])
    test(`direct_delivery_timeout = ${timeout}, and callouts that may wait as long: nobody is given up at once`, async () => {
      const other = temporaryFolder('direct-patient');
      const { endpoint } = store('unix');
      const at = await freePort();
      const patient = await startMailchute(
        other.path,
        `qualify_domain = in.test
daemon_smtp_ports = ${at}
acl_smtp_rcpt = rcpt
direct_delivery_hosts = *
direct_delivery_timeout = ${timeout}`,
        `begin acl
rcpt:
  accept  verify = recipient/callout=5w,maxwait=5w,no_cache
begin routers
unix:
  driver = accept
  transport = unix
begin transports
unix:
  driver = lmtp
  socket = ${endpoint.kind === 'unix' ? endpoint.path : ''}
`,
      );
      try {
        const talk = await smtpTalk(at);
        assert.match(await talk.send('MAIL FROM:<s@in.test>\r\n'), /^250/);
        assert.match(await talk.send('RCPT TO:<r@unix.test>\r\n'), /^250/);
        assert.match(await finish(talk, 'patient'), /^250 OK id=/);
        assert.match(patient.mainLog(), / >> r <r@unix\.test> /);
      } finally {
        await patient.stop();
        other.remove();
      }
      assert.equal(store('unix').contents.length, 1);
    });

  test('several stores, and a refused recipient among accepted ones', async () => {
    const rcpt = (p: string): string => (p.startsWith('no') ? '550 5.1.1 unknown\r\n' : '250 ok\r\n');
    for (const name of stores.keys()) store(name).script = { ...protocolOf(name), helo, rcpt };
    const to = ['r@unix.test', 'no@unix.test', 'q@unix.test', 'r@tcp.test', 'no@smtp.test', 'r@smtp.test'];
    const { talk, replies } = await talkTo(to);
    assert.deepEqual(
      replies.map((r) => r.slice(0, 3)),
      ['250', '550', '250', '250', '550', '250'],
    );
    assert.match(await finish(talk, 'several'), /^250 OK id=/);
    for (const name of stores.keys()) {
      assert.equal(count(name, /^MAIL/), 1, name);
      assert.equal(store(name).contents.length, 1, name);
      assert.equal(store(name).connections, 1, name);
    }
    assert.equal(count('unix', /^RCPT/), 3);
  });

  test('replies after the content belong to recipients by position', async () => {
    store('unix').script = {
      helo,
      content: (i) => (i === 1 ? '552 5.2.2 full\r\n' : '250 ok\r\n'),
      again: { helo },
    };
    const reply = await deliver('positions', ['a@unix.test', 'b@unix.test', 'c@unix.test']);
    const id = idOf(reply);
    await until(() => edge.mainLog().includes(`${id} Completed`), 'it is through');
    const lines = edge
      .mainLog()
      .split('\n')
      .filter((l) => l.includes(`${id} `));
    for (const who of ['a', 'c'])
      assert.ok(
        lines.some((l) => l.includes(`>> ${who} <${who}@unix.test>`)),
        who,
      );
    assert.ok(
      lines.some((l) => / \*\* b@unix\.test .*full/.test(l)),
      lines.join('\n'),
    );
    await until(() => store('unix').contents.length === 2, 'the bounce comes');
  });

  test('an address that is redirected to another goes in the transaction of that', async () => {
    assert.match(await deliver('alias', ['r@alias.test', 'q@unix.test']), /^250 OK id=/);
    assert.deepEqual(told('unix'), [
      'MAIL FROM:<s@in.test>',
      'RCPT TO:<r@unix.test>',
      'RCPT TO:<q@unix.test>',
      'BDAT n LAST',
    ]);
  });

  test('one recipient a transaction: as many transactions, each with its content', async () => {
    assert.match(await deliver('single', ['r@single.test', 'q@single.test']), /^250 OK id=/);
    assert.equal(count('unix', /^MAIL/), 2);
    assert.equal(count('unix', /^RCPT/), 2);
    assert.equal(store('unix').contents.length, 2);
  });

  test('header lines that a transport adds are in the content of the same transaction', async () => {
    assert.match(await deliver('edited', ['r@edited.test']), /^250 OK id=/);
    assert.equal(count('unix', /^MAIL/), 1);
    assert.match(store('unix').contents[0]?.toString('latin1') ?? '', /\r\nX-Transport: seen\r\n/);
  });

  test('a cached answer goes with those who are asked, and alone it asks nobody', async () => {
    assert.match(await deliver('cache-1', ['r@cached.unix.test']), /^250 OK id=/);
    assert.equal(count('unix', /^MAIL/), 1);
    await store('unix').restart({ helo });
    const { talk } = await talkTo(['r@cached.unix.test']);
    assert.deepEqual(told('unix'), []);
    assert.match(await talk.send('RCPT TO:<s@cached.unix.test>\r\n'), /^250/);
    assert.deepEqual(told('unix'), [
      'MAIL FROM:<s@in.test>',
      'RCPT TO:<r@cached.unix.test>',
      'RCPT TO:<s@cached.unix.test>',
    ]);
    assert.match(await finish(talk, 'cache-2'), /^250 OK id=/);
    assert.equal(count('unix', /^MAIL/), 1);
  });

  for (const [what, to] of [
    ['errors_to', 'r@errors.test'],
    ['return_path', 'r@sent.test'],
  ] as const)
    test(`${what}: another reverse path is another transaction`, async () => {
      const { talk } = await talkTo([to]);
      assert.match(await finish(talk, `path-${what}`), /^250 OK id=/);
      const mails = told('unix').filter((c) => c.startsWith('MAIL'));
      assert.equal(mails.at(-1), `MAIL FROM:<${what === 'errors_to' ? 'owner' : 'other'}@in.test>`);
      assert.equal(store('unix').contents.length, 1);
    });

  test('a recipient that the store took and the ACL refused gets nothing', async () => {
    store('unix').script = { helo, rcpt: () => '250 ok\r\n' };
    const { talk, replies } = await talkTo(['r@unix.test', 'denied@unix.test', 'q@unix.test']);
    assert.deepEqual(
      replies.map((r) => r.slice(0, 3)),
      ['250', '550', '250'],
    );
    assert.match(await finish(talk, 'denied'), /^250 OK id=/);
    assert.deepEqual(told('unix').slice(4), [
      'MAIL FROM:<s@in.test>',
      'RCPT TO:<r@unix.test>',
      'RCPT TO:<q@unix.test>',
      'BDAT n LAST',
      'RSET',
    ]);
    assert.equal(store('unix').contents.length, 1);
  });

  test('the connection dies before the content: the message goes in a new transaction, once', async () => {
    const { talk } = await talkTo(['r@unix.test', 'q@unix.test']);
    await store('unix').hangUp();
    assert.match(await finish(talk, 'dead-before'), /^250 OK id=/);
    assert.equal(count('unix', /^MAIL/), 2);
    assert.equal(store('unix').contents.length, 1);
    assert.match(edge.mainLog(), />> r <r@unix\.test>/);
  });

  for (const close of [true, 'reset'] as const)
    test(`the store goes at DATA (${String(close)}): the message goes in a new transaction, once`, async () => {
      store('tcp').script = {
        helo: withoutChunking,
        data: { say: '', close },
        again: { helo: withoutChunking },
      };
      assert.match(await deliver(`dead-data-${String(close)}`, ['r@tcp.test']), /^250 OK id=/);
      assert.equal(store('tcp').contents.length, 1);
      assert.equal(count('tcp', /^MAIL/), 2);
    });

  test('the store goes after the content: spooled before the 250, and it comes later', async () => {
    store('unix').script = { helo, content: () => ({ say: '', close: true }), again: { helo } };
    const reply = await deliver('dead-after', ['r@unix.test']);
    assert.match(reply, /^250 OK id=/);
    await until(() => edge.mainLog().includes(`${idOf(reply)} Completed`), 'it comes later');
    const lines = edge
      .mainLog()
      .split('\n')
      .filter((l) => l.includes(`${idOf(reply)} `));
    assert.ok(
      lines.some((l) => l.includes('== r@unix.test')),
      lines.join('\n'),
    );
    assert.equal(count('unix', /^MAIL/), 2);
  });

  test('DATA refused: the words of the store, and the connection is good for the next message', async () => {
    store('unix').script = { helo: withoutChunking, data: '554 5.3.0 not now\r\n' };
    assert.equal(await deliver('data-refused', ['r@unix.test']), '554 5.3.0 not now');
    store('unix').script = { helo: withoutChunking };
    assert.match(await deliver('data-next', ['r@unix.test']), /^250 OK id=/);
    assert.equal(store('unix').connections, 1);
    assert.deepEqual(told('unix').slice(3, 5), ['RSET', 'MAIL FROM:<s@in.test>']);
  });

  const ends: readonly [what: string, end: (talk: SmtpTalk) => Promise<unknown>][] = [
    ['RSET', (talk) => talk.send('RSET\r\n')],
    ['EHLO', (talk) => talk.send('EHLO again.test\r\n')],
    ['QUIT', (talk) => talk.send('QUIT\r\n')],
    ['a lost client', (talk) => Promise.resolve(talk.close())],
    ['a refusal by the DATA ACL', (talk) => finish(talk, 'virus')],
  ];
  for (const [what, end] of ends)
    test(`${what} gives the transaction back`, async () => {
      const { talk } = await talkTo(['r@unix.test', 'r@smtp.test']);
      assert.equal(count('unix', /^RSET/), 0);
      await end(talk);
      for (const name of ['unix', 'smtp']) {
        await until(() => count(name, /^RSET/) === 1, `${name} sees RSET`);
        assert.equal(store(name).contents.length, 0);
        assert.equal(store(name).connections, 1);
      }
      talk.close();
      assert.match(await deliver(`after-${what.slice(0, 4)}`, ['r@unix.test']), /^250 OK id=/);
      assert.equal(store('unix').connections, 1, 'it is used again');
    });

  test('a refusal before DATA gives the transaction back', async () => {
    const { talk } = await talkTo(['r@unix.test'], 's@predata.test');
    assert.match(await talk.send('DATA\r\n'), /^550/);
    await until(() => count('unix', /^RSET/) === 1, 'the store sees RSET');
    talk.close();
    assert.equal(store('unix').contents.length, 0);
  });

  test('where DATA was said with RCPT, giving it back is closing, and nothing is taken', async () => {
    store('unix').script = { helo: withoutChunking };
    const talk = await smtpTalk(port);
    const batch = 'MAIL FROM:<s@in.test>\r\nRCPT TO:<r@unix.test>\r\nDATA\r\n';
    assert.match(await talk.send(batch), /^250/);
    for (const expected of [/^250/, /^354/]) assert.match(await talk.send(''), expected);
    assert.match(await talk.send(`${letter('virus')}.\r\n`), /^550/);
    talk.close();
    await store('unix').quiet();
    assert.equal(store('unix').contents.length, 0);
    assert.equal(count('unix', /^DATA/), 1);
  });

  test('so many wait at a store and no more; others ask and deliver as before', async () => {
    const waiting: SmtpTalk[] = [];
    for (let i = 0; i < 20; i++) waiting.push((await talkTo([`w${i}@unix.test`])).talk);
    const held = count('unix', /^RCPT/) - count('unix', /^RSET/);
    assert.equal(held, 16);
    assert.match(await deliver('beyond', ['r@unix.test']), /^250 OK id=/);
    for (const talk of waiting.slice(0, 10)) assert.match(await finish(talk, 'waited'), /^250 OK id=/);
    for (const talk of waiting.slice(10)) assert.match(await finish(talk, 'waited too'), /^250 OK id=/);
    assert.equal(store('unix').contents.length, 21);
  });

  test('one message holds eight transactions at the most', async () => {
    const to = Array.from({ length: 12 }, (_, i) => `r${i}@single.test`);
    const { talk } = await talkTo(to);
    assert.equal(count('unix', /^RCPT/) - count('unix', /^RSET/), 8);
    assert.match(await finish(talk, 'many'), /^250 OK id=/);
    assert.equal(store('unix').contents.length, 12);
  });

  test('two clients at once have a transaction each', async () => {
    const one = await talkTo(['r@unix.test'], 'one@in.test');
    const two = await talkTo(['r@unix.test', 'q@unix.test'], 'two@in.test');
    assert.match(await finish(two.talk, 'second'), /^250 OK id=/);
    assert.match(await finish(one.talk, 'first'), /^250 OK id=/);
    assert.equal(count('unix', /^MAIL/), 2);
    assert.equal(store('unix').connections, 2);
    const subjects = store('unix').contents.map((c) => /Subject: (\S+)/.exec(c.toString('latin1'))?.[1]);
    assert.deepEqual(subjects, ['second', 'first']);
  });

  test('a large message goes into it while it still comes', async () => {
    const { talk } = await talkTo(['r@unix.test', 'r@smtp.test']);
    await talk.send('DATA\r\n');
    const line = `${'x'.repeat(78)}\r\n`;
    talk.write(letter('large') + line.repeat(3000));
    assert.match(await talk.send(`${line.repeat(3000)}.\r\n`), /^250 OK id=/);
    talk.close();
    for (const name of ['unix', 'smtp']) {
      assert.equal(count(name, /^MAIL/), 1);
      const [got] = store(name).contents;
      assert.ok(got?.toString('latin1').endsWith(`body\r\n${line.repeat(6000)}`), 'the content is whole');
    }
  });

  test('a callout in which the store asks for patience is not asked twice', async () => {
    store('unix').script = { helo, rcpt: () => '450 4.2.1 busy\r\n' };
    const { talk, replies } = await talkTo(['asked@unix.test']);
    assert.match(replies[0] ?? '', /^451/);
    assert.equal(count('unix', /^RCPT/), 1);
    talk.close();
  });
});
