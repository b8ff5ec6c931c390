import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { parseZone, startDnsServer } from '../../../test/support/dns-server.ts';
import { addressOf, routeEnvironment, type World } from '../../../test/support/routing-world.ts';
import { createDnsClient } from '../../net/dns/client.ts';
import type { VerifiedRoute } from '../environment.ts';
import { route } from '../route.ts';
import { parseSelf } from '../router.ts';
import { createDnsHosts, type DnsHostsOptions } from './dns-hosts.ts';
import type { DnslookupOptions } from './dnslookup.ts';

const server = await startDnsServer(
  parseZone(`
plain.test 300 A 192.0.2.1
plain.test 300 AAAA 2001:db8::1
mx.test 300 MX 10 a.test
mx.test 300 MX 10 b.test
mx.test 300 MX 20 c.test
a.test 300 A 192.0.2.11
b.test 300 A 192.0.2.12
c.test 300 A 192.0.2.13
here.test 300 A 127.0.0.1
second.test 300 MX 5 a.test
second.test 300 MX 10 here.test
second.test 300 MX 20 c.test
first.test 300 MX 5 here.test
first.test 300 MX 10 a.test
null.test 300 MX 0 .
gone.test 300 MX 5 nothere.test
toip.test 300 MX 5 192.0.2.9
fail.test 0 RCODE 2
half.test 300 MX 5 fail.test
half.test 300 MX 10 a.test
_smtp._tcp.srv.test 300 SRV 1 0 25 a.test
_smtp._tcp.srv.test 300 SRV 1 100 26 b.test
_smtp._tcp.srv.test 300 SRV 2 0 27 c.test
alias.test 300 CNAME mx.test
far.test 300 CNAME plain.test
far.test 0 NOCHASE
loop.test 300 CNAME loop.test
`),
);
after(() => server.stop());

function dnsHosts(over: Partial<DnsHostsOptions> = {}): ReturnType<typeof createDnsHosts> {
  return createDnsHosts({
    client: createDnsClient({
      settings: () => ({
        servers: [{ address: '127.0.0.1', port: server.port }],
        timeoutMs: 500,
        attempts: 1,
      }),
    }),
    cnameLoops: 1,
    ...over,
  });
}

const signal = new AbortController().signal;

function run(
  domain: string,
  dnslookup: DnslookupOptions = {},
  more: { readonly world?: Partial<World>; readonly ignore?: string; readonly self?: string } = {},
): Promise<VerifiedRoute> {
  const self = parseSelf(more.self ?? 'freeze');
  assert.ok(typeof self !== 'string');
  const world: World = {
    routers: [
      {
        name: 'dns',
        transport: 'smtp',
        self,
        ...(more.ignore === undefined ? {} : { ignoreTargetHosts: more.ignore }),
        dnslookup,
      },
    ],
    transports: { smtp: false },
    dns: dnsHosts(),
    isLocal: (address) => address.startsWith('127.'),
    ...more.world,
  };
  return route(addressOf(`u@${domain}`), routeEnvironment(world), signal);
}

/** Hosts, or what was said. */
function shown(routed: VerifiedRoute): readonly string[] | string {
  if (routed.kind === 'fail' || routed.kind === 'defer') return `${routed.kind}: ${routed.reason.text}`;
  assert.ok(routed.kind === 'routed');
  return routed.hosts.map(
    (h) => `${h.name} ${h.address} ${h.mx ?? '-'}${h.port === undefined ? '' : ` ${h.port}`}`,
  );
}

describe('dnslookup', () => {
  test('exchangers by preference, those of one preference in random order', async () => {
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const hosts = shown(await run('mx.test'));
      assert.ok(typeof hosts !== 'string' && hosts.length === 3);
      assert.equal(hosts[2], 'c.test 192.0.2.13 20');
      seen.add(hosts[0] ?? '');
    }
    assert.deepEqual([...seen].sort(), ['a.test 192.0.2.11 10', 'b.test 192.0.2.12 10']);
  });

  test('without exchangers the domain is its own, IPv6 first', async () => {
    assert.deepEqual(shown(await run('plain.test')), ['plain.test 2001:db8::1 -', 'plain.test 192.0.2.1 -']);
    assert.deepEqual(shown(await run('plain.test', { ipv4Only: 'yes' })), ['plain.test 192.0.2.1 -']);
    assert.equal(shown(await run('plain.test', { mxDomains: '*.test' })), 'fail: Unrouteable address');
  });

  test('aliases are followed, by us where the server does not, and never for ever', async () => {
    const hosts = shown(await run('alias.test'));
    assert.ok(typeof hosts !== 'string' && hosts.length === 3);
    assert.deepEqual(shown(await run('far.test', { ipv4Only: 'yes' })), ['plain.test 192.0.2.1 -']);
    assert.equal(shown(await run('loop.test')), 'defer: host lookup did not complete');
  });

  test('what is not there, not to be had, or says that there is no mail', async () => {
    assert.equal(shown(await run('nothere.test')), 'fail: Unrouteable address');
    assert.equal(shown(await run('null.test')), 'fail: an MX or SRV record indicated no SMTP service');
    assert.equal(shown(await run('gone.test')), 'fail: all relevant MX records point to non-existent hosts');
    assert.equal(
      shown(await run('toip.test')),
      'fail: all relevant MX records point to non-existent hosts or (invalidly) to IP addresses',
    );
    assert.deepEqual(shown(await run('toip.test', { allowMxToIp: true })), ['192.0.2.9 192.0.2.9 5']);
    assert.equal(shown(await run('fail.test')), 'defer: host lookup did not complete');
    assert.deepEqual(shown(await run('half.test')), ['a.test 192.0.2.11 10']);
    assert.match(String(shown(await run('gone.test', { failDeferDomains: '*' }))), /^defer: missing MX/);
  });

  test('this machine: the best exchanger is it, or it and worse ones are taken out', async () => {
    const local = 'lowest numbered MX record points to local host';
    assert.equal(shown(await run('first.test')), `defer: ${local}`);
    assert.equal(shown(await run('first.test', {}, { self: 'fail' })), `fail: ${local}`);
    assert.equal(shown(await run('first.test', {}, { self: 'pass' })), `fail: ${local}`);
    assert.deepEqual(shown(await run('second.test')), ['a.test 192.0.2.11 5']);
    assert.deepEqual(shown(await run('second.test', { checkSecondaryMx: true })), ['a.test 192.0.2.11 5']);
    assert.equal(shown(await run('mx.test', { checkSecondaryMx: true })), 'fail: Unrouteable address');
  });

  test('services come first where they are asked for, by priority, the weightless last', async () => {
    const hosts = shown(await run('srv.test', { checkSrv: 'smtp' }));
    assert.deepEqual(hosts, ['b.test 192.0.2.12 1 26', 'a.test 192.0.2.11 1 25', 'c.test 192.0.2.13 2 27']);
    assert.ok(Array.isArray(shown(await run('mx.test', { checkSrv: 'smtp' }))));
  });

  test('ignore_target_hosts', async () => {
    assert.deepEqual(shown(await run('plain.test', {}, { ignore: '<; ::/0' })), ['plain.test 192.0.2.1 -']);
    assert.equal(
      shown(await run('plain.test', {}, { ignore: '<; ::/0 ; 0.0.0.0/0' })),
      'fail: Unrouteable address',
    );
  });

  test('DNSSEC where it is required', async () => {
    assert.equal(
      shown(await run('plain.test', { dnssecRequireDomains: '*' })),
      'defer: host lookup done insecurely',
    );
  });

  test('answers are kept as long as their records live, and equal questions meet', async () => {
    let nowMs = 0;
    const dns = dnsHosts({ nowMs: () => nowMs });
    const asked = (): number => server.asked.filter((question) => question === 'mx.test 15').length;
    const before = asked();
    await Promise.all([run('mx.test', {}, { world: { dns } }), run('MX.test', {}, { world: { dns } })]);
    await run('mx.test', {}, { world: { dns } });
    assert.equal(asked() - before, 1);
    nowMs = 301_000;
    await run('mx.test', {}, { world: { dns } });
    assert.equal(asked() - before, 2);
  });

  test('dns_again_means_nonexist and dns_check_names_pattern', async () => {
    const again = dnsHosts({ againMeansMissing: (name) => Promise.resolve(name === 'fail.test') });
    assert.equal(shown(await run('fail.test', {}, { world: { dns: again } })), 'fail: Unrouteable address');
    const before = server.asked.length;
    const none = dnsHosts({ isName: () => false });
    assert.equal(shown(await run('plain.test', {}, { world: { dns: none } })), 'fail: Unrouteable address');
    assert.equal(server.asked.length, before);
  });
});

describe('ipliteral', () => {
  const to = async (address: string, more: { ignore?: string; self?: string } = {}): Promise<unknown> => {
    const self = parseSelf(more.self ?? 'freeze');
    assert.ok(typeof self !== 'string');
    const world: World = {
      routers: [
        {
          name: 'lit',
          transport: 'smtp',
          self,
          ...(more.ignore === undefined ? {} : { ignoreTargetHosts: more.ignore }),
          ipliteral: true,
        },
      ],
      transports: { smtp: false },
      isLocal: (a) => a.startsWith('127.'),
    };
    return shown(await route(addressOf(address), routeEnvironment(world), signal));
  };

  test('takes literals and nothing else', async () => {
    assert.deepEqual(await to('u@[192.0.2.1]'), ['[192.0.2.1] 192.0.2.1 -']);
    assert.deepEqual(await to('u@[IPv6:2001:db8::1]'), ['[ipv6:2001:db8::1] 2001:db8::1 -']);
    assert.equal(await to('u@[not.an.address]'), 'fail: Unrouteable address');
    assert.equal(await to('u@x.test'), 'fail: Unrouteable address');
    assert.equal(await to('u@[127.0.0.1]'), 'defer: remote host address is the local host');
    assert.deepEqual(await to('u@[127.0.0.1]', { self: 'send' }), ['[127.0.0.1] 127.0.0.1 -']);
    assert.match(String(await to('u@[192.0.2.1]', { ignore: '192.0.2.0/24' })), /^fail: /);
  });
});
