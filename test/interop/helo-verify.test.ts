// helo_verify_hosts and helo_try_verify_hosts: the same sessions with the real Exim and with ours.
import assert from 'node:assert/strict';
import path from 'node:path';
import { chmodSync } from 'node:fs';
import { test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, temporaryFolder } from '../support/process.ts';
import { smtpTalk } from '../support/smtp-talk.ts';

const rest = `begin acl
rcpt:
  warn verify = helo
       set acl_m_named = yes
  accept message = named=$acl_m_named
begin routers
all:
  driver = redirect
  data = :blackhole:
`;

const sessions: readonly (readonly string[])[] = [
  ['HELO wrong.invalid', 'MAIL FROM:<a@b.test>'],
  ['EHLO wrong.invalid', 'HELO [127.0.0.2]', 'MAIL FROM:<a@b.test>'],
  ['HELO [127.0.0.1]', 'MAIL FROM:<a@b.test>', 'RCPT TO:<x@y.test>'],
  ['HELO wrong.invalid', 'HELO [127.0.0.1]', 'MAIL FROM:<a@b.test>', 'RCPT TO:<x@y.test>'],
];

/** Exim takes the mail, under the name that it has just refused. */
const refusedLater = ['HELO [127.0.0.1]', 'HELO wrong.invalid', 'MAIL FROM:<a@b.test>'] as const;

for (const [option, list] of [
  ['helo_verify_hosts', '*'],
  ['helo_verify_hosts', '192.0.2.1'],
  ['helo_try_verify_hosts', '*'],
] as const)
  test(`${option} = ${list}`, { skip: needs('exim4') }, async (t) => {
    const folder = temporaryFolder('helo-verify');
    t.after(() => folder.remove());
    chmodSync(folder.path, 0o755);
    const main = `${option} = ${list}\nhosts_require_helo =\nacl_smtp_rcpt = rcpt`;
    const exim = await startExim(path.join(folder.path, 'exim'), main, rest, ['-bd']);
    t.after(() => exim.stop());
    const port = await freePort();
    const ours = await startMailchute(
      path.join(folder.path, 'ours'),
      `daemon_smtp_ports = ${port}\nhost_lookup =\ntls_advertise_hosts =\n${main}`,
      rest,
    );
    t.after(() => ours.stop());
    const replies = async (at: number, all = sessions): Promise<string[]> => {
      const seen: string[] = [];
      for (const commands of all) {
        const talk = await smtpTalk(at);
        for (const command of commands) {
          const reply = await talk.send(`${command}\r\n`);
          // Extensions and enhanced codes are each one's own.
          seen.push(
            `${command} => ${reply.split('\n')[0]?.replace(/^(\d{3}[ -])(?:\d\.\d\.\d )?(.*?)(?: Hello .*)?$/, '$1$2')}`,
          );
        }
        talk.close();
      }
      return seen;
    };
    const expected = await replies(exim.port);
    assert.deepEqual(await replies(port), expected);
    const rejected = (log: string): string[] =>
      log.split('\n').flatMap((line) => /rejected "(?:HELO|EHLO) .*/.exec(line)?.[0] ?? []);
    assert.deepEqual(rejected(ours.mainLog()), rejected(exim.mainLog()));
    const strict = list === '*' && option === 'helo_verify_hosts';
    assert.equal(rejected(exim.mainLog()).length > 0, strict);
    const last = async (at: number) =>
      (await replies(at, [refusedLater])).at(-1)?.replace(/ => (\d+).*/, ' $1');
    assert.equal(await last(exim.port), 'MAIL FROM:<a@b.test> 250');
    assert.equal(await last(port), `MAIL FROM:<a@b.test> ${strict ? 503 : 250}`);
  });
