import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { addressOf, directoryContract } from '../contract.ts';
import type { Directory } from '../directory.ts';
import { parsePasswdLine } from './passwd-entry.ts';
import { openPasswdFile } from './passwd-file.ts';

const users = '# users\nalice:{PLAIN}x:1001:1002:Alice:/home/alice:/bin/false\nbob:{PLAIN}x\n';

directoryContract('passwd-file', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'passwd-'));
  const file = path.join(folder, 'users');
  writeFileSync(file, users);
  return {
    open: async () => openPasswdFile({ file, checkIntervalMs: 0 }),
    breakSource: async () => unlinkSync(file),
    cleanUp: async () => rmSync(folder, { recursive: true }),
  };
});

function withFile(text: string, body: (file: string) => void): void {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'passwd-'));
  const file = path.join(folder, 'users');
  writeFileSync(file, text);
  try {
    body(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function found(directory: Directory, address: string): string {
  const answer = directory.find(addressOf(address));
  if (answer instanceof Promise) throw new Error('the passwd-file answers at once');
  return answer.kind === 'found' ? answer.user.username : answer.kind;
}

test('the eight fields, and extras with userdb_ over them', () => {
  withFile(
    'a:{SHA}=:1:2:Gecos, with words:/h/a:/bin/sh:userdb_mail=maildir:/m/a nologin userdb_quota_rule=*:storage=1G userdb_uid=7\n' +
      'b@example.test::::::: userdb_mail=maildir:~/Maildir\tuserdb_home=/h/%n\nc:\n',
    (file) => {
      const directory = openPasswdFile({ file });
      assert.deepEqual(directory.find(addressOf('a@x.test')), {
        kind: 'found',
        user: {
          username: 'a',
          home: '/h/a',
          maildir: '/m/a',
          uid: 7,
          gid: 2,
          extra: Object.assign(Object.create(null), {
            mail: 'maildir:/m/a',
            quota_rule: '*:storage=1G',
            uid: '7',
          }),
        },
      });
      assert.equal(found(directory, 'c@x.test'), 'c');
    },
  );
});

test('full addresses: an entry of the one form is not found under the other, as in Dovecot', () => {
  withFile('plain:x\nJoe@Example.test:x\n', (file) => {
    const byLocal = openPasswdFile({ file });
    assert.equal(found(byLocal, 'plain@any.test'), 'plain');
    assert.equal(found(byLocal, 'joe@example.test'), 'unknown');
    const byAddress = openPasswdFile({ file, usernameFormat: 'address' });
    assert.equal(found(byAddress, 'JOE@EXAMPLE.TEST'), 'joe@example.test');
    assert.equal(found(byAddress, 'joe@other.test'), 'unknown');
    assert.equal(found(byAddress, 'plain@example.test'), 'unknown');
    assert.equal(found(byAddress, 'plain'), 'plain');
  });
});

test('malformed lines are told once with their place; their users are unavailable, the others found', () => {
  const problems: string[] = [];
  const text =
    'ok:x\nlonely\nbaduid:x:12x\n:x\nrel:x::::home\nup:x::::/a/../b\nmbox:x::::::userdb_mail=mbox:~/mail\nok:y\nwhite space:x\n';
  withFile(text, (file) => {
    const directory = openPasswdFile({
      file,
      checkIntervalMs: 0,
      onProblem: (t) => problems.push(t.slice(file.length)),
    });
    for (const user of ['lonely', 'baduid', 'rel', 'up', 'mbox'])
      assert.equal(found(directory, `${user}@x.test`), 'unavailable');
    assert.equal(found(directory, 'ok@x.test'), 'ok');
    assert.deepEqual(
      problems.map((p) => p.slice(0, p.indexOf(': '))),
      [':2', ':3', ':4', ':5', ':6', ':7', ':8', ':9'],
    );
  });
});

test('a changed file is read again, in place or replaced, and looked at no more often than asked', () => {
  withFile('one:x\n', (file) => {
    let now = 0;
    const directory = openPasswdFile({ file, nowMs: () => now });
    writeFileSync(`${file}.new`, 'two:x\n');
    renameSync(`${file}.new`, file);
    now = 999;
    assert.equal(found(directory, 'one@x.test'), 'one');
    now = 1000;
    assert.equal(found(directory, 'one@x.test'), 'unknown');
    assert.equal(found(directory, 'two@x.test'), 'two');
    writeFileSync(file, 'two:x\nthree:x\n');
    now = 2000;
    assert.equal(found(directory, 'three@x.test'), 'three');
  });
});

test('empty, too long and missing files put mail off, and a file that comes back serves again', () => {
  withFile('', (file) => {
    const problems: string[] = [];
    const directory = openPasswdFile({
      file,
      checkIntervalMs: 0,
      maxBytes: 20,
      onProblem: (t) => problems.push(t),
    });
    assert.equal(found(directory, 'one@x.test'), 'unavailable');
    writeFileSync(file, `one:${'x'.repeat(30)}\n`);
    assert.equal(found(directory, 'one@x.test'), 'unavailable');
    unlinkSync(file);
    assert.equal(found(directory, 'one@x.test'), 'unavailable');
    assert.equal(found(directory, 'one@x.test'), 'unavailable');
    assert.equal(problems.length, 3);
    writeFileSync(file, 'one:x\n');
    assert.equal(found(directory, 'one@x.test'), 'one');
  });
});

test('what cannot be read as a file is unavailable', () => {
  withFile('one:x\n', (file) => {
    assert.equal(found(openPasswdFile({ file: path.dirname(file) }), 'one@x.test'), 'unavailable');
    assert.equal(found(openPasswdFile({ file: path.join(file, 'below') }), 'one@x.test'), 'unavailable');
  });
});

test('no line makes the parser throw, and no user gets a relative or climbing path', () => {
  const ids = { uid: () => undefined, gid: () => undefined };
  const piece = fc.constantFrom(
    'a',
    ':',
    'userdb_mail=',
    'maildir:',
    '/',
    '..',
    '%u',
    '%n',
    '%d',
    '~',
    ' ',
    '\0',
    '.',
    '1',
    '\t',
    '%',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 25 }), (pieces) => {
      const entry = parsePasswdLine(pieces.join(''), ids);
      if (entry.kind !== 'user') return;
      for (const p of [entry.user.home, entry.user.maildir]) {
        if (p === undefined) continue;
        assert.ok(p.startsWith('/') && !p.split('/').includes('..') && !p.includes('\0'), p);
      }
    }),
    { numRuns: 3000 },
  );
});
