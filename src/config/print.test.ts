import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readText } from '../../test/support/config-text.ts';
import { checkLogSelector, selectedLogItems } from './log-selector.ts';
import { printInstance, printInstances, printMain, printMainOption } from './print-model.ts';
import { listAliases, listDrivers, listOptions } from './reference.ts';
import { createReport } from './report.ts';

const ask = { admin: true, withoutNames: false, hostname: 'mx.example.test' };

const text = `smtp_banner = "a\\tb"
recipients_max = 0x10
callout_positive_expire = 90m
bounce_return_size_limit = 2048
begin routers
r:
  driver = accept
  transport = t
  condition = one
  condition = two
  headers_add = "A: b"
  headers_add = C: d
  more = \${if eq{a}{b}}
begin transports
t:
  driver = lmtp
  socket = /run/lmtp
  batch_max = 7
`;

test('options are printed as Exim prints them', () => {
  const { model } = readText(text);
  assert.ok(model);
  assert.equal(printMainOption(model, 'smtp_banner', ask), 'smtp_banner = a\\tb');
  assert.equal(printMainOption(model, 'recipients_max', ask), 'recipients_max = 16');
  assert.equal(printMainOption(model, 'callout_positive_expire', ask), 'callout_positive_expire = 1h30m');
  assert.equal(printMainOption(model, 'return_size_limit', ask), 'bounce_return_size_limit = 2K');
  assert.equal(printMainOption(model, 'recipients_max_reject', ask), 'no_recipients_max_reject');
  assert.equal(printMainOption(model, 'never_users', ask), 'never_users =');
  assert.equal(printMainOption(model, 'acl_smtp_rcpt', ask), 'acl_smtp_rcpt = ');
  assert.equal(printMainOption(model, 'toString', ask), undefined);
  const all = printMain(model, ask);
  assert.ok(all.includes('recipients_max = 16') && all.includes('daemon_smtp_ports = smtp'));
  const names = all.map((line) => line.replace(/^no_|[ =].*/gs, ''));
  assert.deepEqual(names, names.toSorted());
});

test('instances', () => {
  const { model } = readText(text);
  assert.ok(model);
  const router = printInstance(model, 'routers', 'r', ask) ?? [];
  for (const line of [
    'condition = ${if and{{bool_lax{one}}{bool_lax{two}}}}',
    'headers_add = A: b\\nC: d',
    'more = ${if eq{a}{b}}',
    'driver = accept',
  ])
    assert.ok(router.includes(line), line);
  assert.deepEqual(printInstances(model, 'transports', ask).slice(0, 2), ['', 't transport:']);
  assert.ok(printInstances(model, 'transports', ask).includes('batch_max = 7'));
  assert.equal(printInstance(model, 'routers', 't', ask), undefined);
});

test('what log_selector selects', () => {
  const on = selectedLogItems('+pid -retry_defer +rejected_headers');
  assert.deepEqual(
    [on.has('pid'), on.has('retry_defer'), on.has('rejected_header'), on.has('subject')],
    [true, false, true, false],
  );
  assert.equal(selectedLogItems('-all').size, 0);
  assert.ok(selectedLogItems('+all').has('8bitmime'));
  const report = createReport();
  checkLogSelector(
    {
      text: '+smtp_confirmation -pid +pid +all -tls_sni +tls_sni',
      position: { file: 'f', line: 1, column: 10 },
    },
    report,
  );
  assert.deepEqual(
    report.diagnostics.map((d) => [d.position.column, d.message.slice(0, 18)]),
    [],
  );
});

test('what log_selector cannot be', () => {
  const said = (text: string): readonly string[] => {
    const report = createReport();
    checkLogSelector({ text, position: { file: 'f', line: 1, column: 10 } }, report);
    return report.diagnostics.map((d) => `${d.severity} ${d.position.column} ${d.message}`);
  };
  assert.deepEqual(said('pid'), ['error 10 malformed log_selector setting: + or - expected but found "pid"']);
  assert.deepEqual(said('+pid +pod'), ['error 15 unknown log_selector setting: +pod']);
  assert.deepEqual(said('+skip_delivery -outgoing_interface'), [
    'note 10 log_selector +skip_delivery has no effect: the logs do not tell it yet',
  ]);
});

test('the reference tells drivers and other names', () => {
  const said = listDrivers().map((d) => [
    d.section,
    d.name,
    d.refused !== undefined,
    d.ignored !== undefined,
  ]);
  for (const row of [
    ['router', 'accept', false, false],
    ['router', 'iplookup', true, false],
    ['transport', 'smtp', false, false],
    ['authenticator', 'plaintext', false, true],
    ['authenticator', 'dovecot', true, false],
    ['store', 'maildir', false, false],
    ['directory', 'passwd_file', false, false],
  ])
    assert.ok(
      said.some((d) => d.join() === row.join()),
      row.join(),
    );
  for (const alias of listAliases())
    for (const name of alias.means)
      assert.ok(
        listOptions().some((o) => o.name === name),
        name,
      );
});
