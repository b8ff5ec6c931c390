// ACLs for RCPT: the same statements in the real Exim's `-bh` and in ours; replies and log lines must be the same.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Acl } from '../../src/acl/ast.ts';
import { newAclMemory, type AclEnvironment, type AclMemory } from '../../src/acl/environment.ts';
import { parseAcl } from '../../src/acl/parse.ts';
import { acceptance, refusal, rejectionReason } from '../../src/acl/result.ts';
import { runAcl } from '../../src/acl/run.ts';
import type { ExpandScope, MatchKind } from '../../src/expand/scope.ts';
import { createLists } from '../../src/list/match.ts';
import { createLsearch } from '../../src/lookup/drivers/lsearch.ts';
import { createLookups } from '../../src/lookup/lookups.ts';
import { formatAddress, isSyntaxError, parseAddress, type Address } from '../../src/mail/address.ts';
import { formatReply, reply } from '../../src/mail/reply.ts';
import type { Verifier, VerifyResult } from '../../src/verify/verifier.ts';
import { needs } from '../support/peers.ts';
import { temporaryFolder } from '../support/process.ts';

const folder = temporaryFolder('acl');
const keys = path.join(folder.path, 'keys');

const named: Readonly<Record<MatchKind, Readonly<Record<string, string>>>> = {
  domain: { local: 'a.test : *.sub.test', not_local: '! +local' },
  host: { clients: '192.0.2.0/24', others: '198.51.100.0/24' },
  address: { friends: 's@a.test : *@friends.test' },
  local_part: { known: 'ok : x' },
};

interface Case {
  readonly acl: string;
  readonly sender?: string;
  readonly recipients?: readonly string[];
  /** Why our log lines differ from Exim's; only replies are compared. */
  readonly logDiffers?: string;
}

const usual = ['x@a.test', 'ok@a.test', 'X@B.test', 'fail@a.test', 'defer@a.test'];

/** Exim logs what is wrong with a list on a line of its own and leaves it out of the rejection's; here it is the reason. */
const logDiffers = 'the reason is on the same line';

const one = (acl: string): Case => ({ acl, recipients: ['x@a.test'] });

/** Each text is the body of an ACL; `nested...` are the ACLs below. */
const cases: readonly Case[] = [
  // verbs
  { acl: 'accept' },
  { acl: 'deny' },
  { acl: 'defer' },
  { acl: 'drop', recipients: ['x@a.test'] },
  { acl: 'discard' },
  { acl: 'require condition = no' },
  { acl: 'require condition = yes' },
  { acl: 'warn\n accept' },
  { acl: 'warn' },
  // what decides where
  { acl: 'accept domains = a.test' },
  { acl: 'deny domains = a.test\n accept' },
  { acl: 'accept domains = +local\n local_parts = +known\n deny message = none of ours' },
  { acl: 'deny !domains = a.test\n message = not local\n accept' },
  { acl: 'require domains = a.test\n accept' },
  { acl: 'defer domains = b.test\n accept' },
  { acl: 'accept hosts = 192.0.2.1\n domains = b.test' },
  { acl: 'accept hosts = +others\n deny hosts = +clients\n message = client' },
  { acl: 'accept hosts = : +clients' },
  { acl: 'accept hosts = :' },
  { acl: 'accept senders = :', sender: '' },
  { acl: 'accept senders = :' },
  { acl: 'deny senders = +friends\n accept' },
  { acl: 'accept sender_domains = a.test\n local_parts = ok' },
  { acl: 'accept sender_domains = !a.test', sender: '' },
  { acl: 'accept recipients = x@a.test : *@b.test' },
  { acl: 'accept local_parts = ^[xo]' },
  { acl: 'accept encrypted = *' },
  { acl: 'deny !encrypted = *\n message = TLS please' },
  { acl: 'accept authenticated = *' },
  { acl: 'deny !authenticated = *\n accept' },
  { acl: 'accept domains = +nonesuch', logDiffers },
  { acl: 'deny !domains = +nonesuch', logDiffers },
  { acl: 'warn domains = +nonesuch\n accept', logDiffers },
  // endpass
  { acl: 'accept domains = a.test\n endpass\n local_parts = ok\n accept' },
  { acl: 'accept endpass\n message = after endpass\n domains = b.test\n accept' },
  {
    acl: 'accept domains = a.test\n endpass\n message = not known\n local_parts = ok\n deny message = too far',
  },
  { acl: 'accept message = before\n domains = a.test\n endpass\n local_parts = ok' },
  { acl: 'discard domains = a.test\n endpass\n local_parts = ok\n message = gone' },
  { acl: 'accept endpass\n acl = nested_drop', recipients: ['x@a.test'] },
  // message and log_message
  { acl: 'accept message = welcome\n domains = a.test' },
  { acl: 'accept domains = a.test\n message = welcome\n deny' },
  { acl: 'accept domains = a.test\n message = welcome\n log_message = quiet' },
  { acl: 'deny message = no\n log_message = because' },
  { acl: 'deny log_message = because' },
  { acl: 'deny message = first\n message = second' },
  {
    acl: 'require message = one\n domains = a.test\n message = two\n local_parts = ok\n message = three\n accept',
  },
  { acl: 'require log_message = $local_part\n domains = a.test\n accept' },
  { acl: 'deny message = $domain is <$domain_data>\n domains = +local' },
  { acl: 'deny message = $local_part is <$local_part_data>\n local_parts = ^x : +known' },
  { acl: `deny message = $domain_data\n domains = lsearch;${keys}` },
  { acl: `deny message = $sender_data\n senders = lsearch;${keys}` },
  { acl: `deny message = $host_data\n hosts = net-lsearch;${keys}` },
  { acl: `warn senders = lsearch;${keys}\n warn senders = *\n deny message = <$sender_data>` },
  { acl: `warn senders = lsearch;${keys}\n warn senders = nothing.test\n deny message = <$sender_data>` },
  { acl: `warn senders = lsearch;${keys}\n warn senders = !nothing.test\n deny message = <$sender_data>` },
  { acl: `warn recipients = lsearch;${keys}\n warn recipients = *\n deny message = <$recipient_data>` },
  {
    acl: `warn recipients = lsearch;${keys}\n warn recipients = nothing.test\n deny message = <$recipient_data>`,
  },
  {
    acl: `warn recipients = lsearch;${keys}\n warn recipients = !nothing.test\n deny message = <$recipient_data>`,
  },
  { acl: `warn senders = lsearch;${keys}\n warn senders = ^.\n deny message = <$sender_data>` },
  { acl: `warn senders = lsearch;${keys}\n warn senders = * : q@b.test\n deny message = <$sender_data>` },
  { acl: `warn senders = lsearch;${keys}\n warn senders = x : *\n deny message = <$sender_data>` },
  { acl: `warn senders = lsearch;${keys}\n warn senders =  *\n deny message = <$sender_data>` },
  { acl: `warn recipients = lsearch;${keys}\n warn recipients = ^.\n deny message = <$recipient_data>` },
  {
    acl: `warn recipients = lsearch;${keys}\n warn recipients = * : q@b.test\n deny message = <$recipient_data>`,
  },
  { acl: `warn recipients = lsearch;${keys}\n warn recipients = x : *\n deny message = <$recipient_data>` },
  { acl: `warn recipients = lsearch;${keys}\n warn recipients =  *\n deny message = <$recipient_data>` },
  { acl: `warn hosts = net-lsearch;${keys}\n warn hosts = *\n deny message = <$host_data>` },
  { acl: `warn hosts = net-lsearch;${keys}\n warn hosts = 192.0.2.9\n deny message = <$host_data>` },
  { acl: `warn hosts = net-lsearch;${keys}\n warn hosts = !192.0.2.9\n deny message = <$host_data>` },
  { acl: `warn domains = lsearch;${keys}\n warn domains = *\n deny message = <$domain_data>` },
  { acl: `warn domains = lsearch;${keys}\n warn domains = nothing.test\n deny message = <$domain_data>` },
  { acl: `warn domains = lsearch;${keys}\n warn domains = !nothing.test\n deny message = <$domain_data>` },
  { acl: `warn local_parts = lsearch;${keys}\n warn local_parts = *\n deny message = <$local_part_data>` },
  {
    acl: `warn local_parts = lsearch;${keys}\n warn local_parts = nothing.test\n deny message = <$local_part_data>`,
  },
  {
    acl: `warn local_parts = lsearch;${keys}\n warn local_parts = !nothing.test\n deny message = <$local_part_data>`,
  },
  { acl: 'warn domains = a.test\n deny message = <$domain_data>\n !domains = c.test' },
  { acl: 'warn domains = a.test\n warn domains = c.test\n deny message = <$domain_data>' },
  { acl: 'deny message = $domain_data\n domains = $domain' },
  { acl: 'defer message = later\n log_message = why' },
  { acl: 'defer log_message = why' },
  one('drop message = go away\n log_message = why'),
  { acl: 'discard message = thrown away\n log_message = why' },
  { acl: 'discard log_message = why' },
  { acl: 'discard domains = b.test\n accept' },
  { acl: 'deny message = 559 5.7.9 coded' },
  { acl: 'deny message = 559 coded' },
  { acl: 'deny message = 450 wrong digit' },
  { acl: 'deny message = 450 4.1.1 wrong digit' },
  { acl: 'deny message = 550 4.7.1 odd status' },
  { acl: 'deny message = 5505.7.1 no code' },
  { acl: 'deny message = 550 5.7.1nothing' },
  { acl: 'deny message = 550' },
  { acl: 'deny message = 550\n log_message = why' },
  { acl: 'defer message = 452 4.2.2 full' },
  { acl: 'defer message = 550 never' },
  { acl: 'accept message = 251 forwarded' },
  { acl: 'accept message = 251 2.1.5 forwarded' },
  { acl: 'accept message = 550 no' },
  { acl: String.raw`deny message = one\ntwo\n  three` },
  { acl: String.raw`deny message = 554 5.7.0 one\ntwo` },
  { acl: String.raw`deny message = one\n` },
  { acl: String.raw`deny message = \none` },
  { acl: String.raw`deny message = one\n\ntwo` },
  { acl: String.raw`deny message = one\n550 two` },
  { acl: String.raw`deny log_message = one\ntwo` },
  { acl: `deny message = ${'word '.repeat(40)}` },
  { acl: `deny message = ${'x'.repeat(100)} and ${'y'.repeat(100)}` },
  { acl: `deny message = some words: ${'x'.repeat(60)} and then more: ${'y'.repeat(30)} ${'z'.repeat(44)}` },
  { acl: `deny message = ${'a'.repeat(70)}: ${'b'.repeat(20)}` },
  { acl: `accept message = ${'word '.repeat(40)}` },
  { acl: 'deny message = ${if eq{a}{b}{x}fail}' },
  { acl: 'deny message = ${if eq{a}{b}{x}{}}' },
  { acl: 'deny message = ${lookup{x}lsearch{/nonexistent}}' },
  { acl: 'deny message = visible\n log_message = ${if eq{a}{b}{x}{}}' },
  { acl: 'accept message = stays\n domains = a.test' },
  { acl: 'require message = stays\n domains = a.test' },
  { acl: 'deny message = does not stay\n domains = b.test\n condition = no' },
  // warn
  { acl: 'warn log_message = seen $local_part\n accept' },
  { acl: 'warn log_message = seen once\n accept' },
  { acl: 'warn log_message = not seen\n condition = no\n accept' },
  { acl: 'warn condition = broken\n log_message = not seen\n accept' },
  { acl: 'warn message = X-Header: one\n accept' },
  { acl: 'warn message = same\n log_message = same\n accept' },
  { acl: 'warn logwrite = first\n condition = no\n logwrite = second\n accept' },
  {
    acl: 'warn logwrite = :main: to main\n logwrite = :reject: to reject\n logwrite = :main,reject: both\n accept',
  },
  { acl: 'warn logwrite = :nolog: x\n accept' },
  { acl: 'accept logwrite = $sender_address to $local_part@$domain' },
  // condition
  ...[
    'yes',
    'no',
    'true',
    'false',
    'TRUE',
    'No',
    '1',
    '0',
    '00',
    '-1',
    '-0',
    '12',
    '',
    '0x1',
    '1 ',
    'on',
    ' yes',
    '1.5',
    '+1',
  ].map((v) => one(`accept condition = ${v}`)),
  ...['yes', 'no', 'broken', '0'].map((v) => one(`deny !condition = ${v}\n accept`)),
  one('accept condition = ${if eq{a}{b}{yes}fail}'),
  one('accept !condition = ${if eq{a}{b}{yes}fail}'),
  one('accept condition = ${lookup{x}lsearch{/nonexistent}}'),
  one('accept domains = ${if eq{a}{b}{yes}fail}'),
  one('accept !domains = ${if eq{a}{b}{yes}fail}'),
  { acl: 'accept domains = ${lookup{x}lsearch{/nonexistent}}', logDiffers },
  { acl: 'accept domains = ${if eq{$local_part}{x}{a.test}{b.test}}' },
  // set, control, delay and others that act at once
  one('warn set acl_m0 = one\n set acl_c_two = two$acl_m0\n deny message = $acl_m0 $acl_c_two'),
  one('warn set acl_m0 = one\n condition = no\n set acl_m0 = two\n deny message = $acl_m0'),
  one('warn set acl_m_1 = ${if eq{a}{b}{x}fail}\n deny message = <$acl_m_1>'),
  { acl: 'warn set acl_m_n = x$acl_m_n\n set acl_c_n = y$acl_c_n\n deny message = $acl_m_n $acl_c_n' },
  { acl: 'deny message = $local_part', recipients: ['MiXed@A.Test'] },
  {
    acl: 'warn control = caseful_local_part\n deny message = $local_part',
    recipients: ['MiXed@A.Test', 'low@a.test'],
  },
  {
    acl: 'warn control = caseful_local_part\n control = caselower_local_part\n deny message = $local_part',
    recipients: ['MiXed@A.Test'],
  },
  {
    acl: 'deny message = $local_part <$local_part_data>\n local_parts = "mixed" : mixed',
    recipients: ['MiXed@A.Test', '"mixed"@a.test', '"a b"@a.test'],
  },
  one('accept control = freeze'),
  one('accept control = freeze/no_tell'),
  one('accept control = queue_only'),
  one('warn control = no_multiline_responses\n deny message = one\\ntwo'),
  one('deny log_reject_target ='),
  one('deny log_reject_target = main'),
  one('deny continue = ${lookup{x}lsearch{/nonexistent}}'),
  one('deny continue = $domain\n message = went on'),
  one('accept add_header = X-One: 1'),
  // acl
  { acl: 'accept acl = nested_local' },
  { acl: 'deny acl = nested_local\n accept' },
  { acl: 'deny !acl = nested_local\n message = nested says no\n accept' },
  { acl: 'require acl = nested_local\n accept' },
  { acl: 'accept acl = nested_message' },
  { acl: 'require acl = nested_message\n accept' },
  { acl: 'deny message = outer <$acl_verify_message>\n !acl = nested_message' },
  { acl: 'warn acl = nested_message\n accept' },
  { acl: 'accept acl = nested_defer' },
  { acl: 'warn acl = nested_defer\n accept' },
  { acl: 'deny !acl = nested_defer\n accept' },
  { acl: 'require acl = nested_drop\n accept', recipients: ['x@a.test'] },
  { acl: 'deny !acl = nested_drop\n accept', recipients: ['x@a.test'] },
  { acl: 'accept acl = nested_discard' },
  { acl: 'discard acl = nested_discard' },
  { acl: 'deny acl = nested_discard' },
  { acl: 'accept acl = nested_args one ${lc:TWO} $local_part\n deny' },
  { acl: 'deny acl = nested_args_outer $local_part\n accept' },
  { acl: 'accept acl = nested_loop' },
  { acl: 'accept acl = nested_none' },
  { acl: 'accept acl = accept' },
  { acl: 'accept acl = deny' },
  { acl: 'deny message = ${if acl{{nested_message}}{yes $value}{no $value}}' },
  { acl: 'deny message = ${if acl{{nested_discard}}{yes $value}{no $value}}' },
  { acl: 'deny message = ${if acl{{nested_drop}}{yes $value}{no $value}}' },
  // verify
  { acl: 'accept verify = recipient' },
  { acl: 'require verify = recipient\n accept' },
  { acl: 'deny !verify = recipient\n accept' },
  { acl: 'deny !verify = recipient\n message = invalid recipient\n accept' },
  { acl: 'deny message = invalid recipient\n !verify = recipient\n accept' },
  {
    acl: 'deny message = <$acl_verify_message>\n log_message = [$acl_verify_message]\n !verify = recipient\n accept',
  },
  { acl: 'deny log_message = logged\n !verify = recipient\n accept' },
  { acl: 'warn !verify = recipient\n log_message = verify: $acl_verify_message\n accept' },
  {
    acl: 'warn !verify = recipient\n set acl_m0 = <$acl_verify_message> $recipient_verify_failure\n deny message = $acl_m0 <$acl_verify_message>',
  },
  { acl: 'accept verify = recipient\n endpass\n domains = b.test' },
  { acl: 'accept domains = a.test\n endpass\n verify = recipient' },
  { acl: 'accept domains = a.test\n endpass\n message = bad\n verify = recipient' },
  { acl: 'accept verify = recipient/defer_ok' },
  { acl: 'deny !verify = recipient/defer_ok\n accept' },
  { acl: 'drop !verify = recipient', recipients: ['ok@a.test', 'fail@a.test'] },
  { acl: 'discard verify = recipient' },
  { acl: 'accept verify = sender', sender: 'ok@a.test' },
  { acl: 'accept verify = sender', sender: '' },
  { acl: 'require verify = sender\n accept', sender: 'fail@a.test' },
  { acl: 'require message = who are you\n verify = sender\n accept', sender: 'fail@a.test' },
  { acl: 'deny !verify = sender\n message = <$acl_verify_message>', sender: 'fail@a.test' },
  { acl: 'require verify = sender\n accept', sender: 'defer@a.test' },
  { acl: 'require verify = sender/no_details\n accept', sender: 'fail@a.test' },
  { acl: 'require verify = sender/defer_ok\n accept', sender: 'defer@a.test' },
  { acl: 'require verify = sender=ok@a.test\n accept', sender: 'fail@a.test' },
  { acl: 'require verify = sender=fail@a.test\n accept', sender: 'ok@a.test' },
  {
    acl: 'warn !verify = sender\n log_message = $acl_verify_message\n deny message = other',
    sender: 'fail@a.test',
  },
  { acl: 'warn !verify = sender\n defer message = other', sender: 'fail@a.test' },
  { acl: 'warn control = no_multiline_responses\n require verify = sender', sender: 'fail@a.test' },
];

const nested: Readonly<Record<string, string>> = {
  nested_local: 'accept domains = +local',
  nested_message: 'accept domains = a.test\n message = nested yes\n deny message = nested no',
  nested_defer: 'defer message = nested later\n log_message = nested why',
  nested_drop: 'drop message = nested drop',
  nested_discard: 'discard message = nested discard',
  nested_args:
    'deny message = $acl_narg: $acl_arg1 $acl_arg2 $acl_arg3 <$acl_arg4>\n !local_parts = ok\n accept',
  nested_args_outer: 'accept acl = nested_args a b\n deny message = $acl_narg $acl_arg1',
  nested_loop: 'accept acl = nested_loop',
};

const configFile = path.join(folder.path, 'exim.conf');

function writeConfig(): void {
  const spool = path.join(folder.path, 'spool');
  chmodSync(folder.path, 0o755);
  mkdirSync(spool);
  const owner =
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((l) => l.startsWith('Debian-exim:'))
      ?.split(':') ?? [];
  chownSync(spool, Number(owner[2]), Number(owner[3]));
  writeFileSync(
    keys,
    'a.test: domain value\ns@a.test: sender value\nx@a.test: recipient value\n192.0.2.1: host value\n',
  );
  const table = path.join(folder.path, 'acls');
  writeFileSync(table, cases.map((_, i) => `case${i}: case${i}\n`).join(''));
  const keyword: Record<string, string> = {
    domain: 'domainlist',
    host: 'hostlist',
    address: 'addresslist',
    local_part: 'localpartlist',
  };
  const lists = Object.entries(named).flatMap(([kind, all]) =>
    Object.entries(all).map(([n, t]) => `${keyword[kind]} ${n} = ${t}`),
  );
  const acls = [
    ...cases.map((c, i) => `case${i}:\n ${c.acl}`),
    ...Object.entries(nested).map(([n, t]) => `${n}:\n ${t}`),
  ];
  writeFileSync(
    configFile,
    `primary_hostname = mx.example.test
spool_directory = ${spool}
log_file_path = ${spool}/%slog
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
keep_environment =
acl_smtp_rcpt = \${lookup{$sender_helo_name}lsearch{${table}}{$value}{deny}}
${lists.join('\n')}
begin acl
${acls.join('\n')}
begin routers
fails:
  driver = redirect
  domains = a.test
  local_parts = fail
  allow_fail
  data = :fail: gone away
defers:
  driver = redirect
  domains = a.test
  local_parts = defer
  allow_defer
  data = :defer: not now
goes:
  driver = redirect
  domains = a.test
  data = :blackhole:
begin transports
`,
  );
  for (const file of [keys, table, configFile]) chmodSync(file, 0o644);
}

interface Dialogue {
  readonly replies: readonly string[];
  readonly log: readonly string[];
}

const senderOf = (c: Case): string => c.sender ?? 's@a.test';
const recipientsOf = (c: Case): readonly string[] => c.recipients ?? usual;

function exim(c: Case, index: number): Promise<Dialogue> {
  return new Promise((resolve, reject) => {
    const child = spawn('/usr/sbin/exim4', ['-C', configFile, '-bh', '192.0.2.1'], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (b: Buffer) => (out += b.toString('latin1')));
    child.stderr.on('data', (b: Buffer) => (err += b.toString('latin1')));
    child.on('error', reject);
    child.on('close', () => {
      const replies: string[] = [];
      let lines: string[] = [];
      for (const line of out.split(/\r?\n/).filter((l) => /^\d{3}[ -]/.test(l))) {
        lines.push(line);
        if (line[3] !== ' ') continue;
        replies.push(lines.join('\n'));
        lines = [];
      }
      // After the banner, EHLO and MAIL come the answers to RCPT; QUIT's ends the session.
      const log = err
        .split('\n')
        .filter((l) => l.startsWith('LOG: '))
        .map((l) => l.slice(5));
      resolve({
        replies: replies.slice(3).filter((r) => !r.startsWith('221')),
        log: log.filter((l) => !/closed by |no host name found/.test(l)),
      });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(
      [
        `EHLO case${index}`,
        `MAIL FROM:<${senderOf(c)}>`,
        ...recipientsOf(c).map((r) => `RCPT TO:<${r}>`),
        'QUIT',
        '',
      ].join('\r\n'),
    );
  });
}

/** The routers above. */
function verify(address: Address): Promise<VerifyResult> {
  const bad = (kind: 'fail' | 'defer', text: string): VerifyResult => ({
    kind,
    stage: 'route',
    reply: reply(kind === 'fail' ? 550 : 451, undefined, text),
    logReason: text,
  });
  const local = address.local.toLowerCase();
  if (address.domain.toLowerCase() !== 'a.test') return Promise.resolve(bad('fail', 'Unrouteable address'));
  if (local === 'fail') return Promise.resolve(bad('fail', 'gone away'));
  if (local === 'defer') return Promise.resolve(bad('defer', 'not now'));
  return Promise.resolve({ kind: 'ok', via: 'route' });
}

const verifier: Verifier = {
  verifyRecipient: (r) => verify(r.address),
  verifySender: (r) => verify(r.address),
};

function address(text: string): Address {
  const a = parseAddress(text);
  if (isSyntaxError(a)) throw new Error(a.text);
  return a;
}

function readAcl(name: string, text: string): Acl {
  const lines = text
    .split('\n')
    .map((t, i) => ({ text: t, position: { file: 'test', line: i + 1, column: 1 } }));
  const { acl, diagnostics } = parseAcl({ name, position: { file: 'test', line: 1, column: 1 }, lines });
  assert.deepEqual(diagnostics, [], text);
  return acl;
}

const lists = createLists({ get: (kind, name) => named[kind][name] });

async function ours(c: Case, index: number): Promise<Dialogue> {
  const helo = `case${index}`;
  const acls = new Map(Object.entries(nested).map(([n, t]) => [n, readAcl(n, t)]));
  acls.set(helo, readAcl(helo, c.acl));
  const log: string[] = [];
  const replies: string[] = [];
  const sender = senderOf(c) === '' ? null : address(senderOf(c));
  const host = `H=(${helo}) [192.0.2.1]`;
  const memory: AclMemory = newAclMemory();
  const scopeParts = {
    main: {
      primaryHostname: 'mx.example.test',
      qualifyDomain: 'mx.example.test',
      qualifyRecipient: 'mx.example.test',
      spoolDirectory: folder.path,
      configFile,
    },
    connection: {
      hostAddress: '192.0.2.1',
      hostPort: 1,
      interfaceAddress: '',
      interfacePort: 25,
      helo,
      protocol: 'esmtp',
      variables: new Map<string, string>(),
      taintedVariables: new Set<string>(),
    },
    message: {
      sender,
      declaredSize: -1,
      size: -1,
      bodyIs8bit: false,
      recipients: [],
      rcptCount: 0,
      receivedAtMs: 0,
      variables: new Map<string, string>(),
      taintedVariables: new Set<string>(),
    },
  } satisfies Partial<ExpandScope>;
  let single = false;
  for (const recipient of recipientsOf(c)) {
    const { local, domain } = address(recipient);
    const services: ExpandScope['services'] = {
      lookup: createLookups([createLsearch()]),
      matchList: lists.matchList,
    };
    const scope: ExpandScope = { ...scopeParts, services, address: { local, domain } };
    const env: AclEnvironment = {
      acls,
      lists,
      scope,
      phase: 'rcpt',
      verifier,
      log: (e) => void (e.logs.length > 0 && log.push(e.withHost ? `${host} ${e.text}` : e.text)),
      signal: AbortSignal.timeout(10_000),
      memory,
    };
    const result = await runAcl(helo, env);
    single ||= result.controls.noMultilineResponses === true;
    const to = `RCPT <${recipient}>`;
    const from = `${host} F=<${formatAddress(sender)}>`;
    if (result.verdict === 'accept' || result.verdict === 'discard') {
      replies.push(formatReply(acceptance(result, 250) ?? reply(250, undefined, 'Accepted')));
      if (result.verdict === 'discard')
        log.push(`${from} ${to}: discarded by RCPT ACL${rejectionReason(result)}`);
    } else {
      replies.push(formatReply(refusal(result, 'rcpt', single)));
      const how = result.verdict === 'defer' ? 'temporarily rejected' : 'rejected';
      if (result.logTargets.length > 0) log.push(`${from} ${how} ${to}${rejectionReason(result)}`);
      if (result.verdict === 'drop') break;
    }
  }
  return { replies: replies.map((r) => r.trimEnd().replaceAll('\r\n', '\n')), log };
}

suite('ACLs agree with the real Exim', { skip: needs('exim4') }, () => {
  before(writeConfig);
  after(() => folder.remove());
  for (const [i, c] of cases.entries())
    test(`${c.acl.replaceAll('\n', ';').slice(0, 90)}${c.sender === undefined ? '' : ` (sender <${c.sender}>)`}`, async () => {
      const [theirs, mine] = [await exim(c, i), await ours(c, i)];
      if (c.logDiffers === undefined) assert.deepEqual(mine, theirs);
      else assert.deepEqual(mine.replies, theirs.replies, c.logDiffers);
    });
});
