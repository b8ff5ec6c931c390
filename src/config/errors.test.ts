import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { complaints, readText } from '../../test/support/config-text.ts';

/** One line of a main part and what is said of it. */
const mainLines: readonly (readonly [line: string, ...complaints: string[]])[] = [
  ['foo = bar', 'main option "foo" unknown'],
  ['qualify_domian = x', 'main option "qualify_domian" unknown (did you mean "qualify_domain"?)'],
  ['=x', 'option setting expected: =x'],
  ['9x', 'option setting expected: 9x'],
  ['.foo x', 'option setting expected: .foo x'],
  ['primary-host = x', 'main option "primary" unknown'],
  ['message_size_limit', 'unexpected end of line (data missing) after message_size_limit'],
  ['recipients_max 5', 'missing "=" after recipients_max'],
  ['recipients_max =', 'integer expected for recipients_max'],
  ['recipients_max = 08', 'extra characters follow integer value for recipients_max'],
  ['recipients_max = 10 K', 'extra characters follow integer value for recipients_max'],
  [
    'recipients_max = 5 # x',
    'extra characters follow integer value for recipients_max (# is comment only at line start)',
  ],
  ['recipients_max = 4G', 'absolute value of integer "4G" is too large (overflow)'],
  ['recipients_max = "10"', 'integer expected for recipients_max'],
  ['no_recipients_max = 5', 'negation prefix applied to a non-boolean option (recipients_max is no switch)'],
  ['message_size_limit = x', 'integer expected for message_size_limit'],
  ['no_recipients_max_reject = yes', 'extra characters follow boolean option no_recipients_max_reject'],
  ['recipients_max_reject x', 'extra characters follow boolean option recipients_max_reject'],
  [
    'recipients_max_reject = maybe',
    '"maybe" is not a valid value for the "recipients_max_reject" option (true, false, yes or no)',
  ],
  [
    'recipients_max_reject = true x',
    'extra characters follow "true" for boolean option recipients_max_reject',
  ],
  ['retry_interval_max = 90', 'invalid time value for retry_interval_max'],
  ['retry_interval_max = 1h x', 'invalid time value for retry_interval_max'],
  ['retry_interval_max = 3H', 'invalid time value for retry_interval_max'],
  ['smtp_banner = "abc', 'missing quote at end of string value for smtp_banner'],
  ['smtp_banner = "abc" def', 'extra characters follow string value for smtp_banner'],
  ['hide hide smtp_banner = x', 'main option "hide" unknown'],
  ['begin', 'main option "begin" unknown (a section begins with "begin", a space and its name)'],
  ['begin foo', '"foo" is not a known configuration section name'],
  ['begin transport', '"transport" is not a known configuration section name (did you mean "transports"?)'],
  ['begin local_scan', 'local_scan() options not supported (there is no local_scan())'],
  ['domainlist', 'unrecognized configuration line (domainlist NAME = items)'],
  ['domainlist_caches a = x', 'unrecognized configuration line (domainlist NAME = items)'],
  ['domainlist a', 'missing \'=\' after "a" (a name is letters, digits and underscores)'],
  ['domainlist a-b = x', 'missing \'=\' after "a" (a name is letters, digits and underscores)'],
  ['hostlist a = "x', 'missing quote at end of string value for a'],
  ['.else', '.else without matching .ifdef'],
  ['.endif', '.endif without matching .ifdef'],
  ['.elifdef X', '.elifdef without matching .ifdef'],
  ['.ifdef X', 'Unexpected end of configuration file: .endif missing (for this .ifdef)'],
  ['.ifdefX', 'white space expected after ".ifdef"'],
  ['.include', 'file name missing after ".include"'],
  ['.include /none', 'failed to open included configuration file /none (ENOENT: no such file or directory)'],
  ['.include_if_exists none', '.include specifies a non-absolute path "none"'],
  ['.include /c', 'configuration file /c includes itself'],
  [
    'tls_certificate = /x',
    'option "tls_certificate" is not supported: TLS is not implemented yet; set tls_advertise_hosts empty',
  ],
  [
    'rfc1413_query_timeout = 5s',
    'option "rfc1413_query_timeout" is not supported with this value: RFC 1413 queries are never made; set rfc1413_query_timeout = 0s (only "0s" is accepted)',
  ],
  [
    'helo_lookup_domains = *',
    'option "helo_lookup_domains" is not supported with this value: no name of a client is looked up because of what it says in HELO (only an empty value is accepted)',
  ],
  [
    'smtp_ratelimit_mail = 4',
    'malformed smtp_ratelimit_mail "4" (THRESHOLD,DELAY,FACTOR,LONGEST such as 4,0.25s,1.015,4m)',
  ],
  ['freeze_tell = a@b, c@@d', 'malformed address "c@@d" (domain missing or malformed: illegal character)'],
  [
    'delay_warning = 4h',
    'option "delay_warning" is not supported with this value: delay warnings are not sent yet; leave it unset or empty (only an empty value or "0s" is accepted)',
  ],
  ['spool_directory =', 'spool_directory undefined: cannot proceed'],
  ['log_file_path = /var/log/x', 'log_file_path "/var/log/x" does not contain "%s"'],
  [
    'log_file_path = /l/%slog : syslog',
    'log_file_path "/l/%slog : syslog" asks for syslog, which is not supported: logs go to files',
  ],
  ['log_file_path = log/%slog', 'log_file_path "log/%slog" is not an absolute path'],
  ['log_file_path = /l/%s:/m/%s', 'log_file_path "/l/%s:/m/%s" has more than one path'],
  ['log_selector = +foo', 'unknown log_selector setting: +foo'],
  ['log_selector = all', 'malformed log_selector setting: + or - expected but found "all"'],
  ['acl_smtp_rcpt = nope', 'ACL "nope" of acl_smtp_rcpt is not defined'],
  [
    'pid_file_path = /run/$sender_host_address',
    'option "pid_file_path": $sender_host_address is not known yet, since this option is expanded once, at start-up',
  ],
  ['domainlist a = x : +b', 'unknown named domain list "+b"'],
];

/** Lines that are in order. */
const good = [
  'no_queue_only',
  'not_queue_only',
  'queue_only = no',
  'errors_copy =',
  'recipients_max = 0x10',
  'recipients_max = -5',
  'recipients_max = 10k',
  'retry_interval_max = 1s1h',
  'smtp_banner =',
  'hide smtp_banner = x',
  'return_size_limit = 10K',
  'daemon_smtp_port = 25',
  'domainlist_cache a = x : !+b\ndomainlist b = y',
  'hostlist h = +include_unknown : 192.0.2.0/24 : ${lookup{x}lsearch{/y}} : +nothing',
  'log_selector = +smtp_confirmation-pid  +size_reject',
  'pid_file_path = $spool_directory/${primary_hostname}.pid',
  'BEGIN acl',
  'begin  acl',
  'acl_smtp_rcpt = x\nbegin acl\nx:\n accept',
];

test('lines of the main part that are wrong', () => {
  for (const [line, ...wanted] of mainLines)
    assert.deepEqual(
      complaints(`# first\n${line}\n`),
      wanted.map((c) => `2: ${c}`),
      line,
    );
});

test('lines of the main part that are right', () => {
  for (const text of good) assert.deepEqual(complaints(`${text}\n`), [], text);
});

test('all errors are found in one run, in the order of the lines', () => {
  assert.deepEqual(
    complaints(`foo = 1
recipients_max = x
recipients_max = 5
recipients_max = 6
acl_smtp_rcpt = chk
begin routers
one:
  driver = manualroute
  route_list = * a
  route_data = b
  transport = toabsent
  domains = +loc
two:
  driver = accept
two:
  driver = acept
  port = 1
three:
  transport = t
begin transports
t:
  driver = lmtp
  sokcet = /x
u:
  driver = pipe
  command = /bin/x
  batch_max = y
  nonsense = 2
begin acl
check:
  accept domains = +nowhere
begin routers
`),
    [
      '1: main option "foo" unknown',
      '2: integer expected for recipients_max',
      '4: "recipients_max" option set for the second time',
      '5: ACL "chk" of acl_smtp_rcpt is not defined',
      '10: one router: route_list or route_data (but not both) must be specified',
      '11: transport "toabsent" of one router is not defined',
      '12: unknown named domain list "+loc"',
      '13: two router: a transport is required for this router',
      '15: there are two routers called "two"',
      '16: router two: cannot find router driver "acept" (did you mean "accept"?)',
      '18: no driver defined for router "three"',
      '21: one (and only one) of command or socket must be set for the t transport',
      '23: option "sokcet" unknown (did you mean "socket"?)',
      '27: integer expected for batch_max',
      '28: option "nonsense" unknown',
      '31: unknown named domain list "+nowhere"',
      '32: "routers" section is repeated in the configuration file',
    ],
  );
});

test('drivers: names, order, options', () => {
  assert.deepEqual(
    complaints('begin transports\nfoo\nbar = 1\nfoo: driver = smtp\n driver = smtp\n port = 1\n port = 2\n'),
    [
      '2: transport name missing (a name is letters, digits and underscores, then a colon)',
      '4: extra characters follow driver name foo',
      '7: "port" option set for the second time',
    ],
  );
  assert.deepEqual(complaints('begin transports\nt:\n port = 25\n driver = smtp\n'), [
    '3: warning: Exim takes "port" only after "driver"',
  ]);
  assert.deepEqual(
    complaints(
      'begin transports\nt:\n driver = smtp\nMAC = 25\n port = MAC\nu:\n driver = smtp\n port = MAC\n',
    ),
    ['5: transport name missing (a name is letters, digits and underscores, then a colon)'],
  );
  assert.deepEqual(
    complaints(
      'begin transports\nt:\n driver = smtp\n protocol = smpt\n multi_domain = foo\n helo_data = ${if\n',
    ),
    [
      '4: "smpt" is not a valid value for protocol (one of smtp, lmtp)',
      '5: "foo" is not a valid value for the "multi_domain" option (true, false, yes or no)',
      ...complaints('begin transports\nt:\n driver = smtp\n\n\n helo_data = ${if\n'),
    ],
  );
  assert.deepEqual(complaints('begin transports\nt:\n driver = lmtp\n socket = /run/$local_part\n'), [
    '4: option "socket": $local_part is not known yet, since this option is expanded once, at start-up',
  ]);
  assert.deepEqual(
    complaints(
      'begin routers\na:\n driver = accept\n verify_only\n pass_router = a\n self = no\nb:\n driver = accept\n verify_only\n pass_router = c\n',
    ),
    [
      '5: new_router "a" does not follow "a" router',
      '6: no is not valid for the self option (freeze, defer, send, pass, fail or reroute: DOMAIN)',
      '10: new_router "c" not found for "b" router',
    ],
  );
});

test('ACLs: names and what belongs to them', () => {
  assert.deepEqual(complaints('begin acl\naccept\ndeny\nfoo:\n accept\nbar: accept\nfoo: deny\nA-B:\n'), [
    '2: missing or malformed ACL name (a name is letters, digits and underscores, then a colon)',
    '7: there are two ACLs called "foo"',
  ]);
  const { model } = readText('begin acl\nfoo:\n accept\nMAC = x\nbar: accept hosts = MAC\n deny\n');
  assert.deepEqual(
    [...(model?.acls.values() ?? [])].map((a) => [a.name, a.lines.map((l) => l.text)]),
    [
      ['foo', ['accept']],
      ['bar', ['accept hosts = x', 'deny']],
    ],
  );
});

test('what is not there yet is refused by section', () => {
  assert.deepEqual(complaints('begin authenticators\nx:\n driver = plaintext\n client_send = a\n'), []);
  assert.deepEqual(
    complaints(
      'begin authenticators\nx:\n driver = plaintext\n server_condition = yes\ny:\n driver = dovecot\nz:\n driver = cram_md5\n',
    ),
    [
      '4: option "server_condition" is not supported: SMTP authentication is not implemented yet',
      '6: authenticator driver "dovecot" is not supported: SMTP authentication is not implemented yet',
      '7: no public name specified for the z authenticator',
    ],
  );
});

test('errors of included files name them', () => {
  assert.deepEqual(complaints('.include /i\nfoo = 1\n', { '/i': '# x\nbar = 1\n' }), [
    '2: main option "foo" unknown',
    '/i:2: main option "bar" unknown',
  ]);
});

test('ignored options are told as notes', () => {
  const { diagnostics, model } = readText('exim_user = root\n');
  assert.ok(model);
  assert.deepEqual(
    diagnostics.map((d) => [d.severity, d.message]),
    [
      [
        'note',
        'option "exim_user" has no effect: Mailchute runs as the user who starts it; only local deliveries change to another',
      ],
    ],
  );
});

test('no text breaks the reader, and a model comes only without errors', () => {
  const lines =
    `begin acl|begin routers|begin transports|begin authenticators|begin stores|begin directories|begin retry|begin rewrite|begin x|r:
driver = accept|driver = smtp|driver = redirect|driver = appendfile|driver = plaintext|*@+b $1 Ff|* * F,1h
driver = lmtp|domainlist a = +b : "|MAC = x|.ifdef MAC|.else|.endif|.include /i`.split(/[|\n]/);
  const words =
    `MAC|==|=|"|\\|\${|}|$|no_|hide |#| |\t|\0|\xff|recipients_max|0x|1h|+|:|!|message_size_limit = |condition = |
route_list = |delay_warning = |queue_only_load = |socket = |log_selector = |client_send = |freeze_tell = |
smtp_ratelimit_mail = |hosts_try_auth = |data = |file = `.split(/[|\n]/);
  const piece = fc.constantFrom(...lines.map((line) => `${line}\n`), ...words, '\n');
  const text = fc.oneof(
    fc.array(piece, { maxLength: 30 }).map((p) => p.join('')),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(text, text, (a, b) => {
      const { model, diagnostics } = readText(a, { '/i': b });
      assert.equal(
        model === undefined,
        diagnostics.some((d) => d.severity === 'error'),
      );
    }),
    { numRuns: 1000 },
  );
});
