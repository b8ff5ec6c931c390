import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatDiagnostic } from '../mail/diagnostic.ts';
import { parseAcl } from './parse.ts';
import { readAcl, sourceLines } from './test-support.ts';
import { parseVerify } from './verify-test.ts';

const position = { file: 'test.conf', line: 1, column: 1 };

/** `line:column message (hint)` of every diagnostic. */
function problems(text: string): string[] {
  return parseAcl({ name: 'a', position, lines: sourceLines(text) }).diagnostics.map(
    (d) => `${d.position.line}:${d.position.column} ${formatDiagnostic(d).replace(/^[^:]*:\d+: /, '')}`,
  );
}

test('statements, conditions and modifiers in their order', () => {
  const acl = readAcl(
    'page',
    `deny
        message = invalid recipient
        domains = +local_domains
        !verify = recipient/callout=no_cache
     accept hosts = :
     warn set acl_m_x = 1
        control = freeze
     require ! domains = a.test`,
  );
  assert.deepEqual(
    acl.statements.map((s) =>
      [s.verb, ...s.steps.map((step) => `${'negated' in step && step.negated ? '!' : ''}${step.name}`)].join(
        ' ',
      ),
    ),
    ['deny message domains !verify', 'accept hosts', 'warn set acl_m_x control', 'require !domains'],
  );
});

test('a constant verify is read at once', () => {
  const [statement] = readAcl(
    'a',
    'accept verify = recipient/defer_ok/callout=5s,connect=1s,no_cache,use_sender',
  ).statements;
  const [step] = statement?.steps ?? [];
  assert.ok(step?.kind === 'verify' && step.test.kind === 'known');
  assert.deepEqual(step.test.value, {
    what: 'recipient',
    deferOk: true,
    noDetails: false,
    successOnRedirect: false,
    caseless: false,
    callout: {
      timeoutMs: 5000,
      connectTimeoutMs: 1000,
      maxWaitMs: 20_000,
      deferOk: false,
      noCache: true,
      random: false,
      mailFrom: 'sender',
    },
  });
});

test('every parameter of callouts and quotas is read', () => {
  const read = (text: string) => {
    const test = parseVerify(text);
    return typeof test === 'string' ? test : test;
  };
  const calloutOf = (text: string) => {
    const test = read(text);
    return typeof test === 'string' ? test : test.callout;
  };
  const usual = {
    timeoutMs: 30_000,
    connectTimeoutMs: 30_000,
    maxWaitMs: 120_000,
    deferOk: false,
    noCache: false,
    random: false,
    mailFrom: 'null',
  };
  const pm = { local: 'pm', domain: 'b.test' };
  assert.deepEqual(calloutOf('sender/callout=random'), { ...usual, random: true });
  assert.deepEqual(calloutOf('sender/callout=hold'), usual);
  assert.deepEqual(calloutOf('sender/check_postmaster'), {
    ...usual,
    postmaster: { sender: null, full: false },
  });
  assert.deepEqual(calloutOf('sender/callout=postmaster'), {
    ...usual,
    postmaster: { sender: null, full: false },
  });
  assert.deepEqual(calloutOf('sender/callout=fullpostmaster'), {
    ...usual,
    postmaster: { sender: null, full: true },
  });
  assert.deepEqual(calloutOf('sender/callout=fullpostmaster,postmaster_mailfrom=pm@b.test'), {
    ...usual,
    postmaster: { sender: pm, full: true },
  });
  assert.deepEqual(calloutOf('header_sender/callout=mailfrom=pm@b.test'), { ...usual, mailFrom: pm });
  const quotaOf = (text: string) => {
    const test = read(text);
    return typeof test === 'string' ? test : test.quota;
  };
  assert.deepEqual(quotaOf('recipient/quota'), { positiveMs: 300_000, negativeMs: 3_600_000 });
  assert.deepEqual(quotaOf('recipient/quota=cachepos=1s,cacheneg=2s'), {
    positiveMs: 1000,
    negativeMs: 2000,
  });
  assert.deepEqual(quotaOf('recipient/quota=no_cache'), { positiveMs: 0, negativeMs: 0 });
  const addressOf = (text: string) => {
    const test = read(text);
    return typeof test === 'string' ? test : test.address;
  };
  assert.equal(addressOf('sender='), null);
  assert.deepEqual(addressOf('sender=pm@b.test'), pm);
  assert.equal(addressOf('sender=pm'), 'pm');
  assert.equal(addressOf('sender'), undefined);
});

const mistakes: readonly (readonly [text: string, problem: string])[] = [
  ['acept', '1:1 unknown ACL verb "acept" in "acept" (did you mean "accept"?)'],
  [
    'domains = x',
    '1:1 unknown ACL verb "domains" in "domains = x" (expected one of accept, defer, deny, discard, drop, require, warn)',
  ],
  [
    'accept domain = x',
    '1:8 unknown ACL condition or modifier "domain" in "accept" (did you mean "domains"?)',
  ],
  [
    'accept\n  recipient = x',
    '2:3 unknown ACL condition or modifier "recipient" in "accept" (did you mean "recipients"?)',
  ],
  ['deny xyzzyplugh = x', '1:6 unknown ACL condition or modifier "xyzzyplugh" in "deny"'],
  ['accept domains', '1:15 "=" missing after ACL "domains" condition'],
  ['accept message', '1:15 "=" missing after ACL "message" modifier'],
  ['accept !message = x', '1:9 negation is not allowed with "message"'],
  ['deny endpass', '1:6 "endpass" is not allowed with "deny"'],
  ['accept endpass = 1', '1:16 "endpass" takes no value'],
  ['warn set foo = 1', '1:10 invalid variable name "foo" after "set": it must start with acl_c or acl_m'],
  [
    'warn set acl_mx = 1',
    '1:10 invalid variable name "acl_mx" after "set": a digit or underscore must follow acl_c or acl_m',
  ],
  ['warn set acl_m_a-b = 1', '1:10 invalid variable name "acl_m_a-b" after "set": invalid character "-"'],
  ['warn set acl_m0', '1:16 "=" missing after ACL "set acl_m0" modifier'],
  [
    'deny dnslists = x.test',
    '1:6 ACL condition or modifier "dnslists" is not supported: it needs DNS block lists',
  ],
  [
    'deny ratelimit = 1/1h',
    '1:6 ACL condition or modifier "ratelimit" is not supported: it needs rate limits',
  ],
  ['warn queue = x', '1:6 ACL condition or modifier "queue" is not supported: it needs named queues'],
  ['warn delay = 5', '1:14 syntax error in argument for "delay" modifier: "5" is not a time value'],
  ['warn control = freez', '1:16 unknown control "freez", did you mean "freeze"?'],
  ['warn control = freeze/x', '1:16 syntax error in "control=freeze/x"'],
  ['warn control = fakereject', '1:16 control = fakereject is not supported'],
  ['deny verify = certificate', '1:15 verify = certificate is not supported'],
  [
    'deny verify = foo',
    '1:15 expected "sender[=address]", "recipient", "helo", "header_syntax", "header_sender", "header_names_ascii" or "reverse_host_lookup" at start of ACL condition "verify foo"',
  ],
  ['deny verify = recipient/foo', '1:15 unknown option "foo" in ACL condition "verify recipient/foo"'],
  ['deny verify = recipient/callout=5', '1:15 bad time value in ACL condition "verify recipient/callout=5"'],
  [
    'deny verify = recipient/callout=random=x',
    '1:15 bad time value in ACL condition "verify recipient/callout=random=x"',
  ],
  [
    'deny verify = recipient/callout=connect',
    `1:15 '=' expected after "connect" in ACL verify condition "recipient/callout=connect"`,
  ],
  [
    'deny verify = sender/callout=use_sender',
    '1:15 use_sender or use_postmaster cannot be used for a sender verify callout',
  ],
  [
    'deny verify = recipient/callout=use_sender,use_postmaster',
    '1:15 only one of use_sender and use_postmaster can be set for a recipient callout',
  ],
  ['deny verify = sender/quota', '1:15 can only verify quota of recipient'],
  ['deny verify = helo/x', `1:15 unexpected '/' found in "helo/x" (this verify item has no options)`],
  [
    'deny verify = recipient/defer_ok=1',
    '1:15 unknown option "defer_ok=1" in ACL condition "verify recipient/defer_ok=1"',
  ],
  [
    'deny verify = sender=nodomain',
    '1:15 address "nodomain" has no domain in ACL condition "verify sender=nodomain"',
  ],
  [
    'deny condition = ${if eq{a}{b}',
    "1:31 malformed expansion: curly-bracket problem in conditional yes/no parsing: 'yes' part did not start with '{'",
  ],
  ['deny domains = ^(', '1:16 regular expression error in "^(": missing closing parenthesis at offset 2'],
  ['deny hosts = 1.2.3/24', '1:14 malformed IPv4 address or address mask "1.2.3/24"'],
  ['deny senders = nosuch;/f', '1:16 unknown lookup type "nosuch"'],
  ['accept acl =', '1:13 the name of an ACL is missing after "acl ="'],
];

test('every mistake is told with its place', () => {
  for (const [text, problem] of mistakes) assert.deepEqual(problems(text), [problem], text);
});

test('all mistakes of an ACL are told at once', () => {
  assert.equal(problems('deny foo = 1\n  bar = 2\n  message = fine\naccept baz = 3').length, 3);
});

test('no text makes it throw', () => {
  const word = fc.constantFrom(
    'accept',
    'deny',
    'warn',
    '!',
    'domains',
    '=',
    'verify',
    'recipient',
    '/callout',
    'set',
    'acl_m0',
    '${',
    '}',
    'endpass',
    'control',
    '\\',
    'acl',
    '\t',
    ':',
  );
  const line = fc.oneof(
    fc.string({ unit: 'binary-ascii' }),
    fc.array(word).map((w) => w.join(' ')),
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      parseAcl({
        name: 'a',
        position,
        lines: lines.map((text, i) => ({ text, position: { ...position, line: i + 1 } })),
      });
    }),
    { numRuns: 1000 },
  );
});
