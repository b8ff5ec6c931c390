import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLmdbHints } from '../hints/drivers/lmdb.ts';
import { temporaryFolder } from '../../test/support/process.ts';
import type { RouteHost } from '../mail/route-host.ts';
import { createHostGate } from './host-gate.ts';
import { hostStates } from './host-records.ts';

test('every place that the gate writes is read back', async (t) => {
  const folder = temporaryFolder('host-records');
  const hints = openLmdbHints({ directory: folder.path });
  t.after(async () => {
    await hints.close();
    folder.remove();
  });
  const schedule = { maxIntervalMs: 86_400_000, dataExpireMs: 604_800_000, random: () => 0.5 };
  const gate = createHostGate(hints, schedule, assert.fail);
  const places: readonly (readonly [transport: string, hosts: readonly RouteHost[]])[] = [
    ['unix', []],
    ['smtp', [{ name: 'mx.a.test', address: '192.0.2.1' }]],
    ['smtp', [{ name: 'mx.a.test', address: '192.0.2.1', port: 2525 }]],
    ['smtp', [{ name: 'mx.a.test', address: '2001:db8::1', port: 24 }]],
    ['smtp', [{ name: '2001:db8::2', address: '2001:db8::2' }]],
    ['smtp', [{ name: '192.0.2.7', address: '192.0.2.7', port: 26 }]],
  ];
  const nowMs = Date.now();
  for (const [transport, hosts] of places)
    gate.failed({ transport, hosts, startedAtMs: nowMs, nowMs, text: 'refused', rule: () => undefined });
  await hints.put('retry', 'T:broken', { firstFailedAtMs: 'x' }, nowMs + 1000);
  await hints.put('retry', 'other', { firstFailedAtMs: 1 }, nowMs + 1000);
  const read = [...hostStates(hints, nowMs)].map(({ transport, host, text }) => {
    assert.equal(text, 'refused');
    return JSON.stringify([transport, host === undefined ? [] : [host]]);
  });
  assert.deepEqual(read.toSorted(), places.map((p) => JSON.stringify(p)).toSorted());
});

test('the end of a probe that was told twice does not end that of another delivery', async (t) => {
  const folder = temporaryFolder('host-probe');
  const hints = openLmdbHints({ directory: folder.path });
  t.after(async () => {
    await hints.close();
    folder.remove();
  });
  const gate = createHostGate(
    hints,
    { maxIntervalMs: 86_400_000, dataExpireMs: 604_800_000, random: () => 0.5 },
    assert.fail,
  );
  const nowMs = Date.now();
  gate.failed({
    transport: 't',
    hosts: [],
    startedAtMs: nowMs,
    nowMs,
    text: 'refused',
    rule: () => undefined,
  });
  const later = nowMs + 86_400_000;
  const ask = (): ReturnType<typeof gate.ask> => gate.ask('t', [], later, false, undefined);
  const first = ask();
  assert.ok(first.kind === 'open' && first.probe !== undefined);
  assert.equal(ask().kind, 'probing');
  first.probe.end();
  assert.equal(ask().kind, 'open');
  first.probe.end();
  assert.equal(ask().kind, 'probing');
});
