// The same addresses and rules given to the real Exim (`-bt`, `-brt`) and to ours.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { parseRetryError } from '../../src/retry/error.ts';
import { formatRetryRule, parseRetryRule, type RetryRule } from '../../src/retry/rules.ts';
import { selectRetryRule } from '../../src/retry/select.ts';
import type { VerifiedRoute } from '../../src/router/environment.ts';
import { route } from '../../src/router/route.ts';
import { parseSelf } from '../../src/router/router.ts';
import { needs } from '../support/peers.ts';
import { runToEnd } from '../support/process.ts';
import {
  addressOf,
  expandServices,
  mainFacts,
  routeEnvironment,
  type RouterSpec,
  type World,
} from '../support/routing-world.ts';

const skip = needs('exim4');
const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-routing-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const mapFile = path.join(folder, 'map');
writeFileSync(mapFile, 'mapped.test: 10.7.7.7:10.7.7.8\nmp2.test: 10.7.7.7\nport.test: 10.7.7.9::77\n', {
  mode: 0o644,
});

/** Runs exim4 with this configuration, as root or as whoever may. */
async function exim(config: string, words: readonly string[]): Promise<string> {
  const file = path.join(folder, 'exim.conf');
  writeFileSync(
    file,
    `primary_hostname = ${mainFacts.primaryHostname}\nqualify_domain = example.test\nspool_directory = ${folder}/spool\nkeep_environment =\n${config}`,
    { mode: 0o644 },
  );
  const { output } = await runToEnd('/usr/sbin/exim4', ['-C', file, ...words]);
  return output;
}

/** What `-bt` says of one address, in one line. */
interface Verdict {
  readonly router?: string;
  readonly transport?: string;
  readonly hosts: readonly string[];
  readonly end: 'routed' | 'failed' | 'deferred';
  readonly text?: string;
}

function parseBt(output: string, addresses: readonly string[]): Map<string, Verdict> {
  const verdicts = new Map<string, Verdict>();
  let current: { address: string; router?: string; transport?: string; hosts: string[] } | undefined;
  let aliasOf: string | undefined;
  const close = (): void => {
    if (current === undefined) return;
    const { address, ...rest } = current;
    verdicts.set(aliasOf ?? address, { ...rest, end: 'routed' });
    current = undefined;
    aliasOf = undefined;
  };
  for (const line of output.split('\n')) {
    const ended = /^(\S+@\S+) (is undeliverable|cannot be resolved at this time): (.*)$/.exec(line);
    const parent = /^ {4}<-- (\S+)$/.exec(line);
    const routed = /^ {2}router = (\S+), transport = (\S+)$/.exec(line);
    const host = /^ {2}host (.*\S)\s*$/.exec(line);
    if (ended !== null) {
      close();
      verdicts.set(ended[1] ?? '', {
        hosts: [],
        end: ended[2] === 'is undeliverable' ? 'failed' : 'deferred',
        text: ended[3] ?? '',
      });
    } else if (/^\S+@\S+$/.test(line)) {
      close();
      current = { address: line, hosts: [] };
    } else if (parent !== null && current !== undefined) aliasOf = parent[1];
    else if (routed !== null && current !== undefined) {
      current.router = routed[1] ?? '';
      current.transport = routed[2] ?? '';
    } else if (host !== null && current !== undefined)
      current.hosts.push((host[1] ?? '').replace(/\s+/g, ' '));
  }
  close();
  assert.deepEqual(
    [...verdicts.keys()].sort(),
    [...addresses].sort(),
    `exim4 -bt said something about every address:\n${output}`,
  );
  return verdicts;
}

function verdictOf(routed: VerifiedRoute): Verdict {
  if (routed.kind === 'discard' || routed.kind === 'redirected')
    throw new Error('nothing here discards or redirects to several');
  if (routed.kind !== 'routed')
    return { hosts: [], end: routed.kind === 'fail' ? 'failed' : 'deferred', text: routed.reason.text };
  return {
    router: routed.router,
    transport: routed.transport ?? '<none>',
    hosts: routed.hosts.map(
      (h) =>
        `${h.name}${h.address === undefined ? '' : ` [${h.address}]`}${h.port === undefined ? '' : ` port=${h.port}`}`,
    ),
    end: 'routed',
  };
}

const transports = `begin transports
sm:
  driver = smtp
  port = 2424
lm:
  driver = lmtp
  socket = /tmp/none
`;

const rules = [
  '*.w.test  10.$1.0.1',
  '+locals "198.51.100.5::2525 : [2001::::db8::::1]::99"',
  `lsearch;;${mapFile}  $value`,
  '\\N^re(\\d+)\\.(test|x)$\\N 10.0.0.$1 byname',
  'nohost.test',
  'lmt.test foo:bar lm',
  'one-order.test 10.0.0.1:10.0.0.2:+:10.0.0.3 no_randomize',
  'p.test "<+ 10.0.0.1:1225 + 10.0.0.2:1226"',
  'q.test "</ [10.1.1.1]:1225 / [2001:db8::2]:1226"',
  'bad.test 10.0.0.1:foo::x',
  'opt.test 10.0.0.1 frob',
  'loc.test 10.0.0.1:10.0.0.2:127.0.0.1:10.0.0.3 byname',
  '*x.test 10.9.9.9',
  'lh.test localhost byname',
  '"quoted.test" "10.3.3.3:10.3.3.4"',
  "single.test '10.3.3.3'",
  'em.test ""',
  'fm.test "${if eq{1}{2}{x}fail}"',
  'er.test ${frob}',
  'dup.test 10.0.0.1:10.0.0.1',
  'lmt2.test 10.0.0.1 byname lm',
  'lmt3.test 10.0.0.1 lm byname',
  'com.test 10.0.0.1, byname',
  'bp.test 10.0.0.1::0',
  'br.test 10.0.0.1::12x',
  'bs.test [10.0.0.1]',
  'bw.test 127.0.0.1',
  'bx.test 127.0.0.1::26',
  'any.test 0.0.0.0',
  'by.test "10.0.0.1 10.0.0.2"',
  'plus.test "+:10.0.0.1:+"',
  'esc.test "10.0.0.1\\x3a10.0.0.2"',
  'dom.test "198.51.100.7 : ${if eq{$domain}{dom.test}{10.0.0.2}}"',
  'glued.test "10.0.0.1"byname',
  'upper.test 10.0.0.1 BYNAME',
  'v6.test "</ 2001:db8::99 / 2001:db8::99:25"',
  'v6b.test "</ [2001:db8::99] / 10.0.0.1"',
  'v6u.test "</ 2001:DB8::AB / [2001:DB8::AB]:7"',
  '"many.test : more.test" 10.0.0.1',
  'CASE.tesT 10.0.0.1',
  'nl.test "10.0.0.1\\n"',
  'unk.test nosuch.invalid byname',
  '!zz.test 10.0.0.77',
];

const listAddresses = [
  'a.w.test',
  'b.c.w.test',
  'one.test',
  'mapped.test',
  'mp2.test',
  'port.test',
  're5.test',
  're12.x',
  'nohost.test',
  'lmt.test',
  'one-order.test',
  'p.test',
  'q.test',
  'bad.test',
  'opt.test',
  'loc.test',
  'foox.test',
  'lh.test',
  'quoted.test',
  'single.test',
  'em.test',
  'fm.test',
  'er.test',
  'dup.test',
  'lmt2.test',
  'lmt3.test',
  'com.test',
  'bp.test',
  'br.test',
  'bs.test',
  'bw.test',
  'any.test',
  'by.test',
  'plus.test',
  'esc.test',
  'dom.test',
  'glued.test',
  'upper.test',
  'v6.test',
  'v6b.test',
  'v6u.test',
  'many.test',
  'Case.Test',
  'nl.test',
  'unk.test',
  'zz.test',
  'else.test',
  'W.TEST',
].map((domain) => `u@${domain}`); // prettier-ignore

describe('manualroute against exim4 -bt', { skip }, () => {
  test('rules, patterns, hosts, ports and options of route_list', async () => {
    const config = `domainlist locals = one.test : two.test
begin routers
r3:
  driver = manualroute
  transport = sm
  host_find_failed = defer
  route_list = ${rules.join(' ; ')}
${transports}`;
    const theirs = parseBt(await exim(config, ['-bt', ...listAddresses]), listAddresses);
    const world: World = {
      routers: [
        {
          name: 'r3',
          transport: 'sm',
          manualroute: { routeList: rules.join(' ; '), hostFindFailed: 'defer' },
        },
      ],
      transports: { sm: false, lm: true },
      lists: { 'domain:locals': 'one.test : two.test' },
      mode: 'address-test',
    };
    await compare(world, theirs, listAddresses);
  });

  test('preconditions, address_data, more, self, host_find_failed and accept', async () => {
    const addresses = routers.flatMap((r) => r.addresses);
    const config = `begin routers\n${routers.map((r) => `${r.spec.name}:\n${r.text.map((line) => `  ${line}\n`).join('')}`).join('')}${transports}`;
    const theirs = parseBt(await exim(config, ['-bt', ...addresses]), addresses);
    const world: World = {
      routers: routers.map((r) => r.spec),
      transports: { sm: false, lm: true },
      mode: 'address-test',
    };
    await compare(world, theirs, addresses);
  });
});

/** Wording differs only in where a router's name stands and in what an expansion's failure is called. */
function meaning(text: string | undefined): string | undefined {
  return text
    ?.replace(/^error in (\S+) router: error in/, 'error in')
    .replace(
      /(failed to expand "[^"]*"|expansion of "[^"]*" failed in \S+ router|failed to expand \S+ (?:"[^"]*" )?in \S+ router): .*$/s,
      '$1',
    );
}

async function compare(
  world: World,
  theirs: ReadonlyMap<string, Verdict>,
  addresses: readonly string[],
): Promise<void> {
  const env = routeEnvironment(world);
  const differences: string[] = [];
  for (const text of addresses) {
    const ours = verdictOf(await route(addressOf(text), env, AbortSignal.timeout(20_000)));
    const theirVerdict = theirs.get(text);
    assert.ok(theirVerdict);
    const a = JSON.stringify({ ...ours, text: meaning(ours.text) });
    const b = JSON.stringify({ ...sorted(ours, theirVerdict), text: meaning(theirVerdict.text) });
    if (a !== b) differences.push(`${text}\n  ours   ${a}\n  theirs ${b}`);
  }
  assert.deepEqual(differences, []);
}

/** The same fields in the same order. */
function sorted(like: Verdict, v: Verdict): Verdict {
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(like)) out[key] = v[key as keyof Verdict];
  for (const [key, value] of Object.entries(v)) out[key] ??= value;
  return out as unknown as Verdict;
}

/** `self` as the configuration writes it. */
function self(text: string): NonNullable<RouterSpec['self']> {
  const action = parseSelf(text);
  if (typeof action === 'string') throw new Error(action);
  return action;
}

interface RouterCase {
  readonly spec: RouterSpec;
  readonly text: readonly string[];
  readonly addresses: readonly string[];
}

function manual(
  name: string,
  data: string,
  options: Omit<Partial<RouterSpec>, 'name'> & { readonly private?: object },
  text: readonly string[],
  addresses: readonly string[],
): RouterCase {
  const { private: own, ...generic } = options;
  return {
    spec: {
      name,
      transport: 'sm',
      localParts: name,
      ...generic,
      manualroute: { routeData: data, ...own },
    },
    text: [
      'driver = manualroute',
      `route_data = ${data}`,
      ...('transport' in generic ? [] : ['transport = sm']),
      ...('localParts' in generic ? [] : [`local_parts = ${name}`]),
      ...text,
    ],
    addresses,
  };
}

const routers: readonly RouterCase[] = [
  manual('m1', '', { more: '${if eq{1}{1}{maybe}}' }, ['more = ${if eq{1}{1}{maybe}}'], ['m1@x.test']),
  manual(
    'm2',
    '',
    { more: '${if eq{$local_part}{m2}{no}{yes}}', cannotRouteMessage: 'nope for $local_part' },
    ['more = ${if eq{$local_part}{m2}{no}{yes}}', 'cannot_route_message = nope for $local_part'],
    ['m2@x.test'],
  ),
  manual('m3', '', { more: '${frob}' }, ['more = ${frob}'], ['m3@x.test']),
  manual(
    'ad',
    '10.0.0.1',
    { addressData: '${if eq{1}{2}{x}fail}' },
    ['address_data = ${if eq{1}{2}{x}fail}'],
    ['ad@x.test'],
  ),
  manual('ad2', '10.0.0.1', { addressData: '${frob}' }, ['address_data = ${frob}'], ['ad2@x.test']),
  manual('ad3', '10.0.0.$address_data', { addressData: '3' }, ['address_data = 3'], ['ad3@x.test']),
  manual(
    't1',
    '10.0.0.1',
    { transport: 'nosuch$local_part' },
    ['transport = nosuch$local_part'],
    ['t1@x.test'],
  ),
  manual('t2', '10.0.0.1', { transport: '${frob}' }, ['transport = ${frob}'], ['t2@x.test']),
  manual('t3', '10.0.0.1', { verifyOnly: true }, ['verify_only'], ['t3@x.test']),
  manual('t4', '${frob}', {}, [], ['t4@x.test']),
  manual('t5', 'nosuch.invalid byname', {}, [], ['t5@x.test']),
  manual(
    't6',
    'nosuch.invalid byname',
    { private: { hostFindFailed: 'fail' } },
    ['host_find_failed = fail'],
    ['t6@x.test'],
  ),
  manual(
    't7',
    'nosuch.invalid:nosuch2.invalid byname',
    { private: { hostFindFailed: 'ignore', hostAllIgnored: 'fail' } },
    ['host_find_failed = ignore', 'host_all_ignored = fail'],
    ['t7@x.test'],
  ),
  manual(
    't8',
    'nosuch.invalid:10.0.0.1:nosuch.invalid:10.0.0.2 byname',
    { private: { hostFindFailed: 'ignore' } },
    ['host_find_failed = ignore'],
    ['t8@x.test'],
  ),
  manual(
    't9',
    'nosuch.invalid byname',
    { more: 'no', private: { hostFindFailed: 'decline' } },
    ['host_find_failed = decline', 'no_more'],
    ['t9@x.test'],
  ),
  manual(
    'ta',
    'nosuch.invalid byname',
    { more: 'no', private: { hostFindFailed: 'pass' } },
    ['host_find_failed = pass', 'no_more'],
    ['ta@x.test'],
  ),
  manual('s1', '127.0.0.1', { self: self('fail') }, ['self = fail'], ['s1@x.test']),
  manual('s2', '127.0.0.1', { self: self('defer') }, ['self = defer'], ['s2@x.test']),
  manual(
    's3',
    '127.0.0.1',
    { self: self('reroute: other.test'), domains: '!other.test' },
    ['self = reroute: other.test', 'domains = !other.test'],
    ['s3@x.test'],
  ),
  manual(
    's4',
    '127.0.0.1',
    { self: self('pass'), passRouter: 'last', more: 'no' },
    ['self = pass', 'pass_router = last', 'no_more'],
    ['s4@x.test'],
  ),
  manual(
    's5',
    '127.0.0.1:10.0.0.1:127.0.0.1:10.0.0.2',
    { self: self('send') },
    ['self = send'],
    ['s5@x.test'],
  ),
  manual('s6', '127.0.0.1', { self: self('reroute: x.test') }, ['self = reroute: x.test'], ['s6@x.test']),
  manual(
    'px',
    '10.0.0.9',
    {
      localParts: 'pam',
      localPartPrefix: 'real- : *+',
      localPartSuffix: '-*',
      localPartSuffixOptional: true,
    },
    [
      'local_part_prefix = real- : *+',
      'local_part_suffix = -*',
      'local_part_suffix_optional',
      'local_parts = pam',
    ],
    ['real-pam@x.test', 'a+b+Pam-foo-bar@x.test', 'pam-foo@x.test', 'REAL-PAM@x.test', 'real-pam-@x.test'],
  ),
  manual(
    'cf',
    '10.0.0.8',
    { casefulLocalPart: true, localParts: '+caseful:CF' },
    ['caseful_local_part', 'local_parts = +caseful:CF'],
    ['CF@x.test', 'cf@x.test'],
  ),
  manual('at', '10.0.0.7', { addressTest: false }, ['no_address_test'], ['at@x.test']),
  manual(
    'ld',
    '10.0.0.$local_part_data',
    { localParts: '7 : 8' },
    ['local_parts = 7 : 8'],
    ['7@x.test', '9@x.test'],
  ),
  manual(
    'cd',
    '10.0.0.5',
    { condition: ['${if eq{$domain}{x.test}}', 'foobar'] },
    ['condition = ${if eq{$domain}{x.test}}', 'condition = foobar'],
    ['cd@x.test', 'cd@y.test'],
  ),
  manual('last', '10.9.9.9', { localParts: 'ta:s4:s3' }, ['local_parts = ta:s4:s3'], []),
  {
    spec: { name: 'ac', localParts: 'ac', transport: 'lm', accept: true },
    text: ['driver = accept', 'local_parts = ac', 'transport = lm'],
    addresses: ['ac@x.test'],
  },
  {
    spec: { name: 'end', localParts: 'nobody', transport: 'lm', cannotRouteMessage: 'no way', accept: true },
    text: ['driver = accept', 'local_parts = nobody', 'transport = lm', 'cannot_route_message = no way'],
    addresses: ['zz@x.test'],
  },
]; // prettier-ignore

const retryLines = [
  'alice@wonder.test quota_5d  F,7d,3h',
  'wonder.test    quota_5d',
  'wonder.test    *    F,1h,15m; G,2d,1h,2;',
  'look.test  *  F,24h,30m;',
  '"^\\\\N[^@]+@xyz\\\\d+\\\\.abc\\\\.test$\\\\N" * G,1h,10m,2',
  '\\N^[^@]+@xyz\\d+\\.abd\\.test$\\N * G,1h,11m,2',
  'a.test rcpt_4xx F,1h,10m',
  'a.test rcpt_436 F,1h,11m',
  'a.test data_45x F,1h,12m',
  'b.test refused_MX F,1h,1m',
  'b.test refused_A F,1h,2m',
  'b.test refused F,1h,3m',
  'b.test timeout_connect_MX F,1h,4m',
  'b.test timeout_connect F,1h,5m',
  'b.test timeout_A F,1h,6m',
  'b.test timeout F,1h,7m',
  'b.test lost_connection F,1h,8m',
  'b.test tls_required F,1h,9m',
  'b.test auth_failed F,1h,13m',
  'b.test lookup F,1h,14m',
  'b.test quota F,1h,15m',
  's.test * senders=: F,1h,30m',
  's.test * senders="*@x.test : y.test" G,8h,10m,1.5',
  'h.test * H,8h,10m,1.5;F,2d,1d12h30m5s',
  '*.w.test * G,3w,1h,1.55555',
  '*@at.test * F,1h,16m',
  'pre@* * F,1h,17m',
  '!not.test mail_45x F,1h,18m',
  '*   *   F,2h,15m; G,16h,1h,1.5; F,5d,8h',
];

const retryQuestions: readonly (readonly [words: string, sender?: string])[] = [
  ['alice@wonder.test'],
  ['alice@wonder.test wonder.test quota_6d'],
  ['bob@wonder.test wonder.test quota_5d'],
  ['bob@wonder.test wonder.test quota'],
  ['u@look.test'],
  ['look.test'],
  ['u@xyz1.abd.test'],
  ['xyz22.abd.test'],
  ['xyz1.abc.test'],
  ['u@a.test a.test rcpt_436'],
  ['u@a.test a.test rcpt_4xx'],
  ['u@a.test a.test data_452'],
  ['u@a.test a.test data_462'],
  ['u@b.test b.test refused'],
  ['u@b.test b.test refused_A'],
  ['u@b.test b.test refused_MX'],
  ['u@b.test b.test timeout'],
  ['u@b.test b.test timeout_MX'],
  ['u@b.test b.test timeout_connect'],
  ['u@b.test b.test timeout_connect_A'],
  ['u@b.test b.test timeout_connect_MX'],
  ['u@b.test b.test timeout_A'],
  ['u@b.test b.test lost_connection'],
  ['u@b.test b.test tls_required'],
  ['u@b.test b.test auth_failed'],
  ['u@b.test b.test lookup'],
  ['u@b.test b.test quota'],
  ['u@b.test b.test mail_451'],
  ['u@not.test not.test mail_451'],
  ['h.test'],
  ['u@foo.w.test'],
  ['w.test'],
  ['u@at.test'],
  ['pre@any.where.test'],
  ['u@other.test h.test'],
  ['u@h.test other.test'],
  ['u@s.test'],
  ['u@s.test', ''],
  ['u@s.test', 'k@y.test'],
  ['u@s.test', 'k@x.test'],
  ['u@s.test', 'k@z.test'],
]; // prettier-ignore

test('retry rules against exim4 -brt', { skip }, async () => {
  const services = expandServices();
  const rules = retryLines.map((text, i): RetryRule => {
    const result = parseRetryRule({ text, position: { file: 'conf', line: i + 1, column: 1 } });
    assert.ok('rule' in result, text);
    return result.rule;
  });
  const scope = { main: mainFacts, services };
  const differences: string[] = [];
  for (const [words, sender] of retryQuestions) {
    const [subject = '', second, third] = words.split(' ');
    const output = await exim(`begin retry\n${retryLines.join('\n')}\n`, [
      ...(sender === undefined ? [] : ['-f', sender]),
      '-brt',
      ...words.split(' '),
    ]);
    const theirs = /^Retry rule: (.*?) {2}.*? {2}(.*?)\s*$/m.exec(output);
    const error = third === undefined ? { kind: 'other' as const } : parseRetryError(third);
    assert.ok(typeof error !== 'string', words);
    const found = await selectRetryRule(
      rules,
      {
        key: subject,
        ...(second === undefined ? {} : { alternate: second }),
        error,
        ...(sender === undefined ? {} : { sender: sender === '' ? null : addressOf(sender) }),
      },
      scope,
    );
    const ours = found === undefined ? undefined : /^(.*?) {2}.*? {2}(.*?)\s*$/.exec(formatRetryRule(found));
    // Exim prints some errors as `*`, so the pattern and the times are compared.
    if (ours?.[1] !== theirs?.[1] || ours?.[2] !== theirs?.[2])
      differences.push(`${words}: ours ${ours?.[0]}, theirs ${theirs?.[0] ?? output}`);
  }
  assert.deepEqual(differences, []);
});
