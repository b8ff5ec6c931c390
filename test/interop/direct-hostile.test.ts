// Mail handed over while its sender waits, where configurations, stores, senders and the administrator make it hard.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { restartMailchute, startMailchute, type Mailchute } from '../support/mailchute.ts';
import { acceptedId, completed } from '../support/message-log.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { extensions, type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { openMessage, transact } from '../support/smtp-talk.ts';

const letter = (subject: string): string =>
  `From: <s@in.test>\r\nTo: <r@a.test>\r\nSubject: ${subject}\r\n\r\nbody\r\n`;
/** What is on its way before its end has come. */
const large = `${'x'.repeat(78)}\r\n`.repeat(2500);
const refusing = (code: string) => ({ helo: () => extensions.all, content: () => code });
const hanging = { say: '', deaf: true } as const;

/** An LMTP server as a command: stores what it gets in the folder of its argument. */
const commandServer = `
const fs = require('node:fs'); let rest = '', data = false, rcpts = 0, n = 0;
process.stdout.write('220 command\\r\\n');
process.stdin.setEncoding('latin1').on('data', (d) => {
  rest += d;
  for (;;) {
    const end = data ? rest.indexOf('\\r\\n.\\r\\n') : rest.indexOf('\\r\\n');
    if (end < 0) return;
    const part = rest.slice(0, end);
    rest = rest.slice(end + (data ? 5 : 2));
    if (data) {
      fs.writeFileSync(process.argv[2] + '/' + process.pid + '.' + n++, part);
      for (; rcpts > 0; rcpts--) process.stdout.write(rcpts === 1 ? '250 ok\\r\\n' : '452 4.2.2 full\\r\\n');
      data = false;
    } else if (/^LHLO/i.test(part)) process.stdout.write('250-command\\r\\n250 PIPELINING\\r\\n');
    else if (/^DATA/i.test(part)) { data = true; process.stdout.write('354 go\\r\\n'); }
    else if (/^QUIT/i.test(part)) { process.stdout.write('221 bye\\r\\n'); process.exit(0); }
    else { if (/^RCPT/i.test(part)) rcpts++; process.stdout.write('250 ok\\r\\n'); }
  }
});
`;

describe('direct delivery under stress', () => {
  const folder = temporaryFolder('direct-hostile');
  let a: ScriptedServer;
  let b: ScriptedServer;
  let smtp: ScriptedServer;
  const edges = new Map<string, { edge: Mailchute; port: number }>();
  const commandMail = path.join(folder.path, 'command-mail');

  async function startEdge(name: string, main: string): Promise<void> {
    const port = await freePort();
    const portOf = (s: ScriptedServer): number => (s.endpoint.kind === 'tcp' ? s.endpoint.port : 0);
    const unix = a.endpoint.kind === 'unix' ? a.endpoint.path : '';
    const edge = await startMailchute(
      path.join(folder.path, name),
      `qualify_domain = in.test
daemon_smtp_ports = ${port}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
direct_delivery_hosts = *
prdr_enable = true
header_maxsize = 20000
smtp_accept_max = 50
message_size_limit = 400K
hold_domains = held.test
${main}`,
      `begin acl
rcpt:
  discard local_parts = nobody.asked
  accept local_parts = queued
         control = queue
  accept local_parts = frozen
         control = freeze
  accept
data:
  deny message = not this one
       condition = \${if match{$h_subject:}{virus}}
  accept
begin routers
syntax:
  driver = redirect
  domains = syntax.test
  data = r@a.test, not <an address
  skip_syntax_errors
  syntax_errors_to = owner@in.test
lists:
  driver = redirect
  domains = list.test
  data = r@a.test, q@b.test
same:
  driver = redirect
  domains = same.test
  data = q@b.test
owned:
  driver = redirect
  domains = owned.test
  data = q@b.test
  errors_to = owner@in.test
copied:
  driver = accept
  domains = copied.test
  transport = file
  unseen
copied_on:
  driver = accept
  domains = copied.test : a.test : held.test
  transport = unix
b:
  driver = manualroute
  domains = b.test
  route_list = * 127.0.0.1
  self = send
  transport = tcp
one:
  driver = accept
  domains = one.test
  transport = one
plain:
  driver = manualroute
  domains = smtp.test
  route_list = * 127.0.0.1
  self = send
  transport = plain
command:
  driver = accept
  domains = command.test
  transport = command
down:
  driver = accept
  domains = down.test
  transport = down
slow:
  driver = accept
  domains = slow.test
  transport = slow
back:
  driver = accept
  domains = in.test
  transport = unix
begin transports
unix:
  driver = lmtp
  socket = ${unix}
  batch_max = 100
one:
  driver = lmtp
  socket = ${unix}
tcp:
  driver = smtp
  protocol = lmtp
  port = ${portOf(b)}
plain:
  driver = smtp
  port = ${portOf(smtp)}
command:
  driver = lmtp
  command = ${process.execPath} ${folder.path}/server.cjs ${commandMail}
  batch_max = 10
down:
  driver = lmtp
  socket = ${folder.path}/nobody
slow:
  driver = lmtp
  socket = ${folder.path}/slow
file:
  driver = appendfile
  directory = ${folder.path}/copies
  maildir_format
  create_directory
  user = nobody
begin retry
* * F,1h,1s
`,
    );
    edges.set(name, { edge, port });
  }

  before(async () => {
    writeFileSync(path.join(folder.path, 'server.cjs'), commandServer);
    mkdirSync(commandMail);
    mkdirSync(path.join(folder.path, 'copies'));
    chmodSync(folder.path, 0o755);
    chmodSync(path.join(folder.path, 'copies'), 0o777);
    a = await startScriptedServer({}, 'unix');
    b = await startScriptedServer({}, 'tcp');
    smtp = await startScriptedServer({ protocol: 'smtp' }, 'tcp');
    await startEdge('spool', '');
    await startEdge('pass', 'direct_delivery_defer = pass');
    await startEdge('short', 'direct_delivery_timeout = 1s');
  });
  after(async () => {
    for (const { edge } of edges.values()) await edge.stop();
    for (const server of [a, b, smtp]) await server[Symbol.asyncDispose]();
    folder.remove();
  });
  beforeEach(() => {
    a.script = b.script = { helo: () => extensions.all };
    smtp.script = { protocol: 'smtp' };
  });

  /** Gives the replies of {@link transact}. */
  const send = (
    name: string,
    subject: string,
    to: readonly string[],
    { mail = '', content = letter(subject) } = {},
  ): Promise<string[]> => transact(portTo(name), { from: 's@in.test', mail, to, content });

  const portTo = (name: string): number => edges.get(name)?.port ?? 0;
  const log = (name: string): string => edges.get(name)?.edge.mainLog() ?? '';
  /** Waits until the message is through; gives its lines from their sign on. */
  const through = (name: string, replies: readonly string[]): Promise<string[]> =>
    completed(() => log(name), replies);
  const copies = (server: ScriptedServer, subject: string): number =>
    server.contents.filter((c) => headOf(c).split('\r\n').includes(`Subject: ${subject}`)).length;
  const headOf = (c: Buffer): string => c.subarray(0, 2000).toString('latin1').split('\r\n\r\n')[0] ?? '';
  const bounceAbout = (to: string, about: string): boolean =>
    a.contents.some((c) => c.includes('delivery-status') && c.includes(`To: ${to}`) && c.includes(about));

  test('a list with a malformed address: everybody has it once, and the owner is told', async () => {
    await through('spool', await send('spool', 'syntax', ['x@syntax.test', 's@b.test']));
    await until(() => a.contents.some((c) => c.includes('To: owner@in.test')), 'the owner is told');
    assert.deepEqual([copies(a, 'syntax'), copies(b, 'syntax')], [1, 1]);
  });

  for (const name of ['spool', 'pass'])
    test(`${name}: a list of which one has it and another refuses: 250 and a bounce, and no second copy`, async () => {
      b.script = refusing('550 5.7.1 policy\r\n');
      const lines = await through(name, await send(name, `part-${name}`, ['x@list.test']));
      assert.ok(
        lines.some((l) => l.startsWith('>> r@a.test <x@list.test>') || l.startsWith('>> r <x@list.test>')),
        lines.join('\n'),
      );
      assert.ok(
        lines.some((l) => l.startsWith('** q@b.test')),
        lines.join('\n'),
      );
      await until(() => bounceAbout('s@in.test', 'q@b.test'), 'the bounce comes');
      assert.equal(copies(a, `part-${name}`), 1);
    });

  test('a list of which one has it and another is put off: no 451 with defer=pass, since somebody has it', async () => {
    b.script = refusing('450 4.2.0 later\r\n');
    const replies = await send('pass', 'part-later', ['x@list.test']);
    acceptedId(replies);
    b.script = { helo: () => extensions.all };
    await through('pass', replies);
    assert.equal(copies(a, 'part-later'), 1);
  });

  test('an alias of another recipient has nothing of its own: who is refused is refused for both', async () => {
    b.script = refusing('550 5.7.1 policy\r\n');
    const replies = await send('spool', 'same', ['x@same.test', 'q@b.test']);
    assert.equal(replies.at(-1), '550 5.7.1 policy');
    assert.ok(!bounceAbout('s@in.test', 'Subject: same'));
  });

  test('errors of a list go to its owner, not to who wrote to it', async () => {
    b.script = refusing('550 5.7.1 policy\r\n');
    await through('spool', await send('spool', 'owned', ['x@owned.test']));
    await until(() => bounceAbout('owner@in.test', 'q@b.test'), 'the owner is told');
  });

  test('an unseen copy for a file goes through the queue; who has it from the store does not get it again', async () => {
    const lines = await through('spool', await send('spool', 'copied', ['r@copied.test']));
    assert.equal(copies(a, 'copied'), 1, lines.join('\n'));
    assert.equal(lines.filter((l) => l.startsWith('>> ')).length, 1, lines.join('\n'));
    assert.equal(readdirSync(path.join(folder.path, 'copies/new')).length, 1);
  });

  for (const what of ['', large])
    test(`time is up when one of two has been answered${what === '' ? '' : ', streamed'}: the other alone is spooled`, async () => {
      const subject = `slow${what.length}`;
      a.script = {
        helo: () => extensions.pipelining,
        content: (i) => (i === 0 ? '250 2.0.0 saved\r\n' : hanging),
      };
      const replies = await send('short', subject, ['r@a.test', 's@a.test'], {
        content: letter(subject) + what,
      });
      acceptedId(replies);
      a.script = { helo: () => extensions.all };
      const lines = await through('short', replies);
      assert.ok(
        lines.some((l) => l.startsWith('>> r <r@a.test>')),
        lines.join('\n'),
      );
      assert.ok(
        lines.some((l) => l.startsWith('=> s <s@a.test>')),
        lines.join('\n'),
      );
      const rcpts = a.commands.filter((c) => c.startsWith('RCPT TO:<r@a.test>')).length;
      assert.equal(lines.filter((l) => l.includes('<r@a.test>')).length, 1, `${rcpts} ${lines.join('\n')}`);
    });

  test('one transaction a recipient: each has its own outcome, by position', async () => {
    let n = 0;
    a.script = {
      helo: () => extensions.all,
      content: () =>
        ['250 2.0.0 saved\r\n', '552 5.2.2 full\r\n', '450 4.2.0 later\r\n'][n++] ?? '250 2.0.0 saved\r\n',
    };
    const to = ['u@one.test', 'v@one.test', 'w@one.test'];
    const replies = await send('spool', 'one-by-one', to, { content: letter('one-by-one') + large });
    const lines = await through('spool', replies);
    const signs = to.map((one) =>
      lines
        .filter((l) => l.includes(one))
        .map((l) => l.slice(0, 2))
        .join(' '),
    );
    const counts = signs.toSorted();
    assert.deepEqual(counts, ['**', '== =>', '>>'], lines.join('\n'));
  });

  test('PRDR with a repeated and a discarded recipient: a reply for each RCPT, in order', async () => {
    b.script = refusing('550 5.7.1 policy\r\n');
    const to = ['r@a.test', 'q@b.test', 'nobody.asked@b.test', 'r@a.test', 'q@b.test'];
    const replies = await send('spool', 'prdr', to, { mail: ' PRDR' });
    assert.deepEqual(
      replies.slice(6, 11).map((r) => r.slice(0, 3)),
      ['250', '550', '250', '250', '550'],
    );
    const lines = await through('spool', replies);
    assert.ok(
      lines.some((l) => l.startsWith('** q@b.test')),
      lines.join('\n'),
    );
    assert.equal(copies(a, 'prdr'), 1);
    assert.ok(!bounceAbout('s@in.test', 'Subject: prdr'));
  });

  test('PRDR where one is spooled: the refused one is logged and not bounced', async () => {
    b.script = refusing('550 5.7.1 policy\r\n');
    const replies = await send('spool', 'prdr-down', ['q@b.test', 'x@held.test'], { mail: ' PRDR' });
    assert.deepEqual(replies.slice(3, 5), ['550 5.7.1 policy', '250 2.1.5 Accepted']);
    const id = acceptedId(replies);
    await until(() => log('spool').includes(`${id} ** q@b.test`), 'the refusal is logged');
    await until(() => log('spool').includes(`${id} == x@held.test`), 'the other is held');
    assert.ok(!log('spool').includes(`${id} == q@b.test`));
    assert.ok(!bounceAbout('s@in.test', 'Subject: prdr-down'));
  });

  test('what an ACL discards is not asked about, and what it queues or freezes is not handed over', async () => {
    a.script = { helo: () => extensions.all, rcpt: () => '550 5.1.1 unknown\r\n' };
    const discarded = await send('spool', 'discarded', ['nobody.asked@a.test']);
    assert.match(discarded[1] ?? '', /^250/);
    for (const local of ['queued', 'frozen']) {
      const id = acceptedId(await send('pass', local, [`${local}@a.test`]));
      await until(() => log('pass').includes(`${id} <= `), 'it is in the spool');
      assert.equal(copies(a, local), 0);
    }
  });

  test('the size that the sender gives is told to the store at RCPT, whose refusal is passed on', async () => {
    let size = 0;
    a.script = {
      helo: () => '250-test\r\n250-PIPELINING\r\n250 SIZE 100000000\r\n',
      rcpt: () => {
        size = Number(/ SIZE=(\d+)/.exec(a.commands.findLast((c) => c.startsWith('MAIL')) ?? '')?.[1] ?? '0');
        return size > 300_000 ? '552 5.2.2 no room for that\r\n' : '250 2.1.5 ok\r\n';
      },
    };
    // An idle connection was greeted without SIZE.
    await a.hangUp();
    const replies = await send('spool', 'sized', ['r@a.test'], { mail: ' SIZE=350000' });
    assert.match(replies[1] ?? '', /^55[02][- ].*\n?.*no room for that/);
    acceptedId(await send('spool', 'sized', ['r@a.test'], { mail: ' SIZE=1000' }));
  });

  test('nobody is there: 451 or the spool, also when that is known already', async () => {
    for (let i = 0; i < 2; i++) {
      acceptedId(await send('spool', `down${i}`, ['r@down.test']));
      const passed = await send('pass', `down${i}`, ['r@down.test']);
      assert.match(passed.at(-1) ?? '', /^451 /);
    }
  });

  test('an SMTP server: one answer for all it took', async () => {
    const lines = await through('spool', await send('spool', 'smtp', ['r@smtp.test', 's@smtp.test']));
    assert.equal(lines.filter((l) => l.startsWith('>> ')).length, 2, lines.join('\n'));
    smtp.script = { protocol: 'smtp', content: () => '554 5.6.0 not like this\r\n' };
    assert.equal((await send('spool', 'smtp2', ['r@smtp.test'])).at(-1), '554 5.6.0 not like this');
    const streamed = await send('spool', 'smtp3', ['r@smtp.test'], { content: letter('smtp3') + large });
    assert.equal(streamed.at(-1), '554 5.6.0 not like this');
  });

  test('a command that talks LMTP: the same, and each recipient by its position', async () => {
    const content = letter('command') + large;
    const replies = await send('pass', 'command', ['r@command.test', 's@command.test'], { content });
    const lines = await through('pass', replies);
    assert.deepEqual(
      lines.filter((l) => l.includes('r@command.test')).map((l) => l.slice(0, 2)),
      ['==', '=>'],
      lines.join('\n'),
    );
    assert.deepEqual(
      lines.filter((l) => l.includes('s <s@command.test>')).map((l) => l.slice(0, 2)),
      ['>>'],
    );
    assert.equal(readdirSync(commandMail).length, 2);
  });

  /** Sends the head and the first half of a large letter. */
  async function begin(name: string, subject: string, to: string) {
    const talk = await openMessage(portTo(name), { from: 's@in.test', to: [to] });
    talk.write(letter(subject) + large);
    return talk;
  }
  const dataSeen = (server: ScriptedServer): number => server.commands.filter((c) => c === 'DATA').length;

  test('too big in the middle: refused, and no server takes what it got', async () => {
    const before = dataSeen(a);
    const talk = await begin('spool', 'toobig', 'r@a.test');
    await until(() => dataSeen(a) > before, 'the store was asked');
    assert.match(await talk.send(`${large}${large}.\r\n`), /^552 /);
    talk.close();
    assert.equal(copies(a, 'toobig'), 0);
    assert.doesNotMatch(log('spool'), /<= .* toobig/);
  });

  test('many slow senders leave connections to a store for others', async () => {
    const before = dataSeen(a);
    const slow = await Promise.all(
      Array.from({ length: 20 }, (_, i) => begin('spool', `trickle${i}`, 'r@a.test')),
    );
    await until(() => dataSeen(a) > before, 'the store was asked');
    const lines = await through('spool', await send('spool', 'quick', ['r@a.test']));
    assert.ok(
      lines.some((l) => l.startsWith('>> ')),
      lines.join('\n'),
    );
    for (const [i, talk] of slow.entries()) {
      assert.match(await talk.send('.\r\n'), /^250 OK/);
      talk.close();
      assert.equal(copies(a, `trickle${i}`), 1);
    }
  });

  test('SIGHUP in the middle of a message: it goes on, once', async () => {
    const before = dataSeen(a);
    const talk = await begin('spool', 'reloaded', 'r@a.test');
    await until(() => dataSeen(a) > before, 'the store was asked');
    edges.get('spool')?.edge.running.kill('SIGHUP');
    await until(() => log('spool').includes('SIGHUP received'), 'it is read again');
    const reply = await talk.send('.\r\n');
    talk.close();
    const lines = await through('spool', [reply]);
    assert.ok(
      lines.some((l) => l.startsWith('>> ')),
      lines.join('\n'),
    );
    assert.equal(copies(a, 'reloaded'), 1);
    acceptedId(await send('spool', 'after reload', ['r@a.test']));
  });

  test('a header section that is too large: refused, and no server sees any of it', async () => {
    const before = dataSeen(a);
    const content = `Subject: head\r\nX-Long: ${'y\r\n '.repeat(60_000)}\r\n\r\nbody\r\n`;
    assert.match((await send('spool', 'head', ['r@a.test'], { content })).at(-1) ?? '', /^552 /);
    assert.equal(dataSeen(a), before);
  });

  test('a long line in the middle: refused as when it is whole, and no server takes what it got', async () => {
    const before = dataSeen(smtp);
    const talk = await begin('spool', 'longline', 'r@smtp.test');
    await until(() => dataSeen(smtp) > before, 'the server was asked');
    assert.match(await talk.send(`${'z'.repeat(2000)}\r\n.\r\n`), /^550.*lines too long/);
    talk.close();
    assert.equal(copies(smtp, 'longline'), 0);
  });

  for (const how of ['goes away', 'is refused by the DATA ACL'])
    test(`the sender ${how} while the store hangs: that is over at once`, async () => {
      const subject = `virus-${how.slice(0, 2)}`;
      let hung = false;
      a.script = {
        helo: () => extensions.all,
        rcpt: (_, i) => (i === 0 && hung ? hanging : '250 2.1.5 ok\r\n'),
      };
      const talk = await openMessage(portTo('spool'), { from: 's@in.test', to: ['r@a.test'] });
      hung = true;
      const rcpts = a.commands.length;
      talk.write(letter(subject) + large);
      await until(() => a.commands.length > rcpts, 'the store was asked');
      if (how === 'goes away') {
        talk.close();
        // Its connection to the store is given up with it.
        await a.quiet();
      } else assert.equal(await talk.send('.\r\n'), '550 not this one');
      talk.close();
      await a.hangUp();
      assert.equal(copies(a, subject), 0);
    });

  test('a store that takes its time at RCPT gets the beginning while the rest is still to come', async () => {
    let octets = 0;
    let end = '';
    let data = false;
    const slow = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write('220 slow\r\n');
      socket.on('data', (chunk: Buffer) => {
        if (data) {
          octets += chunk.length;
          end = (end + chunk.toString('latin1')).slice(-5);
          if (end === '\r\n.\r\n') socket.write('250 2.0.0 saved\r\n');
          return;
        }
        for (const line of chunk.toString('latin1').trimEnd().split('\r\n')) {
          if (line.startsWith('LHLO')) socket.write('250-slow\r\n250 PIPELINING\r\n');
          else if (line !== 'DATA') socket.write('250 ok\r\n');
          else
            setTimeout(() => {
              data = true;
              socket.write('354 go\r\n');
            }, 300);
        }
      });
    });
    await new Promise<void>((resolve) => {
      slow.listen(path.join(folder.path, 'slow'), resolve);
    });
    try {
      const talk = await begin('spool', 'begun', 'r@slow.test');
      await until(() => octets > 100_000, 'the store gets the beginning');
      assert.match(await talk.send('.\r\n'), /^250 OK/);
      talk.close();
    } finally {
      slow.close();
    }
  });

  test('a stop while a store hangs after the final dot: the sender hears 250, and it comes after the next start', async () => {
    a.script = { helo: () => extensions.all, content: () => hanging };
    const { edge, port } = edges.get('pass') ?? { edge: undefined, port: 0 };
    const talk = await openMessage(port, { from: 's@in.test', to: ['r@a.test'] });
    const reply = talk.send(`${letter('stopped')}.\r\n`);
    await until(() => a.contents.some((c) => c.includes('Subject: stopped')), 'the store has it');
    edge?.running.kill('SIGTERM');
    const said = await reply;
    acceptedId([said]);
    talk.close();
    await edge?.running.ended;
    a.script = { helo: () => extensions.all };
    edges.set('pass', { edge: await restartMailchute(path.join(folder.path, 'pass')), port });
    const lines = await through('pass', [said]);
    assert.ok(
      lines.some((l) => l.startsWith('=> r <r@a.test>')),
      lines.join('\n'),
    );
  });
});
