// What items of log_selector add to the lines of rewriting, submission, redirection and delivery: the real Exim and ours.
import assert from 'node:assert/strict';
import path from 'node:path';
import { chmodSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { startScriptedServer } from '../support/scripted-server.ts';
import { submit } from '../support/smtp-talk.ts';

const folder = temporaryFolder('log-selector-delivery');
chmodSync(folder.path, 0o755);

const rest = (port: number): string => `begin routers
al:
  driver = redirect
  data = \${if eq{$local_part}{l1}{l2@x.test, bad@x.test, /dev/null}}\${if eq{$local_part}{l2}{l3@x.test, l3a@x.test}}\${if eq{$local_part}{l3}{end@x.test, defer@x.test}}
  file_transport = t
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
begin rewrite
old@* new@x.test Ff
"^(?i)olds@(.*)" news@x.test S
to@x.test l2@x.test T
hdr@x.test xdr@x.test h
child@x.test other@x.test T
`;

/** Lines about messages, without times, ids and ports. */
function comparable(log: string): string[] {
  return (
    log
      .split('\n')
      .flatMap((line) => /^\S+ \S+ (.*)$/.exec(line)?.[1] ?? [])
      .filter((line) => !/daemon (?:started|stopped)|queue run|retry time not reached|Spool file/.test(line))
      .filter((line) => !line.startsWith('unexpected disconnection') && !line.startsWith('SMTP connection'))
      .map((line) =>
        line
          .replaceAll(/[\w]{6}-[\w]{6}-\w\w/g, 'ID')
          .replace(/(?<= I=\[127\.0\.0\.1\]):\d+/, ':PORT')
          .replace(/(?<=\]):\d+/, ':PORT')
          .replace(/load average [\d.]+/, 'load average N')
          .replace(/ S=\d+| U=Debian-exim/g, '')
          // Exim offers early pipelining.
          .replace(/ L\.-/, ' L-')
          // A second recipient of a transaction is whichever comes second.
          .replace(/^ID ->/, 'ID =>')
          .replace(/\]\*(?= C=)/, ']'),
      )
      .sort()
      // A bounce of ours does not wait for the load.
      .filter((line, i, all) => !line.includes('no immediate delivery') || line !== all[i - 1])
  );
}

async function logOf(
  which: 'exim' | 'ours',
  name: string,
  selector: string,
  more: string,
): Promise<readonly string[]> {
  await using stack = new AsyncDisposableStack();
  const sink = stack.use(
    await startScriptedServer(
      {
        protocol: 'smtp',
        rcpt: (p) =>
          p.startsWith('bad') ? '550 no\r\n' : p.startsWith('defer') ? '450 later\r\n' : '250 ok\r\n',
      },
      'tcp',
    ),
  );
  const sinkPort = sink.endpoint.kind === 'tcp' ? sink.endpoint.port : 0;
  const here = path.join(folder.path, which, name);
  const main = `log_selector = ${selector}\nacl_smtp_rcpt = accept control = submission\n${more}`;
  let port: number;
  let log: () => string;
  if (which === 'exim') {
    const daemon = await startExim(here, main, rest(sinkPort));
    stack.defer(() => daemon.stop());
    port = daemon.port;
    log = () => daemon.mainLog();
  } else {
    port = await freePort();
    const daemon = await startMailchute(
      here,
      `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\n${main}`,
      rest(sinkPort),
    );
    stack.defer(() => daemon.stop());
    log = () => daemon.mainLog();
  }
  const content = 'Subject: x\r\nFrom: hdr@x.test\r\nTo: old@x.test, to@x.test\r\n\r\nhi\r\n';
  const letters: readonly (readonly [from: string, to: readonly string[]])[] = [
    ['olds@a.test', ['end@x.test']],
    ['old@a.test', ['l1@x.test', 'to@x.test', 'hdr@x.test']],
    ['', ['end@x.test', 'other@x.test']],
  ];
  for (const [from, to] of letters) {
    const { id, reply } = await submit(port, { from, to, content });
    assert.match(reply, /^250 /);
    const through = from === 'old@a.test' ? `${id} == ` : `${id} Completed`;
    await until(
      () => log().includes(through) || undefined,
      () => `${through} in ${log()}`,
    );
  }
  // Two of them, and the bounce.
  await until(
    () => (log().match(/ Completed/g)?.length ?? 0) >= 3 || undefined,
    () => log(),
  );
  return comparable(log());
}

suite('log_selector and deliveries', { skip: needs('exim4'), concurrency: 3 }, () => {
  after(() => folder.remove());
  const cases: readonly (readonly [selector: string, more: string])[] = [
    ['', ''],
    ['+all_parents +address_rewrite +msg_id_created', ''],
    ['+all_parents -msg_id +sender_on_delivery +received_recipients', ''],
    ['+outgoing_interface +incoming_interface +pipelining', ''],
    ['', 'queue_only_load = 0.0'],
    ['-delay_delivery', 'queue_only_load = 0.0'],
  ];
  for (const [i, [selector, more]] of cases.entries())
    test(`${selector} ${more}`, async () => {
      const theirs = await logOf('exim', String(i), selector, more);
      assert.deepEqual(await logOf('ours', String(i), selector, more), theirs);
    });
});
