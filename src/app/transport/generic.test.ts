import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, expandServices, mainFacts } from '../../../test/support/routing-world.ts';
import type { HeaderEdit } from '../../mail/headers.ts';
import type { QueueId } from '../../mail/message-id.ts';
import type { MessageSource } from '../../mail/message-source.ts';
import type { DeliveryAtHand } from '../../queue/context.ts';
import { editContent } from '../../queue/edited-content.ts';
import { parseRewriteRule } from '../../rewrite/rules.ts';
import { DeliveryStop } from './expand-options.ts';
import { applyGeneric, changesAnything, type GenericOptions } from './generic.ts';

const signal = new AbortController().signal;
const header = 'Received: r\r\nSubject: s\r\nTo: u@a.test\r\nX-Gone: 1\r\n\r\n';
const none: GenericOptions = {
  body_only: false,
  delivery_date_add: false,
  envelope_to_add: false,
  headers_add: undefined,
  headers_only: false,
  headers_remove: undefined,
  message_size_limit: undefined,
  rcpt_include_affixes: false,
  return_path: undefined,
  return_path_add: false,
  transport_filter: undefined,
  transport_filter_timeout: 300_000,
};

function sourceOf(text: string): MessageSource {
  const bytes = Buffer.from(text, 'latin1');
  return {
    size: bytes.length,
    open: async function* () {
      for (let at = 0; at < bytes.length; at += 5) yield bytes.subarray(at, at + 5);
    },
  };
}

/** A message that got one field at reception and one more from its router, for two recipients. */
async function atHand(): Promise<DeliveryAtHand> {
  const content = sourceOf(`${header}body\r\n`);
  const headerEdits: HeaderEdit[] = [
    { kind: 'add', where: 'bottom', text: 'X-Acl: by@a.test\r\nCc: acl@a.test\r\n' },
  ];
  const routerEdits: HeaderEdit[] = [{ kind: 'add', where: 'bottom', text: 'Cc: router@a.test\r\n' }];
  const recipients = ['pre-u@a.test', 'v@a.test'].map((a) => ({ address: addressOf(a) }));
  const sender = addressOf('s@a.test');
  const states = recipients.map(() => ({ kind: 'pending', nextAttemptAtMs: 0, attempts: 0 }) as const);
  const entry = {
    id: 'id' as QueueId,
    size: content.size,
    headerSize: header.length,
    states,
    envelope: { sender, recipients },
    reception: { protocol: 'esmtp', receivedAtMs: 0 },
    headerEdits,
    variables: {},
  };
  const [first, second] = recipients.map((recipient, position) => {
    const local = recipient.address.local.replace(/^pre-/, '');
    return {
      position,
      task: position,
      key: '',
      before: { kind: 'pending', nextAttemptAtMs: 0, attempts: 0 } as const,
      recipient,
      who: { position, address: recipient.address, logAsLocal: false },
      routed: {
        kind: 'routed' as const,
        router: 'r',
        transport: 't',
        local: false,
        hosts: [],
        unordered: false,
        address: addressOf(`${local}@a.test`),
        headerEdits: routerEdits,
        logAsLocal: false,
        facts: { local, domain: 'a.test', ...(position === 0 ? { prefix: 'pre-' } : {}) },
      },
    };
  });
  assert.ok(first !== undefined && second !== undefined);
  return {
    batch: {
      id: entry.id,
      sender,
      recipients: [first, second].map((m) => ({ address: m.routed.address })),
      envelope: {},
      hosts: [],
      message: await editContent(content, header.length, [...headerEdits, ...routerEdits], signal),
    },
    claim: { entry, content, token: 't' },
    members: [first, second],
    scope: {
      main: mainFacts,
      services: expandServices(),
      address: { ...first.routed.facts, returnPath: sender },
    },
    problem: () => {},
  };
}

async function textOf(source: MessageSource): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of source.open(signal)) parts.push(part);
  const text = Buffer.concat(parts).toString('latin1');
  assert.equal(text.length, source.size);
  return text;
}

const apply = async (over: Partial<GenericOptions>, rules: readonly string[] = []): Promise<string> => {
  const parsed = rules.map((text) => {
    const rule = parseRewriteRule({ text, position: { file: 'c', line: 1, column: 1 } }, false);
    assert.ok('rule' in rule);
    return rule.rule;
  });
  const { batch } = await applyGeneric('t', { ...none, ...over }, parsed, await atHand(), signal);
  return textOf(batch.message);
};

const acl = 'X-Acl: by@a.test\r\nCc: acl@a.test\r\n';
const router = 'Cc: router@a.test\r\n';

test('nothing set, nothing to do', () => {
  assert.equal(changesAnything(none, []), false);
  assert.equal(changesAnything({ ...none, return_path_add: true }, []), true);
});

test('what is added above, and what is left out', async () => {
  const whole = await apply({ return_path_add: true, envelope_to_add: true });
  const top = 'Return-path: <s@a.test>\r\nEnvelope-to: pre-u@a.test,\r\n v@a.test\r\n';
  assert.equal(whole, `${top}${header.slice(0, -2)}${acl}${router}\r\nbody\r\n`);
  assert.equal(await apply({ body_only: true, return_path_add: true }), 'body\r\n');
  assert.equal(
    await apply({ headers_only: true, return_path_add: true }),
    `Return-path: <s@a.test>\r\n${header.slice(0, -2)}${acl}${router}\r\n`,
  );
});

test('removals concern what came and what ACLs added; rewriting does not reach what a router adds', async () => {
  assert.equal(
    await apply({ headers_remove: ['x-gone : cc'], headers_add: ['X-A: $local_part\nCc: own@a.test'] }, [
      '*@a.test $1@b.test t',
      'acl@a.test no@b.test c',
    ]),
    `Received: r\r\nSubject: s\r\nTo: u@b.test\r\nX-Acl: by@a.test\r\n${router}X-A: u\r\nCc: own@a.test\r\n\r\nbody\r\n`,
  );
  assert.match(
    await apply({}, ['*@a.test $1@b.test c']),
    /\r\nCc: acl@b\.test\r\nCc: router@a\.test\r\n\r\n/,
  );
});

test('the reverse path, and what is told of it', async () => {
  const at = await atHand();
  const made = await applyGeneric(
    't',
    { ...none, return_path: 'r-$local_part@b.test', return_path_add: true },
    [],
    at,
    signal,
  );
  assert.deepEqual(made.batch.sender, addressOf('r-u@b.test'));
  assert.deepEqual(made.scope.address.returnPath, addressOf('r-u@b.test'));
  assert.match(await textOf(made.batch.message), /^Return-path: <r-u@b\.test>\r\n/);
  for (const [option, wanted] of [
    ['', null],
    ['<>', null],
    ['${if eq{a}{b}{x}fail}', addressOf('s@a.test')],
  ] as const)
    assert.deepEqual(
      (await applyGeneric('t', { ...none, return_path: option }, [], at, signal)).batch.sender,
      wanted,
      option,
    );
});

test('affixes, and the limit on the size', async () => {
  const at = await atHand();
  const { batch } = await applyGeneric('t', { ...none, rcpt_include_affixes: true }, [], at, signal);
  assert.deepEqual(
    batch.recipients.map((r) => r.address.local),
    ['pre-u', 'v'],
  );
  const limited = (option: string): Promise<unknown> =>
    applyGeneric('t', { ...none, message_size_limit: option }, [], at, signal);
  await limited('1K');
  await limited('0');
  await assert.rejects(limited('10'), (e) => e instanceof DeliveryStop && e.outcome.kind === 'failed');
  await assert.rejects(limited('ten'), (e) => e instanceof DeliveryStop && e.outcome.kind === 'deferred');
});
