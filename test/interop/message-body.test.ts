// Variables of the body in ACLs and routers: the same messages to the real Exim and to ours, log line by log line.
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { submit } from '../support/smtp-talk.ts';

const folder = temporaryFolder('message-body');
// Exim writes its logs as its own user.
chmodSync(folder.path, 0o755);

const variables =
  '<$message_body><$message_body_end> $message_body_size $message_linecount $body_linecount $body_zerocount $max_received_linelength';
/** Ends reach the log escaped, so that a newline in a value can be seen. */
const shown = `\${escape:${variables}}`;
const rest = `begin acl
r:
  accept
p:
  warn log_message = PREDATA ${shown}
  accept
d:
  warn log_message = DATA $message_size ${shown}
  accept
begin routers
a:
  driver = redirect
  allow_defer
  data = :defer: ROUTED ${shown}
begin retry
* * F,2h,1h
`;

const letters = [
  'Subject: x\r\n\r\nhello\r\nworld\r\n',
  'Subject: x\r\n',
  'Subject: x\r\n\r\n',
  '\r\nonly body\r\n',
  `Subject: x\r\n folded\r\nTo: y@example.test\r\n\r\na\0b\0\r\n${'y'.repeat(100)}\r\n\r\nend of\0 it 12345678901234567890\r\n`,
  `Subject: ${'l'.repeat(300)}\r\n\r\nshort\r\n`,
  `Subject: large\r\n\r\n${`${'z'.repeat(70)}\0\r\n`.repeat(5000)}the\r\nend\r\n`,
];

suite('variables of the body', { skip: needs('exim4') }, () => {
  after(() => folder.remove());

  /** What the log says of each letter, in order: before it, in the DATA ACL, while it is routed. */
  async function said(program: 'exim' | 'ours', options: string, i: number): Promise<string[]> {
    const main = `acl_smtp_rcpt = r\nacl_smtp_predata = p\nacl_smtp_data = d\nreceived_header_text = Received: x\n${options}`;
    const where = path.join(folder.path, `${program}${i}`);
    const port = await freePort();
    const daemon =
      program === 'exim'
        ? await startExim(where, main, rest)
        : await startMailchute(where, `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\n${main}`, rest);
    try {
      const lines: string[] = [];
      for (const content of letters) {
        const { id, reply } = await submit('port' in daemon ? daemon.port : port, {
          from: 's@example.test',
          to: ['u@example.test'],
          content,
        });
        assert.notEqual(id, '', reply);
        const found = await until(
          () => {
            const log = daemon.mainLog();
            const pick = (pattern: RegExp): string | undefined => pattern.exec(log)?.[1];
            const data = pick(new RegExp(`${id} .*Warning: (DATA .*)`));
            const routed = pick(new RegExp(`${id} == .*(ROUTED .*)`));
            return data === undefined || routed === undefined ? undefined : [data, routed];
          },
          () => `${program} logs ${id}: ${daemon.mainLog().slice(0, 800)}`,
        );
        lines.push(...found);
      }
      const before = [...daemon.mainLog().matchAll(/Warning: (PREDATA .*)/g)].map((m) => m[1] ?? '');
      return [...before, ...lines];
    } finally {
      await daemon.stop();
    }
  }

  ['', 'message_body_visible = 20', 'message_body_visible = 7\nmessage_body_newlines'].forEach(
    (options, i) => {
      test(options === '' ? 'by default' : options.replace('\n', ', '), async () => {
        const [ours, theirs] = await Promise.all([said('ours', options, i), said('exim', options, i)]);
        assert.equal(theirs.length, 3 * letters.length);
        assert.deepEqual(ours, theirs);
      });
    },
  );
});
