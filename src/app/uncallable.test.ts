import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/process.ts';
import { loadProgram } from './program.ts';

test('a router to a file, a command or a reply is warned of where an ACL wants callouts', (t) => {
  const folder = temporaryFolder('uncallable');
  t.after(() => folder.remove());
  const warnings = (verify: string, router: string): string[] => {
    const file = path.join(folder.path, 'conf');
    writeFileSync(
      file,
      `acl_smtp_rcpt = rcpt
begin acl
rcpt:
  require verify = ${verify}
  accept
begin routers
r:
  driver = accept
  ${router}
begin transports
file:
  driver = appendfile
  file = /dev/null
store:
  driver = lmtp
  socket = /run/store
`,
    );
    return loadProgram(file, new Map()).diagnostics.map(
      (d) => `${d.severity} ${d.position.line}: ${d.message}`,
    );
  };
  const text =
    'warning 9: appendfile transport file has nobody to ask: verify = recipient/callout in line 4 takes every address that the router r takes';
  assert.deepEqual(warnings('recipient/callout', 'transport = file'), [text]);
  assert.deepEqual(warnings('sender/callout=defer_ok', 'transport = file'), []);
  assert.deepEqual(warnings('recipient/callout', 'transport = store'), []);
  assert.deepEqual(warnings('recipient', 'transport = file'), []);
  assert.deepEqual(warnings('recipient/callout', 'transport = file\n  no_verify_recipient'), []);
  assert.deepEqual(warnings('recipient/callout', 'transport = ${if eq{a}{b}{store}{file}}'), []);
});
