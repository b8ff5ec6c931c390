// The same rules and addresses given to the real Exim (`-brw`, a delivery) and to ours.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { withTestedAclCalls } from '../../src/app/acl-test-calls.ts';
import { loadProgram, type Program } from '../../src/app/program.ts';
import { testRewrite } from '../../src/app/test-rewrite.ts';
import { type HeaderField, parseHeaderFields } from '../../src/mail/headers.ts';
import { rewriteHeader } from '../../src/rewrite/header.ts';
import { startExim } from '../support/exim.ts';
import { needs, needsRoot } from '../support/peers.ts';
import { runToEnd, temporaryFolder, until } from '../support/process.ts';

const folder = temporaryFolder('rewrite');
after(() => folder.remove());
chmodSync(folder.path, 0o755);
const file = path.join(folder.path, 'conf');
const partial = path.join(folder.path, 'partial');
writeFileSync(partial, 'a.test: aa\n*.part.test: pp\nsub.long.part.test: x\n', { mode: 0o644 });
const names = path.join(folder.path, 'names');
writeFileSync(names, 'joe: Joe.Doe\nann: Ann.Roe@other.test\n"a b": quoted\n', { mode: 0o644 });

const options = `primary_hostname = hub.example.test
qualify_domain = example.test
qualify_recipient = rcpt.test
spool_directory = ${folder.path}/spool
keep_environment =
domainlist ld = *.ld.test : lookup.test : \\N^r.*\\.re\\.test$\\N
addresslist people = joe@k.test : ann@k.test
begin acl
to:
  warn set acl_m_to = $acl_arg1
  accept message = $acl_m_to@acl.test
gone:
  discard
`;

function writeRules(rules: readonly string[]): void {
  writeFileSync(file, `${options}begin rewrite\n${rules.join('\n')}\n`, { mode: 0o644 });
}

function load(): Program {
  const { program, diagnostics } = loadProgram(file, new Map());
  assert.ok(program !== undefined, JSON.stringify(diagnostics));
  return { ...program, services: withTestedAclCalls(program, () => undefined) };
}

const usual = ['u@k.test', 'Joe@K.TEST', 'joe@Sub.LD.test', 'nobody', 'N (c) <u@k.test> (d)'] as const;
const cases: readonly (readonly [rules: readonly string[], addresses: readonly string[]])[] = [
  [
    ['*@*.hitch.test $1@hitch.test'],
    ['ph10@x.hitch.test', 'A.B@y.z.hitch.test', 'q@hitch.test', 'R@X.HITCH.TEST'],
  ],
  [
    ['*@hitch.test "${if eq{$local_part}{bob}{robert}fail}@hitch.test" bctfrF'],
    ['bob@hitch.test', 'al@hitch.test'],
  ],
  [
    ['*queen@*.w.test $2.$1@q.test fq', '*@q.test z@z.test'],
    ['hearts-queen@w.w.test', 'queen@a.w.test', 'Queen@a.w.test'],
  ],
  [
    ['"\\"a b\\"@c.test" x@y.test', '*@d.test "\\"$local_part\\"@e.test"'],
    ['"a b"@c.test', 'a\\ b@c.test', 'k@d.test', '"k k"@d.test'],
  ],
  [
    ['\\N^(?i)foo(.*)@bar\\.test$\\N $1@baz.test h'],
    ['FOOx@bar.test', 'foo@BAR.test', 'foo.y@bar.test', 'fo@bar.test'],
  ],
  [
    ['no@star.test * f', '*@star.test $1@moved.test'],
    ['no@star.test', 'yes@star.test'],
  ],
  [
    ['*@+ld "<$local_part@new.test>" wf', '*@+ld Full.$2@x.test t'],
    ['joe@a.ld.test', 'x@lookup.test', 'y@rr.re.test', ...usual],
  ],
  [['+people $local_part@people.test'], usual],
  [
    ['*@k.test "${acl{to}{$1}}"', '*@q.test "${acl{gone}}"'],
    ['u@k.test', 'x@q.test'],
  ],
  [
    ['*@k.test unqual Q', '*@un.test unqual'],
    [...usual, 'x@un.test'],
  ],
  [
    ['*@loop.test x$1@loop.test R', '*@loopq.test x$1@loopq.test Rq', '*@* $1@end.test h'],
    ['a@loop.test', 'a@loopq.test', 'b@c.test'],
  ],
  [['*@k.test "${if eq{$local_part}{xxu}{fin@fin.test}{x$1@k.test}}" Rq', '*@* $1@end.test'], usual],
  [['\\N^(\\d+)@num\\.test$\\N n$1@num.test t'], ['12@num.test', 'a1@num.test', '7@NUM.test']],
  [
    ['*@*.K.test $1@q.test', 'Joe@k.test cap@q.test', 'joe@k.test low@q.test'],
    [...usual, 'a@b.k.test', 'joe@k.test'],
  ],
  [
    [`*@partial-lsearch;${partial} $1+$2+$3@q.test`],
    ['u@x.part.test', 'u@part.test', 'u@A.test', 'u@y.long.part.test', 'u@none.test'],
  ],
  [[`*@lsearch;${partial} $1+$2@q.test`], ['u@a.test', 'u@b.test']],
  [
    [`*@k.test "\${lookup{$1}lsearch{${names}}{$value}fail}@real.test"`],
    ['joe@k.test', 'ann@k.test', 'none@k.test'],
  ],
  [
    [`*@k.test "\${lookup{$1}lsearch{${names}}{$value@real.test}fail}" q`, '*@* $1@rest.test'],
    ['joe@k.test', 'none@k.test', 'x@l.test'],
  ],
  [['*@k.test "The <$1@q.test>" w'], usual],
  [['*@k.test "The One <$1@q.test> (tail)" w', '*@q.test $1@r.test'], usual],
  [['*@k.test $1@q.test', '*@q.test "Second <$1@r.test>" w'], usual],
  [['*@k.test "One <$1@q.test>" w', '*@q.test "Two <$1@r.test>" w'], usual],
  [
    ['*@k.test "Th\\xe9e <$1@q.test>" w', '*@a.test "(c\\303\\251) <$1@q.test> (\\xc3\\xa9)" w'],
    [...usual, 'z@a.test'],
  ],
  [['*@k.test "The, x <$1@q.test>" w'], usual],
  [
    ['*@k.test "<>"', '*@a.test ""'],
    [...usual, 'z@a.test'],
  ],
  [
    ['*@k.test bad@@x', '*@a.test a@b@c', '*@b.test "a b"', '*@c.test "<x@y"', '*@d.test @e.test'],
    [...usual, 'z@a.test', 'z@b.test', 'z@c.test', 'z@d.test'],
  ],
  [
    ['*@k.test "a b <$1@q.test>"', '*@a.test "(x) $1 (y) @ (z) q . test (w)"'],
    [...usual, 'z@a.test'],
  ],
  [['*@k.test ${bad', '*@* $1@never.test'], usual],
  [
    ['k.test $local_part@z.test', 'K2.test $local_part@z2.test'],
    [...usual, 'u@k2.test'],
  ],
  [['^\\Nu\\N x@smtp.test S'], ['u@k.test', '<u@k>', 'U', 'xu']],
  [
    ['^\\N(.*)!(.*)$\\N $2@$1 S', '*@k.test b@c.test'],
    ['k.test!joe', 'u@k.test', '@@', 'a!b!c'],
  ],
  [['!*@k.test $local_part@n.test'], usual],
  [
    ['*@k.test $1@q.test E', '*@q.test $1@r.test F', '*@q.test $1@s.test T', '*@k.test $1@hh.test f h'],
    usual,
  ],
  [['*@k.test $1@q.test b c', '*@k.test $1@qq.test r s t'], usual],
  [
    ['*@k.test $0x', '*@ex.test "<$domain.$local_part@n.test>"'],
    [...usual, 'Ab@eX.test'],
  ],
  [
    ['*@k.test "@route.test:u@k.test"', '*@a.test "<@r.test,@s.test:u@k.test>"'],
    [...usual, 'z@a.test'],
  ],
  [
    ['*@* $1@x.test'],
    [
      '@@',
      '',
      '<a@b.test',
      'a b@c.test',
      'a@b.test, c@d.test',
      'x@[1.2.3.4]',
      'a..b@c.test',
      '.a@c.test',
      '"unclosed@c.test',
      'a@b_c.test',
      '(only comment)',
      'grp: a@b.test;',
      '<>',
      'a@b.test (x',
      'phrase <a@b.test>',
      '@r.test:a@b.test',
      '<@r.test:a@b.test>',
      '<@r.test>',
      '<@r.test,x:a@b.test>',
      '@r.test,@s.test:a@b.test',
      '<@r.test:a>',
      '@r.test:a',
      'é@b.test',
      'a@-b.test',
      'a@b.test.',
      'a@',
    ],
  ],
];

test('-brw against exim4', { skip: needs('exim4'), timeout: 120_000 }, async () => {
  const differences: string[] = [];
  let asked = 0;
  for (const [rules, addresses] of cases) {
    writeRules(rules);
    const program = load();
    for (const address of addresses) {
      asked++;
      const { code, output } = await runToEnd('/bin/sh', [
        '-c',
        'exec exim4 -C "$0" -brw "$1" 2>/dev/null',
        file,
        address,
      ]);
      assert.equal(code, 0, output);
      const octets = Buffer.from(address, 'utf8').toString('latin1');
      const ours = await testRewrite(program, octets, () => {});
      if (ours.map((line) => `${line}\n`).join('') !== output)
        differences.push(`${rules.join(' | ')} :: ${address}\n${ours.join('\n')}\n--\n${output}`);
    }
  }
  assert.ok(asked >= 100, `${asked}`);
  assert.deepEqual(differences, []);
});

test('malformed rules are refused in the words of Exim', { skip: needs('exim4') }, async () => {
  for (const rule of [
    'foo',
    '"foo bar',
    'a@b.c x@y Z',
    '*@k.test $1@q.test hS',
    'a@b.c ${if eq{a}{b}{x}fail} q',
  ]) {
    writeRules([rule]);
    const { output } = await runToEnd('/usr/sbin/exim4', ['-C', file, '-brw', 'x@y.z']);
    const { diagnostics } = loadProgram(file, new Map());
    const message = diagnostics.find((d) => d.severity === 'error')?.message ?? 'none';
    assert.ok(output.includes(`\n  ${message}`), `${rule}: ours ${message}, theirs ${output}`);
  }
});

const headerRules = [
  '*@c.test $1@dd.test h',
  '*@a.test $1@very-long-domain-name-for-rewriting.example.test h',
  '*@e.test "AB C\\tD <$1@x.test>" wh',
  '*@f.test "\\"Q D\\" <$1@x.test>" wh',
  '*@g.test "Caf\\xc3\\xa9 (com) <$1@x.test> (tr\\xe9)" wh',
  '*@from.test $1@only-from.test f',
];
const headerLines = [
  'To: (a) x@e.test (b), (q) Z <y@f.test> , k@b.test',
  'To: x@g.test',
  'Cc: x@e.test,\n  foo@e.test',
  'To: A B C <a@c.test>, , b@c.test,',
  'To: "p@c.test" <zz@c.test>',
  'To: <@r.test:zz@c.test>',
  'To: a@c.test; b@c.test',
  'To: a@c.test b@c.test, d@c.test',
  'To: grp: a@c.test; , b@c.test',
  'Cc: grp: g1@a.test, g2@b.test;, undisclosed:;, after@a.test',
  'To: list : ;',
  'To:a@c.test',
  'To:\n a@c.test',
  'RESENT-TO: (c) r@a.test (d)',
  'Reply-To: bad address here, ok@a.test',
  'X-To: a@c.test',
  'Subject: a@c.test',
  'Cc: v@from.test',
  'Resent-From: v@from.test',
  'To: one@a.test, Two <two@a.test>, three@b.test,\n four@a.test, five@a.test, "Quoted, Six" <six@a.test>, seven@e.test',
  'Bcc: unchanged-and-rather-long-local-part@b.test, a@c.test, another@b.test,\n\tb@c.test',
  'To: a@c.test (a comment, with comma), "b, c" <d@c.test>',
  'To: \\"x@c.test, "un\\"q"@c.test, a . b @ c . test',
  'Sender: Joe <joe@c.test>',
  ...Array.from(
    { length: 30 },
    (_, i) => `Cc: ${'p'.repeat(15 + i)}@c.test, ${'q'.repeat(((i * 7) % 23) + 1)}@b.test`,
  ),
];

test('header lines of a message against exim4', { skip: needsRoot('exim4'), timeout: 60_000 }, async () => {
  const world = path.join(folder.path, 'exim');
  const out = path.join(world, 'out');
  mkdirSync(out, { recursive: true });
  const { uid, gid } = statSync('/var/spool/exim4');
  chownSync(out, uid, gid);
  const exim = await startExim(
    world,
    'qualify_domain = example.test',
    `begin routers
r:
  driver = accept
  transport = t
begin transports
t:
  driver = appendfile
  file = ${out}/box
  user = Debian-exim
begin rewrite
${headerRules.join('\n')}
`,
  );
  try {
    const message = `From: x@b.test\n${headerLines.join('\n')}\n\nbody\n`;
    await runToEnd('/bin/sh', [
      '-c',
      'printf %s "$1" | exim4 -C "$0" -odi -f s@b.test rcpt@b.test',
      exim.configFile,
      message,
    ]);
    const box = await until(() => {
      try {
        return readFileSync(`${out}/box`, 'latin1') || undefined;
      } catch {
        return undefined;
      }
    }, 'exim4 delivers');
    const theirs = parseHeaderFields(box.slice(box.indexOf('\n') + 1).replaceAll('\n', '\r\n'))
      .map((f) => f.raw)
      .filter((raw) => !/^(?:Received|Resent-Date|Resent-Message-Id|Message-Id|Date):/i.test(raw));
    writeRules(headerRules);
    const program = load();
    const told: string[] = [];
    const ours: string[] = [];
    const fields: readonly HeaderField[] = parseHeaderFields(
      `From: x@b.test\n${headerLines.join('\n')}\n`.replaceAll('\n', '\r\n'),
    );
    for (const field of fields) {
      const context = {
        rules: program.rewriteRules,
        scope: { main: program.main, services: program.services },
        problem: (text: string) => void told.push(text),
      };
      ours.push(((await rewriteHeader(field, context)) ?? field).raw);
    }
    assert.deepEqual(ours, theirs);
    assert.ok(told.some((text) => text.startsWith('rewrite: missing or malformed local part')));
  } finally {
    await exim.stop();
  }
});
