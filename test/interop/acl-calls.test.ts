// ACLs that routers call: the same messages to the real Exim and to ours, log line by log line.
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { startExim } from '../support/exim.ts';
import { startMailchute } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { freePort, temporaryFolder, until } from '../support/process.ts';
import { submit } from '../support/smtp-talk.ts';

const folder = temporaryFolder('acl-calls');
// Exim writes its logs as its own user.
chmodSync(folder.path, 0o755);

/** ACL by name, which is also the local part whose routing calls it. */
const acls: Readonly<Record<string, string>> = {
  twice:
    'warn logwrite = logged $acl_arg1 $local_part $sender_host_address $acl_m0\n log_message = warned\n set acl_m0 = changed$acl_arg1\n accept message = message $acl_arg1 <$acl_m0>',
  denies: 'deny message = no\n log_message = not logged',
  defers: 'defer message = later',
  domains: 'accept domains = example.test',
  verifies: 'accept verify = recipient',
  sender: 'accept senders = s@example.test\n message = sender ok',
  host: 'accept hosts = 127.0.0.1\n message = host ok',
  adds: 'warn add_header = X: y\n accept',
  controls: 'accept control = freeze',
  discards: 'discard message = gone',
  drops: 'drop message = dropped',
  header: 'accept message = $h_subject: $message_body',
};

const calls = [
  ...Object.keys(acls).map((name) => `\${if eq{$local_part}{${name}}{<\${acl{${name}}{A}}>}}`),
  '${if eq{$local_part}{twice}{${acl{twice}{B}}}}',
  '${if eq{$local_part}{denies}{${if acl{{denies}}{yes $value}{no $value}}}}',
  '${if eq{$local_part}{none}{${acl{none}}}}',
].join('');

const rest = `begin acl
r:
  accept
${Object.entries(acls)
  .map(([name, text]) => `${name}:\n  ${text.replaceAll('\n', '\n ')}\n`)
  .join('')}begin routers
a:
  driver = redirect
  allow_defer
  data = :defer: CALLED ${calls}
begin retry
* * F,2h,1h
`;

suite('ACLs called while mail is routed', { skip: needs('exim4') }, () => {
  after(() => folder.remove());

  async function said(program: 'exim' | 'ours'): Promise<Record<string, string[]>> {
    const where = path.join(folder.path, program);
    const port = await freePort();
    const daemon =
      program === 'exim'
        ? await startExim(where, 'acl_smtp_rcpt = r', rest)
        : await startMailchute(
            where,
            `daemon_smtp_ports = ${port}\ntls_advertise_hosts =\nacl_smtp_rcpt = r`,
            rest,
          );
    try {
      const lines: Record<string, string[]> = {};
      for (const local of [...Object.keys(acls), 'none']) {
        const { id, reply } = await submit('port' in daemon ? daemon.port : port, {
          from: 's@example.test',
          to: [`${local}@example.test`],
          content: 'Subject: subject\r\n\r\nbody\r\n',
        });
        assert.notEqual(id, '', reply);
        const own = (): string[] =>
          daemon.mainLog().match(new RegExp(`(?<=^\\S+ \\S+ ${id} )(?!<=|Completed|Spool file ).*`, 'gm')) ??
          [];
        await until(() => own().some((l) => /^(==|\*\*)/.test(l)) || undefined, `${program} routes ${local}`);
        // The first attempt; a queue run may have made another by now.
        const all = own();
        lines[local] = all
          .slice(0, all.findIndex((l) => /^(==|\*\*)/.test(l)) + 1)
          // What is quoted of the option differs, the reason does not.
          .map((l) => l.replace(/failed to expand ".*": /s, 'failed to expand: '));
      }
      return lines;
    } finally {
      await daemon.stop();
    }
  }

  test('what they log, and what comes of them', async () => {
    const [ours, theirs] = await Promise.all([said('ours'), said('exim')]);
    // A queue run of Exim's may come between: it puts off by its retry records what was never tried.
    for (const [local, lines] of Object.entries(theirs))
      if (lines.some((l) => l.includes('retry time not reached'))) {
        delete ours[local];
        delete theirs[local];
      }
    assert.ok(Object.keys(theirs).length > 6);
    assert.deepEqual(ours, theirs);
  });
});
