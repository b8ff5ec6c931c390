// Lookups in files: the same question about the same files to the real Exim's `-be` and to ours.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { expandText } from '../../src/expand/expand.ts';
import { compileRegex } from '../../src/expand/regex.ts';
import type { ExpandScope } from '../../src/expand/scope.ts';
import { createCdb } from '../../src/lookup/drivers/cdb.ts';
import { createDsearch } from '../../src/lookup/drivers/dsearch.ts';
import { createLsearch } from '../../src/lookup/drivers/lsearch.ts';
import { createPasswd } from '../../src/lookup/drivers/passwd.ts';
import {
  createIplsearch,
  createNwildlsearch,
  createWildlsearch,
} from '../../src/lookup/drivers/wildlsearch.ts';
import { createLookups } from '../../src/lookup/lookups.ts';
import { cdbFile } from '../support/cdb-file.ts';
import { eximSpool } from '../support/exim-be.ts';
import { needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

const folder = temporaryFolder('files');
const file = (name: string): string => path.join(folder.path, name);

const plain = `# comment
alice: one
Bob : two words
carol three
dave
"quoted key": four
"esc\\"aped": five
long: a,
  b,
# in between

	c
colon: :fail: no
empty:
*.wild.test: star
*: default
*@at.test: at default
x@at.test: at
.dot.test: dotted
dup: first
dup: second
`;
const keys = [
  'alice',
  'ALICE',
  'bob',
  'carol',
  'dave',
  'quoted key',
  'esc"aped',
  'long',
  'colon',
  'empty',
  'nope',
  '*',
  'dup',
  'x@at.test',
  'y@at.test',
  'a.b.wild.test',
  'wild.test',
  'a.dot.test',
  '#',
  'Bob ',
  'two',
];
const wild = `*.example.test: suffix
*fish: fish
^x\\d+$: regex
^CASE: caseless
^(?-i)lower: case
plain: plain
`;
const wildKeys = [
  'a.example.test',
  'example.test',
  'goldFISH',
  'fish',
  'x12',
  'y12',
  'Case',
  'lower',
  'LOWER',
  'Plain',
  'nope',
];
const networks = `192.0.2.1: host
192.0.2.0/24: net
"2001:db8::1": six
"2001:db8::/32" six net
10.0.0.0/8 ten
`;
const addresses = [
  '192.0.2.1',
  '192.0.2.9',
  '2001:db8::1',
  '2001:DB8:0::5',
  '10.1.2.3',
  '11.0.0.1',
  'name',
  '::ffff:192.0.2.1',
];

const lookup = (key: string, type: string, where: string): string =>
  `\${lookup{${key}}${type}{${where}}{<$value|$1|$2>}{none}}`;

const questions: readonly string[] = [
  ...[
    'lsearch',
    'lsearch*',
    'lsearch*@',
    'partial-lsearch',
    'partial1-lsearch',
    'partial0-lsearch',
    'partial(.)lsearch',
    'partial1()lsearch',
    'partial3-lsearch*',
    'lsearch,ret=full',
    'lsearch,ret=key',
    'lsearch*,ret=key',
    'lsearch,cache=no_rd',
  ].flatMap((type) => keys.map((key) => lookup(key, type, file('plain')))),
  ...['cdb', 'cdb*', 'cdb*@', 'partial-cdb', 'partial(.)cdb', 'cdb,ret=key'].flatMap((type) =>
    keys.map((key) => lookup(key, type, file('data.cdb'))),
  ),
  ...['nwildlsearch', 'wildlsearch', 'nwildlsearch,ret=full'].flatMap((type) =>
    wildKeys.map((key) => lookup(key, type, file(type.startsWith('w') ? 'expanded' : 'wild'))),
  ),
  ...['iplsearch', 'iplsearch,ret=full'].flatMap((type) =>
    addresses.map((key) => lookup(key, type, file('networks'))),
  ),
  ...[
    'dsearch',
    'dsearch,ret=full',
    'dsearch,filter=file',
    'dsearch,filter=dir',
    'dsearch,filter=subdir',
    'dsearch,ret=full,filter=dir',
    'dsearch,ret=full,filter=file',
  ].flatMap((type) =>
    ['plain', 'sub', 'link', 'nope', '.', '..', 'sub/x', 'PLAIN'].map((key) =>
      lookup(key, type, folder.path),
    ),
  ),
  ...['root', 'nobody', 'nope', ''].map((user) => `\${lookup passwd{${user}}{<$value>}{none}}`),
  ...['lsearch', 'cdb', 'dsearch', 'nwildlsearch', 'iplsearch'].flatMap((type) => [
    lookup('a', type, '/nonexistent/file'),
    lookup('a', type, 'relative'),
  ]),
  lookup('', 'lsearch', file('plain')),
  lookup('', 'cdb', file('data.cdb')),
  lookup('', 'dsearch', folder.path),
  lookup('alice', 'cdb', file('plain')),
  lookup('alice', 'lsearch', folder.path),
  lookup('alice', 'nothere', file('plain')),
  lookup('alice', 'partial-dsearch', folder.path),
  lookup('192.0.2.1', 'partial-iplsearch', file('networks')),
];

/** Exim gives for `$1` the key without its last letter where `partial0-` ends at the key `*`; here it is the whole key. */
function known(question: string, answer: string | undefined): string | undefined {
  if (!question.includes('partial0-') || !/^<default\|.*\|>$/.test(answer ?? '')) return answer;
  return `<default|${question.slice('${lookup{'.length, question.indexOf('}'))}|>`;
}

suite('lookups in files agree with the real Exim', { skip: needs('exim4') }, () => {
  before(() => {
    const files: Readonly<Record<string, string | Buffer>> = {
      plain,
      wild,
      // Each key is expanded: a backslash and a dollar have to be written so.
      expanded: wild.replace('^x\\d+$', '^x\\N\\d+$\\N'),
      networks,
      'data.cdb': cdbFile([
        ['alice', 'one'],
        ['bob', 'two'],
        ['*', 'default'],
        ['*@at.test', 'at default'],
        ['x@at.test', 'at'],
        ['*.wild.test', 'star'],
        ['.dot.test', 'dotted'],
        ['dup', 'first'],
        ['dup', 'second'],
        ['empty', ''],
      ]),
      'exim.conf': `primary_hostname = mx.example.test\n${eximSpool(folder.path)}keep_environment =\n`,
    };
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(file(name), text);
      chmodSync(file(name), 0o644);
    }
    mkdirSync(file('sub'));
    symlinkSync('nowhere', file('link'));
  });
  after(() => folder.remove());

  test(`${questions.length} questions`, async () => {
    const { output } = await runToEnd('/usr/sbin/exim4', ['-C', file('exim.conf'), '-be', ...questions]);
    const theirs = output
      .split('\n')
      .filter((l) => /^(?:<.*>|none)$|^Failed: /.test(l))
      .map((l) => (l.startsWith('Failed: ') ? 'failed' : l));
    assert.equal(theirs.length, questions.length, 'one answer a question');
    const wildServices = {
      matchRegex(pattern: string, subject: string): boolean | string {
        const regex = compileRegex(pattern, { caseless: true });
        return regex.kind === 'error' ? regex.reason : regex.match(subject) !== undefined;
      },
      async expandKey(key: string): Promise<string | undefined> {
        const r = await expandText(key, scope);
        return r.kind === 'ok' ? r.text : undefined;
      },
    };
    const drivers = [
      createLsearch(),
      createCdb(),
      createDsearch(),
      createPasswd(),
      createIplsearch(),
      createNwildlsearch(wildServices),
      createWildlsearch(wildServices),
    ];
    const scope: ExpandScope = {
      main: {
        primaryHostname: 'h',
        qualifyDomain: 'h',
        qualifyRecipient: 'h',
        spoolDirectory: '/',
        configFile: '/',
      },
      services: { lookup: createLookups(drivers), matchList: () => ({ kind: 'no' }) },
    };
    const different: string[] = [];
    for (const [i, question] of questions.entries()) {
      const r = await expandText(question, scope);
      const mine = r.kind === 'ok' ? r.text : 'failed';
      if (mine !== known(question, theirs[i])) different.push(`${question}: exim ${theirs[i]}, ours ${mine}`);
    }
    for (const driver of drivers) await driver.close?.();
    assert.deepEqual(different, []);
  });
});
