import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseZone, startDnsServer } from '../../../test/support/dns-server.ts';
import { createDnsClient } from '../../net/dns/client.ts';
import { lookupContract } from '../contract.ts';
import { createLookups } from '../lookups.ts';
import { createDnsdb } from './dnsdb.ts';

const zone = parseZone('a.test 300 A 192.0.2.1\nlive.test 0 A 192.0.2.2\nfail.test 0 RCODE 2');

async function open() {
  const server = await startDnsServer(zone);
  const client = createDnsClient({
    settings: () => ({
      servers: [{ address: '127.0.0.1', port: server.port }],
      timeoutMs: 10_000,
      attempts: 1,
    }),
  });
  return { server, driver: createDnsdb({ client }) };
}

lookupContract('dnsdb', async () => {
  const { server, driver } = await open();
  const present = { key: 'a=a.test', value: '192.0.2.1' };
  return {
    subject: { driver, file: '', present, absent: 'a=nothere.test', deferred: 'a=fail.test' },
    close: () => server.stop(),
  };
});

describe('dnsdb', () => {
  it('keeps answers as long as their records live', async () => {
    const { server, driver } = await open();
    const lookup = createLookups([driver]);
    const ask = async (key: string, ...options: string[]): Promise<number> => {
      const before = server.asked.length;
      const answer = await lookup({ type: 'dnsdb', options, key, fileTainted: false, keyTainted: true });
      assert.equal(answer.kind, 'found');
      return server.asked.length - before;
    };
    assert.deepEqual(
      [await ask('a=a.test'), await ask('a=a.test'), await ask('a=a.test', 'cache=no_rd')],
      [1, 0, 1],
    );
    assert.deepEqual([await ask('a=live.test'), await ask('a=live.test')], [1, 1]);
    await server.stop();
  });
});
