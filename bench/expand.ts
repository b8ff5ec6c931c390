// Evaluations a second of expansion lines, one core, no I/O: `node bench/expand.ts`. Gates nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expand, expandText, parseTemplate } from '../src/expand/expand.ts';
import type { ExpandScope } from '../src/expand/scope.ts';
import { createLsearch } from '../src/lookup/drivers/lsearch.ts';
import { createLookups } from '../src/lookup/lookup.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-bench-'));
const file = path.join(folder, 'aliases');
writeFileSync(file, Array.from({ length: 1000 }, (_, i) => `user${i}: mailbox${i}\n`).join(''));

const scope: ExpandScope = {
  main: {
    primaryHostname: 'mx.example.test',
    qualifyDomain: 'example.test',
    qualifyRecipient: 'example.test',
    spoolDirectory: '/var/spool/mailchute',
    configFile: '/etc/mailchute.conf',
  },
  services: {
    lookup: createLookups([createLsearch()]),
    matchList: (_kind, list, subject) => (list === subject ? { kind: 'yes' } : { kind: 'no' }),
  },
  address: { local: 'user500', domain: 'Example.COM' },
};

const lines: readonly (readonly [string, string])[] = [
  ['text', 'just text'],
  ['variable', '$local_part@$domain'],
  ['if eq', '${if eq{${lc:$domain}}{example.com}{yes}{no}}'],
  [
    'if and lookup',
    `\${if eq{\${lc:$domain}}{example.com}{\${lookup{$local_part}lsearch{${file}}{$value}{none}}}{no}}`,
  ],
  ['if match', String.raw`$` + '{if match{$local_part}{\\N^user(\\d+)$\\N}{$1}{no}}'],
  ['map', '${map{a:b:c}{[$item]}}'],
  ['sg', '${sg{$local_part}{\\N\\d\\N}{x}}'],
];

const round = 200_000;
for (const [name, line] of lines) {
  const template = parseTemplate(line);
  if (template.kind !== 'template') throw new Error(`${line}: ${template.reason}`);
  const answer = await expand(template, scope);
  if (answer.kind !== 'ok') throw new Error(`${line}: ${answer.reason}`);
  let best = 0;
  for (let i = 0; i < 6; i++) {
    const start = performance.now();
    for (let n = 0; n < round; n++) {
      const r = expand(template, scope);
      if (r instanceof Promise || r.kind !== 'ok' || r.text !== answer.text) throw new Error(line);
    }
    best = Math.max(best, (round / (performance.now() - start)) * 1000);
  }
  console.log(`${name.padEnd(16)} ${Math.round(best).toLocaleString('en').padStart(12)}/s   ${answer.text}`);
}
const start = performance.now();
for (let n = 0; n < round; n++) void expandText(lines[3]?.[1] ?? '', scope);
console.log(
  `${'by text, cached'.padEnd(16)} ${Math.round((round / (performance.now() - start)) * 1000)
    .toLocaleString('en')
    .padStart(12)}/s`,
);
rmSync(folder, { recursive: true, force: true });
