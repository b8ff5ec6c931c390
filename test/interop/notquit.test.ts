// acl_smtp_notquit: sessions that end without QUIT, with the real Exim and with ours: what the client hears and what is logged.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import path from 'node:path';
import { chmodSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';

const folder = temporaryFolder('notquit');
chmodSync(folder.path, 0o755);

const options = (message: string): readonly [main: string, rest: string] => [
  `acl_smtp_rcpt = accept logwrite = a recipient
acl_smtp_helo = h
acl_smtp_notquit = \${if eq{$received_ip_address}{127.0.0.1}{nq}}
smtp_receive_timeout = 1s
smtp_accept_max_nonmail = 3
pipelining_connect_advertise_hosts =
`,
  `begin acl
nq:
  accept
    logwrite = reason=$smtp_notquit_reason sender=<$sender_address> n=$rcpt_count helo=$sender_helo_name
    ${message}
h:
  drop condition = \${if match{$sender_helo_name}{drop}}
       message = go away
  accept
begin routers
a:
  driver = accept
  transport = t
begin transports
t:
  driver = appendfile
  file = /dev/null
`,
];

interface Ending {
  /** Sent one after the other, each when the reply to the one before has come. */
  readonly sent: readonly string[];
  /** The client closes its side at the end. */
  readonly closes?: true;
  readonly reason: string | undefined;
}

const begun = ['EHLO x\r\n', 'MAIL FROM:<s@x.test>\r\n', 'RCPT TO:<a@b.test>\r\n'];
const endings: Readonly<Record<string, Ending>> = {
  QUIT: { sent: ['EHLO x\r\n', 'QUIT\r\n'], reason: undefined },
  'drop in an ACL': { sent: ['EHLO drop\r\n'], reason: 'acl-drop' },
  'unknown commands': {
    sent: ['EHLO x\r\n', 'A\r\n', 'B\r\n', 'C\r\n', 'D\r\n'],
    reason: 'bad-commands',
  },
  'nonmail commands': {
    sent: ['EHLO x\r\n', 'NOOP\r\n', 'NOOP\r\n', 'NOOP\r\n', 'NOOP\r\n'],
    reason: 'bad-commands',
  },
  'syntax errors': {
    sent: ['EHLO x\r\n', ...Array.from({ length: 4 }, () => 'MAIL FROM:x y\r\n')],
    reason: undefined,
  },
  'a silent client': { sent: begun, reason: 'command-timeout' },
  'a client silent in the content': {
    sent: [...begun, 'DATA\r\n', 'Subject: x\r\n'],
    reason: 'data-timeout',
  },
  'a client that goes away': { sent: begun, closes: true, reason: 'connection-lost' },
  'a client that goes away in the content': {
    sent: [...begun, 'DATA\r\n', 'Subject: x\r\n'],
    closes: true,
    reason: 'connection-lost',
  },
  'a client that does not wait': {
    sent: ['EHLO x\r\nMAIL FROM:<s@x.test>\r\n'],
    reason: 'synchronization-error',
  },
};

/** The last reply; empty where the client has gone before. */
async function talk(port: number, { sent, closes }: Ending): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true });
  let heard = '';
  let replies = 0;
  let over = false;
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    heard += chunk;
    replies = heard.match(/^\d{3} .*\r$/gm)?.length ?? 0;
  });
  socket.on('error', () => undefined);
  socket.on('end', () => {
    over = true;
    socket.end();
  });
  let expected = 1;
  for (const part of sent) {
    await until(() => replies >= expected || over || undefined, 'a reply');
    socket.write(part);
    expected++;
    if (part.startsWith('Subject')) break;
  }
  if (closes === true) {
    if (!sent.at(-1)?.startsWith('Subject'))
      await until(() => replies >= expected || undefined, 'the last reply');
    socket.destroy();
    return '';
  }
  await until(() => over || undefined, 'the end');
  // Ours has enhanced status codes.
  const last = heard.slice(heard.lastIndexOf('\r\n', heard.length - 3) + 2).trimEnd();
  return last.replace(/^(\d{3}) \d\.\d\.\d /, '$1 ');
}

/** By ending: the last reply and what the ACL logged. */
async function answers(
  port: number,
  log: () => string,
): Promise<Record<string, readonly [string, string[]]>> {
  const out: Record<string, readonly [string, string[]]> = {};
  for (const [name, ending] of Object.entries(endings)) {
    const before = log().length;
    const lines = (): string[] =>
      [
        ...log()
          .slice(before)
          .matchAll(/ (reason=.*)$/gm),
      ].map((m) => m[1] ?? '');
    const last = await talk(port, ending);
    if (ending.reason !== undefined) await until(() => lines()[0], `${name} is logged`);
    out[name] = [last, lines()];
  }
  return out;
}

suite('acl_smtp_notquit', { skip: needs('exim4'), concurrency: 2 }, () => {
  after(() => folder.remove());
  for (const message of ['', 'message = see you, $smtp_notquit_reason'])
    test(message === '' ? 'the usual replies' : message, async () => {
      const [main, rest] = options(message);
      const here = path.join(folder.path, message === '' ? 'plain' : 'message');
      const exim = await startExim(path.join(here, 'exim'), main, rest);
      let theirs;
      try {
        theirs = await answers(exim.port, () => exim.mainLog());
      } finally {
        await exim.stop();
      }
      const port = await freePort();
      const ours = await startMailchute(
        path.join(here, 'ours'),
        `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\nlog_selector = -all\n${main}`,
        rest,
      );
      try {
        assert.deepEqual(await answers(port, () => ours.mainLog()), theirs);
      } finally {
        await ours.stop();
      }
      for (const [name, { reason }] of Object.entries(endings))
        assert.equal(theirs[name]?.[1].length, reason === undefined ? 0 : 1, name);
      for (const [name, { reason }] of Object.entries(endings))
        if (reason !== undefined) assert.match(theirs[name]?.[1][0] ?? '', new RegExp(`^reason=${reason} `));
    });

  test('the daemon stops', async () => {
    const [main, rest] = options('message = see you, $smtp_notquit_reason');
    const port = await freePort();
    const ours = await startMailchute(
      path.join(folder.path, 'stop'),
      `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\n${main}smtp_receive_timeout = 1m\n`.replace(
        'smtp_receive_timeout = 1s\n',
        '',
      ),
      rest,
    );
    const last = talk(port, { sent: begun, reason: 'signal-exit' });
    await until(() => ours.mainLog().includes('a recipient') || undefined, 'RCPT has come');
    await ours.stop();
    assert.equal(await last, '421 see you, signal-exit');
    assert.match(ours.mainLog(), / reason=signal-exit sender=<s@x\.test> n=1 helo=x$/m);
  });
});
