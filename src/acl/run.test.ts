import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reply } from '../mail/reply.ts';
import { formatReply } from '../mail/reply.ts';
import type { VerifyResult } from '../verify/verifier.ts';
import type { HostFact } from '../list/model.ts';
import { type ClientNames, newAclMemory } from './environment.ts';
import { acceptance, mergeHeaderEdits, refusal, rejectionReason, type AclResult } from './result.ts';
import { runAcl } from './run.ts';
import { addressOf, unrouteable, world, type WorldOptions } from './test-support.ts';

const page = `deny
        message = invalid recipient
        domains = +local_domains
        !verify = recipient/callout=no_cache
accept`;

async function run(text: string, options: WorldOptions = {}): Promise<AclResult> {
  return runAcl('main', world({ ...options, acls: { ...options.acls, main: text } }).env);
}

test('what needs no I/O is answered at once', () => {
  const { env } = world({ acls: { main: 'deny domains = b.test\naccept hosts = 192.0.2.0/24' } });
  const result = runAcl('main', env);
  assert.ok(!(result instanceof Promise));
  assert.equal(result.verdict, 'accept');
});

test("the page's ACL: known, unknown, not answered", async () => {
  const answers: Readonly<Record<string, VerifyResult>> = {
    known: { kind: 'ok', via: 'callout' },
    unknown: {
      kind: 'fail',
      stage: 'rcpt',
      reply: reply(550, undefined, 'Callout verification failed:'),
      logReason: 'the store said no',
    },
    away: {
      kind: 'defer',
      stage: 'connect',
      reply: reply(451, undefined, 'Could not complete recipient verify callout'),
      logReason: 'Could not complete recipient verify callout: away',
    },
  };
  const ask = async (recipient: string): Promise<string> => {
    const { env, verified } = world({
      acls: { main: page },
      named: { local_domains: 'a.test' },
      recipient,
      verify: ({ address }) => answers[address.local] ?? unrouteable,
    });
    const result = await runAcl('main', env);
    for (const { request } of verified) assert.equal(request.callout?.noCache, true);
    const text = result.verdict === 'accept' ? 'ok' : formatReply(refusal(result, 'rcpt')).trimEnd();
    return `${verified.length} ${text}${rejectionReason(result)}`;
  };
  assert.equal(await ask('known@a.test'), '1 ok');
  assert.equal(await ask('unknown@a.test'), '1 550 invalid recipient: the store said no');
  assert.equal(
    await ask('away@a.test'),
    '1 451 Could not complete recipient verify callout: Could not complete recipient verify callout: away',
  );
  assert.equal(await ask('unknown@elsewhere.test'), '0 ok');
});

test('callout options become those of the verifier', async () => {
  const ask = async (value: string, sender = 's@sender.test') => {
    const { env, verified } = world({ acls: { main: `accept verify = ${value}` }, sender });
    await runAcl('main', env);
    return verified[0]?.request;
  };
  assert.deepEqual(await ask('recipient'), { address: addressOf('x@a.test') });
  assert.deepEqual((await ask('recipient/callout'))?.callout, {
    timeoutMs: 30_000,
    connectTimeoutMs: 30_000,
    maxWaitMs: 120_000,
    deferOk: false,
    noCache: false,
    random: false,
    sender: null,
  });
  assert.deepEqual((await ask('recipient/callout=10s,connect=2s,maxwait=15s,defer_ok'))?.callout, {
    timeoutMs: 10_000,
    connectTimeoutMs: 2000,
    maxWaitMs: 15_000,
    deferOk: true,
    noCache: false,
    random: false,
    sender: null,
  });
  assert.deepEqual((await ask('recipient/callout=use_sender'))?.callout?.sender, addressOf('s@sender.test'));
  assert.deepEqual((await ask('recipient/callout=use_sender', ''))?.callout?.sender, null);
  assert.deepEqual(
    (await ask('recipient/callout=use_postmaster'))?.callout?.sender,
    addressOf('postmaster@example.test'),
  );
  assert.deepEqual((await ask('recipient/callout_defer_ok'))?.callout?.deferOk, true);
  assert.deepEqual((await ask('recipient/callout=${lc:7S}'))?.callout?.timeoutMs, 7000);
  assert.equal(await ask('sender', ''), undefined);
  assert.deepEqual((await ask('sender=other@b.test'))?.address, addressOf('other@b.test'));
});

test('a verify option that an expansion makes wrong defers', async () => {
  const result = await run('accept verify = recipient/${lc:NONSENSE}');
  assert.equal(result.verdict, 'defer');
  assert.equal(result.logMessage, 'unknown option "nonsense" in ACL condition "verify recipient/nonsense"');
  assert.equal(formatReply(refusal(result, 'rcpt')), '451 Temporary local problem - please try later\r\n');
});

test('a callout that succeeds makes the local part a trusted one; with defer_ok it proves nothing', async () => {
  const known = { local: 'known', domain: 'a.test' };
  for (const [options, data, result] of [
    ['callout', 'known', { via: 'callout', known }],
    ['callout=defer_ok', 'known', { via: 'cache', known }],
    ['callout=defer_ok', undefined, { via: 'callout', forgiven: 'rcpt' }],
    ['callout=random', undefined, { via: 'callout', random: true }],
    ['defer_ok', undefined, { via: 'route' }],
  ] as const) {
    const { env } = world({
      acls: { main: `accept verify = recipient/${options}` },
      verify: () => ({ kind: 'ok', ...result, addressData: 'data' }),
    });
    await runAcl('main', env);
    assert.equal(env.scope.address?.localPartData, data);
    assert.equal(env.scope.address?.addressData, 'data');
  }
});

test('a sender is verified once a message, and why it failed is told once', async () => {
  const { env, verified, log } = world({
    acls: { main: 'require verify = sender\naccept' },
    verify: () => unrouteable,
  });
  const first = await runAcl('main', env);
  const second = await runAcl('main', env);
  assert.equal(verified.length, 1);
  assert.equal(
    formatReply(refusal(first, 'rcpt')),
    '550-Verification failed for <s@sender.test>\r\n550-Unrouteable address\r\n550 Sender verify failed\r\n',
  );
  assert.equal(formatReply(refusal(second, 'rcpt')), '550 Sender verify failed\r\n');
  assert.deepEqual(log, [
    {
      text: 'sender verify fail for <s@sender.test>: Unrouteable address',
      logs: ['main', 'reject'],
      withHost: true,
      item: 'sender_verify_fail',
    },
  ]);
  const again = await runAcl('main', { ...env, memory: newAclMemory() });
  assert.ok(again.details !== undefined);
});

test('$recipient_verify_failure and $sender_verify_failure say what failed', async () => {
  const { env } = world({
    acls: {
      main: 'warn !verify = sender\nwarn !verify = recipient/callout\ndeny message = $sender_verify_failure $recipient_verify_failure',
    },
    verify: ({ callout }) =>
      callout === undefined
        ? unrouteable
        : { kind: 'fail', stage: 'mail', reply: reply(550, undefined, 'x'), logReason: 'x' },
  });
  assert.equal((await runAcl('main', env)).userMessage, 'route mail');
});

test('header lines: places, several at once, the malformed, repeated', async () => {
  const add = async (text: string) => (await run(`accept add_header = ${text}`)).headerEdits;
  assert.deepEqual(await add('X-One: 1'), [{ kind: 'add', where: 'bottom', text: 'X-One: 1\r\n' }]);
  assert.deepEqual(await add('\\nX-One: 1\\n  more\\nX-Two: 2\\n'), [
    { kind: 'add', where: 'bottom', text: 'X-One: 1\r\n  more\r\n' },
    { kind: 'add', where: 'bottom', text: 'X-Two: 2\r\n' },
  ]);
  assert.deepEqual(await add(':at_start:X-One: 1\\n:after_received:X-Two: 2'), [
    { kind: 'add', where: 'top', text: 'X-One: 1\r\n' },
    { kind: 'add', where: 'after-received', text: 'X-Two: 2\r\n' },
  ]);
  assert.deepEqual(await add('no header'), [
    { kind: 'add', where: 'bottom', text: 'X-ACL-Warn: no header\r\n' },
  ]);
  const repeated = await run(
    'warn add_header = X-One: 1\nwarn add_header = X-One: 1\n condition = no\naccept remove_header = X-Two : x-three',
  );
  assert.deepEqual(repeated.headerEdits, [
    { kind: 'add', where: 'bottom', text: 'X-One: 1\r\n' },
    { kind: 'remove', name: 'X-Two' },
    { kind: 'remove', name: 'x-three' },
  ]);
  assert.equal(mergeHeaderEdits(repeated.headerEdits, repeated.headerEdits).length, 5);
});

test('message on warn adds a header line, but only if all is true', async () => {
  assert.deepEqual((await run('warn message = X-Warn: yes\naccept')).headerEdits, [
    { kind: 'add', where: 'bottom', text: 'X-Warn: yes\r\n' },
  ]);
  assert.deepEqual((await run('warn message = X-Warn: yes\n condition = no\naccept')).headerEdits, []);
  assert.deepEqual((await run('warn message = X-Warn: yes\naccept', { phase: 'helo' })).headerEdits, []);
});

test('controls', async () => {
  const controls = async (text: string, options: WorldOptions = {}) => (await run(text, options)).controls;
  assert.deepEqual(await controls('accept control = freeze'), { freeze: { tell: true } });
  assert.deepEqual(await controls('accept control = freeze/no_tell\n control = queue'), {
    freeze: { tell: false },
    queueOnly: true,
  });
  assert.deepEqual(
    await controls('accept control = freeze/no_tell\n control = freeze\n control = freeze/no_tell'),
    {
      freeze: { tell: true },
    },
  );
  assert.deepEqual(await controls('accept control = ${lc:NO_ENFORCE_SYNC}', { phase: 'connect' }), {
    enforceSync: false,
  });
  assert.deepEqual(
    await controls('accept control = no_pipelining\n control = no_multiline_responses', { phase: 'helo' }),
    {
      noPipelining: true,
      noMultilineResponses: true,
    },
  );
  assert.equal(
    (await run('accept control = freeze', { phase: 'helo' })).logMessage,
    'cannot use "control=freeze" in EHLO or HELO ACL',
  );
});

test('the local part is in lower case while the ACL runs, and as it came afterwards', async () => {
  const { env, verified } = world({
    acls: { main: 'warn verify = recipient\ndeny message = $local_part $original_local_part' },
    recipient: 'MiXed@a.test',
  });
  assert.equal((await runAcl('main', env)).userMessage, 'mixed MiXed');
  assert.deepEqual(env.scope.address, { local: 'MiXed', domain: 'a.test' });
  assert.equal(verified[0]?.request.address.local, 'MiXed');
});

test('what a list matched is kept, with its taint', async () => {
  const { env } = world({ acls: { main: 'accept domains = $domain\n local_parts = x' } });
  await runAcl('main', env);
  const { domainData, domainDataTainted, localPartData, localPartDataTainted } = env.scope.address ?? {};
  assert.deepEqual(
    [domainData, domainDataTainted, localPartData, localPartDataTainted],
    ['a.test', true, 'x', false],
  );
});

test('variables keep the taint of their values', async () => {
  const { env } = world({
    acls: { main: 'warn set acl_c0 = $local_part\n set acl_c1 = fixed\n set acl_m_x = $domain\naccept' },
  });
  await runAcl('main', env);
  assert.deepEqual(
    [...(env.scope.connection?.variables ?? [])],
    [
      ['c0', 'x'],
      ['c1', 'fixed'],
    ],
  );
  assert.deepEqual([...(env.scope.connection?.taintedVariables ?? [])], ['c0']);
  assert.deepEqual([...(env.scope.message?.taintedVariables ?? [])], ['m_x']);
});

test('a line that warn has logged is not logged again for the message', async () => {
  const { env, log } = world({ acls: { main: 'warn log_message = seen\nwarn logwrite = written\naccept' } });
  await runAcl('main', env);
  await runAcl('main', env);
  assert.deepEqual(
    log.map((e) => e.text),
    ['Warning: seen', 'written', 'written'],
  );
});

test('a delay waits, and ends when the connection does', async () => {
  const waited = await run('accept delay = ${lc:0S}');
  assert.equal(waited.verdict, 'accept');
  const abort = new AbortController();
  const { env } = world({ acls: { main: 'accept delay = 1h' }, signal: abort.signal });
  const pending = runAcl('main', env);
  abort.abort(new Error('gone'));
  await assert.rejects(Promise.resolve(pending), /gone/);
});

test('where a thing cannot be tested, the ACL defers and says so', async () => {
  const reason = async (text: string, options: WorldOptions): Promise<string | undefined> => {
    const result = await run(text, options);
    assert.equal(result.verdict, 'defer');
    return result.logMessage;
  };
  assert.equal(
    await reason('accept domains = a', { phase: 'mail' }),
    'cannot test domains condition in MAIL ACL',
  );
  assert.equal(
    await reason('accept senders = a', { phase: 'connect' }),
    'cannot test senders condition in connection ACL',
  );
  assert.equal(
    await reason('accept recipients = a', { phase: 'data' }),
    'cannot test recipients condition in DATA ACL',
  );
  assert.equal(
    await reason('accept verify = recipient', { phase: 'mail' }),
    'cannot verify recipient in ACL for MAIL',
  );
  assert.equal(
    await reason('accept verify = sender', { phase: 'helo' }),
    'cannot verify sender in ACL for EHLO or HELO',
  );
  assert.equal(
    await reason('accept add_header = X: y', { phase: 'connect' }),
    'cannot use add_header condition in connection ACL',
  );
  assert.equal(
    await reason('warn set acl_m0 = x', { phase: 'connect' }),
    'cannot set acl_m0 in connection ACL',
  );
  assert.equal(
    await reason('deny', { phase: 'quit' }),
    "QUIT or not-QUIT toplevel ACL may not fail ('deny' verb used incorrectly)",
  );
});

test('discard is for messages', async () => {
  for (const phase of ['mail', 'rcpt', 'data'] as const)
    assert.equal((await run('discard', { phase })).verdict, 'discard');
  const { env, log } = world({ acls: { main: 'discard' }, phase: 'predata' });
  assert.equal((await runAcl('main', env)).verdict, 'defer');
  assert.equal(log[0]?.text, '"discard" verb not allowed in PREDATA ACL');
});

test('the code of a refusal is that of the phase', async () => {
  const code = async (phase: WorldOptions['phase'] & string): Promise<number> =>
    refusal(await run('deny', { phase }), phase).code;
  assert.equal(await code('rcpt'), 550);
  assert.equal(await code('etrn'), 458);
  assert.equal(await code('starttls'), 454);
  assert.equal(await code('auth'), 503);
});

test('an option names an ACL, holds one, or makes one of them by expansion', async () => {
  const { env, log } = world({ acls: { main: 'deny message = named' } });
  assert.equal((await runAcl('main', env)).userMessage, 'named');
  assert.equal((await runAcl('${lc:MAIN}', env)).userMessage, 'named');
  assert.equal((await runAcl('${if eq{a}{b}{main}fail}', env)).verdict, 'accept');
  assert.equal((await runAcl('deny message = inline', env)).userMessage, 'inline');
  assert.equal((await runAcl('# comment\n deny \\\n message = joined\n\naccept', env)).userMessage, 'joined');
  assert.equal((await runAcl('${bad', env)).verdict, 'defer');
  assert.equal(
    (await runAcl('/etc/acl', env)).logMessage,
    'an ACL in a file of its own is not supported: "/etc/acl"',
  );
  assert.deepEqual(log, []);
  const tainted = await runAcl('accept hosts = $domain', {
    ...env,
    scope: { ...env.scope, address: { local: 'x', domain: '*' } },
  });
  assert.equal(tainted.logMessage, 'internal configuration error');
});

test('${acl runs an ACL of the configuration within the run', async () => {
  const acls = { inner: 'warn add_header = X-Inner: $acl_arg1\naccept message = inner $acl_narg' };
  const result = await run('deny message = <${acl{inner}{one}{two}}>', { acls });
  assert.equal(result.userMessage, '<inner 2>');
  assert.deepEqual(result.headerEdits, [{ kind: 'add', where: 'bottom', text: 'X-Inner: one\r\n' }]);
  const inline = await run('deny message = ${acl{accept message = x}}', { acls });
  assert.equal(inline.userMessage, 'x');
  const tainted = await run('deny message = ${acl{accept message = $local_part}}', { acls });
  assert.equal(tainted.userMessage, undefined);
});

test('acceptance replaces the usual reply only where there is a message', async () => {
  assert.equal(acceptance(await run('accept'), 250), undefined);
  const coded = acceptance(await run('accept message = 251 2.1.5 forwarded'), 250);
  assert.equal(coded && formatReply(coded), '251 2.1.5 forwarded\r\n');
});

test('authenticated and encrypted are true where the facts say so', async () => {
  const extra = new Map([['tls_in_cipher', { text: 'TLS1.3:AES', tainted: false }]]);
  const { env } = world({ acls: { main: 'accept encrypted = DES : *AES\n authenticated = *' } });
  const { connection } = env.scope;
  assert.ok(connection !== undefined);
  assert.equal((await runAcl('main', env)).verdict, 'deny');
  connection.authenticatedId = 'user';
  assert.equal((await runAcl('main', { ...env, scope: { ...env.scope, extra } })).verdict, 'accept');
});

test('log_reject_target empties the list of logs', async () => {
  assert.deepEqual((await run('deny')).logTargets, ['main', 'reject']);
  assert.deepEqual((await run('deny log_reject_target =')).logTargets, []);
  assert.deepEqual((await run('deny log_reject_target = reject : panic')).logTargets, ['reject', 'panic']);
});

test('verify = helo and reverse_host_lookup ask for the names of the client', async () => {
  const ask = async (verify: string, names: HostFact, helo: string | undefined) => {
    const made = world({ acls: { main: `require verify = ${verify}\naccept` } });
    const { connection } = made.env.scope;
    if (connection !== undefined && helo !== undefined) connection.helo = helo;
    const asked: string[] = [];
    const client: ClientNames = {
      names: async () => names,
      isNamed: async (name) => {
        asked.push(name);
        return name === 'good.test';
      },
    };
    const { verdict, logMessage } = await runAcl('main', { ...made.env, client });
    return [verdict, logMessage, ...asked];
  };
  const missing: HostFact = { kind: 'missing' };
  assert.deepEqual(await ask('helo', missing, 'good.test'), ['accept', undefined, 'good.test']);
  assert.deepEqual(await ask('helo', missing, 'bad.test'), ['deny', undefined, 'bad.test']);
  assert.deepEqual(await ask('helo', missing, undefined), ['deny', undefined]);
  const found: HostFact = { kind: 'found', values: ['good.test'] };
  assert.deepEqual(await ask('reverse_host_lookup', found, undefined), ['accept', undefined]);
  assert.deepEqual(await ask('reverse_host_lookup', missing, undefined), [
    'deny',
    'host lookup failed for reverse lookup check (failed to find host name from IP address)',
  ]);
  assert.deepEqual(await ask('reverse_host_lookup', { kind: 'defer', reason: 'no DNS' }, undefined), [
    'defer',
    'host lookup deferred for reverse lookup check (no DNS)',
  ]);
});

test("what a sender's routers say is kept, and a callout that fails is told every time", async () => {
  const { env, log } = world({
    acls: { main: 'require verify = sender/callout\naccept' },
    verify: () => ({
      kind: 'fail',
      stage: 'mail',
      reply: { code: 550, lines: ['Response: 550 no'] },
      logReason: 'said no',
      addressData: 'data',
    }),
  });
  for (let i = 0; i < 2; i++) {
    const result = await runAcl('main', env);
    assert.match(
      result.details ?? '',
      /^Callback setup failed while verifying <s@sender\.test>\nResponse: 550 no\n/,
    );
  }
  assert.equal(env.scope.message?.senderAddressData, 'data');
  assert.deepEqual(
    log.map((entry) => entry.text),
    ['sender verify fail for <s@sender.test>: said no', 'sender verify fail for <s@sender.test>: said no'],
  );
});

test('sender= may be empty, or no address', async () => {
  const ask = async (value: string) => {
    const { env, verified } = world({ acls: { main: `require verify = \${lc:sender=${value}}\naccept` } });
    const { verdict, details } = await runAcl('main', env);
    return [verdict, details, verified.length];
  };
  assert.deepEqual(await ask(''), ['accept', undefined, 0]);
  assert.deepEqual(await ask('nonsense'), ['deny', undefined, 0]);
  assert.deepEqual(await ask('a@b.test'), ['accept', undefined, 1]);
});
