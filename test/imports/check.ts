// Holds the import table (.dependency-cruiser.cjs): every module of src/ must have been seen, none may break a rule, and
// the fixture, which breaks three, must be refused, so that a checker that silently sees nothing cannot pass.
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
interface Violation {
  readonly rule: { readonly name: string };
  readonly from: string;
  readonly to: string;
}
interface Result {
  readonly modules: readonly { readonly source: string }[];
  readonly summary: { readonly violations: readonly Violation[] };
}

function cruise(folder: string): Result {
  const binary = path.join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const run = spawnSync(
    process.execPath,
    [binary, '--config', path.join(root, '.dependency-cruiser.cjs'), '--output-type', 'json', 'src'],
    { cwd: folder, encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  if (run.stdout === '') throw new Error(`dependency-cruiser said nothing: ${run.stderr}`);
  return JSON.parse(run.stdout) as Result;
}

const problems: string[] = [];
const real = cruise(root);
const seen = new Set(real.modules.map((m) => m.source));
// Tests may import anything, and swc does not read all of their syntax.
const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !file.endsWith('.test.ts'));
for (const file of files) if (!seen.has(file)) problems.push(`${file}: not seen by dependency-cruiser`);
for (const v of real.summary.violations) problems.push(`${v.from}: imports ${v.to} against ${v.rule.name}`);

const fixture = cruise(path.join(import.meta.dirname, 'fixture'));
const broken = new Set(fixture.summary.violations.map((v) => v.rule.name));
for (const rule of ['imports-of-mail', 'imports-of-smtp', 'no-cycles'])
  if (!broken.has(rule)) problems.push(`fixture: rule ${rule} let a broken import pass`);

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`imports: ${files.length} modules seen, none against the table; the fixture was refused`);
