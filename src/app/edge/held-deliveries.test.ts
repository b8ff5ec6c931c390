import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Address, Domain, LocalPart } from '../../mail/address.ts';
import type { Endpoint } from '../../mail/endpoint.ts';
import type { Recipient } from '../../mail/envelope.ts';
import type { Transport } from '../../transport/transport.ts';
import type { HeldQuestion } from '../../verify/verifier-parts.ts';
import { heldDeliveries } from './held-deliveries.ts';

const address = (local: string): Address => ({ local: local as LocalPart, domain: 'a.test' as Domain });
const sender = address('sender');
const endpoint: Endpoint = { kind: 'unix', path: '/run/lmtp' };
const target = {
  protocol: 'lmtp',
  endpoints: [endpoint],
  helo: 'mx.test',
  connectTimeoutMs: 1,
  commandTimeoutMs: 1,
} as const;

/** A transport that takes everybody and notes what it was asked. */
function transportOf(maxRecipients: number) {
  const begun: { readonly rcpts: Recipient[]; readonly lasts: boolean[]; ended: number }[] = [];
  const transport: Transport = {
    name: 't',
    maxRecipients,
    deliver: () => Promise.reject(new Error('not called')),
    calloutTarget: () => target,
    hold() {
      const one = { rcpts: [] as Recipient[], lasts: [] as boolean[], ended: 0 };
      begun.push(one);
      return {
        rcpt(recipient, last) {
          one.rcpts.push(recipient);
          one.lasts.push(last);
          return Promise.resolve({ kind: 'reply', stage: 'rcpt', reply: { code: 250, lines: ['ok'] } });
        },
        end() {
          one.ended++;
        },
      };
    },
    close: () => Promise.resolve(),
  };
  return { transport, begun };
}

function question(transport: Transport, local: string, more: Partial<HeldQuestion> = {}): HeldQuestion {
  return {
    transport,
    target,
    routing: {
      kind: 'routed',
      transport: 't',
      hosts: [],
      address: address(local),
      facts: { local, domain: 'a.test' },
    },
    sender: null,
    timeoutMs: 1,
    connectTimeoutMs: 1,
    ahead: 0,
    ...more,
  };
}

test('recipients fill a transaction before the next is begun; nobody is asked twice', async () => {
  const { transport, begun } = transportOf(2);
  const held = heldDeliveries({ sender });
  for (const [i, local] of ['a', 'b', 'c'].entries()) {
    const q = held.question(question(transport, local), { number: `r${i + 1}`, last: local === 'c' });
    assert.equal((await q?.ask(endpoint))?.kind, 'reply');
    assert.equal((await q?.ask(endpoint))?.kind, 'reply');
  }
  assert.deepEqual(
    begun.map((b) => b.rcpts.map((r) => `${r.address.local} ${r.transferNumber}`)),
    [['a r1', 'b r2'], ['c r3']],
  );
  assert.deepEqual(
    begun.map((b) => b.lasts),
    [[false, false], [true]],
  );
  assert.equal(held.all.length, 2);
  held.end();
  assert.deepEqual(
    begun.map((b) => b.ended),
    [1, 1],
  );
  assert.equal(held.all.length, 0);
});

test('who is known already goes with the first who is asked about', async () => {
  const { transport, begun } = transportOf(10);
  const held = heldDeliveries({ sender });
  held.question(question(transport, 'known'), { number: 'r1', last: false })?.take();
  assert.equal(begun.length, 0);
  await held.question(question(transport, 'asked'), { number: 'r2', last: false })?.ask(endpoint);
  held.question(question(transport, 'late'), { number: 'r3', last: false })?.take();
  assert.deepEqual(
    begun.map((b) => b.rcpts.map((r) => r.address.local)),
    [['known', 'asked', 'late']],
  );
  held.end();
});

test('callouts with a reverse path of their own, and failures that go elsewhere, are no delivery', () => {
  const { transport } = transportOf(10);
  const held = heldDeliveries({ sender });
  const place = { number: 'r1', last: false };
  assert.notEqual(held.question(question(transport, 'a', { sender }), place), undefined);
  assert.equal(held.question(question(transport, 'a', { sender: address('postmaster') }), place), undefined);
  const { routing } = question(transport, 'a');
  const elsewhere = { routing: { ...routing, errorsTo: address('owner') } };
  assert.equal(held.question(question(transport, 'a', elsewhere), place), undefined);
  const without: Transport = {
    name: 't',
    maxRecipients: 10,
    deliver: () => Promise.reject(new Error('not called')),
    calloutTarget: () => target,
    close: () => Promise.resolve(),
  };
  assert.equal(held.question(question(without, 'a'), place), undefined);
});

test('eight transactions, and a minute', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { transport, begun } = transportOf(1);
  const held = heldDeliveries({ sender });
  const ask = (n: number) =>
    held.question(question(transport, `u${n}`), { number: `r${n}`, last: false })?.ask(endpoint);
  for (let n = 0; n < 8; n++) assert.notEqual(ask(n), undefined);
  assert.equal(ask(8), undefined);
  t.mock.timers.tick(59_000);
  assert.equal(held.all.length, 8);
  t.mock.timers.tick(1000);
  assert.equal(held.all.length, 0);
  assert.ok(begun.every((b) => b.ended === 1));
  assert.equal(ask(9), undefined, 'none is begun after that');
});
