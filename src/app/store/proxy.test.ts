import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { listensAt } from './proxy.ts';

test('a store listens at its addresses however they are written; at a wildcard it has all of the machine', () => {
  const listening = ['/run/lmtp', '127.0.0.1:24', '[2001:db8::1]:2424', '::1:25', '127.0.0.3:24 (TLS)'];
  assert.ok(listensAt(listening, '127.0.0.1', 24));
  assert.ok(listensAt(listening, '2001:DB8:0:0::1', 2424));
  assert.ok(listensAt(listening, '127.0.0.3', 24));
  assert.ok(listensAt(listening, '0:0:0:0:0:0:0:1', 25));
  for (const [host, port] of [
    ['127.0.0.1', 25],
    ['127.0.0.2', 24],
    ['2001:db8::2', 2424],
    ['10.0.0.1', 24],
  ] as const)
    assert.ok(!listensAt(listening, host, port), host);
  const own = Object.values(networkInterfaces()).flatMap((all) => all?.map((i) => i.address) ?? []);
  for (const host of ['127.0.0.1', '127.9.9.9', '0.0.0.0', ...own.filter((a) => !a.includes(':'))])
    assert.ok(listensAt(['0.0.0.0:24'], host, 24), host);
  for (const host of ['::1', '127.0.0.1', ...own]) assert.ok(listensAt(['[::]:24'], host, 24), host);
  assert.ok(!listensAt(['0.0.0.0:24'], '::1', 24));
  assert.ok(!listensAt(['0.0.0.0:24', '[::]:24'], '192.0.2.77', 24));
});
