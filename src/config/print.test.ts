import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readText } from '../../test/support/config-text.ts';
import { checkLogSelector, selectedLogItems } from './log-selector.ts';
import { printInstance, printInstances, printMain, printMainOption } from './print-model.ts';
import { listAliases, listDrivers, listOptions } from './reference.ts';
import { createReport } from './report.ts';

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
  assert.equal(printMainOption(model, 'smtp_banner'), 'smtp_banner = a\\tb');
  assert.equal(printMainOption(model, 'recipients_max'), 'recipients_max = 16');
  assert.equal(printMainOption(model, 'callout_positive_expire'), 'callout_positive_expire = 1h30m');
  assert.equal(printMainOption(model, 'return_size_limit'), 'bounce_return_size_limit = 2K');
  assert.equal(printMainOption(model, 'recipients_max_reject'), 'no_recipients_max_reject');
  assert.equal(printMainOption(model, 'never_users'), 'never_users =');
  assert.equal(printMainOption(model, 'acl_smtp_rcpt'), 'acl_smtp_rcpt = ');
  assert.equal(printMainOption(model, 'toString'), undefined);
  const all = printMain(model);
  assert.ok(all.includes('recipients_max = 16') && all.includes('daemon_smtp_ports = smtp'));
  const names = all.map((line) => line.replace(/^no_|[ =].*/gs, ''));
  assert.deepEqual(names, names.toSorted());
});

test('instances', () => {
  const { model } = readText(text);
  assert.ok(model);
  const router = printInstance(model, 'routers', 'r') ?? [];
  for (const line of [
    'condition = ${if and{{bool_lax{one}}{bool_lax{two}}}}',
    'headers_add = A: b\\nC: d',
    'more = ${if eq{a}{b}}',
    'driver = accept',
  ])
    assert.ok(router.includes(line), line);
  assert.deepEqual(printInstances(model, 'transports').slice(0, 2), ['', 't transport:']);
  assert.ok(printInstances(model, 'transports').includes('batch_max = 7'));
  assert.equal(printInstance(model, 'routers', 't'), undefined);
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
    { text: '+smtp_confirmation -pid +pid +all', position: { file: 'f', line: 1, column: 10 } },
    report,
  );
  assert.deepEqual(
    report.diagnostics.map((d) => [d.position.column, d.message.slice(0, 18)]),
    [
      [34, 'log_selector +pid '],
      [39, 'log_selector +all '],
    ],
  );
});

test('the reference tells drivers and other names', () => {
  const drivers = listDrivers();
  assert.deepEqual(
    drivers.filter((d) => d.refused === undefined).map((d) => `${d.section} ${d.name}`),
    ['router accept', 'router manualroute', 'transport lmtp', 'transport smtp', 'store maildir'],
  );
  for (const alias of listAliases())
    for (const name of alias.means)
      assert.ok(
        listOptions().some((o) => o.name === name),
        name,
      );
});
