import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseEximArguments } from '../../src/cli/exim-arguments.ts';
import { listDrivers, listOptions } from '../../src/config/reference.ts';
import { parseTimeInterval } from '../../src/mail/time-interval.ts';
import { withGeneratedParts } from './exim-compatibility.ts';

const docs = path.resolve(import.meta.dirname, '../../docs');
const read = (name: string): string => readFileSync(path.join(docs, name), 'utf8');
const document = read('exim-compatibility.md');

test('the generated parts are current (else run `npm run docs`)', () => {
  assert.equal(document, withGeneratedParts(document));
});

test('a mark that is missing or unknown is told', () => {
  assert.throws(() => withGeneratedParts(''), /no place for/);
  assert.throws(() => withGeneratedParts('<!-- generated: x -->\n<!-- end -->'), /no generated part x/);
});

test('every option of a driver that works, and of the sections, is named', () => {
  const refused = new Set(
    listDrivers()
      .filter((d) => d.refused !== undefined)
      .map((d) => `${d.section} ${d.name}`),
  );
  const missing = listOptions().filter((o) => {
    if (refused.has(o.section) || (/^(?:store|director)/.test(o.section) && o.status !== 'works'))
      return false;
    return !document.includes(`\`${o.name}\``);
  });
  assert.deepEqual(missing, []);
});

test('the command line takes what the document says, and no more', () => {
  const section = /^## Command line\n(.*?)^## /ms.exec(document)?.[1] ?? '';
  const rows = [...section.matchAll(/^\| `(-[^`]+)` \|/gm)].map((m) => m[1] ?? '');
  assert.ok(rows.length > 8, section);
  for (const words of rows) {
    // Those that choose no mode stand beside one that does.
    const given = [words.split(' '), [...words.split(' '), '-bdf'], [...words.split(' '), '-bP']];
    const parsed = given.map((w) => parseEximArguments(w, parseTimeInterval).kind);
    assert.ok(parsed.includes('ok'), words);
  }
  const refused = /^Refused: (.*)\.$/m.exec(section)?.[1]?.match(/-\w+/g) ?? [];
  assert.ok(refused.length > 5);
  for (const word of refused)
    assert.equal(parseEximArguments([word, 'x'], parseTimeInterval).kind, 'usage', word);
});

test('what the documents point at is there', () => {
  for (const name of globSync('*.md', { cwd: docs })) {
    const text = read(name);
    const links = [...text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map((m) => m[1] ?? '');
    const sources = [...text.matchAll(/`((?:src|test|bench|etc|bin)\/[\w./*-]+?)`/g)].map(
      (m) => `../${m[1] ?? ''}`,
    );
    for (const link of [...links, ...sources])
      assert.ok(
        link.includes('*') ? globSync(link, { cwd: docs }).length > 0 : existsSync(path.join(docs, link)),
        `${name}: ${link}`,
      );
  }
});
