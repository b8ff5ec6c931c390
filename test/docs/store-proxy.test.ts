// The examples of docs/store.md, "Proxy", are read without an error, mean what the page says, and every option is told there.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { loadProgram } from '../../src/app/program.ts';
import { listOptions } from '../../src/config/reference.ts';
import { readProxyFields } from '../../src/directory/proxy-fields.ts';
import { formatDiagnostic } from '../../src/mail/diagnostic.ts';
import { root } from '../support/mailchute.ts';
import { temporaryFolder } from '../support/process.ts';

const page = readFileSync(path.join(root, 'docs/store.md'), 'utf8');
const section = /^## Proxy.*?\n(.*?)(?=^## |(?![\s\S]))/ms.exec(page)?.[1] ?? '';
const blocks = [...section.matchAll(/(?:^ {4}.*\n|^\n(?= {4}))+/gm)].map((m) =>
  m[0].replace(/^ {4}/gm, '').trim(),
);

test('the configurations of both machines are read without an error', (t) => {
  const folder = temporaryFolder('store-proxy-md');
  t.after(() => folder.remove());
  const file = path.join(folder.path, 'conf');
  const [front = '', , back = ''] = blocks;
  const directories = front.slice(0, front.indexOf('begin stores'));
  for (const config of [front, directories + back]) {
    assert.match(config, /begin stores/);
    writeFileSync(file, `${config}\n`);
    assert.deepEqual(loadProgram(file, new Map()).diagnostics.map(formatDiagnostic), []);
  }
});

test('the entries name the backends that the page tells of', () => {
  const entries = (blocks[1] ?? '').split('\n').map((line) => {
    const [user = '', ...rest] = line.split(':');
    const fields = rest
      .slice(6)
      .join(':')
      .split(' ')
      .map((f) => f.split('=') as [string, string]);
    return [user.split('@')[0], readProxyFields(new Map(fields))];
  });
  assert.deepEqual(entries, [
    ['alice', { host: '10.0.0.11', port: 24 }],
    ['bob', { host: '10.0.0.12', port: 2424, timeoutMs: 30_000 }],
    ['carol', { host: '10.0.0.11', port: 24, recipient: 'carol@store.example.org', tls: 'starttls' }],
    ['dave', undefined],
  ]);
});

test('every option of proxying is told with its default', () => {
  const options = listOptions().filter((o) => o.section === 'stores' && o.name.startsWith('proxy_'));
  assert.equal(options.length, 5);
  for (const { name } of options) assert.match(section, new RegExp(`^\\| \`${name}\` \\|`, 'm'));
});
