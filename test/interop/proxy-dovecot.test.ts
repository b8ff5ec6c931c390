// Our proxy in front of the real Dovecot, behind it, and beside it: the same dialogue, the facts of XCLIENT, TLS.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { makeCertificate } from '../support/certificate.ts';
import { disposed } from '../support/disposed.ts';
import { startDovecot, type Dovecot } from '../support/dovecot.ts';
import { lmtpTalk } from '../support/lmtp-talk.ts';
import { needsRoot } from '../support/peers.ts';
import { freePort, isListening, temporaryFolder, until } from '../support/process.ts';
import { at, startFront, type Front, type FrontOptions } from '../support/proxy-world.ts';
import { startScriptedServer, type Script, type ScriptedServer } from '../support/scripted-server.ts';

const skip = needsRoot('dovecot');
const content = 'Subject: proxied\r\nMessage-ID: <m@x.test>\r\n\r\n.dot\r\n8-bit \xe4\r\n';
const trusting = 'login_trusted_networks = 127.0.0.0/8';

const folderOf = (t: TestContext, name: string): string => {
  const folder = temporaryFolder(name);
  t.after(() => folder.remove());
  chmodSync(folder.path, 0o755);
  return folder.path;
};

async function dovecot(
  t: TestContext,
  folder: string,
  users: readonly string[],
  extra = trusting,
): Promise<Dovecot> {
  const started = await startDovecot(folder, { users, extra });
  t.after(() => started.stop());
  return started;
}

const front = async (t: TestContext, options: FrontOptions): Promise<Front> =>
  disposed(t, await startFront(options));

/** The messages in a user's `new`. */
function delivered(d: Dovecot, user: string): string[] {
  const folder = path.join(d.mail, user, 'new');
  return readdirSync(folder).map((name) => readFileSync(path.join(folder, name), 'latin1'));
}

const plain = (texts: readonly string[]): string[] =>
  texts.map((t) =>
    t
      .replace(/[A-Za-z0-9+/_-]{22}(?=[:) ]|$)/g, 'ID')
      .replace(/127\.0\.0\.1:\d+/g, 'HOST:PORT')
      .replace(/\[\d{4}-[^\]]*\]/, '[WHEN]'),
  );

test('in front of the real Dovecot: unknown users refused at RCPT, mail delivered, the client seen through us', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const folder = folderOf(t, 'proxy-front');
  const users = ['alice', 'bob', 'carol'];
  const d = await dovecot(t, path.join(folder, 'd'), users);
  const target = { host: '127.0.0.1', port: d.lmtpPort };
  const f = await front(t, {
    users: { ...Object.fromEntries([...users, 'nobody'].map((u) => [u, target])), here: undefined },
    listen: { trusts: () => true },
  });
  const talk = disposed(t, await lmtpTalk(f.endpoint));
  await talk.say('XCLIENT ADDR=192.0.2.9 PORT=4242 HELO=first.test PROTO=ESMTP SESSION=outer TTL=4');
  await talk.say('LHLO first.test');
  const got = await talk.transaction(
    's@x.test',
    ['alice', 'nobody', 'here', 'bob+box', 'alice'].map((u) => `${u}@example.test`),
    content,
  );
  assert.deepEqual(got.rcpt, [
    '250 2.1.5 OK',
    "550 5.1.1 <nobody@example.test> User doesn't exist: nobody@example.test",
    '250 2.1.5 OK',
    '250 2.1.5 OK',
    '250 2.1.5 OK',
  ]);
  assert.deepEqual(got.ends, [
    '250 2.0.0 <alice@example.test> outer Saved',
    '250 2.0.0 <here@example.test> outer:R3 Saved',
    '250 2.0.0 <bob+box@example.test> outer:R4 Saved',
    '250 2.0.0 <alice@example.test> outer:R5 Saved',
  ]);
  const [mail = '', ...more] = delivered(d, 'alice');
  assert.equal(more.length, 0);
  assert.match(
    mail,
    /^Return-Path: <s@x\.test>\n(?:Delivered-To: .*\n)?Received: from front\.test \(\[192\.0\.2\.9\]\)\n\tby \S+ with LMTP\n\tid outer:P1\n/,
  );
  assert.match(
    mail,
    /\nReceived: from first\.test \(\[192\.0\.2\.9\]\)\n\tby front\.test with LMTP\n\tid outer\n\t\(envelope-from <s@x\.test>\); /,
  );
  assert.match(d.log(), /Info: Connect from 127\.0\.0\.1/);
  assert.match(d.log(), /<outer:P1[^>]*>: Info: msgid=<m@x\.test>: saved mail to INBOX/);
  assert.equal(delivered(d, 'bob').length, 1);
  // The next transaction goes over the same connection.
  await talk.transaction('s@x.test', ['carol@example.test'], content);
  assert.equal(delivered(d, 'carol').length, 1);
  assert.equal([...d.log().matchAll(/Connect from/g)].length, 1);
});

for (const mode of ['starttls', 'implicit'] as const) {
  test(`in front of the real Dovecot over TLS: ${mode}; a certificate that is not trusted is 451`, {
    skip,
    timeout: 60_000,
  }, async (t) => {
    const folder = folderOf(t, `proxy-${mode}`);
    const { certificateFile, privateKeyFile } = makeCertificate(folder);
    const port = await freePort();
    const tls = `${trusting}
ssl = yes
ssl_cert = <${certificateFile}
ssl_key = <${privateKeyFile}
service lmtp {
  inet_listener lmtps {
    address = 127.0.0.1
    port = ${port}
    ssl = ${mode === 'implicit' ? 'yes' : 'no'}
  }
}`;
    const d = await dovecot(t, path.join(folder, 'd'), ['alice'], tls);
    await until(
      () => isListening(port),
      () => d.log(),
    );
    const target = { host: '127.0.0.1', port, tls: mode };
    const take = async (
      proxy: FrontOptions['proxy'],
    ): Promise<{ readonly rcpt: readonly string[]; readonly log: readonly string[] }> => {
      const f = await front(t, { users: { alice: target }, ...(proxy === undefined ? {} : { proxy }) });
      const talk = disposed(t, await lmtpTalk(f.endpoint));
      const { rcpt } = await talk.transaction('s@x.test', ['alice@example.test'], content);
      return { rcpt, log: f.log };
    };
    const untrusted = await take({});
    assert.match(untrusted.rcpt.join(), /^451 4\.4\.0 Proxy failed \(connect, /);
    assert.match(untrusted.log.join(), /connect failed: TLS: .*self.signed certificate/i);
    // Trusted, but made out to another name.
    const misnamed = await take({ trustedCertificates: readFileSync(certificateFile, 'latin1') });
    assert.match(misnamed.log.join(), /connect failed: TLS: .*is not in the cert's list/);
    assert.equal(delivered.length, 2);
    assert.deepEqual((await take({ verifyCertificates: false })).rcpt, ['250 2.1.5 OK']);
    const [mail = '', ...more] = delivered(d, 'alice');
    assert.equal(more.length, 0);
    assert.match(mail, /\(using TLSv1\.3 /);
  });
}

test('behind a real Dovecot proxy: what it tells by XCLIENT is in our Received and log, its TTL stops us', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const folder = folderOf(t, 'proxy-behind');
  const behind = await front(t, {
    hostname: 'behind.test',
    users: { alice: undefined, gone: undefined },
    listen: { trusts: () => true },
  });
  const entries = path.join(folder, 'entries');
  writeFileSync(
    entries,
    `alice::::::: proxy=y host=127.0.0.1 port=${behind.endpoint.port} nopassword=y\nnobody::::::: proxy=y host=127.0.0.1 port=${behind.endpoint.port} nopassword=y\n`,
  );
  const d = await dovecot(
    t,
    path.join(folder, 'd'),
    ['other'],
    `${trusting}
lmtp_proxy = yes
passdb {
  driver = passwd-file
  args = ${entries}
}`,
  );
  const talk = disposed(
    t,
    await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port: d.lmtpPort }, 'origin.test'),
  );
  const got = await talk.transaction('s@x.test', ['alice@example.test', 'nobody@example.test'], content);
  assert.deepEqual(plain(got.rcpt), [
    '250 2.1.5 OK',
    "550 5.1.1 <nobody@example.test> User doesn't exist: nobody",
  ]);
  assert.deepEqual(plain(got.ends), ['250 2.0.0 <alice@example.test> ID Saved']);
  const text = behind.stored[0]?.text ?? '';
  assert.match(
    text,
    /^Return-Path: <s@x\.test>\r\nDelivered-To: alice\r\nReceived: from \S+ \(\[127\.0\.0\.1\]\)\r\n\tby behind\.test with LMTP\r\n\tid \S+:P1\r\n/,
  );
  assert.ok(text.endsWith(content));
  assert.match(
    behind.log.join('\n'),
    /lmtp\(alice\)<1><[^>]+:P1>: Info: msgid=<m@x\.test>: saved mail to INBOX/,
  );
});

test('two hops of ours and a loop: the TTL falls until 554 5.4.6 stops it', {
  timeout: 60_000,
}, async (t) => {
  const last = await front(t, {
    hostname: 'last.test',
    users: { alice: undefined },
    listen: { trusts: () => true },
  });
  const middle = await front(t, {
    hostname: 'middle.test',
    users: { alice: at(last.endpoint) },
    listen: { trusts: () => true },
  });
  const first = await front(t, { hostname: 'first.test', users: { alice: at(middle.endpoint) } });
  const talk = disposed(t, await lmtpTalk(first.endpoint, 'origin.test'));
  const { ends } = await talk.transaction('s@x.test', ['alice@example.test'], content);
  assert.deepEqual(plain(ends), ['250 2.0.0 <alice@example.test> ID Saved']);
  const received = [
    ...(last.stored[0]?.text ?? '').matchAll(
      /Received: from (\S+) \(\[127\.0\.0\.1\]\)\r\n\tby (\S+) .*\r\n\tid \S{22}(\S*)\r\n/g,
    ),
  ];
  assert.deepEqual(
    received.map((m) => m.slice(1)),
    [
      ['middle.test', 'last.test', ':P1:P1'],
      ['first.test', 'middle.test', ':P1'],
      ['origin.test', 'first.test', ''],
    ],
  );
  // Two that hold each other's user.
  const users: Record<string, ReturnType<typeof at>> = {};
  const one = await front(t, { users, listen: { trusts: () => true } });
  const two = await front(t, { users: { loop: at(one.endpoint) }, listen: { trusts: () => true } });
  users['loop'] = at(two.endpoint);
  const looping = disposed(t, await lmtpTalk(one.endpoint));
  const got = await looping.transaction('s@x.test', ['loop@example.test'], content);
  assert.deepEqual(got.rcpt, ['554 5.4.6 <loop@example.test> Proxying appears to be looping (TTL=0)']);
  assert.equal([...one.log, ...two.log].filter((l) => l.includes('looping (TTL=0)')).length, 1);
});

/** Where ours and Dovecot's proxy must say the same for what a backend does. */
const same: Readonly<Record<string, Script>> = {
  'all well': {},
  'RCPT refused': { rcpt: () => '550 5.7.1 not you\r\n' },
  'RCPT put off': { rcpt: (_, i) => (i === 0 ? '450 4.2.1 busy\r\n' : '250 2.1.5 fine\r\n') },
  'MAIL refused': { mail: () => '550 5.7.1 no such sender\r\n' },
  'refused after the content': {
    content: (i) => (i === 0 ? '552 5.2.2 <a@example.test> Quota exceeded\r\n' : '451 4.2.0 later\r\n'),
  },
  'dies at RCPT': { rcpt: () => ({ say: '', close: true }) },
  'nonsense at RCPT': { rcpt: () => 'hello\r\n' },
  '421 at RCPT': { rcpt: () => ({ say: '421 4.3.2 leaving\r\n', close: true }) },
};

test('beside the real Dovecot as proxy: the same replies for the same backend', {
  skip,
  timeout: 120_000,
}, async (t) => {
  const folder = folderOf(t, 'proxy-beside');
  const offers = '250-b\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n';
  const backend: ScriptedServer = disposed(
    t,
    await startScriptedServer({ protocol: 'lmtp', helo: () => offers }, 'tcp'),
  );
  const target = at(backend.endpoint);
  const ours = await front(t, {
    users: { a: target, b: target, dead: { host: '127.0.0.1', port: await freePort() } },
  });
  const entries = path.join(folder, 'entries');
  const entry = (user: string, port: number): string =>
    `${user}::::::: proxy=y host=127.0.0.1 port=${port} nopassword=y\n`;
  writeFileSync(entries, entry('a', target.port) + entry('b', target.port) + entry('dead', await freePort()));
  const theirs = await dovecot(
    t,
    path.join(folder, 'd'),
    ['other'],
    `lmtp_proxy = yes
passdb {
  driver = passwd-file
  args = ${entries}
}`,
  );
  const ask = async (port: number, to: readonly string[]): Promise<string[]> => {
    const talk = await lmtpTalk({ kind: 'tcp', host: '127.0.0.1', port });
    const { rcpt, data, ends } = await talk.transaction(
      's@x.test',
      to.map((u) => `${u}@example.test`),
      content,
    );
    await talk.close();
    return plain([...rcpt, data, ...ends]);
  };
  for (const [what, script] of Object.entries(same)) {
    backend.script = { protocol: 'lmtp', helo: () => offers, ...script };
    const [a, b] = [await ask(ours.endpoint.port, ['a', 'b']), await ask(theirs.lmtpPort, ['a', 'b'])];
    // Dovecot names the session of the recipient that had no answer first, and calls nonsense a lost connection afterwards.
    const bare = (replies: readonly string[]): string[] =>
      replies.map((r) =>
        r.replace(/\((?:bad reply|connection lost), session=ID(?::R\d)?/, '(HOW, session=ID'),
      );
    assert.deepEqual(bare(a), bare(b), what);
  }
  // With two recipients Dovecot's process dies of it (2.3.19: signal 11).
  backend.script = { protocol: 'lmtp', helo: () => offers, content: () => ({ say: '', close: true }) };
  assert.deepEqual(await ask(ours.endpoint.port, ['a']), await ask(theirs.lmtpPort, ['a']));
  assert.deepEqual(await ask(ours.endpoint.port, ['dead']), await ask(theirs.lmtpPort, ['dead']));
});
