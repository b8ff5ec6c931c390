// Conditions that ask others for passwords: ldapauth and saslauthd of the real Exim and of ours, with slapd, with the real
// saslauthd and with one that misbehaves; radius, which Debian's Exim does not know, with the real FreeRADIUS.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makePasswordChecks } from '../../src/app/password-checks.ts';
import { startSlapd, type Slapd } from '../support/databases.ts';
import { ldif } from '../support/database-content.ts';
import { eximSpool } from '../support/exim-be.ts';
import { findProgram, needs, needsRoot } from '../support/peers.ts';
import { freePort, runToEnd, start, temporaryFolder, type Running } from '../support/process.ts';

const ours = path.join(import.meta.dirname, '../../bin/exim');

/** `a" b\c` with an accent, for what quoting is good for. */
const hardPassword = 'a" b\\c \u00e9 %41 ldap://x/';
const people = `${ldif.trimEnd()}

dn: uid=pia,ou=people,dc=test
objectClass: inetOrgPerson
uid: pia
cn: Pia
sn: P
userPassword: pw of pia

dn: uid=quo,ou=people,dc=test
objectClass: inetOrgPerson
uid: quo
cn: Quo
sn: Q
userPassword:: ${Buffer.from(hardPassword).toString('base64')}
`;

/** The answers of `-be`, one a question. */
async function be(program: string, config: string, questions: readonly string[]): Promise<string[]> {
  const { output } = await runToEnd(program, ['-C', config, '-be', ...questions]);
  // `ldap_url_parse` puts a newline after what it says.
  return output.split('\n').filter((line) => line !== '');
}

/** Errors are errors; what the LDAP libraries say of them differs. */
const outcome = (line: string): string =>
  line.replace(/^(Failed: failed to bind the LDAP connection).*/, '$1');

suite('ldapauth', { skip: needs('exim4', 'slapd') }, () => {
  const folder = temporaryFolder('ldapauth');
  let slapd: Slapd;
  before(async () => {
    slapd = await startSlapd(people);
  });
  after(async () => {
    await slapd.stop();
    folder.remove();
  });

  test('says what slapd says', async () => {
    const at = `ldap://127.0.0.1:${slapd.port}/`;
    const config = path.join(folder.path, 'conf');
    writeFileSync(
      config,
      `${eximSpool(folder.path)}ldap_default_servers = 127.0.0.1::1 : 127.0.0.1::${slapd.port}\n`,
    );
    const pia = 'user="uid=pia,ou=people,dc=test"';
    const quote = (text: string): string => `\${quote:${text.replace(/[\\$}]/g, '\\$&')}}`;
    const expected: readonly (readonly [query: string, said: RegExp])[] = [
      [`${pia} pass="pw of pia" ${at}`, /^y$/],
      [`${pia} pass="pw of pi" ${at}`, /^n$/],
      [`${pia} pass="" ${at}`, /^n$/],
      [`user="uid=nobody,ou=people,dc=test" pass=x ${at}`, /^n$/],
      [`user="" pass=x ${at}`, /^n$/],
      [`user="not a name" pass=x ${at}`, /^Failed: failed to bind/],
      [`user=uid=\${quote_ldap_dn:quo},ou=people,dc=test pass=${quote(hardPassword)} ${at}`, /^y$/],
      [`user="uid%3Dpia,ou%3Dpeople,dc%3Dtest" pass=${quote('pw of pia')} ${at}`, /^y$/],
      [`${pia} pass=${quote('pw of pia')} ldapi://${encodeURIComponent(slapd.socket)}/`, /^y$/],
      [`${pia} pass=${quote('pw of pia')} servers=127.0.0.1::1:127.0.0.1::${slapd.port} ldap:///`, /^y$/],
      [`${pia} pass=wrong servers=127.0.0.1::${slapd.port}:127.0.0.1::1 ldap:///`, /^n$/],
      [`${pia} pass=${quote('pw of pia')} ldap:///`, /^y$/],
      [`${pia} pass=${quote('pw of pia')} ${at}dc=test?cn?sub?(uid=nobody)`, /^y$/],
      [`USER=uid=pia,ou=people,dc=test  PASS="pw of\\x20pia"   connect=5 ${at}`, /^y$/],
      [`${pia} pass=x ldap://127.0.0.1:1/`, /^Failed: failed to bind/],
    ];
    const questions = expected.map(([query]) => `\${if ldapauth{${query}}{y}{n}}`);
    const [theirs, mine] = await Promise.all([
      be('/usr/sbin/exim4', config, questions),
      be(ours, config, questions),
    ]);
    assert.deepEqual(mine.map(outcome), theirs.map(outcome));
    for (const [i, [query, said]] of expected.entries()) assert.match(theirs[i] ?? '', said, query);
  });
});

/** Where Debian's Exim looks for the daemon. */
const saslFolder = '/run/saslauthd';
const saslSocket = `${saslFolder}/mux`;

suite('saslauthd', { skip: needsRoot('exim4', 'slapd', 'saslauthd') || inUse() }, () => {
  const folder = temporaryFolder('saslauthd');
  const made = !existsSync(saslFolder);
  let config = '';
  before(() => {
    if (made) mkdirSync(saslFolder, { mode: 0o755 });
    config = path.join(folder.path, 'conf');
    writeFileSync(config, eximSpool(folder.path));
  });
  after(() => {
    for (const name of ['mux', 'mux.accept', 'saslauthd.pid', 'saslauthd.pid.lock'])
      rmSync(path.join(saslFolder, name), { force: true });
    if (made) rmSync(saslFolder, { recursive: true, force: true });
    folder.remove();
  });

  test('the real one, which asks slapd', async () => {
    const slapd = await startSlapd(people);
    const settings = path.join(folder.path, 'saslauthd.conf');
    writeFileSync(
      settings,
      `ldap_servers: ldap://127.0.0.1:${slapd.port}/\nldap_search_base: ou=people,dc=test\nldap_filter: uid=%u\n`,
    );
    const words = ['-d', '-n', '1', '-a', 'ldap', '-O', settings, '-m', saslFolder];
    // At its end it ends its whole process group: it gets one of its own.
    const daemon = start('setsid', [findProgram('saslauthd') ?? 'saslauthd', ...words]);
    try {
      await daemon.printed(/acquired accept lock/);
      const questions = [
        '{pia}{pw of pia}',
        '{pia}{pw of pi}',
        '{nobody}{x}',
        '{pia}{}',
        '{pia}{pw of pia}{smtp}{}',
        `{quo}{${hardPassword.replace(/[\\$}]/g, '\\$&')}}`,
      ].map((words2) => `\${if saslauthd{${words2}}{y}{n}}`);
      // One after the other: the daemon has one process.
      const theirs = await be('/usr/sbin/exim4', config, questions);
      assert.deepEqual(theirs, ['y', 'n', 'n', 'n', 'y', 'y']);
      assert.deepEqual(await be(ours, config, questions), theirs);
    } finally {
      await daemon.stop();
      await slapd.stop();
      rmSync(saslSocket, { force: true });
    }
  });

  test('one that misbehaves', async () => {
    const heard: string[] = [];
    const daemon = await misbehaving(heard);
    try {
      const users = Object.keys(answers);
      const questions = [
        ...users.map((user) => `\${if saslauthd{{${user}}{pw}}{y}{n}}`),
        '${if saslauthd{{OK}{p\\341}{c}{d}}{y}{n}}',
        '${if !saslauthd {{OK} { }}{y}{n}}',
        '${if or{{saslauthd{{NO}{b}}}{saslauthd{{OK}{b}}}}{y}{n}}',
        '${if and{{saslauthd{{MAYBE}{b}}}{saslauthd{{OK}{b}}}}{y}{n}}',
        '${if and{{eq{a}{b}}{saslauthd{{OK}{b}}}}{y}{n}}',
      ];
      const theirs = await be('/usr/sbin/exim4', config, questions);
      const heardOfTheirs = heard.splice(0);
      const mine = await be(ours, config, questions);
      assert.deepEqual(heard, heardOfTheirs, 'the daemon hears the same octets');
      for (const [i, question] of questions.entries()) {
        const [a, b] = [theirs[i], mine[i]];
        const user = users[i];
        // Exim has no text for an answer that is none, and takes an answer that was cut short at its word.
        if (a === 'Failed: (null)' || user === 'short')
          assert.equal(b, 'Failed: saslauthd daemon at /var/run/saslauthd/mux: corrupted answer', question);
        else assert.equal(b, a, question);
      }
      assert.equal(theirs[users.indexOf('short')], 'y');
      assert.equal(mine[users.indexOf('longest')], 'y');
    } finally {
      await new Promise<void>((resolve) => daemon.close(() => resolve()));
    }
  });
});

/** A saslauthd of this machine is not to be disturbed. */
function inUse(): string | false {
  return existsSync('/var/run/saslauthd/mux') && 'a saslauthd runs here';
}

const counted = (text: string): string => String.fromCharCode(text.length >> 8, text.length & 0xff) + text;

/** What the daemon says, by the user's name. */
const answers: Readonly<Record<string, string>> = {
  OK: counted('OK'),
  more: counted('OK and more'),
  NO: counted('NO'),
  because: counted('NO because'),
  MAYBE: counted('MAYBE'),
  lower: counted('ok'),
  one: counted('O'),
  empty: counted(''),
  nothing: '',
  half: '\0',
  short: '\0\x0aOK',
  after: `${counted('OK')}NO`,
  longest: counted(`OK${'x'.repeat(1022)}`),
  long: counted(`OK${'x'.repeat(1023)}`),
};

async function misbehaving(heard: string[]): Promise<Server> {
  const server = createServer((socket) => {
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      let at = 0;
      const words: string[] = [];
      for (let i = 0; i < 4; i++) {
        const end = at + 2 + text.charCodeAt(at) * 256 + text.charCodeAt(at + 1);
        // NaN where the length has not come.
        if (!(end <= text.length)) return;
        words.push(text.slice(at + 2, end));
        at = end;
      }
      heard.push(words.join('|'));
      socket.end(answers[words[0] ?? ''] ?? '', 'latin1');
    });
  });
  await new Promise<void>((resolve) => server.listen({ path: saslSocket, writableAll: true }, resolve));
  return server;
}

suite('radius', { skip: needs('freeradius') }, () => {
  const folder = temporaryFolder('radius');
  let server: Running;
  let port = 0;
  before(async () => {
    port = await freePort();
    const write = (name: string, text: string): string => {
      const file = path.join(folder.path, name);
      writeFileSync(file, text);
      return file;
    };
    const users = write(
      'users',
      'pia Cleartext-Password := "pw of pia"\nquo Cleartext-Password := "longer than sixteen octets: \u00e9", Service-Type == Authenticate-Only\n',
    );
    write('radiusd.conf', radiusd(folder.path, port, users));
    server = start(findProgram('freeradius') ?? 'freeradius', ['-f', '-X', '-d', folder.path]);
    await server.printed(/Ready to process requests/);
  });
  after(async () => {
    await server.stop();
    folder.remove();
  });

  test('says what FreeRADIUS says', async () => {
    const file = path.join(folder.path, 'radiusclient.conf');
    const secrets = path.join(folder.path, 'servers');
    writeFileSync(
      file,
      // FreeRADIUS before 3.2.5 does not sign its replies.
      `authserver 127.0.0.1:${port}\nservers ${secrets}\nradius_timeout 5\nrequire-message-authenticator no\n`,
    );
    const check = makePasswordChecks({ defaultServers: [] }, 'mx.test', {
      saslauthdSocket: '/nonexist',
      pwcheckSocket: '/nonexist',
      radiusFiles: ['/nonexist/radiusclient.conf', file],
    });
    const octets = (text: string): string => Buffer.from(text).toString('latin1');
    const ask = (user: string, password: string) => check({ by: 'radius', user, password: octets(password) });
    writeFileSync(secrets, '127.0.0.1 shared\n');
    assert.deepEqual(await ask('pia', 'pw of pia'), { kind: 'accepted' });
    assert.deepEqual(await ask('quo', 'longer than sixteen octets: \u00e9'), { kind: 'accepted' });
    for (const [user, password] of [
      ['pia', 'pw of pi'],
      ['pia', ''],
      ['nobody', 'x'],
    ] as const)
      assert.deepEqual(await ask(user, password), { kind: 'rejected' });
    // The server checks our signature with another secret, and says nothing.
    writeFileSync(secrets, '127.0.0.1 another\n');
    writeFileSync(
      file,
      `authserver 127.0.0.1:${port}\nservers ${secrets}\nradius_timeout 1\nradius_retries 0\n`,
    );
    assert.deepEqual(await ask('pia', 'pw of pia'), { kind: 'unknown', reason: 'RADIUS: timed out' });
    assert.match(server.output(), /Shared secret is incorrect|invalid Message-Authenticator/);
  });
});

function radiusd(folder: string, port: number, users: string): string {
  return `prefix = /usr
libdir = /usr/lib/freeradius
logdir = ${folder}
run_dir = ${folder}
pidfile = ${folder}/pid
log {
  destination = stdout
}
security {
  allow_vulnerable_openssl = yes
}
client test {
  ipaddr = 127.0.0.1
  secret = shared
  require_message_authenticator = yes
}
modules {
  pap {
  }
  files {
    filename = ${users}
  }
}
server default {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = ${port}
  }
  authorize {
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
  }
}
`;
}
