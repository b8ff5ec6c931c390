// Listeners of stores as an administrator sets them up: owners of sockets, TLS, who may connect and who may speak for
// others; with openssl's client and the real Dovecot as a proxy in front.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { makeCertificate } from '../support/certificate.ts';
import { startDovecot } from '../support/dovecot.ts';
import { root, startMailchute, type Mailchute } from '../support/mailchute.ts';
import { needs, needsRoot } from '../support/peers.ts';
import { freePort, runToEnd, temporaryFolder, until } from '../support/process.ts';
import { writeUsers } from '../support/store.ts';

const folder = temporaryFolder('store-listeners');
after(() => folder.remove());
const at = (name: string): string => path.join(folder.path, name);

function section(name: string, more: string): string {
  return `${name}:
        driver = maildir
        directories = users
        maildir = ${at('mail')}/$local_part_data
${more}
`;
}

const directories = `begin directories
users:
        driver = passwd_file
        file = ${at('users')}
        username_format = %Ln

begin stores
`;

/** What lies in a user's INBOX. */
function mailOf(user: string): string[] {
  const inbox = path.join(at('mail'), user, 'new');
  return readdirSync(inbox).map((name) => readFileSync(path.join(inbox, name), 'latin1'));
}

/** All that comes until the end. */
async function talk(where: { port: number; host: string } | { path: string }, text: string): Promise<string> {
  const socket = connect({ ...where, allowHalfOpen: true });
  socket.end(text);
  let out = '';
  for await (const chunk of socket) out += String(chunk);
  return out;
}

/** What comes until it matches. */
async function heard(socket: Socket, pattern: RegExp): Promise<string> {
  let text = '';
  while (!pattern.test(text)) text += String((await once(socket, 'data'))[0]);
  return text;
}

describe('listeners of stores', { skip: needsRoot('openssl') }, () => {
  let store: Mailchute;
  let clear = 0;
  let secure = 0;
  let closed = 0;
  const { certificateFile, privateKeyFile } = makeCertificate(folder.path);
  const tls = `        tls_certificate = ${certificateFile}
        tls_privatekey = ${privateKeyFile}
`;

  before(async () => {
    mkdirSync(at('mail'));
    writeUsers(folder.path, ['alice', 'bob']);
    clear = await freePort();
    secure = await freePort();
    closed = await freePort();
    store = await startMailchute(
      folder.path,
      'hostlist proxies = 192.0.2.0/24 : 127.0.0.2',
      directories +
        section(
          'first',
          `        sockets = ${at('first')}
        socket_mode = 0620
        socket_user = 65534
        socket_group = mail
        listen = <; 127.0.0.1:${clear}
        tls_listen = <; 127.0.0.1:${secure}
        allowed_hosts = !127.0.0.9 : 127.0.0.0/8
        trusted_hosts = : +proxies
        login_greeting = at your service
        tls_require_ciphers = TLS_AES_128_GCM_SHA256:ECDHE+AESGCM
${tls}`,
        ) +
        section(
          'second',
          `        tls_listen = <; 127.0.0.1:${closed}\n        allowed_hosts = 192.0.2.1\n${tls}`,
        ) +
        section('third', `        sockets = ${at('third')}`),
    );
  });
  after(() => store.stop());

  /** A session by openssl's own client; @param words how TLS begins */
  const openssl = (port: number, ...words: string[]): string =>
    spawnSync('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-quiet', '-crlf', ...words], {
      input:
        'LHLO client.test\nMAIL FROM:<a@b.test>\nRCPT TO:<alice@example.test>\nDATA\nSubject: x\n\nhello\n.\nQUIT\n',
      encoding: 'latin1',
      timeout: 20_000,
    }).stdout;

  it('own their sockets as they are told, each store in the one process', async () => {
    const { mode, uid, gid } = statSync(at('first'));
    assert.deepEqual([mode & 0o777, uid, gid], [0o620, 65_534, 8]);
    assert.equal(statSync(at('third')).mode & 0o777, 0o660);
    const greetings = await Promise.all(
      [{ path: at('first') }, { path: at('third') }, { port: clear, host: '127.0.0.1' }].map((where) =>
        talk(where, 'QUIT\r\n'),
      ),
    );
    assert.deepEqual(
      greetings.map((text) => text.split('\r\n')[0]),
      ['at your service', 'Mailchute ready.', 'at your service'].map(
        (words) => `220 mx.example.test ${words}`,
      ),
    );
  });

  it('take mail by STARTTLS and by TLS from the first octet, and Received says so', async () => {
    assert.match(openssl(clear, '-starttls', 'lmtp'), /250 2\.0\.0 <alice@example\.test> \S+ Saved/);
    assert.match(openssl(secure), /250 2\.0\.0 <alice@example\.test> \S+ Saved/);
    const letters = mailOf('alice');
    assert.equal(letters.length, 2);
    for (const letter of letters)
      assert.match(
        letter,
        /^Received: from client\.test \(\[127\.0\.0\.1\]\)\r?\n\t\(using TLSv1\.3 with cipher TLS_AES_128_GCM_SHA256 \(128\/128 bits\)\)\r?\n\tby mx\.example\.test with LMTPS\r?\n/m,
      );
  });

  it('turn away hosts that are not in allowed_hosts, and log it', async () => {
    const socket = connect({ port: clear, host: '127.0.0.1', localAddress: '127.0.0.9' });
    let out = '';
    for await (const chunk of socket) out += String(chunk);
    assert.equal(out, '554 5.7.1 mx.example.test Access denied\r\n');
    assert.equal(openssl(closed), '');
    await until(
      () => /first: refused connection from \[127\.0\.0\.9\] \(allowed_hosts\)/.test(store.mainLog()),
      'a log line',
    );
    await until(
      () => /second: refused connection from \[127\.0\.0\.1\] \(allowed_hosts\)/.test(store.mainLog()),
      'another',
    );
  });

  it('let hosts of trusted_hosts speak for others, and an empty item means UNIX sockets', async () => {
    const text =
      'LHLO x\r\nXCLIENT ADDR=192.0.2.77 HELO=far.test SESSION=theirs\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nBDAT 0 LAST\r\nQUIT\r\n';
    assert.match(
      await talk({ path: at('first') }, text),
      /^250 2\.0\.0 <bob@example\.test> theirs Saved\r$/m,
    );
    assert.match(
      mailOf('bob')[0] ?? '',
      /^Received: from far\.test \(\[192\.0\.2\.77\]\)\r?\n\tby mx\.example\.test with LMTP\r?\n\tid theirs\r?\n/m,
    );
    assert.match(
      await talk({ port: clear, host: '127.0.0.1' }, text),
      /^550 5\.7\.14 You are not from trusted IP\r$/m,
    );
    const proxy = connect({ port: clear, host: '127.0.0.1', localAddress: '127.0.0.2' });
    proxy.end('LHLO x\r\nQUIT\r\n');
    let out = '';
    for await (const chunk of proxy) out += String(chunk);
    assert.match(out, /^250-XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT/m);
  });

  it('stay open at SIGHUP: nobody is turned away, over TCP or a UNIX socket', async () => {
    const reloads = (): number => store.mainLog().split('SIGHUP received').length - 1;
    const greeted = async (): Promise<string> => {
      const socket = connect({ port: clear, host: '127.0.0.1' });
      try {
        const [data] = (await once(socket, 'data')) as [Buffer];
        return data.toString('latin1', 0, 3);
      } finally {
        socket.destroy();
      }
    };
    for (let round = 0; round < 3; round++) {
      const before = reloads();
      store.running.kill('SIGHUP');
      const answers = new Set<string>();
      await until(
        async () => {
          answers.add(await greeted());
          return reloads() > before;
        },
        'the reload',
        10_000,
      );
      for (let i = 0; i < 20; i++) answers.add(await greeted());
      assert.deepEqual([...answers], ['220']);
    }
  });

  it('read a renewed certificate at SIGHUP; a transaction under way is finished with the old one', async () => {
    const visit = async (): Promise<TLSSocket> => {
      const socket = connectTls({ port: secure, host: '127.0.0.1', rejectUnauthorized: false });
      await once(socket, 'data');
      return socket;
    };
    const old = await visit();
    assert.equal(old.getPeerCertificate().subject.CN, 'server.example.test');
    const renewed = makeCertificate(folder.path, 'renewed');
    copyFileSync(renewed.certificateFile, certificateFile);
    copyFileSync(renewed.privateKeyFile, privateKeyFile);
    old.write('LHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<bob@example.test>\r\n');
    await heard(old, /^250 2\.1\.5 OK\r$/m);
    store.running.kill('SIGHUP');
    await until(() => /SIGHUP received/.test(store.mainLog()), 'the reload');
    const next = await until(async () => {
      const socket = await visit().catch(() => undefined);
      if (socket === undefined) return undefined;
      if (socket.getPeerCertificate().subject.CN === 'renewed.example.test') return socket;
      socket.destroy();
      return undefined;
    }, 'the new certificate');
    next.destroy();
    const rest = heard(old, /^421 4\.3\.2 mx\.example\.test Shutting down\r$/m);
    old.write('BDAT 4 LAST\r\nhi\r\n');
    assert.match(await rest, /^250 2\.0\.0 <bob@example\.test> \S+ Saved\r\n421 /);
    old.destroy();
  });
});

describe('the real Dovecot as a proxy', {
  skip: needsRoot('dovecot', '/usr/lib/dovecot/lmtp', 'openssl'),
}, () => {
  it('hands over by XCLIENT what it knows of its client, in the clear and over STARTTLS', async () => {
    const home = temporaryFolder('proxied');
    const { certificateFile, privateKeyFile } = makeCertificate(home.path);
    writeUsers(home.path, ['carol']);
    const port = await freePort();
    const mail = path.join(home.path, 'mail');
    mkdirSync(mail);
    const store = await startMailchute(
      home.path,
      '',
      `begin directories
users:
        driver = passwd_file
        file = ${home.path}/users
        username_format = %Ln

begin stores
s:
        driver = maildir
        directories = users
        maildir = ${mail}/$local_part_data
        listen = <; 127.0.0.1:${port}
        trusted_hosts = 127.0.0.1
        tls_certificate = ${certificateFile}
        tls_privatekey = ${privateKeyFile}
`,
    );
    for (const starttls of ['', ' starttls=any-cert']) {
      const proxy = await startDovecot(path.join(home.path, `proxy${starttls.length}`), {
        users: ['nobody-else'],
        extra: `lmtp_proxy = yes
login_trusted_networks = 127.0.0.0/8
passdb {
  driver = static
  args = proxy=y host=127.0.0.1 port=${port} nopassword=y${starttls}
}
`,
      });
      const out = await talk(
        { port: proxy.lmtpPort, host: '127.0.0.1' },
        'LHLO front.test\r\nXCLIENT ADDR=192.0.2.50 HELO=far.test SESSION=outer\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<carol@example.test>\r\nBDAT 6 LAST\r\nhell\r\nQUIT\r\n',
      );
      await proxy.stop();
      assert.match(out, /^250 2\.0\.0 <carol@example\.test> \S+ Saved\r$/m, proxy.log() + store.mainLog());
      const [session] = /outer\S*/.exec(out) ?? [];
      assert.ok(session !== undefined, out);
      const letter = readdirSync(path.join(mail, 'carol/new'))
        .map((name) => readFileSync(path.join(mail, 'carol/new', name), 'latin1'))
        .find((text) => text.includes('LMTPS') === (starttls !== ''));
      assert.match(letter ?? '', /^Received: from \S+ \(\[192\.0\.2\.50\]\)/m);
      assert.ok(letter?.includes(`id ${session}`), `${session}: ${letter}`);
    }
    await store.stop();
    home.remove();
  });
});

describe('options of listeners', { skip: needs('openssl') }, () => {
  it('are checked before anything listens', async () => {
    const files = temporaryFolder('store-check');
    const check = async (more: string): Promise<string> => {
      const file = path.join(files.path, 'c.conf');
      writeFileSync(
        file,
        `primary_hostname = mx.example.test\nspool_directory = ${files.path}\n${directories}${section('s', more)}`,
      );
      return (await runToEnd(path.join(root, 'bin/mailchute'), ['check', file])).output;
    };
    assert.match(
      await check('        tls_listen = <; 127.0.0.1:24'),
      /s store: tls_listen needs tls_certificate/,
    );
    assert.match(
      await check(`        sockets = ${files.path}/s\n        tls_privatekey = /x`),
      /s store: tls_privatekey needs tls_certificate/,
    );
    assert.match(
      await check('        tls_listen = <; nowhere\n        tls_certificate = /x'),
      /malformed address and port "nowhere"/,
    );
    assert.match(
      await check(`        sockets = ${files.path}/s\n        allowed_hosts = 192.0.2.0/24 : ^(`),
      /missing closing parenthesis|regular expression/,
    );
    assert.match(
      await check(
        `        sockets = ${files.path}/s\n        tls_min_protocol = SSLv3\n        tls_certificate = /x`,
      ),
      /tls_min_protocol/,
    );
    files.remove();
  });
});
