import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { formatDiagnostic } from '../mail/diagnostic.ts';
import { formatWithSource } from './format.ts';
import { readConfig } from './read.ts';
import { complaints, readText } from '../../test/support/config-text.ts';

/** The three snippets of the Dovecot wiki's page "LMTP/Exim" as they stand there, with what a main part needs. */
const wikiTcpRouter = `myusers:
        transport = mylmtp
        domains = +local_domains
        driver = manualroute
        route_list = "* 192.168.1.0 byname"
        #if destination server is the local host enable this
        #self = send
`;
const wikiTcpTransport = `mylmtp:
        driver = smtp
        protocol = lmtp
        port = 2525
`;
const wikiUnixTransport = `mylmtp:
        driver = lmtp
        socket = /var/run/dovecot/lmtp
        #maximum number of deliveries per batch, default 1
        batch_max = 200
`;
const wikiUnixRouter = `myusers:
        transport = mylmtp
        domains = +local_domains
        driver = manualroute
        route_data = whatmeworry # required but not useful
`;
const wikiAcl = `deny
        message = invalid recipient
        domains = +local_domains
        !verify = recipient/callout=no_cache
`;
const main = 'domainlist local_domains = example.test\nacl_smtp_rcpt = acl_check_rcpt\n';
const acl = `begin acl\nacl_check_rcpt:\n${wikiAcl}accept\n`;

test("the wiki's page over TCP", () => {
  const { model, diagnostics } = readText(
    `${main}${acl}begin routers\n${wikiTcpRouter}begin transports\n${wikiTcpTransport}`,
  );
  assert.deepEqual(diagnostics, []);
  assert.ok(model);
  const [router] = model.routers;
  const [transport] = model.transports;
  assert.ok(router?.driver === 'manualroute' && transport?.driver === 'smtp');
  assert.equal(router.options.route_list, '* 192.168.1.0 byname');
  assert.equal(router.options.route_data, undefined);
  assert.equal(router.options.self, 'freeze');
  assert.equal(router.options.domains, '+local_domains');
  assert.equal(transport.options.protocol, 'lmtp');
  assert.equal(transport.options.port, '2525');
  assert.equal(transport.options.command_timeout, 300_000);
  assert.equal(model.lists.domain.get('local_domains')?.text.text, 'example.test');
  assert.deepEqual(
    model.acls.get('acl_check_rcpt')?.lines.map((l) => l.text),
    [
      'deny',
      'message = invalid recipient',
      'domains = +local_domains',
      '!verify = recipient/callout=no_cache',
      'accept',
    ],
  );
  assert.equal(model.acls.get('acl_check_rcpt')?.lines[3]?.position.line, 8);
});

test("the wiki's page over a UNIX socket", () => {
  const { model, diagnostics } = readText(
    `${main}${acl}begin routers\n${wikiUnixRouter}begin transports\n${wikiUnixTransport}`,
  );
  assert.deepEqual(diagnostics, []);
  const [router] = model?.routers ?? [];
  const [transport] = model?.transports ?? [];
  assert.ok(router?.driver === 'manualroute' && transport?.driver === 'lmtp');
  assert.equal(router.options.route_data, 'whatmeworry # required but not useful');
  assert.equal(transport.options.socket, '/var/run/dovecot/lmtp');
  assert.equal(transport.options.batch_max, 200);
  assert.equal(transport.options.command, undefined);
});

/** The configuration that the benchmarks give to the real Exim, with every variant's lines. */
const bench = `primary_hostname = mx.example.test
spool_directory = /tmp/peers/exim/spool
log_file_path = /tmp/peers/exim/log/%slog
pid_file_path = /tmp/peers/exim/pid
daemon_smtp_ports = 2552
local_interfaces = 127.0.0.1
domainlist local_domains = example.test
acl_smtp_rcpt = acl_check_rcpt
acl_smtp_data = acl_accept
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
smtp_accept_max = 1100
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 512
queue_run_max = 10
rfc1413_query_timeout = 0s
host_lookup =
tls_advertise_hosts =
recipients_max = 100000
exim_path = /usr/sbin/exim4
begin acl
acl_accept:
  accept
acl_check_rcpt:
  deny
        message = invalid recipient
        domains = +local_domains
        !verify = recipient/callout=no_cache
  accept domains = +local_domains
  deny message = relay not permitted
begin routers
myusers:
        transport = mytcp
        domains = +local_domains
        driver = manualroute
        route_list = "* 127.0.0.1 byname"
        self = send
begin transports
mytcp:
        driver = smtp
        protocol = lmtp
        port = 2600
        allow_localhost
        hosts_try_fastopen =
        max_rcpt = 200
myunix:
        driver = lmtp
        socket = /tmp/peers/sink.sock
        batch_max = 200
        user = Debian-exim
begin retry
*  *  F,2h,1m
`;

test("the benchmark's Exim configuration", () => {
  const { model, diagnostics } = readText(bench);
  assert.deepEqual(diagnostics.filter((d) => d.severity !== 'note').map(formatDiagnostic), []);
  assert.ok(model);
  assert.equal(model.main.recipients_max, 100_000);
  assert.deepEqual(model.main.local_interfaces, ['127.0.0.1']);
  assert.equal(model.mainGiven.get('queue_run_max')?.value, 10);
  assert.equal(model.main.smtp_receive_timeout, 300_000);
  assert.equal(model.main.callout_positive_expire, 86_400_000);
  assert.equal(model.main.message_size_limit, 50 * 1024 * 1024);
  assert.deepEqual(
    model.retry.map((r) => r.text),
    ['*  *  F,2h,1m'],
  );
  const [tcp, unix] = model.transports;
  assert.ok(tcp?.driver === 'smtp' && unix?.driver === 'lmtp');
  assert.equal(tcp.options.allow_localhost, true);
  assert.equal(tcp.options.max_rcpt, 200);
});

const store = `begin directories
users:
  driver = passwd_file
  file = /etc/users : /etc/more/%d
begin stores
box:
  driver = maildir
  sockets = /run/a : /run/b
  listen = <; 127.0.0.1:24 ; [::1]:24
  directories = users
  maildir = /var/mail/$local_part_data/Maildir
`;

test('stores', () => {
  const { model, diagnostics } = readText(
    `${store}  socket_mode = 600\n  mail_fsync = never\n  message_size_limit = 10M\n`,
  );
  assert.deepEqual(diagnostics, []);
  const options = model?.stores[0]?.options;
  assert.ok(options);
  assert.deepEqual(options.sockets, ['/run/a', '/run/b']);
  assert.deepEqual(options.listen, ['127.0.0.1:24', '[::1]:24']);
  assert.equal(options.socket_mode, 0o600);
  assert.equal(options.mail_fsync, 'never');
  assert.deepEqual(options.directories, ['users']);
  const [users] = model?.directories ?? [];
  assert.ok(users?.driver === 'passwd_file');
  assert.deepEqual(users.options.file, ['/etc/users', '/etc/more/%d']);
  assert.equal(users.options.username_format, '%Lu');
  assert.equal(options.recipient_delimiter, '+');
  assert.equal(options.message_size_limit, 10 * 1024 * 1024);
  assert.deepEqual(
    complaints('begin stores\nx:\n driver = maildir\n listen = 127.0.0.1:24\n passwd_file = /x\n'),
    [
      '2: x store: directories must be set (it names instances of "begin directories", which say who has a mailbox)',
      '4: malformed address and port "127.0.0.1" (write "<; 127.0.0.1:24 ; [::1]:24")',
      '4: malformed address and port "24" (write "<; 127.0.0.1:24 ; [::1]:24")',
      '5: option "passwd_file" unknown',
    ],
  );
  assert.deepEqual(
    complaints(
      'begin directories\nd:\n driver = passwd_file\n file = /u\nbegin stores\nx:\n driver = maildir\n directories = d\n maildir = /m\n' +
        ' sockets = run/lmtp\n proxy_timeout = 0s\n max_connections = -1\n lmtp_user_concurrency_limit = -1\n' +
        ' quota_rule = *:storage=1G\n lda_mailbox_autocreate\n tls_min_protocol = TLSv1.3\n',
    ),
    [
      '10: x store: sockets "run/lmtp" is not an absolute path',
      '11: x store: proxy_timeout must be more than 0',
      '12: x store: max_connections must be more than 0',
      '13: x store: lmtp_user_concurrency_limit must not be less than 0',
      '14: x store: quota_rule needs quota',
      '15: warning: x store: lda_mailbox_autocreate does nothing without lmtp_save_to_detail_mailbox (no folder but the INBOX is chosen)',
      '16: x store: tls_min_protocol needs tls_certificate',
    ],
  );
});

test('the configuration that is shipped', () => {
  const file = path.join(import.meta.dirname, '../../etc/mailchute.conf');
  for (const defines of [new Map<string, string>(), new Map([['LMTP_OVER_TCP', 'y']])]) {
    const { model, diagnostics } = readConfig(file, { defines });
    assert.deepEqual(diagnostics.map(formatDiagnostic), []);
    assert.equal(model?.transports[0]?.driver, defines.size === 0 ? 'lmtp' : 'smtp');
  }
});

test('an option that may be repeated keeps each of its texts', () => {
  const { model } = readText(
    'begin routers\nr:\n driver = accept\n verify_only\n condition = a\n condition = b\n headers_add = X: 1\n',
  );
  assert.deepEqual(model?.routers[0]?.options.condition, ['a', 'b']);
  assert.deepEqual(model?.routers[0]?.options.headers_add, ['X: 1']);
});

test('verify and fail_verify set two switches', () => {
  const { model } = readText('begin routers\nr:\n driver = accept\n verify_only\n no_verify\n fail_verify\n');
  const options = model?.routers[0]?.options;
  assert.deepEqual(
    [
      options?.verify_sender,
      options?.verify_recipient,
      options?.fail_verify_sender,
      options?.fail_verify_recipient,
    ],
    [false, false, true, true],
  );
  assert.deepEqual(
    complaints('begin routers\nr:\n driver = accept\n verify_only\n no_verify\n verify_sender\n'),
    ['6: "verify_sender" option set for the second time'],
  );
});

test('macros: definition, redefinition, command line', () => {
  const banner = (text: string, defines = {}): string | undefined =>
    readText(text, {}, defines).model?.main.smtp_banner;
  assert.equal(banner('AAAB = one\nAAA = x\nsmtp_banner = AAA AAAB xAAAx\n'), 'x one xxx');
  assert.equal(banner('AAA = one\nAAA == AAA two\nsmtp_banner = AAA\n'), 'one two');
  assert.equal(banner('AAA = BBB\nBBB = two\nsmtp_banner = AAA\n'), 'two');
  assert.equal(banner('AAA = AAA x\nsmtp_banner = [AAA]\n'), '[AAA x]');
  assert.equal(banner('AAA = "x  "  \nsmtp_banner = [AAA]\n'), '["x  "]');
  assert.equal(banner('AAA = x\\\n  y\\\n z\nsmtp_banner = [AAA]\n'), '[xyz]');
  assert.equal(banner('AAA = x\nAAA == y\nsmtp_banner = AAA\n', { AAA: 'mine' }), 'mine');
  assert.equal(banner('AAA = #\nAAA foo = bar\nsmtp_banner = AbcA\n'), 'AbcA');
  assert.equal(banner('begin routers\nMAC = accept\nr:\n driver = MAC\n verify_only\n')?.slice(0, 4), '$smt');
  assert.deepEqual(complaints('AAA = 1\nAAA = 2\nBBB == 1\nXAAA = 1\nA-B = 1\nFOO\n'), [
    '2: macro "AAA" is already defined (use "==" if you want to redefine it)',
    '3: can\'t redefine an undefined macro "BBB"',
    '4: "XAAA" cannot be defined as a macro because previously defined macro "AAA" is a substring',
    '5: malformed macro definition (NAME = text, or an option in small letters)',
    '6: malformed macro definition (NAME = text, or an option in small letters)',
  ]);
});

test('macros that grow by powers are stopped', () => {
  const lines = Array.from({ length: 30 }, (_, i) => `M${i}X = ${i === 0 ? 'text' : `M${i - 1}X`.repeat(2)}`);
  assert.match(
    complaints(`${lines.join('\n')}\n`)[0] ?? '',
    /^\d+: line is too long after macro "M\d+X" was replaced$/,
  );
});

test('built-in macros tell what works', () => {
  const banner = (name: string): string | undefined =>
    readText(`.ifdef ${name}\nsmtp_banner = yes\n.else\nsmtp_banner = no\n.endif\n`).model?.main.smtp_banner;
  assert.equal(banner('_DRIVER_TRANSPORT_LMTP'), 'yes');
  assert.equal(banner('_OPT_TRANSPORT_SMTP_PROTOCOL'), 'yes');
  assert.equal(banner('_OPT_MAIN_MESSAGE_SIZE_LIMIT'), 'yes');
  assert.equal(banner('_HAVE_MAILCHUTE'), 'yes');
  assert.equal(banner('_OPT_MAIN_TLS_CERTIFICATE'), 'no');
  assert.equal(banner('_DRIVER_ROUTER_IPLOOKUP'), 'no');
  assert.equal(banner('_HAVE_LOOKUP_DNSDB'), 'yes');
  assert.equal(banner('_HAVE_TLS'), 'no');
});

test('a file that cannot be read', () => {
  const { model, diagnostics } = readConfig('/nonexistent/mailchute.conf');
  assert.equal(model, undefined);
  assert.match(
    diagnostics.map(formatDiagnostic).join(),
    /^\/nonexistent\/mailchute.conf:1: failed to open configuration file .*ENOENT/,
  );
  assert.match(readConfig('/').diagnostics.map(formatDiagnostic).join(), /not a regular file/);
});

test('a diagnostic with its source line', () => {
  const { diagnostics, sources } = readText('smtp_banner = x \\\n\ty ${if\n');
  assert.deepEqual(
    diagnostics.map((d) => formatWithSource(d, sources).split('\n').slice(1)),
    [['  \ty ${if', '  \t      ^']],
  );
  const [first] = diagnostics;
  assert.equal(first?.position.line, 2);
});
