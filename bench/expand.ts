// Evaluations a second of CPU time of expansion lines without I/O, a million each: `node bench/expand.ts`. Gates nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expand, expandText, parseTemplate } from '../src/expand/expand.ts';
import type { ExpandScope } from '../src/expand/scope.ts';
import { createLsearch } from '../src/lookup/drivers/lsearch.ts';
import { createLookups } from '../src/lookup/lookups.ts';

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
  [
    'typical condition',
    '${if and{{!eq{$local_part}{}}{or{{eq{$domain}{example.com}}{match_domain{$domain}{example.com}}}}{<{${strlen:$local_part}}{64}}}{yes}{no}}',
  ],
  ['extract', '${extract{2}{:}{${lookup{user7}lsearch{' + file + '}{a:$value}}}}'],
  ['map', '${map{a:b:c}{[$item]}}'],
  ['sg', '${sg{$local_part}{\\N\\d\\N}{x}}'],
];

/** A million in rounds, of which the best counts: the machine has other work too. */
const round = 200_000;
const rounds = 5;

function measure(name: string, answer: string, once: () => ReturnType<typeof expand>): void {
  let best = 0;
  for (let i = 0; i < rounds; i++) {
    const cpu = process.cpuUsage();
    for (let n = 0; n < round; n++) {
      const r = once();
      if (r instanceof Promise || r.kind !== 'ok' || r.text !== answer) throw new Error(name);
    }
    const { user, system } = process.cpuUsage(cpu);
    best = Math.max(best, (round / (user + system)) * 1e6);
  }
  console.log(`${name.padEnd(24)} ${Math.round(best).toLocaleString('en').padStart(12)}/s   ${answer}`);
}

for (const [name, line] of lines) {
  const template = parseTemplate(line);
  if (template.kind !== 'template') throw new Error(`${line}: ${template.reason}`);
  const answer = await expand(template, scope);
  if (answer.kind !== 'ok') throw new Error(`${line}: ${answer.reason}`);
  measure(name, answer.text, () => expand(template, scope));
  measure('  by text, cached', answer.text, () => expandText(line, scope));
}
rmSync(folder, { recursive: true, force: true });
