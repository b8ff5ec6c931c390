// An option that is said to work must be read by somebody: none is parsed and then forgotten.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { listOptions } from '../reference.ts';
import { ignoredReasons, refusedReasons } from './reasons.ts';
import {
  authenticatorSection,
  directorySection,
  mainOptions,
  routerSection,
  storeSection,
  transportSection,
} from './tables.ts';

const app = path.join(import.meta.dirname, '../../app');
const code = readdirSync(app, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  .map((name) => readFileSync(path.join(app, name), 'utf8'))
  .join('\n');

/** Read by this folder itself: what it may say is settled when the file is checked. */
const settledHere = new Set(['log_selector']);

test('every option that works is read by the application', () => {
  const unread = listOptions().filter(
    (o) =>
      o.status === 'works' &&
      !settledHere.has(o.name) &&
      !new RegExp(`(?:\\.|[{,]\\s*)${o.name}\\b`).test(code),
  );
  assert.deepEqual(
    unread.map((o) => `${o.section} ${o.name}`),
    [],
  );
});

test('every reason is used', () => {
  const sections = [routerSection, transportSection, authenticatorSection, storeSection, directorySection];
  const drivers = sections.flatMap((s) => [...s.drivers.values()]);
  const tables = [mainOptions, sections.map((s) => s.options), drivers.map((d) => [d.options, d.status])];
  const used = JSON.stringify(tables);
  for (const key of [...Object.keys(refusedReasons), ...Object.keys(ignoredReasons)])
    assert.ok(used.includes(`"${key}"`), key);
});

test('the reference has every option once, with a reason where it does not work', () => {
  const options = listOptions();
  assert.equal(new Set(options.map((o) => `${o.section} ${o.name}`)).size, options.length);
  assert.ok(options.length > 550);
  for (const o of options) assert.equal(o.status === 'works', o.note === undefined, o.name);
});
