// Direct delivery beside the real Exim's cut-through delivery, with one configuration and one SMTP server for both.
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startExim, type Exim } from '../support/exim.ts';
import { startMailchute, type Mailchute } from '../support/mailchute.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { type Script, type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { smtpTalk } from '../support/smtp-talk.ts';

type Who = 'exim' | 'ours';

interface Case {
  readonly name: string;
  readonly script: Script;
  readonly from?: 'pass';
  readonly to?: readonly string[];
  readonly subject?: string;
  /** The last reply, ids and enhanced codes left out; where the two differ, each. */
  readonly reply: string | Readonly<Record<Who, string>>;
  /** The log's lines, in their order but for `>>`; where the two differ, each. */
  readonly log: readonly string[] | Readonly<Record<Who, readonly string[]>>;
}

const host = 'R=r T=t H=127.0.0.1 [127.0.0.1]';
const client = 'H=(client.test) [127.0.0.1]';
const arrived = `<= s@in.test ${client} P=esmtp`;
const remote = 'SMTP error from remote mail server after';
const refusedRcpt = `${client} F=<s@in.test> rejected RCPT <r@a.test>`;
const unclear = `${client} F=<pass@in.test> temporarily rejected RCPT <r@a.test>`;

const cases: readonly Case[] = [
  {
    name: 'accepted',
    script: {},
    reply: '250 OK',
    log: [`>> r@a.test ${host} C="250 2.0.0 ok"`, arrived, 'Completed'],
  },
  {
    name: 'two recipients',
    script: {},
    to: ['r@a.test', 'q@a.test'],
    reply: '250 OK',
    log: [
      `>> q@a.test ${host} C="250 2.0.0 ok"`,
      `>> r@a.test ${host} C="250 2.0.0 ok"`,
      arrived,
      'Completed',
    ],
  },
  {
    name: 'refused at RCPT',
    script: { rcpt: () => '550 5.1.1 no such user\r\n' },
    reply: {
      exim: '550 Administrative prohibition',
      ours: '550-Callout verification failed:\n550 550 5.1.1 no such user',
    },
    log: {
      exim: [refusedRcpt],
      ours: [`${refusedRcpt}: 127.0.0.1 [127.0.0.1] : ${remote} RCPT TO:<r@a.test>: 550 5.1.1 no such user`],
    },
  },
  {
    name: 'put off at RCPT',
    script: { rcpt: () => '450 4.2.1 busy\r\n' },
    reply: '250 OK',
    log: [
      arrived,
      `== r@a.test R=r T=t defer (-44) H=127.0.0.1 [127.0.0.1]: ${remote} RCPT TO:<r@a.test>: 450 4.2.1 busy`,
    ],
  },
  {
    name: 'put off at RCPT, defer=pass',
    script: { rcpt: () => '450 4.2.1 busy\r\n' },
    from: 'pass',
    reply: {
      exim: '451 Temporary local problem - please try later',
      ours: '451 Could not complete recipient verify callout',
    },
    log: {
      exim: [unclear],
      ours: [
        `${unclear}: Could not complete recipient verify callout: 127.0.0.1 [127.0.0.1] : ${remote} RCPT TO:<r@a.test>: 450 4.2.1 busy`,
      ],
    },
  },
  {
    name: 'refused after the content',
    script: { content: () => '554 5.6.0 not like this\r\n' },
    reply: '554 not like this',
    log: {
      exim: [`${client} r@a.test F=<s@in.test> rejected after DATA: ${host} C="554 5.6.0 not like this"`],
      ours: [`${client} F=<s@in.test> rejected after DATA: ${remote} end of data: 554 5.6.0 not like this`],
    },
  },
  {
    name: 'put off after the content',
    script: { content: () => '451 4.3.0 later\r\n' },
    reply: '250 OK',
    log: {
      exim: [
        `${client} r@a.test F=<s@in.test> tmp-reject from cutthrough after DATA: ${host} C="451 4.3.0 later"`,
        arrived,
      ],
      ours: [
        arrived,
        `== r@a.test R=r T=t defer (-46) H=127.0.0.1 [127.0.0.1]: ${remote} end of data: 451 4.3.0 later`,
      ],
    },
  },
  {
    name: 'put off after the content, defer=pass',
    script: { content: () => '451 4.3.0 later\r\n' },
    from: 'pass',
    reply: '451 later',
    log: {
      exim: [
        `${client} r@a.test F=<pass@in.test> tmp-reject from cutthrough after DATA: ${host} C="451 4.3.0 later"`,
      ],
      ours: [
        `${client} F=<pass@in.test> temporarily rejected after DATA: ${remote} end of data: 451 4.3.0 later`,
      ],
    },
  },
  {
    name: 'gone after the content',
    script: { content: () => ({ say: '', close: true }) },
    reply: '250 OK',
    log: {
      exim: [arrived],
      ours: [
        arrived,
        '== r@a.test R=r T=t defer (-18) H=127.0.0.1 [127.0.0.1]: Remote host closed connection in response to end of data',
      ],
    },
  },
  {
    name: 'gone after the content, defer=pass',
    script: { content: () => ({ say: '', close: true }) },
    from: 'pass',
    reply: {
      exim: '450 Onward transmission not accepted',
      ours: '451 Temporary local problem - please try later',
    },
    log: {
      exim: [],
      ours: [
        `${client} F=<pass@in.test> temporarily rejected after DATA: Remote host closed connection in response to end of data`,
      ],
    },
  },
  {
    name: 'the DATA ACL refuses',
    script: {},
    subject: 'virus',
    reply: '550 not this one',
    log: [`${client} F=<s@in.test> rejected after DATA: not this one`],
  },
  // The last, since Exim's log has its bounce later.
  {
    name: 'DATA refused for good',
    script: { data: '554 5.3.0 never\r\n' },
    reply: { exim: '250 OK', ours: '554 never' },
    log: {
      exim: [arrived, `** r@a.test ${host}: ${remote} pipelined DATA: 554 5.3.0 never`, 'Completed'],
      ours: [`${client} F=<s@in.test> rejected after DATA: ${remote} pipelined DATA: 554 5.3.0 never`],
    },
  },
];

describe('direct delivery beside Exim', { skip: needsRoot('exim4') }, () => {
  const folder = temporaryFolder('direct-exim');
  let server: ScriptedServer;
  let exim: Exim;
  let ours: Mailchute;
  let ourPort = 0;

  before(async () => {
    chmodSync(folder.path, 0o755);
    server = await startScriptedServer({ protocol: 'smtp' }, 'tcp');
    const main = 'acl_smtp_rcpt = rcpt\nacl_smtp_data = data\nqualify_domain = in.test';
    const rest = `begin acl
rcpt:
  accept senders = pass@in.test
         control = cutthrough_delivery/defer=pass
  accept control = cutthrough_delivery
data:
  deny message = not this one
       condition = \${if match{$h_subject:}{virus}}
  accept
begin routers
r:
  driver = manualroute
  domains = a.test
  route_list = * 127.0.0.1
  self = send
  transport = t
back:
  driver = accept
  transport = null
begin transports
t:
  driver = smtp
  port = ${server.endpoint.kind === 'tcp' ? server.endpoint.port : 0}
null:
  driver = appendfile
  file = /dev/null
  user = nobody
begin retry
* * F,1h,1h
`;
    ourPort = await freePort();
    exim = await startExim(path.join(folder.path, 'exim'), main, rest, ['-bd']);
    ours = await startMailchute(
      path.join(folder.path, 'ours'),
      `${main}\ndaemon_smtp_ports = ${ourPort}`,
      rest,
    );
  });
  after(async () => {
    await exim?.stop();
    await ours?.stop();
    await server?.[Symbol.asyncDispose]();
    folder.remove();
  });

  /** Sends one message; gives the last reply to a command that may be refused. */
  async function send(port: number, c: Case): Promise<string> {
    const talk = await smtpTalk(port);
    try {
      await talk.send(`MAIL FROM:<${c.from ?? 's'}@in.test>\r\n`);
      let reply = '';
      for (const to of c.to ?? ['r@a.test']) reply = await talk.send(`RCPT TO:<${to}>\r\n`);
      if (reply.startsWith('2')) {
        await talk.send('DATA\r\n');
        reply = await talk.send(`From: <s@in.test>\r\nSubject: ${c.subject ?? 'plain'}\r\n\r\nbody\r\n.\r\n`);
      }
      await talk.send('QUIT\r\n');
      return reply;
    } finally {
      talk.close();
    }
  }

  const plain = (reply: string): string =>
    reply.replace(/ id=\S+/, '').replace(/^(\d{3}[ -])\d\.\d+\.\d+ /gm, '$1');

  /** The lines about the message and its rejection, without times, ids and sizes. */
  function linesOf(text: string): string[] {
    const lines = text
      .split('\n')
      .map((l) =>
        l
          .replace(/^\S+ \S+ /, '')
          .replace(/^\w{6}-\w{6,11}-\w{2,4} /, '')
          .replace(/ S=\d+/, ''),
      )
      .filter((l) => !/^$|^H=127|^<= <> |^=> s |^callout: /.test(l));
    const direct = lines.filter((l) => l.startsWith('>> ')).toSorted();
    return [...direct, ...lines.filter((l) => !l.startsWith('>> '))];
  }

  const of = <T extends string | readonly string[]>(value: T | Readonly<Record<Who, T>>, who: Who): T =>
    typeof value === 'object' && 'ours' in value ? value[who] : value;

  for (const c of cases)
    for (const who of ['exim', 'ours'] as const)
      test(`${c.name}: ${who}`, async () => {
        await server.restart({ protocol: 'smtp', ...c.script });
        const log = (): string => (who === 'exim' ? exim.mainLog() : ours.mainLog());
        const before = log().length;
        const reply = await send(who === 'exim' ? exim.port : ourPort, c);
        assert.equal(plain(reply), of<string>(c.reply, who));
        const expected = of<readonly string[]>(c.log, who);
        const now = (): string[] => linesOf(log().slice(before));
        // A bounce, which both send, is through a little later.
        await until(
          () => now().length >= expected.length,
          () => `the log has it:\n${now().join('\n')}`,
        );
        assert.deepEqual(now().slice(0, expected.length), expected);
      });
});
