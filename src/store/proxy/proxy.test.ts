import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStoreProxy } from './proxy.ts';
import { lmtpTalk } from '../../../test/support/lmtp-talk.ts';
import { at, startFront, type Front } from '../../../test/support/proxy-world.ts';
import { freePort } from '../../../test/support/process.ts';
import {
  startScriptedServer,
  type Script,
  type ScriptedServer,
} from '../../../test/support/scripted-server.ts';

const offers =
  '250-b\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250-SIZE 1000000\r\n250-XRCPTFORWARD\r\n' +
  '250 XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT\r\n';
const letter = 'Subject: x\r\n\r\nhi\r\n.dot\r\n';

const backend = (script: Script = {}): Promise<ScriptedServer> =>
  startScriptedServer({ protocol: 'lmtp', helo: () => offers, ...script }, 'tcp');

/** Session ids differ from run to run. */
const plain = (texts: readonly string[]): string[] => texts.map((t) => t.replace(/[A-Za-z0-9_-]{22}/g, 'ID'));

/** Replies to one transaction for local parts of example.test. */
async function deliver(front: Front, to: readonly string[], content = letter): ReturnType<typeof talked> {
  return talked(front, to, content);
}

async function talked(
  front: Front,
  to: readonly string[],
  content: string,
): Promise<{ rcpt: string[]; data: string; ends: string[] }> {
  await using talk = await lmtpTalk(front.endpoint);
  const { rcpt, data, ends } = await talk.transaction(
    's@x.test',
    to.map((t) => `${t}@example.test`),
    content,
  );
  return { rcpt: plain(rcpt), data, ends: plain(ends) };
}

test('the backend answers each RCPT in the dialogue, the content follows on the same transaction, replies keep their places', async () => {
  await using b1 = await backend({
    rcpt: (p) =>
      p.startsWith('gone')
        ? "550 5.1.1 <gone@example.test> User doesn't exist: gone\r\n"
        : '250 2.1.5 mine\r\n',
    content: (i) => (i === 1 ? '552 5.2.2 <b@example.test> Quota exceeded\r\n' : '250 2.0.0 yes\r\n'),
  });
  await using b2 = await backend({ helo: () => '250-b2\r\n250 PIPELINING\r\n' });
  await using front = await startFront({
    users: {
      a: at(b1.endpoint),
      b: at(b1.endpoint),
      gone: at(b1.endpoint),
      c: at(b2.endpoint),
      local: undefined,
    },
  });
  const got = await deliver(front, ['a', 'local', 'gone', 'c', 'nobody', 'b', 'a']);
  assert.deepEqual(got.rcpt, [
    '250 2.1.5 mine',
    '250 2.1.5 OK',
    "550 5.1.1 <gone@example.test> User doesn't exist: gone",
    '250 2.1.5 ok',
    "550 5.1.1 <nobody@example.test> User doesn't exist: nobody@example.test",
    '250 2.1.5 mine',
    '250 2.1.5 mine',
  ]);
  assert.deepEqual(got.ends, [
    '250 2.0.0 <a@example.test> ID Saved',
    '250 2.0.0 <local@example.test> ID:R2 Saved',
    '250 2.0.0 <c@example.test> ID:R4 Saved',
    '552 5.2.2 <b@example.test> Quota exceeded',
    '250 2.0.0 <a@example.test> ID:R7 Saved',
  ]);
  const commands = plain(b1.commands);
  assert.match(
    commands[1] ?? '',
    /^XCLIENT HELO=client\.test PROTO=LMTP SESSION=\S+:P1 TTL=5 TIMEOUT=124 PORT=\d+ ADDR=127\.0\.0\.1$/,
  );
  assert.deepEqual(commands.slice(3, -1), [
    'MAIL FROM:<s@x.test>',
    'RCPT TO:<a@example.test> ORCPT=rfc822;a@example.test',
    'RCPT TO:<gone@example.test> ORCPT=rfc822;gone@example.test',
    'RCPT TO:<b@example.test> ORCPT=rfc822;b@example.test',
    'RCPT TO:<a@example.test> ORCPT=rfc822;a@example.test',
  ]);
  // No DSN, no XCLIENT: no ORCPT.
  assert.deepEqual(b2.commands, [
    'LHLO front.test',
    'MAIL FROM:<s@x.test>',
    'RCPT TO:<c@example.test>',
    'DATA',
  ]);
  const sent = b1.contents[0]?.toString('latin1') ?? '';
  assert.match(
    sent,
    /^Received: from client\.test \(\[127\.0\.0\.1\]\)\r\n\tby front\.test with LMTP\r\n\tid \S+\r\n\t\(envelope-from <s@x\.test>\); [^\r]+\r\nSubject: x\r\n/,
  );
  assert.ok(sent.endsWith(letter));
  assert.equal(
    b2.contents[0]?.toString('latin1').replace(/\r\n\tid .*\r\n/, ''),
    sent.replace(/\r\n\tid .*\r\n/, ''),
  );
  assert.deepEqual(
    front.stored.map((s) => s.user),
    ['local'],
  );
  assert.deepEqual(
    plain(front.log.filter((l) => l.includes('message to')))
      .map((l) =>
        l
          .replace(/conn 127\.0\.0\.1:\d+/, 'conn CLIENT')
          .replace(/127\.0\.0\.1:\d+/, 'BACKEND')
          .replace(/at \d+ ms/, 'at N ms'),
      )
      .sort(),
    [
      'lmtp(1): Info: lmtp-server: conn CLIENT: rcpt a@example.test: <ID:R7>: Sent message to <a@example.test> at BACKEND: 250 2.0.0 yes (5/5 at N ms)',
      'lmtp(1): Info: lmtp-server: conn CLIENT: rcpt a@example.test: <ID>: Sent message to <a@example.test> at BACKEND: 250 2.0.0 yes (1/5 at N ms)',
      'lmtp(1): Info: lmtp-server: conn CLIENT: rcpt b@example.test: <ID:R6>: Failed to send message to <b@example.test> at BACKEND: 552 5.2.2 <b@example.test> Quota exceeded (4/5 at N ms)',
      'lmtp(1): Info: lmtp-server: conn CLIENT: rcpt c@example.test: <ID:R4>: Sent message to <c@example.test> at BACKEND: 250 2.0.0 ok (3/5 at N ms)',
    ],
  );
});

test('a connection is used again: for the next client with its own XCLIENT, after RSET where a transaction was given up', async () => {
  await using b = await backend();
  await using front = await startFront({ users: { a: at(b.endpoint) } });
  await deliver(front, ['a']);
  {
    await using talk = await lmtpTalk(front.endpoint, 'second.test');
    await talk.say('MAIL FROM:<s@x.test>');
    await talk.say('RCPT TO:<a@example.test>');
    await talk.say('RSET');
    assert.deepEqual(plain((await talk.transaction('t@x.test', ['a@example.test'], letter)).ends), [
      '250 2.0.0 <a@example.test> ID:T2 Saved',
    ]);
  }
  assert.equal(b.connections, 1);
  assert.deepEqual(
    b.commands
      .filter((c) => c.startsWith('XCLIENT'))
      .map((c) => /HELO=(\S+).*SESSION=\S{22,24}?((?::T\d)?:P1)/.exec(c)?.slice(1)),
    [
      ['client.test', ':P1'],
      ['second.test', ':P1'],
      ['second.test', ':T2:P1'],
    ],
  );
  assert.equal(b.commands.filter((c) => c === 'RSET').length, 1);
  assert.equal(b.contents.length, 2);
});

test('a kept connection that the backend closed meanwhile is replaced; one that is refused XCLIENT is too', async () => {
  await using b = await backend();
  await using front = await startFront({ users: { a: at(b.endpoint) } });
  await deliver(front, ['a']);
  b.script = {
    ...b.script,
    mail: () => ({ say: '', close: true }),
    again: { protocol: 'lmtp', helo: () => offers },
  };
  assert.deepEqual((await deliver(front, ['a'])).ends, ['250 2.0.0 <a@example.test> ID Saved']);
  assert.equal(b.contents.length, 2);
});

test('a connection that refuses XCLIENT after it took one is not used for another client, nor is one that was told more', async () => {
  await using b = await backend();
  await using front = await startFront({ users: { a: at(b.endpoint) }, listen: { trusts: () => true } });
  await deliver(front, ['a']);
  b.script = { ...b.script, again: { protocol: 'lmtp', helo: () => offers, xclient: '550 5.7.14 no\r\n' } };
  b.script = { ...b.script, xclient: '550 5.7.14 no\r\n' };
  await deliver(front, ['a']);
  assert.equal(b.connections, 2);
  // One that took none serves anybody, and is asked no more.
  await deliver(front, ['a']);
  assert.equal(b.connections, 2);
  assert.equal(b.commands.filter((c) => c.startsWith('XCLIENT')).length, 3);
  {
    await using talk = await lmtpTalk(front.endpoint);
    await talk.say('XCLIENT LOGIN=me');
    await talk.transaction('s@x.test', ['a@example.test'], letter);
  }
  assert.equal(b.connections, 3);
  assert.equal(b.contents.length, 4);
});

test('the detail goes with the name that the entry gives; XRCPTFORWARD and ORCPT are passed on', async () => {
  await using b = await backend();
  await using front = await startFront({
    users: {
      a: at(b.endpoint, { recipient: 'someone@else.test' }),
      b: at(b.endpoint, { recipient: 'odd name' }),
      c: at(b.endpoint),
      bad: at(b.endpoint, { recipient: 'x@bad\r\nRCPT' }),
      named: at(b.endpoint, { host: 'localhost' }),
    },
    listen: { trusts: () => true },
  });
  await using talk = await lmtpTalk(front.endpoint);
  await talk.say('MAIL FROM:<> SIZE=77 BODY=8BITMIME');
  await talk.say('RCPT TO:<a+x+y@example.test> ORCPT=rfc822;first+2Bone@example.test XRCPTFORWARD=Zm9v');
  await talk.say('RCPT TO:<b+z@example.test>');
  await talk.say('RCPT TO:<c+q@example.test>');
  assert.deepEqual(await talk.say('RCPT TO:<bad@example.test>'), [
    '451 4.3.0 <bad@example.test> Temporary internal error',
  ]);
  assert.deepEqual(await talk.say('RCPT TO:<named@example.test>'), [
    '451 4.3.0 <named@example.test> Temporary internal error',
  ]);
  assert.match(front.log.join('\n'), /host "localhost" is not an IP address/);
  assert.deepEqual(b.commands.slice(3), [
    'MAIL FROM:<> SIZE=77 BODY=8BITMIME',
    'RCPT TO:<someone+x+y@else.test> ORCPT=rfc822;first+2Bone@example.test XRCPTFORWARD=Zm9v',
    'RCPT TO:<"odd name+z"> ORCPT=rfc822;b+2Bz@example.test',
    'RCPT TO:<c+q@example.test> ORCPT=rfc822;c+2Bq@example.test',
  ]);
});

test('what a trusted host told is told on, its TTL less one; TTL 0 and our own address are loops', async () => {
  await using b = await backend();
  const own = await freePort();
  await using front = await startFront({
    users: { a: at(b.endpoint), self: { host: '127.0.0.1', port: own } },
    proxy: { isOurself: (host, port) => host === '127.0.0.1' && port === own },
    listen: { trusts: () => true },
  });
  await using talk = await lmtpTalk(front.endpoint);
  await talk.say(
    'XCLIENT ADDR=IPV6:2001:db8::7 PORT=77 HELO=first.test PROTO=ESMTP LOGIN=me SESSION=abcd:P1 TTL=1 TIMEOUT=20',
  );
  assert.deepEqual((await talk.transaction('s@x.test', ['a@example.test'], letter)).ends, [
    '250 2.0.0 <a@example.test> abcd:P1 Saved',
  ]);
  assert.equal(
    b.commands[1],
    'XCLIENT HELO=first.test PROTO=ESMTP LOGIN=me SESSION=abcd:P1:P1 TTL=0 TIMEOUT=19 PORT=77 ADDR=IPV6:2001:db8::7',
  );
  await talk.say('XCLIENT TTL=0');
  await talk.say('LHLO again.test');
  await talk.say('MAIL FROM:<>');
  assert.deepEqual(await talk.say('RCPT TO:<a@example.test>'), [
    '554 5.4.6 <a@example.test> Proxying appears to be looping (TTL=0)',
  ]);
  assert.deepEqual(await talk.say('RCPT TO:<self@example.test>'), [
    '554 5.4.6 <self@example.test> Proxying loops to itself',
  ]);
});

test('a message that has been through fifty servers goes no further, one more hop is still taken before', async () => {
  await using b = await backend();
  await using front = await startFront({ users: { a: at(b.endpoint), local: undefined } });
  const hops = (count: number): string => 'Received: by h.test;\r\n\tnow\r\n'.repeat(count) + letter;
  assert.deepEqual((await deliver(front, ['a'], hops(49))).ends, ['250 2.0.0 <a@example.test> ID Saved']);
  assert.deepEqual((await deliver(front, ['a', 'local', 'a'], hops(50))).ends, [
    '554 5.4.6 <a@example.test> Too many hops',
    '250 2.0.0 <local@example.test> ID:R2 Saved',
    '554 5.4.6 <a@example.test> Too many hops',
  ]);
  assert.equal(b.contents.length, 1);
  assert.match(front.log.join('\n'), /appears to be looping \(50 Received fields\)/);
});

test('a backend that is down, or refuses us, is 451 for its recipients and nothing to the others', async () => {
  await using refusing = await backend({ banner: '554 5.3.2 go away\r\n' });
  await using b = await backend();
  const dead = await freePort();
  await using front = await startFront({
    users: {
      dead: { host: '127.0.0.1', port: dead },
      cold: at(refusing.endpoint),
      a: at(b.endpoint),
      local: undefined,
    },
  });
  const got = await deliver(front, ['dead', 'a', 'cold', 'dead', 'local']);
  assert.deepEqual(got.rcpt, [
    '451 4.4.0 Proxy failed (connect, session=ID)',
    '250 2.1.5 ok',
    '451 4.4.0 Proxy failed (connect, session=ID:R3)',
    '451 4.4.0 Proxy failed (connect, session=ID:R4)',
    '250 2.1.5 OK',
  ]);
  assert.deepEqual(got.ends, [
    '250 2.0.0 <a@example.test> ID:R2 Saved',
    '250 2.0.0 <local@example.test> ID:R5 Saved',
  ]);
  assert.match(
    front.log.join('\n'),
    /rcpt dead@example.test: <\S+>: Proxying to 127.0.0.1:\d+ failed: connect failed: Connection refused/,
  );
  assert.match(
    front.log.join('\n'),
    /rcpt cold@example.test: .* failed: connect failed: after initial connection: 554 go away/,
  );
});

test('MAIL that the backend refuses is the answer of each of its recipients', async () => {
  await using b = await backend({ mail: () => '550-5.7.1 no such\r\n550 5.7.1 sender\r\n' });
  await using front = await startFront({ users: { a: at(b.endpoint), b: at(b.endpoint) } });
  const got = await deliver(front, ['a', 'b']);
  assert.deepEqual(got.rcpt, [
    '550 5.7.1 <a@example.test> no such sender',
    '550 5.7.1 <b@example.test> no such sender',
  ]);
  assert.equal(got.data, '503 5.5.0 No valid recipients');
});

test('SMTPUTF8 is not handed to a backend that does not offer it', async () => {
  await using b = await backend();
  const proxy = createStoreProxy({ hostname: 'front.test' });
  const part = proxy.begin({ lhlo: 'c.test', sessionId: 'ID' }, null, { smtputf8: true });
  const address = { local: 'a' as never, domain: 'example.test' as never };
  assert.deepEqual(
    await part.rcpt({
      position: 0,
      recipient: { address },
      suffix: '',
      target: at(b.endpoint),
      shown: 'a@example.test',
      session: 'ID',
    }),
    { code: 550, status: '5.6.7', lines: ["<a@example.test> The mailbox's server does not offer SMTPUTF8"] },
  );
  part.end();
  await proxy.close();
});

test('a backend with too few connections puts off who waits too long, also where two wait for each other', async () => {
  await using one = await backend();
  await using two = await backend();
  await using front = await startFront({
    users: { a: at(one.endpoint, { timeoutMs: 300 }), b: at(two.endpoint, { timeoutMs: 300 }) },
    proxy: { maxConnections: 1 },
  });
  await using first = await lmtpTalk(front.endpoint);
  await using second = await lmtpTalk(front.endpoint);
  for (const talk of [first, second]) await talk.say('MAIL FROM:<>');
  assert.deepEqual(await first.say('RCPT TO:<a@example.test>'), ['250 2.1.5 ok']);
  assert.deepEqual(await second.say('RCPT TO:<b@example.test>'), ['250 2.1.5 ok']);
  const crossed = await Promise.all([
    first.say('RCPT TO:<b@example.test>'),
    second.say('RCPT TO:<a@example.test>'),
  ]);
  for (const [reply = ''] of crossed) assert.match(reply, /^451 4\.4\.0 Proxy failed \(timed out, session=/);
  for (const talk of [first, second]) {
    await talk.say('DATA');
    assert.match((await talk.say('Subject: x\r\n\r\n.')).join(), /^250 /);
  }
  // What one gives back the next gets.
  assert.deepEqual(
    (await deliver(front, ['a', 'b'])).ends.map((e) => e.slice(0, 3)),
    ['250', '250'],
  );
});

test('closing ends a wait for the answer to RCPT', async () => {
  await using b = await backend({ rcpt: () => '' });
  const proxy = createStoreProxy({ hostname: 'front.test' });
  const part = proxy.begin({ lhlo: 'c.test', sessionId: 'ID' }, null, {});
  const address = { local: 'a' as never, domain: 'example.test' as never };
  const asked = part.rcpt({
    position: 0,
    recipient: { address },
    suffix: '',
    target: at(b.endpoint),
    shown: 'a@example.test',
    session: 'ID',
  });
  while (b.connections === 0) await new Promise((resolve) => setImmediate(resolve));
  const closing = proxy.close();
  assert.deepEqual((await asked).code, 451);
  part.end();
  await closing;
});

test('a backend that goes away between RCPT and the content, or within it, is 451 for those it had accepted', async () => {
  await using b = await backend();
  await using front = await startFront({ users: { a: at(b.endpoint), here: undefined } });
  await using talk = await lmtpTalk(front.endpoint);
  await talk.say('MAIL FROM:<>');
  await talk.say('RCPT TO:<a@example.test>');
  await talk.say('RCPT TO:<here@example.test>');
  await b.hangUp();
  await talk.say('DATA');
  const ends = plain(await talk.say('Subject: x\r\n\r\n.', 2));
  assert.deepEqual(ends, [
    '451 4.4.0 Proxy failed (connection lost, session=ID)',
    '250 2.0.0 <here@example.test> ID:R2 Saved',
  ]);
  b.script = { ...b.script, early: { say: '', close: 'reset' } };
  const large = `Subject: large\r\n\r\n${'0123456789\r\n'.repeat(400_000)}`;
  assert.deepEqual((await deliver(front, ['a', 'here'], large)).ends, [
    '451 4.4.0 Proxy failed (connection lost, session=ID)',
    '250 2.0.0 <here@example.test> ID:R2 Saved',
  ]);
  assert.equal(b.contents.length, 0);
});
