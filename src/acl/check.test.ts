import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDiagnostic } from '../mail/diagnostic.ts';
import { checkAcls, type AclUse } from './check.ts';
import type { AclPhase } from './tables.ts';
import { readAcl } from './test-support.ts';

function problems(
  acls: Readonly<Record<string, string>>,
  ...uses: readonly (readonly [AclPhase, string])[]
): string[] {
  const map = new Map(Object.entries(acls).map(([name, text]) => [name, readAcl(name, text)]));
  const all = uses.map(
    ([phase, text]): AclUse => ({
      option: `acl_smtp_${phase}`,
      phase,
      value: { text, position: { file: 'test.conf', line: 99, column: 1 } },
    }),
  );
  return checkAcls(map, all).map(formatDiagnostic);
}

test('an ACL is fit for where it is used', () => {
  const acls = {
    rcpt: 'accept domains = a.test\n  verify = recipient\n  acl = other',
    other: 'accept recipients = x@y',
  };
  assert.deepEqual(problems(acls, ['rcpt', 'rcpt']), []);
  assert.deepEqual(problems(acls, ['mail', 'rcpt']), [
    'test.conf:1: cannot test domains condition in MAIL ACL (acl_smtp_mail)',
    'test.conf:2: cannot verify recipient in ACL for MAIL (acl_smtp_mail)',
    'test.conf:1: cannot test recipients condition in MAIL ACL (acl_smtp_mail)',
  ]);
});

test('controls, discard and acl_m variables need a message', () => {
  const acls = { a: 'discard control = freeze\n  add_header = X: y\n  set acl_m0 = 1\n  set acl_c0 = 1' };
  assert.deepEqual(problems(acls, ['data', 'a']), []);
  assert.deepEqual(problems(acls, ['helo', 'a']), [
    'test.conf:1: "discard" is not allowed in EHLO or HELO ACL (acl_smtp_helo)',
    'test.conf:1: cannot use "control=freeze" in EHLO or HELO ACL (acl_smtp_helo)',
    'test.conf:2: cannot use add_header in EHLO or HELO ACL (acl_smtp_helo)',
    'test.conf:3: cannot set acl_m0 in EHLO or HELO ACL: there is no message yet (acl_c variables last for the connection) (acl_smtp_helo)',
  ]);
});

test('what is called exists', () => {
  assert.deepEqual(
    problems(
      { main: 'accept acl = mian', mine: 'accept' },
      ['rcpt', 'man'],
      ['mail', 'accept'],
      ['vrfy', '${x'],
    ),
    [
      'test.conf:99: there is no ACL "man" (did you mean "main"?)',
      'test.conf:1: there is no ACL "mian" (did you mean "main"?)',
    ],
  );
});

test('ACLs that call each other are checked once', () => {
  assert.deepEqual(problems({ a: 'accept acl = b', b: 'accept acl = a' }, ['rcpt', 'a']), []);
});
