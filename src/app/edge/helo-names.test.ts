import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostFact } from '../../list/model.ts';
import { heloNamed } from './helo-names.ts';

test('a literal, a name of the client, or a name that leads to it', async () => {
  const missing: HostFact = { kind: 'missing' };
  const ask = (helo: string, names: HostFact, forward: HostFact, address = '192.0.2.1') =>
    heloNamed({ clientNames: async () => names, addressesOf: async () => forward }, address, helo);
  const found = (...values: string[]): HostFact => ({ kind: 'found', values });
  const down: HostFact = { kind: 'defer', reason: 'the DNS is down' };
  assert.equal(await ask('[192.0.2.1]', missing, missing), 'yes');
  assert.equal(await ask('[192.0.2.2]', found('x.test'), missing), 'no');
  assert.equal(await ask('[IPv6:2001:DB8::1]', missing, missing, '2001:db8::1'), 'yes');
  assert.equal(await ask('MX.x.test', found('a.test', 'mx.X.test'), missing), 'yes');
  assert.equal(await ask('mx.x.test', missing, found('192.0.2.9', '192.0.2.1')), 'yes');
  assert.equal(await ask('mx.x.test', down, found('192.0.2.9')), 'no');
  assert.equal(await ask('mx.x.test', found('a.test'), down), 'defer');
  assert.equal(await ask('mx.x.test', missing, missing), 'no');
});
