// What each item of log_selector does to the log: the same dialogues with the real Exim and with ours, line by line.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import path from 'node:path';
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { replyReader } from '../support/reply-reader.ts';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { startScriptedServer } from '../support/scripted-server.ts';

const folder = temporaryFolder('log-selector');
// Exim writes its logs as its own user.
chmodSync(folder.path, 0o755);

/** Groups of commands; each group is sent at once, and a reply to each command of it is waited for. An empty last group: cut. */
type Dialogue = readonly (readonly string[])[];

const letter = (subject: string): string[] => [
  `Subject: ${subject}\r\nMessage-ID: <abc@x.example>\r\nTo: x@y.example\r\n\r\nhello\r\n.`,
];

const dialogues: readonly Dialogue[] = [
  [
    ['EHLO cl.test'],
    [
      'MAIL FROM:<s@example.test> BODY=8BITMIME',
      'RCPT TO:<u1@example.test>',
      'RCPT TO:<u2@example.test>',
      'DATA',
    ],
    letter('=?utf-8?q?h=C3=A4llo?= "q" \\'),
    ['QUIT'],
  ],
  [
    ['EHLO cl.test'],
    ['MAIL FROM:<> BODY=7BIT'],
    ['RCPT TO:<Bad@example.test>'],
    ['DATA'],
    letter('x'),
    ['QUIT'],
  ],
  [
    ['HELO cl.test'],
    ['MAIL FROM:<s@example.test>'],
    ['RCPT TO:<u@example.test>'],
    ['DATA'],
    letter(''),
    ['QUIT'],
  ],
  [
    ['EHLO cl.test'],
    ['MAIL FROM:<s@example.test>'],
    ['RCPT TO:<deny@example.test>'],
    ['RCPT TO:<u@example.test>'],
    ['DATA'],
    letter('reject me'),
    ['QUIT'],
  ],
  [
    ['EHLO cl.test'],
    ['MAIL FROM:<s@example.test>'],
    ['RCPT TO:<u@example.test>'],
    ['RSET'],
    ['MAIL FROM:<s@example.test>'],
    ['RCPT TO:<u@example.test>'],
    ['RCPT TO:<v@example.test>'],
    ['QUIT'],
  ],
  [['EHLO cl.test'], ['FOO bar'], ['RCPT TO:<x@example.test>'], ['MAIL'], ['NOOP'], ['QUIT']],
  [['EHLO cl.test'], ['MAIL FROM:<s@example.test> SIZE=9999'], ['QUIT']],
  [['EHLO cl.test'], ['MAIL FROM:<s@example.test>'], ['RCPT TO:<u@example.test>'], []],
  [['EHLO cl.test'], ['NOOP'], []],
  [['QUIT']],
  [[]],
  // Last, since what its message does is waited for.
  [
    ['EHLO cl.test'],
    ['MAIL FROM:<s@example.test>'],
    ['RCPT TO:<u@example.test>'],
    ['DATA'],
    letter('end'),
    ['QUIT'],
  ],
];

/** Runs one dialogue; resolves when the connection is closed. */
async function run(port: number, dialogue: Dialogue): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  const replies = replyReader(socket);
  const heard = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) if ((await replies.next()) === undefined) throw replies.fault();
  };
  await heard(1);
  for (const group of dialogue) {
    if (group.length === 0) break;
    socket.write(group.map((c) => `${c}\r\n`).join(''), 'latin1');
    await heard(group.length);
  }
  socket.end();
  await replies.ended();
}

const main = `acl_smtp_rcpt = r
acl_smtp_data = d
message_size_limit = 2K
`;
const rest = (port: number): string => `begin acl
r:
  deny local_parts = deny
  accept
d:
  deny condition = \${if match{$h_subject:}{reject}}
  accept
begin routers
a:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = t
begin transports
t:
  driver = smtp
  port = ${port}
  allow_localhost
begin retry
* * F,1h,1h
`;

/** Lines without what changes from run to run, and without those of what ours does not have. */
function comparable(log: string): string[] {
  const ids: string[] = [];
  return log.split('\n').flatMap((stamped) => {
    const m = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})?( [+-]\d{4})? (?:(\[\d+\]) )?(.*)$/.exec(stamped);
    // Below a rejection stands the header; its Received field differs.
    const text =
      m === null
        ? stamped
        : `${m[1] === undefined ? '' : '.mmm '}${m[2] ?? ''}${m[3] === undefined ? '' : '[pid] '}${m[4] ?? ''}`;
    if (
      /cwd=|queue run: pid=|daemon (?:started|stopped)|Spool file|retry time not reached|Message is frozen|^\t|^P Received/.test(
        text,
      )
    )
      return [];
    const line = text
      .replace(/1[\w]{5}-\w{6}-\w\w/g, (id) => {
        if (!ids.includes(id)) ids.push(id);
        return `ID${ids.indexOf(id)}`;
      })
      .replace(/\]:\d+/g, ']:PORT')
      .replace(/(?<=(?: D| RT| QT| DT)=)\d+(?:\.\d{3})?s/g, (t) => (t.includes('.') ? 'N.NNNs' : 'Ns'))
      // Sizes differ by our Received field.
      .replace(/ S=\d+/g, ' S=N')
      // Exim offers early pipelining, which it tells with a full stop.
      .replace(/ L\.(?=-| )/g, ' L')
      .replace(/ DT=N\S*(?=$|:)/g, '')
      .replace(/ U=Debian-exim /, ' ')
      // How many children Exim has not waited for yet.
      .replace(/connection count = \d+/, 'connection count = N')
      // An address is logged as it was given.
      .replace(/bad@example\.test <Bad@example\.test>/, 'Bad@example.test');
    return [line];
  });
}

async function logsOf(
  program: 'exim' | 'ours',
  selector: string,
  more: string,
): Promise<readonly [main: string[], reject: string[]]> {
  const sink = await startScriptedServer(
    {
      protocol: 'smtp',
      rcpt: (p) => (/bad/i.test(p) ? '550 5.1.1 no such\r\n' : '250 ok\r\n'),
      content: () => '250 2.0.0 stored it "ok"\r\n',
    },
    'tcp',
  );
  const port = sink.endpoint.kind === 'tcp' ? sink.endpoint.port : 0;
  const here = path.join(folder.path, `${program}${selector.length}${more.length}`);
  const options = `log_selector = ${selector}\n${more}\n${main}`;
  try {
    if (program === 'exim') {
      const exim = await startExim(here, options, rest(port));
      try {
        await talkAll(exim.port, () => exim.mainLog());
        return [comparable(exim.mainLog()), comparable(readLog(path.join(here, 'log/rejectlog')))];
      } finally {
        await exim.stop();
      }
    }
    const listening = await freePort();
    const ours = await startMailchute(
      here,
      `daemon_smtp_ports = ${listening}\ntls_advertise_hosts =\n${options}`,
      rest(port),
    );
    try {
      await talkAll(listening, () => ours.mainLog());
      return [comparable(ours.mainLog()), comparable(readLog(path.join(here, 'log/rejectlog')))];
    } finally {
      await ours.stop();
    }
  } finally {
    await sink[Symbol.asyncDispose]();
  }
}

function readLog(file: string): string {
  return existsSync(file) ? readFileSync(file, 'latin1') : '';
}

/** One dialogue after the other; what comes of a message is in the log before the next begins. */
async function talkAll(port: number, log: () => string): Promise<void> {
  for (const dialogue of dialogues) {
    const before = log();
    await run(port, dialogue);
    const accepted = (): string[] =>
      [
        ...log()
          .slice(before.length)
          .matchAll(/ (\S+) <= /g),
      ].map((m) => m[1] ?? '');
    await until(
      () =>
        accepted().every(
          (id) => log().includes(`${id} Completed`) || log().includes(`${id} Frozen`) || undefined,
        ) || undefined,
      'the messages are through',
    );
  }
}

suite('log_selector', { skip: needs('exim4'), concurrency: 6 }, () => {
  after(() => folder.remove());
  const cases: readonly (readonly [selector: string, more: string])[] = [
    ['+all -dkim_verbose', ''],
    ['', ''],
    ['-all', ''],
    ['+millisec +pid -msg_id +smtp_connection', 'log_timezone\ntimezone = Asia/Kolkata'],
    ['+subject', 'print_topbitchars\nno_write_rejectlog'],
    ['+smtp_connection +smtp_no_mail', 'hosts_connection_nolog = 127.0.0.1'],
  ];
  for (const [selector, more] of cases)
    test(`log_selector = ${selector} ${more.replaceAll('\n', ', ')}`, async () => {
      const [main, reject] = await logsOf('ours', selector, more);
      const [theirs, theirReject] = await logsOf('exim', selector, more);
      assert.deepEqual(main, theirs);
      assert.deepEqual(reject, theirReject);
    });
});
