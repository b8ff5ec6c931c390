// The examples of docs/store.md, "Users", are read without an error, and every option of directories is told there.
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
const users = /^## Users\n(.*?)(?=^## |(?![\s\S]))/ms.exec(page)?.[1] ?? '';

/** Indented blocks, without their indent. */
const blocks = [...users.matchAll(/(?:^ {4}.*\n|^\n(?= {4}))+/gm)].map((m) =>
  m[0].replace(/^ {4}/gm, '').trim(),
);

const storeOf = (name: string): string =>
  `begin stores\nbox:\n driver = maildir\n listen = <; 127.0.0.1:24\n directories = ${name}\n maildir = /m/$local_part_data\n`;
const staff = 'begin directories\nstaff:\n driver = passwd_file\n file = /u\n';

/** An example as a whole file. */
function configOf(block: string): string {
  const lists = 'domainlist local_domains = example.test\n';
  if (block.includes('begin ')) return `${lists}${block}\n`;
  const name = block.slice(0, block.indexOf(':'));
  return block.includes('driver = maildir')
    ? `${lists}${staff}begin stores\n${block}\n`
    : `${lists}begin directories\n${block}\n${storeOf(name)}`;
}

test('examples are read without an error', (t) => {
  const folder = temporaryFolder('store-md');
  t.after(() => folder.remove());
  const file = path.join(folder.path, 'conf');
  assert.ok(blocks.length >= 6, users.slice(0, 200));
  for (const block of blocks) {
    writeFileSync(file, configOf(block));
    assert.deepEqual(loadProgram(file, new Map()).diagnostics.map(formatDiagnostic), [], block);
  }
});

test('every option of directories, and of stores about users, is told', () => {
  const own = new Set(['directories', 'domains', 'aliases', 'catch_all', 'recipient_delimiter']);
  const options = listOptions().filter(
    (o) =>
      o.status === 'works' &&
      (o.section.startsWith('director') || (o.section === 'stores' && own.has(o.name))),
  );
  assert.ok(options.length > 30);
  assert.deepEqual(
    options.map((o) => o.name).filter((name) => !new RegExp(`\\b(?:no_)?${name}\\b`).test(users)),
    [],
  );
});
