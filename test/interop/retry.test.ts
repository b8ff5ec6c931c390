// `bin/exim -brt` against the real Exim's, with the same rules and questions.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { loadProgram } from '../../src/app/program.ts';
import { testRetry } from '../../src/app/test-retry.ts';
import { parseEximArguments } from '../../src/cli/exim-arguments.ts';
import { isSyntaxError, parseAddress, type ReversePath } from '../../src/mail/address.ts';
import { parseTimeInterval } from '../../src/mail/time-interval.ts';
import { root } from '../support/mailchute.ts';
import { needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

const folder = temporaryFolder('retry');
after(() => folder.remove());
// Exim reads lists as its own user.
chmodSync(folder.path, 0o755);
const file = path.join(folder.path, 'conf');
const list = path.join(folder.path, 'domains');
writeFileSync(list, 'listed.test\n*.wild.test\n', { mode: 0o644 });
writeFileSync(
  file,
  `primary_hostname = hub.example.test
qualify_domain = example.test
spool_directory = ${folder.path}/spool
keep_environment =
domainlist ours = one.test : *.two.test
begin retry
a.test                 *                   F,1h,10m
b.test                 timeout_connect_MX  G,2h,15m,1.5; H,3h,5m,2
b.test                 timeout             G,2h,15m,1.25
*@c.test               rcpt_4xx            senders=: F,1d,1m
c.test                 rcpt_4xx            F,1d,1m
c.test                 rcpt_45x            F,2d,1m
x@d.test               quota_4d            F,1w,30m
d.test                 quota
\\N^ho.*\\.test$\\N    refused             F,1h,1m
"*.q.test"             lookup              F,1h,1m;G,2h,2m,1.333
*@+ours                *                   senders="*@s.test : <; x@y.test" H,1w,1h,2.5
+ours                  *                   F,90m,1m
lsearch;${list}        refused_A           F,1h30m,45s
*.partial.test         auth_failed         F,1h,1h
*.partial.test         tls_required        F,2h,1h
*.partial.test         lost_connection     F,3h,1h
*.partial.test         mail_451            F,4h,1h
*.partial.test         data_4xx            F,5h,1h ; G,6h, 1h, 2
user@*.local.test      *                   F,1h,1h
*.com                  *                   F,1d,1h
!no.net                refused_MX          F,1d,2h
`,
  { mode: 0o644 },
);

const subjects =
  'a.test u@a.test A.TEST b.test x@b.test c.test u@c.test d.test x@d.test y@d.test host.test ho.test s.q.test q.test one.test u@one.test k.two.test two.test listed.test in.wild.test m.partial.test user@k.local.test other@k.local.test k.local.test foo.com com single no.net yes.net none.org'.split(
    ' ',
  );
const errors =
  '- timeout_connect_MX timeout_connect timeout_MX timeout rcpt_4xx rcpt_45x rcpt_450 rcpt_421 mail_451 mail_4xx data_452 quota quota_4d quota_5d quota_1h refused refused_A refused_MX lookup auth_failed tls_required lost_connection QUOTA_1W'.split(
    ' ',
  );

/** Subject, second domain, error, -f. */
function questions(): { readonly words: readonly string[]; readonly sender?: string }[] {
  const out: { words: string[]; sender?: string }[] = [{ words: [] }];
  for (const [i, subject] of subjects.entries())
    for (const [k, error] of errors.entries()) {
      // A good part of all pairs, the same each time.
      if ((i * 7 + k * 5) % 4 !== 0 && error !== '-') continue;
      const words = error === '-' ? [subject] : [subject, error];
      out.push({ words });
    }
  out.push(
    { words: ['none.org', 'a.test'] },
    { words: ['z', 'b.test', 'timeout_connect_MX'] },
    { words: ['none.org', 'c.test', 'rcpt_450'] },
    { words: ['u@c.test', 'rcpt_450'], sender: '<>' },
    { words: ['u@c.test', 'rcpt_450'], sender: 'k@l.test' },
    { words: ['u@one.test'], sender: 'k@s.test' },
    { words: ['u@one.test'], sender: 'x@y.test' },
    { words: ['one.test'], sender: 'k@s.test' },
    { words: ['a.test', 'bogus'] },
    { words: ['a.test', 'rcpt_5xx'] },
    { words: ['a.test', 'rcpt_4x1'] },
    { words: ['a.test', 'quota_xx'] },
    { words: ['a.test', 'b.test', 'c.test', 'd.test'] },
  );
  return out;
}

function senderOf(text: string | undefined): ReversePath | undefined {
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  return text === '' || isSyntaxError(address) ? null : address;
}

test('-brt against exim4', { skip: needs('exim4'), timeout: 180_000 }, async () => {
  const { program, diagnostics } = loadProgram(file, new Map());
  assert.ok(program !== undefined, JSON.stringify(diagnostics));
  const differences: string[] = [];
  const asked = questions();
  assert.ok(asked.length >= 150, `${asked.length}`);
  for (const { words, sender } of asked) {
    const line = [...(sender === undefined ? [] : ['-f', sender]), '-brt', ...words];
    const parsed = parseEximArguments(line, parseTimeInterval);
    assert.ok(parsed.kind === 'ok' && parsed.arguments.mode === 'test-retry');
    const { lines, failed } = await testRetry(
      program,
      parsed.arguments.words,
      senderOf(parsed.arguments.sender),
      () => {},
    );
    const theirs = await runToEnd('/bin/sh', ['-c', 'exec exim4 -C "$0" "$@" 2>/dev/null', file, ...line]);
    const ours = lines.map((l) => `${l}\n`).join('');
    if (ours !== theirs.output || (failed ? 1 : 0) !== theirs.code)
      differences.push(`${line.join(' ')}: ours ${ours}theirs ${theirs.code} ${theirs.output}`);
  }
  assert.deepEqual(differences, []);
});

test('the command itself prints the same', { skip: needs('exim4') }, async () => {
  for (const line of [['-brt', 'b.test', 'timeout_connect_MX'], ['-brt'], ['-brw', 'u@a.test'], ['-brw']]) {
    const [ours, theirs] = await Promise.all(
      [path.join(root, 'bin/exim'), '/usr/sbin/exim4'].map((program) =>
        runToEnd(program, ['-C', file, ...line]),
      ),
    );
    assert.deepEqual(ours, theirs, line.join(' '));
  }
});
