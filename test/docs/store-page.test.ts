// Every configuration on docs/store.md is read without an error or a warning, and every option of a store is told there.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { loadProgram } from '../../src/app/program.ts';
import { listOptions } from '../../src/config/reference.ts';
import { formatDiagnostic } from '../../src/mail/diagnostic.ts';
import { root } from '../support/mailchute.ts';
import { temporaryFolder } from '../support/process.ts';

const page = readFileSync(path.join(root, 'docs/store.md'), 'utf8');
const stores = [...page.matchAll(/(?:^ {4}.*\n|^\n(?= {4}))+/gm)]
  .map((m) => m[0].replace(/^ {4}/gm, '').trim())
  .filter((block) => /driver = (?:maildir|mbox)$/m.test(block));

/** What an example leaves out: the sections' names, the directories that it asks. */
function wholeOf(block: string): string {
  const body = block.includes('begin stores') ? block : `begin stores\n${block}`;
  const lists = block.includes('domainlist') ? '' : 'domainlist local_domains = example.test\n';
  if (body.includes('begin directories')) return `${lists}${body}\n`;
  const asked = /directories = (.*)$/m.exec(body)?.[1]?.split(' : ') ?? ['users'];
  const rest = /directories = /.test(body)
    ? ''
    : '        directories = users\n        sockets = /run/lmtp\n';
  const made = asked.map(
    (name) => `${name}:\n  driver = passwd_file\n  file = /etc/mail/users\n  maildir = /m/$local_part_data\n`,
  );
  return `${lists}begin directories\n${made.join('')}${body}\n${rest}`;
}

test('configurations are read without an error', (t) => {
  const folder = temporaryFolder('store-page');
  t.after(() => folder.remove());
  const file = path.join(folder.path, 'conf');
  assert.ok(stores.length >= 10);
  for (const block of stores) {
    writeFileSync(file, wholeOf(block));
    assert.deepEqual(loadProgram(file, new Map()).diagnostics.map(formatDiagnostic), [], block);
  }
});

test('every option of stores is told', () => {
  const options = listOptions().filter((o) => o.status === 'works' && o.section.startsWith('store'));
  assert.ok(options.length > 50);
  assert.deepEqual(
    options.map((o) => o.name).filter((name) => !new RegExp(`\\b(?:no_)?${name}\\b`).test(page)),
    [],
  );
});
