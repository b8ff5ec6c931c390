// `-bt`, `-bv` and `-bvs` of the real Exim and of ours, line for line: redirections, options of routers, the DNS.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { after, describe, test } from 'node:test';
import { testAddresses } from '../../src/app/address-test.ts';
import { parseEximArguments } from '../../src/cli/exim-arguments.ts';
import { namespaced, needsNamespaces } from '../support/namespace.ts';
import { needs } from '../support/peers.ts';
import { runToEnd } from '../support/process.ts';

const skip = needs('exim4');
const root = path.resolve(import.meta.dirname, '../..');
const ours = path.join(root, 'src/bin/exim.ts');
const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-bt-'));
chmodSync(folder, 0o755);
after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string, mode = 0o644): string {
  const full = path.join(folder, name);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text, 'latin1');
  chmodSync(full, mode);
  return full;
}

const main = `primary_hostname = hub.example.test
qualify_domain = example.test
local_interfaces = 127.0.0.1
keep_environment =
spool_directory = ${folder}/spool
`;
const transports = `begin transports
l:
  driver = lmtp
  socket = /none
l2:
  driver = lmtp
  socket = /none
s:
  driver = smtp
`;
const accepting = 'acc:\n  driver = accept\n  transport = l\n';

/** What is said on standard output. */
async function both(
  config: string,
  mode: '-bt' | '-bv' | '-bvs',
  addresses: readonly string[],
): Promise<{ exim: string; mailchute: string }> {
  const name = file('conf', config);
  const parsed = parseEximArguments(['-C', name, mode, ...addresses], () => undefined);
  assert.ok(parsed.kind === 'ok');
  const said: string[] = [];
  const heard = console.error;
  console.error = () => undefined;
  try {
    const [{ output }] = await Promise.all([
      runToEnd('sh', ['-c', 'exec /usr/sbin/exim4 "$@" 2>/dev/null', 'exim', '-C', name, mode, ...addresses]),
      testAddresses(parsed.arguments, modes[mode], Readable.from([]), (line) => said.push(`${line}\n`)),
    ]);
    return { exim: output, mailchute: said.join('') };
  } finally {
    console.error = heard;
  }
}

const modes = { '-bt': 'address-test', '-bv': 'verify-recipient', '-bvs': 'verify-sender' } as const;

const aliases = file(
  'aliases',
  `list: a, b,  c
nest: list, un
dup: a, A, a@EXAMPLE.TEST, d, D
mix: /var/mail/x, |/bin/cat foo, /dir/, "|/bin/cat a,b", a
fail: :fail: gone away, really
failc: a, :fail: 550 gone
defer: :defer: later
bh: :blackhole:
bh2: a, :blackhole:
unk: :unknown:
unk2: a, :unknown:
me: me, a
loop1: loop2
loop2: loop1
bad: a, b@@c, c
name: Some One <a@example.test>, (comment) b, "Joe X" <c>
quoted: "a", "x y"@example.test, "\\"q,r\\"@example.test"
back: \\a
inc: :include:${folder}/inc, c
incno: :include:${folder}/none
empty:
comm: a, # foo
rel: ./foo
src: @foo,@bar:a@example.test
grp: friends: a, b;
fail2: :fail:
f550: :fail: 550 5.7.1 no way
pipeaddr: |foo@example.test
`,
);
file('inc', 'a\n# comment\nb, # x\n un\n');
const names = readFileSync(aliases, 'latin1')
  .split('\n')
  .flatMap((line) => line.split(':', 1))
  .filter((name) => name !== '');

const aliasRouters = (data: string): string => `${main}begin routers
al:
  driver = redirect
  domains = example.test
  data = ${data}
  allow_fail
  allow_defer
  file_transport = l
  pipe_transport = l
  directory_transport = l
un:
  driver = accept
  local_parts = un
  unseen
  transport = l2
acc:
  driver = accept
  local_parts = a:b:c:un:me:D:d:x y:q,r
  transport = l
${transports}`;

describe('redirections', { skip }, () => {
  for (const mode of ['-bt', '-bv', '-bvs'] as const)
    test(`aliases of every kind, ${mode}`, async () => {
      const lookup = `\${lookup{$local_part}lsearch{${aliases}}}`;
      const { exim, mailchute } = await both(aliasRouters(lookup), mode, [
        ...names,
        'list',
        'un',
        'a',
        'nosuch',
      ]);
      assert.equal(mailchute, exim);
      assert.ok(exim.length > 500);
    });

  test('items good and malformed, with what is wrong with them', async () => {
    const items = readFileSync(path.join(import.meta.dirname, 'redirect-items.txt'), 'latin1')
      .trimEnd()
      .split('\n');
    const table = file('items', items.map((item, i) => `t${i}: ${item}\n`).join(''));
    const config = `${main}begin routers
al:
  driver = redirect
  domains = example.test
  data = \${lookup{$local_part}lsearch{${table}}}
  allow_fail
  file_transport = l
  pipe_transport = l
  directory_transport = l
${accepting}${transports}`;
    const { exim, mailchute } = await both(
      config,
      '-bt',
      items.map((_, i) => `t${i}`),
    );
    assert.equal(mailchute, exim);
    assert.ok(exim.length > 2000);
  });
});

file('fw/ok', 'a@b.test\n');
file('fw/filter', '#Exim filter\ndeliver x@y.test\n');
file('fw/sieve', '# Sieve filter\nkeep;\n');
file('fw/comment', '# only\n');
file('fw/empty', '');
file('fw/group', 'a@b.test\n', 0o664);
const fw = `${folder}/fw`;

/** Options of a redirect router. */
const cases: readonly string[] = [
  'data = /x',
  'data = /x\n file_transport = nosuch',
  'data = |x y\n forbid_pipe\n pipe_transport = l',
  'data = /x\n forbid_file\n file_transport = l',
  'data = :blackhole:\n forbid_blackhole',
  `data = :include:/x/y\n forbid_include`,
  `data = :include:/x/y\n include_directory = ${folder}`,
  `data = :include:${fw}/ok\n include_directory = ${folder}`,
  'data = :include:relative',
  `file = ${fw}/ok`,
  `file = ${fw}/filter`,
  `file = ${fw}/sieve`,
  `file = ${fw}/comment`,
  `file = ${fw}/empty`,
  `file = ${fw}/group`,
  `file = ${fw}/group\n modemask = 002`,
  `file = ${fw}`,
  `file = ${fw}/none`,
  `file = ${fw}/none/x`,
  `file = ${fw}/ok/x`,
  `file = ${fw}/ok/x\n ignore_enotdir`,
  `file = ${fw}/none/x\n ignore_enotdir`,
  `file = ${fw}/ok\n check_owner`,
  `file = ${fw}/ok\n owners = root`,
  `file = ${fw}/ok\n owners = mail`,
  `file = ${fw}/ok\n owngroups = mail`,
  'file = fw/ok',
  'data = a@@b, c@d.test, x y\n skip_syntax_errors',
  'data = a@@b\n skip_syntax_errors',
  'data = a, b\n qualify_preserve_domain',
  'data = a, b\n qualify_domain = other.test',
  'data = a, b\n qualify_domain = ${if eq{1}{2}{x}fail}',
  'data = ${if eq{1}{2}{x}fail}',
  'data = x@b.test\n redirect_router = acc\n repeat_use = false',
  'data = a, t\n repeat_use = false',
  'data = u, root\n check_ancestor',
  'data = :fail: 550 x\n allow_fail\n forbid_smtp_code',
  'data = a, :unknown:',
  'check_local_user\n data = x-${local_user_uid}-${local_user_gid}-$local_part_data-$home@b.test',
  'check_local_user\n router_home_directory = /elsewhere\n data = $home@b.test',
  'set = r_a = foo ; r_b = ${quote:$r_a}x\n data = $r_a-$r_b@b.test',
  'set = r_a = foo\n set = r_c = bar\n data = $r_a$r_c@b.test',
  'set = r_a = ${if eq{1}{2}{}fail}\n data = $r_a@b.test',
  'address_data = dd\n data = x@example.test, ${address_data}@b.test',
  'require_files = /etc/passwd : !/nonexist\n data = a@b.test',
  'require_files = /nonexist\n data = a@b.test',
  'require_files = mail:/etc/shadow\n data = a@b.test',
  'require_files = mail:+/etc/shadow\n data = a@b.test',
  'require_files = mail:/etc/passwd\n data = a@b.test',
  'require_files = nosuchuser:/etc/passwd\n data = a@b.test',
  `router_home_directory = ${folder}\n require_files = $home/aliases\n data = $home@b.test`,
  'unseen = ${if eq{$local_part}{root}{yes}{no}}\n data = a@b.test',
  'unseen\n data = a@b.test\n condition = ${if eq{$local_part}{root}}\n condition = yes',
  'data = $original_local_part.$parent_local_part@b.test, u@example.test',
  'data = a,b\n more = no\n local_part_prefix = x-\n local_part_prefix_optional',
  'data = p${local_part_prefix_v}q${local_part_suffix_v}@b.test\n local_part_prefix = *- : x\n local_part_suffix = +*\n local_part_suffix_optional',
  'data = z@b.test\n caseful_local_part\n local_parts = ROOT',
  'data = \\\\$local_part',
];

describe('options of a redirect router', { skip }, () => {
  for (const options of cases)
    test(options.replaceAll('\n', ';').replaceAll(folder, ''), async () => {
      const config = `${main}begin routers\nal:\n driver = redirect\n domains = example.test\n ${options}\n${accepting}${transports}`;
      const { exim, mailchute } = await both(config, '-bt', [
        't@example.test',
        'root@example.test',
        'x-t@example.test',
        'x-T+s@example.test',
        'ROOT@example.test',
      ]);
      // Which of two equal ones is called the duplicate depends on the order of Exim's work there.
      const marks = options.includes('check_ancestor')
        ? / {3}\[duplicate, would not be delivered\]/g
        : /(?!)/g;
      assert.equal(mailchute.replace(marks, ''), exim.replace(marks, ''));
      assert.match(exim, /@/);
    });
});

const acls = `begin acl
accepts:
 warn set acl_m_seen = $acl_arg1
 accept message = <$acl_m_seen> <$sender_address>
denies:
 deny message = no
defers:
 defer message = later
discards:
 discard message = gone
drops:
 drop message = dropped
verifies:
 accept verify = recipient
`;

describe('ACLs that a router calls', { skip }, () => {
  const names = ['accepts', 'denies', 'defers', 'discards', 'drops', 'verifies', 'nosuch'];
  const config = `${main}${acls}begin routers\n${names
    .map(
      (name) =>
        `${name}:\n driver = redirect\n allow_fail\n local_parts = ${name}\n data = :fail: \${acl{${name}}{arg}}|\${if acl{{${name}}}{y $value}{n $value}}\n`,
    )
    .join('')}${accepting}${transports}`;
  for (const mode of ['-bt', '-bv', '-bvs'] as const)
    test(mode, async () => {
      const { exim, mailchute } = await both(
        config,
        mode,
        names.map((n) => `${n}@example.test`),
      );
      assert.equal(mailchute, exim);
      assert.match(exim, /DISCARD from acl "discards"/);
    });
});

/** Good and malformed ones; every one is one address to Exim, which takes commas only inside source routes. */
const written = [
  'a@d.test|b..c@d.test|.a.|"q q"@d.test|"q@q"|(c)a(c)@(c)d.test(c)|a@d.test-|a@-d.test|a@d..test|a@.d.test|a@d.test.',
  'x y<a@d.test>|x y<a>|<a@d.test>(c)|<a@d.test>b|<a@d.test|<a|<"q q"@d.test>|<>|<@>|@|a@|@d.test|<.|x "y z" <a@d.test>',
  '@r.test:a@d.test|@r.test,@s.test:a@d.test|<@r.test:a@d.test>|<@r.test,@s.test:a@d.test>|@r.test:a|@r.test:..|@r.test:a;|@r.test:|@r.test:(|@r.test:"q',
  '@r.test:<a@d.test>|@r.test:a<b@d.test>|@[1.2.3.4]:a@d.test|@r.test@d.test|<@r.test:a>|<@r.test:a;>|@r.test:@s.test:a@d.test',
  'a@[1.2.3.4]|a@[|a@[1.2.3.4|a@[1.2.3.4]b|a@[x]-|a@d.test;|;|;a|a;|a:b:|a b|a"q"b@d.test|"q"q"@d.test|"q|"q" (c)|(c)|(',
  'a(c)b@d.test|a@d.test(c|a@d(c).test|a@d.(c)test|a[b]@d.test|a\\ b@d.test|a\\@b@d.test|a b <c d> e',
].flatMap((line) => line.split('|'));

test('how addresses are written', { skip }, async () => {
  const spaced = written.flatMap((text) => [text, text.replace(/([@<>:;.])/g, ' $1 ')]);
  const { exim, mailchute } = await both(`${main}allow_domain_literals\nbegin routers\n`, '-bt', [
    ...new Set(spaced.map((text) => text.trim())),
  ]);
  assert.deepEqual(mailchute.split('\n'), exim.split('\n'));
  assert.ok(exim.split('\n').length > 100);
});

const literals = ['x@[192.0.2.1]', 'x@[192.0.2.5]', 'x@[127.0.0.1]', 'x@[IPv6:2001:db8::1]', 'x@a.test'];

test('ipliteral', { skip }, async () => {
  const config = `${main}allow_domain_literals\nbegin routers\nlit:\n driver = ipliteral\n transport = s\n ignore_target_hosts = 192.0.2.5\n${transports}`;
  const { exim, mailchute } = await both(config, '-bt', literals);
  assert.equal(mailchute, exim);
});

/** Options of a dnslookup router, and domains. */
const dnsCases: readonly (readonly [options: string, domains: string])[] = [
  [
    '',
    'a.test two.test nullmx.test nullmx2.test missingmx.test againmx.test fail.test refused.test nothere.test ipmx.test selfmx.test second.test ign.test www.test cnmx.test cnmx2.test txtonly.test same.test single [1.2.3.4]',
  ],
  ['ignore_target_hosts = 10.0.0.0/8', 'ign.test allign.test ignored.test'],
  ['check_srv = smtp', 'srv.test nosrv.test badsrv.test two.test a.test'],
  ['check_srv = smtp\n srv_fail_domains = *', 'badsrv.test'],
  ['mx_domains = *.test', 'mxonly.test two.test'],
  ['mx_fail_domains = *', 'fail.test'],
  ['fail_defer_domains = *', 'nothere.test txtonly.test nullmx.test missingmx.test'],
  ['check_secondary_mx', 'two.test second.test selfmx.test'],
  ['ipv4_only = yes', 'a.test'],
  ['ipv4_prefer = yes', 'a.test'],
  ['dnssec_require_domains = *', 'a.test secure.test'],
  ['self = send', 'selfmx.test local.test'],
  ['self = pass', 'selfmx.test local.test'],
  ['self = fail', 'selfmx.test local.test'],
  ['self = reroute: two.test', 'selfmx.test'],
  ['pass_on_timeout', 'fail.test'],
];

test('dnslookup', { skip: skip === false ? needsNamespaces() : skip }, async () => {
  const zone = readFileSync(path.join(import.meta.dirname, 'routing-zone.txt'), 'latin1');
  const runs = dnsCases.map(([options, domains], i) => {
    const name = file(
      `dns${i}`,
      `${main}begin routers\ndl:\n driver = dnslookup\n transport = s\n ${options}\n${transports}`,
    );
    const words = `-C ${name} -bt ${domains
      .split(' ')
      .map((d) => `'x@${d}'`)
      .join(' ')}`;
    return `echo '== ${i} exim'; /usr/sbin/exim4 ${words} 2>/dev/null; echo '== ${i} ours'; ${process.execPath} ${ours} ${words} 2>/dev/null`;
  });
  const output = await namespaced(folder, zone, runs.join('\n'));
  const parts = new Map(
    output
      .split('== ')
      .slice(1)
      .map((part) => {
        const end = part.indexOf('\n');
        // Hosts that cannot be used are not kept by ours, so their lines and the width of the column differ.
        const kept = part
          .slice(end + 1)
          .split('\n')
          .filter((line) => !line.includes('** unusable **'))
          .map((line) => (line.startsWith('  host') ? line.replace(/\s+/g, ' ').trimEnd() : line));
        return [part.slice(0, end), kept.join('\n')];
      }),
  );
  for (const [i, [options]] of dnsCases.entries()) {
    const exim = parts.get(`${i} exim`) ?? '';
    assert.match(exim, /^x@/, options);
    assert.equal(parts.get(`${i} ours`), exim, options);
  }
});
