import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  addressOf,
  routeEnvironment,
  type RouterSpec,
  type World,
} from '../../test/support/routing-world.ts';
import type { HostAnswer } from './drivers/host-lookup.ts';
import type { VerifiedRoute } from './environment.ts';
import { route } from './route.ts';
import { parseSelf } from './router.ts';

const signal = new AbortController().signal;

function run(
  routers: readonly RouterSpec[],
  address: string,
  over: Partial<World> = {},
): Promise<VerifiedRoute> {
  const world: World = { routers, transports: { smtp: false, lmtp: true }, ...over };
  return route(addressOf(address), routeEnvironment(world), signal);
}

const page: RouterSpec = {
  name: 'myusers',
  transport: 'lmtp',
  domains: '+local_domains',
  manualroute: { routeData: 'whatmeworry' },
};
const lists = { 'domain:local_domains': 'example.test : *.example.test' };

describe('route', () => {
  test("the page's router: a local transport's host is a text, and nothing is looked up", async () => {
    const lookup = (): Promise<HostAnswer> => assert.fail('looked up');
    const routed = await run([page], 'User@Example.Test', { lists, lookup });
    assert.ok(routed.kind === 'routed');
    assert.deepEqual(routed.hosts, [{ name: 'whatmeworry' }]);
    assert.equal(routed.transport, 'lmtp');
    assert.equal(routed.local, true);
    assert.equal(routed.address.local, 'User', 'the case of the local part is kept for RCPT');
    assert.equal(routed.facts.local, 'user');
    assert.equal(routed.facts.domainData, 'example.test');
  });

  test('a domain that no router takes', async () => {
    const routed = await run([page], 'u@other.test', { lists });
    assert.ok(routed.kind === 'fail');
    assert.equal(routed.reason.text, 'Unrouteable address');
    assert.equal(routed.router, undefined);
  });

  test('routers for verification only, and the other way round', async () => {
    const routers: RouterSpec[] = [
      { name: 'check', verifyOnly: true, verifySender: false, manualroute: { routeList: '*' } },
      {
        name: 'send',
        verifyRecipient: false,
        transport: 'smtp',
        manualroute: { routeList: '* 198.51.100.1' },
      },
    ];
    const names = async (mode: NonNullable<World['mode']>): Promise<string> => {
      const routed = await run(routers, 'u@a.test', { mode });
      return routed.kind === 'routed' ? routed.router : routed.kind;
    };
    assert.equal(await names('deliver'), 'send');
    assert.equal(await names('address-test'), 'send');
    assert.equal(await names('verify-recipient'), 'check');
    assert.equal(await names('verify-sender'), 'send');
  });

  test('fail_verify_recipient refuses what the router takes, when verifying only', async () => {
    const routers: RouterSpec[] = [{ name: 'r', failVerifyRecipient: true, transport: 'lmtp', accept: true }];
    assert.equal((await run(routers, 'u@a.test', { mode: 'verify-recipient' })).kind, 'fail');
    assert.equal((await run(routers, 'u@a.test')).kind, 'routed');
  });

  test('affixes are taken off for RCPT and for conditions, case kept', async () => {
    const routers: RouterSpec[] = [
      {
        name: 'r',
        localPartPrefix: 'real-',
        localPartSuffix: '+*',
        localParts: 'pam',
        transport: 'lmtp',
        accept: true,
      },
    ];
    const routed = await run(routers, 'Real-Pam+Box@a.test');
    assert.ok(routed.kind === 'routed');
    assert.equal(routed.address.local, 'Pam');
    assert.deepEqual(
      [routed.facts.prefix, routed.facts.local, routed.facts.suffix],
      ['real-', 'pam', '+box'],
    );
    assert.equal((await run(routers, 'pam@a.test')).kind, 'fail');
  });

  test('address_data lasts into later routers and into the result', async () => {
    const routers: RouterSpec[] = [
      { name: 'set', addressData: 'x-$local_part', transport: 'smtp', manualroute: { routeData: '' } },
      {
        name: 'use',
        condition: ['${if eq{$address_data}{x-u}}'],
        transport: 'smtp',
        manualroute: { routeData: '198.51.100.1' },
      },
    ];
    const routed = await run(routers, 'u@a.test');
    assert.ok(routed.kind === 'routed');
    assert.equal(routed.facts.addressData, 'x-u');
  });

  test('a condition that cannot be evaluated defers', async () => {
    const problems: string[] = [];
    const routers: RouterSpec[] = [{ name: 'r', condition: ['${frob}'], transport: 'lmtp', accept: true }];
    const routed = await run(routers, 'u@a.test', { problem: (text) => problems.push(text) });
    assert.equal(routed.kind, 'defer');
    assert.equal(problems.length, 1);
  });

  test('senders', async () => {
    const routers: RouterSpec[] = [{ name: 'r', senders: 'good@x.test', transport: 'lmtp', accept: true }];
    assert.equal((await run(routers, 'u@a.test', { sender: addressOf('good@x.test') })).kind, 'routed');
    assert.equal((await run(routers, 'u@a.test', { sender: addressOf('bad@x.test') })).kind, 'fail');
    assert.equal((await run(routers, 'u@a.test', { sender: null })).kind, 'fail');
  });

  test('headers_add and headers_remove: removals first, empty and failed items have no effect', async () => {
    const routers: RouterSpec[] = [
      {
        name: 'r',
        headersAdd: ['X-A: $local_part\n${if eq{1}{2}{x}fail}', 'X-B: 1'],
        headersRemove: ['subject : ${if eq{1}{1}{}}', 'x-*'],
        transport: 'lmtp',
        accept: true,
      },
    ];
    const routed = await run(routers, 'u@a.test');
    assert.ok(routed.kind === 'routed');
    assert.deepEqual(routed.headerEdits, [
      { kind: 'remove', name: 'subject' },
      { kind: 'remove', name: 'x-*' },
      { kind: 'add', where: 'bottom', text: 'X-A: u\r\n' },
      { kind: 'add', where: 'bottom', text: 'X-B: 1\r\n' },
    ]);
    const verified = await run(routers, 'u@a.test', { mode: 'verify-recipient' });
    assert.ok(verified.kind === 'routed' && verified.headerEdits.length === 0);
  });

  test('self = reroute does not go round for ever', async () => {
    const routers: RouterSpec[] = ['b', 'c'].map((to, i) => ({
      name: `to-${to}`,
      domains: `${i === 0 ? 'c' : 'b'}.test : a.test`,
      transport: 'smtp',
      self: { kind: 'reroute', domain: `${to}.test` },
      manualroute: { routeData: '127.0.0.1' },
    }));
    const routed = await run(routers, 'u@a.test');
    assert.equal(routed.kind, 'fail');
  });

  test('a pass_router that does not follow defers', async () => {
    const routers: RouterSpec[] = [
      { name: 'last', transport: 'lmtp', domains: 'no.test', accept: true },
      {
        name: 'r',
        transport: 'smtp',
        self: { kind: 'pass' },
        passRouter: 'last',
        manualroute: { routeData: '127.0.0.1' },
      },
    ];
    assert.equal((await run(routers, 'u@a.test')).kind, 'defer');
  });
});

describe('host lookups of manualroute', () => {
  const byHost =
    (answers: Readonly<Record<string, HostAnswer>>) =>
    ({ name }: { readonly name: string }): Promise<HostAnswer> =>
      Promise.resolve(answers[name] ?? { kind: 'missing' });
  const named = (over: Partial<RouterSpec> = {}): RouterSpec[] => [
    {
      name: 'r',
      transport: 'smtp',
      manualroute: { routeData: 'one.test:198.51.100.9:two.test' },
      ...over,
    },
    { name: 'next', transport: 'lmtp', accept: true },
  ];

  test('every address of every host, in order', async () => {
    const lookup = byHost({
      'one.test': { kind: 'found', addresses: ['2001:db8::1', '198.51.100.1'] },
      'two.test': { kind: 'found', addresses: ['198.51.100.2'] },
    });
    const routed = await run(named(), 'u@a.test', { lookup });
    assert.ok(routed.kind === 'routed');
    assert.deepEqual(
      routed.hosts.map((h) => `${h.name} ${h.address}`),
      ['one.test 2001:db8::1', 'one.test 198.51.100.1', '198.51.100.9 198.51.100.9', 'two.test 198.51.100.2'],
    );
  });

  test('a temporary failure defers, or passes with pass_on_timeout, never bounces', async () => {
    const lookup = byHost({ 'one.test': { kind: 'defer', reason: 'EAI_AGAIN' } });
    assert.equal((await run(named(), 'u@a.test', { lookup })).kind, 'defer');
    const passed = await run(named({ passOnTimeout: true, more: 'no' }), 'u@a.test', { lookup });
    assert.ok(passed.kind === 'routed' && passed.router === 'next');
  });

  test('host_find_failed is freeze where nothing is said', async () => {
    const routed = await run(named(), 'u@a.test', { lookup: byHost({}) });
    assert.ok(routed.kind === 'defer' && routed.freeze);
  });

  test('hosts_randomize keeps to the groups', async () => {
    const routers: RouterSpec[] = [
      {
        name: 'r',
        transport: 'smtp',
        manualroute: { hostsRandomize: true, routeData: '10.0.0.1:10.0.0.2:10.0.0.3:+:10.0.0.4:10.0.0.5' },
      },
    ];
    const orders = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const routed = await run(routers, 'u@a.test');
      assert.ok(routed.kind === 'routed' && routed.unordered);
      const order = routed.hosts.map((h) => h.name.at(-1)).join('');
      assert.match(order, /^[123]{3}[45]{2}$/);
      assert.equal(new Set(order).size, 5);
      orders.add(order);
    }
    assert.ok(orders.size > 6);
  });
});

test('parseSelf', () => {
  assert.deepEqual(parseSelf(' send '), { kind: 'send' });
  assert.deepEqual(parseSelf('reroute: x.test'), { kind: 'reroute', domain: 'x.test' });
  assert.match(JSON.stringify(parseSelf('reroute: rewrite: x.test')), /not supported/);
  assert.match(JSON.stringify(parseSelf('frob')), /not a valid value/);
});
