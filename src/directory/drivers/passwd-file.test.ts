import assert from 'node:assert/strict';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { addressOf, directoryContract, nameOf } from '../contract.ts';
import { parsePasswdLine } from './passwd-entry.ts';
import { openPasswdFile, passwdFileUsers } from './passwd-file.ts';
import { passwdFilesUsers } from './passwd-files.ts';

const users = '# users\nalice:{PLAIN}x:1001:1002:Alice:/home/alice:/bin/false\nbob:{PLAIN}x\n';

function fixture(files: (file: string, folder: string) => readonly string[]) {
  return async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'passwd-'));
    const file = path.join(folder, 'users');
    writeFileSync(file, users);
    return {
      open: async () => passwdFilesUsers(files(file, folder), { checkIntervalMs: 0, settleMs: 0 }),
      breakSource: async () => renameSync(file, `${file}.away`),
      repairSource: async () => renameSync(`${file}.away`, file),
      cleanUp: async () => rmSync(folder, { recursive: true }),
    };
  };
}

directoryContract(
  'passwd-file',
  fixture((file) => [file]),
);

async function withFile(text: string, body: (file: string) => void | Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'passwd-'));
  const file = path.join(folder, 'users');
  writeFileSync(file, text);
  try {
    await body(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The answer of a source that must not make anybody wait. */
function now(source: Pick<ReturnType<typeof passwdFileUsers>, 'find'>, name: string): string {
  const answer = source.find(name);
  if (answer instanceof Promise) throw new Error('it does not answer at once');
  return nameOf(answer);
}

test('the eight fields, and extras with userdb_ over them', () =>
  withFile(
    'a:{SHA}=:1:2:Gecos, with words:/h/a:/bin/sh:userdb_mail=maildir:/m/%u:LAYOUT=fs nologin userdb_quota_rule=*:storage=1G userdb_uid=7 userdb_flag allow_nets=1.2.3.4\n' +
      'b@example.test:::::::  userdb_mail=maildir:~/Maildir userdb_home=/h/%d/%Un\nc:\nold:x:1:1::/h:::maildir:/old/mail\nm::::::::mbox:~/mail:INBOX=/v/%u\n',
    (file) => {
      const source = passwdFileUsers({ file, settleMs: 0 });
      assert.deepEqual(source.find('a'), {
        kind: 'found',
        user: {
          username: 'a',
          home: '/h/a',
          maildir: '/m/a',
          maildirLayout: 'fs',
          uid: 7,
          gid: 2,
          extra: Object.assign(Object.create(null), { quota_rule: '*:storage=1G', flag: 'yes' }),
        },
      });
      const placeOf = (name: string): unknown => {
        const a = source.find(name);
        return 'user' in a ? [a.user.home, a.user.maildir, a.user.extra['mail']] : a;
      };
      assert.deepEqual(placeOf('b@example.test'), [
        '/h/example.test/B',
        '/h/example.test/B/Maildir',
        undefined,
      ]);
      assert.deepEqual(placeOf('c'), [undefined, undefined, undefined]);
      assert.deepEqual(placeOf('old'), ['/h', '/old/mail', undefined]);
      assert.deepEqual(placeOf('m'), [undefined, undefined, 'mbox:~/mail:INBOX=/v/%u']);
    },
  ));

test('passdb fields of proxying; what is asked for and not done puts the mail off', () =>
  withFile(
    [
      'a:x::::::proxy host=192.0.2.1',
      'b:x::::::proxy=y host=2001:db8::1 port=2400 destuser=%u@inner.test proxy_timeout=30 starttls=yes',
      'c:x::::::proxy host=192.0.2.1 ssl=yes pass=secret',
      'off:x::::::host=192.0.2.1 port=1',
      'no:x::::::proxy=no host=192.0.2.1',
      'name:x::::::proxy host=backend.test',
      'none:x::::::proxy',
      'maybe:x::::::proxy_maybe host=192.0.2.1',
      'any:x::::::proxy host=192.0.2.1 ssl=any-cert',
      'smtp:x::::::proxy host=192.0.2.1 protocol=smtp',
      'port:x::::::proxy host=192.0.2.1 port=70000',
      'bad:x::::::proxy host=300.0.2.1',
      '',
    ].join('\n'),
    (file) => {
      const source = passwdFileUsers({ file, settleMs: 0 });
      const proxyOf = (name: string): unknown => {
        const a = source.find(name);
        return 'user' in a ? a.user.proxy : nameOf(a as { kind: 'unknown' });
      };
      assert.deepEqual(proxyOf('a'), { host: '192.0.2.1', port: 24 });
      assert.deepEqual(proxyOf('b'), {
        host: '2001:db8::1',
        port: 2400,
        recipient: 'b@inner.test',
        timeoutMs: 30_000,
        tls: 'starttls',
      });
      assert.deepEqual(proxyOf('c'), { host: '192.0.2.1', port: 24, tls: 'implicit' });
      assert.equal(proxyOf('off'), undefined);
      assert.equal(proxyOf('no'), undefined);
      for (const name of ['name', 'none', 'maybe', 'any', 'smtp', 'port', 'bad'])
        assert.equal(proxyOf(name), 'unavailable', name);
    },
  ));

test('names are those of the file, letter by letter, as in Dovecot', () =>
  withFile('plain:x\nJoe@Example.test:x\njoe@example.test:x\nUpper:x\n', (file) => {
    const byLocal = openPasswdFile({ file, settleMs: 0 });
    const find = (directory: typeof byLocal, address: string): string =>
      now({ find: () => directory.find(addressOf(address)) }, '');
    assert.equal(find(byLocal, 'plain@any.test'), 'plain');
    assert.equal(find(byLocal, 'upper@any.test'), 'unknown');
    assert.equal(find(byLocal, 'joe@example.test'), 'unknown');
    const byAddress = openPasswdFile({ file, usernameFormat: '%Lu', settleMs: 0 });
    assert.equal(find(byAddress, 'JOE@EXAMPLE.TEST'), 'joe@example.test');
    assert.equal(find(byAddress, 'joe@other.test'), 'unknown');
    assert.equal(find(byAddress, 'plain'), 'plain');
    const asWritten = openPasswdFile({ file, usernameFormat: '%u', settleMs: 0 });
    assert.equal(find(asWritten, 'Joe@Example.test'), 'Joe@Example.test');
  }));

test('malformed lines are told once with their place; their users are unavailable, the others found', () => {
  const problems: string[] = [];
  const text =
    'ok:x\nlonely\nbaduid:x:12x\n:x\nroot:x:0:0\nrel:x::::home\nup:x::::/a/../b\nvar:x::::::userdb_a=%q\nok:y\nwhite space:x\n';
  return withFile(text, (file) => {
    const source = passwdFileUsers({
      file,
      checkIntervalMs: 0,
      settleMs: 0,
      onProblem: (t) => problems.push(t.slice(file.length)),
    });
    for (const user of ['lonely', 'baduid', 'root', 'rel', 'up', 'var'])
      assert.equal(now(source, user), 'unavailable', user);
    assert.equal(now(source, 'ok'), 'ok');
    assert.deepEqual(
      problems.map((p) => p.slice(0, p.indexOf(': '))),
      [':2', ':3', ':5', ':6', ':7', ':8', ':9', ':10'],
    );
  });
});

test('a changed file is read again, in place or replaced, and looked at no more often than asked', () =>
  withFile('one:x\n', (file) => {
    let clock = 0;
    const source = passwdFileUsers({ file, nowMs: () => clock, settleMs: 0 });
    writeFileSync(`${file}.new`, 'two:x\n');
    renameSync(`${file}.new`, file);
    clock = 999;
    assert.equal(now(source, 'one'), 'one');
    clock = 1000;
    assert.equal(now(source, 'one'), 'unknown');
    assert.equal(now(source, 'two'), 'two');
    writeFileSync(file, 'two:x\nthree:x\n');
    clock = 2000;
    assert.equal(now(source, 'three'), 'three');
  }));

test('empty, too long and missing files put mail off, and a file that comes back serves again', () =>
  withFile('', (file) => {
    const problems: string[] = [];
    const source = passwdFileUsers({
      file,
      checkIntervalMs: 0,
      settleMs: 0,
      maxBytes: 20,
      onProblem: (t) => problems.push(t),
    });
    assert.equal(now(source, 'one'), 'unavailable');
    writeFileSync(file, `one:${'x'.repeat(30)}\n`);
    assert.equal(now(source, 'one'), 'unavailable');
    unlinkSync(file);
    assert.equal(now(source, 'one'), 'unavailable');
    assert.equal(now(source, 'one'), 'unavailable');
    assert.equal(problems.length, 3);
    writeFileSync(file, 'one:x\n');
    assert.equal(now(source, 'one'), 'one');
    const folder = passwdFileUsers({ file: path.dirname(file) });
    const device = passwdFileUsers({ file: '/dev/zero' });
    assert.equal(now(device, 'one'), 'unavailable');
    const below = passwdFileUsers({ file: path.join(file, 'below') });
    assert.equal(now(folder, 'one'), 'unavailable');
    assert.equal(now(below, 'one'), 'unavailable');
  }));

test('who is not in a file that was written a moment ago waits, and is found when the rest is there', () =>
  withFile('one:x\ntwo:x\n', async (file) => {
    const source = passwdFileUsers({ file, checkIntervalMs: 0, settleMs: 300 });
    // A writer in place: the file is cut, and its lines come one after the other.
    const writer = openSync(file, 'w');
    writeSync(writer, 'one:x\n');
    assert.equal(now(source, 'one'), 'one');
    const two = source.find('two');
    const nobody = source.find('nobody');
    assert.ok(two instanceof Promise && nobody instanceof Promise);
    writeSync(writer, 'two:x\n');
    closeSync(writer);
    assert.equal(nameOf(await two), 'two');
    // By when the last write was: the new text may be too young as well.
    assert.match(nameOf(await nobody), /^(?:unknown|unavailable)$/);
    assert.equal(nameOf(await source.find('nobody')), 'unknown');
    // Settled: nobody waits any more.
    assert.equal(now(source, 'nobody'), 'unknown');
    await source.close();
  }));

test('half a last line is nobody, and whose it is waits until it is whole or long unchanged', () =>
  withFile('one:x\ntwo:x:1001:10', async (file) => {
    let clock = 0;
    const source = passwdFileUsers({ file, checkIntervalMs: 0, settleMs: 3000, nowMs: () => clock });
    assert.equal(now(source, 'one'), 'one');
    assert.equal(now(source, 'two'), 'unavailable');
    assert.equal(now(source, 'three'), 'unavailable');
    clock = 20_000;
    assert.equal(now(source, 'two'), 'unavailable');
    clock = 30_001;
    assert.equal(now(source, 'three'), 'unknown');
    const two = source.find('two');
    assert.ok('user' in two && two.user.gid === 10);
    appendFileSync(file, '02\nthree:x\n');
    assert.equal(now(source, 'three'), 'three');
    const whole = source.find('two');
    assert.ok('user' in whole && whole.user.gid === 1002);
  }));

test('a file as old as it should be answers at once, and one from the future after its time', () =>
  withFile('one:x\n', async (file) => {
    const future = new Date(Date.now() + 3_600_000);
    utimesSync(file, future, future);
    const source = passwdFileUsers({ file, settleMs: 20 });
    const answer = source.find('nobody');
    assert.ok(answer instanceof Promise);
    assert.equal(nameOf(await answer), 'unknown');
    assert.equal(now(source, 'nobody'), 'unknown');
  }));

test('a waiting question ends when the directory is closed', () =>
  withFile('one:x\n', async (file) => {
    const source = passwdFileUsers({ file, settleMs: 60_000 });
    const answer = source.find('nobody');
    await source.close();
    assert.equal(nameOf(await answer), 'unavailable');
  }));

test('several files are asked in order; one out of reach ends the search', () =>
  withFile('one:x\n', (file) => {
    writeFileSync(`${file}2`, 'two:x\none:y:5\n');
    const each = { checkIntervalMs: 0, settleMs: 0 };
    const source = passwdFilesUsers([file, `${file}2`], each);
    assert.equal(now(source, 'two'), 'two');
    const one = source.find('one');
    assert.ok('user' in one && one.user.uid === undefined);
    assert.equal(now(source, 'three'), 'unknown');
    assert.deepEqual(source.list(9), ['one', 'two']);
    unlinkSync(file);
    assert.equal(now(source, 'two'), 'unavailable');
  }));

test('a file for each domain: no name leads out of their folder, a missing one has no users, a missing folder is unavailable', () =>
  withFile('stray@..:x\nstray@users:x\n', (file) => {
    const folder = path.join(path.dirname(file), 'domains');
    mkdirSync(path.join(folder, 'a.test'), { recursive: true });
    writeFileSync(path.join(folder, 'a.test/passwd'), 'al@a.test:x\n');
    let clock = 0;
    const source = passwdFilesUsers([`${folder}/%Ld/passwd`], {
      checkIntervalMs: 0,
      settleMs: 0,
      nowMs: () => clock,
    });
    assert.equal(now(source, 'al@a.test'), 'al@a.test');
    assert.equal(now(source, 'al@A.TEST'), 'unknown');
    for (const name of ['al@b.test', 'al', 'al@', 'x@../domains/a.test', 'x@..', 'x@a.test/', 'x@.', 'x@a\0'])
      assert.equal(now(source, name), 'unknown', name);
    // A file that was there a moment ago is being replaced, not gone.
    unlinkSync(path.join(folder, 'a.test/passwd'));
    assert.equal(now(source, 'al@a.test'), 'unavailable');
    clock = 61_000;
    assert.equal(now(source, 'al@a.test'), 'unknown');
    renameSync(folder, `${folder}.away`);
    clock = 200_000;
    assert.equal(now(source, 'al@a.test'), 'unavailable');
    assert.equal(now(source, 'al@new.test'), 'unavailable');
  }));

test('no line makes the parser throw, and no user gets a relative or climbing path', () => {
  const ids = { uid: () => undefined, gid: () => undefined };
  const piece = fc.constantFrom(
    ...'a|:|userdb_mail=|userdb_home=|maildir:|/|..|%u|%n|%d|%h|~| |\0|.|1|\t|%|proxy| host=|userdb_user=|:INBOX='.split(
      '|',
    ),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 25 }), (pieces) => {
      const entry = parsePasswdLine(pieces.join(''), ids);
      if (entry.kind !== 'user') return;
      for (const p of [entry.user.home, entry.user.maildir, entry.user.inbox]) {
        if (p === undefined) continue;
        assert.ok(p.startsWith('/') && !p.split('/').includes('..') && !p.includes('\0'), p);
      }
    }),
    { numRuns: 3000 },
  );
});
