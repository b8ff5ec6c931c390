import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIpAddress, createHostLookup } from './host-lookup.ts';
import { createLocalHosts } from './local-hosts.ts';

const signal = new AbortController().signal;

test('the system knows localhost, and nobody knows nosuch.invalid', async () => {
  const lookup = createHostLookup({ timeoutMs: 20_000, maxConcurrent: 1 });
  const [found, again, missing] = await Promise.all([
    lookup({ name: 'localhost', how: 'byname' }, signal),
    lookup({ name: 'LOCALHOST', how: 'byname' }, signal),
    lookup({ name: 'nosuch.invalid', how: 'byname' }, signal),
  ]);
  assert.ok(found.kind === 'found' && found.addresses.some((a) => a === '127.0.0.1' || a === '::1'));
  assert.equal(again, found, 'equal questions share an answer');
  assert.notEqual(missing.kind, 'found');
});

test('the deadline gives defer, never missing', async () => {
  const lookup = createHostLookup({ timeoutMs: 0, maxConcurrent: 1 });
  assert.equal((await lookup({ name: 'nosuch.invalid', how: 'byname' }, signal)).kind, 'defer');
});

test('an aborted question is refused', () => {
  const lookup = createHostLookup({ timeoutMs: 1000, maxConcurrent: 1 });
  assert.throws(() => lookup({ name: 'localhost', how: 'byname' }, AbortSignal.abort()));
});

test('asIpAddress', () => {
  assert.equal(asIpAddress('10.0.0.1'), '10.0.0.1');
  assert.equal(asIpAddress('FD00::1'), 'fd00::1');
  assert.equal(asIpAddress('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(asIpAddress('[10.0.0.1]'), undefined);
  assert.equal(asIpAddress('host.test'), undefined);
});

test('createLocalHosts: listed addresses, or all interfaces for a wildcard', () => {
  const listed = createLocalHosts({ interfaces: ['127.0.0.1', '2001:DB8:0::1'] });
  assert.equal(listed('127.0.0.1'), true);
  assert.equal(listed('2001:db8::1'), true);
  assert.equal(listed('::ffff:127.0.0.1'), true);
  assert.equal(listed('127.0.0.2'), false);
  const all = createLocalHosts({ interfaces: ['0.0.0.0'] });
  assert.equal(all('127.0.0.1'), true);
  assert.equal(all('0.0.0.0'), true);
  assert.equal(all('198.51.100.1'), false);
});
