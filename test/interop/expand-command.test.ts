// `exim -be` as a command: arguments, lines of standard input with continuations, -D, -bem; the same output as the real one.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { findProgram, needs } from '../support/peers.ts';
import { makeFiles } from './expand-world.ts';

const ours = path.join(import.meta.dirname, '../../bin/exim');
const skip = needs('exim4');

let folder = '';
before(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'mailchute-be-'));
  makeFiles(folder);
});
after(() => rmSync(folder, { recursive: true, force: true }));

function run(
  program: string,
  words: readonly string[],
  input: string,
): { status: number | null; out: string } {
  const r = spawnSync(program, ['-C', path.join(folder, 'main.conf'), ...words], {
    input: Buffer.from(input, 'latin1'),
    encoding: 'latin1',
    env: { ...process.env, TZ: 'UTC' },
    timeout: 60_000,
  });
  return { status: r.status, out: r.stdout };
}

function same(words: readonly string[], input = ''): void {
  const theirs = run(findProgram('exim4') ?? 'exim4', words, input);
  assert.notEqual(theirs.out, '', 'the real one says something');
  assert.deepEqual(run(ours, words, input), theirs, `${words.join(' ')} with ${JSON.stringify(input)}`);
}

test('arguments are expanded one a line, whatever they say', { skip }, () => {
  same([
    '-be',
    '$primary_hostname',
    '',
    ' a ',
    '${bad',
    '${if eq{a}{a}{yes}fail}',
    '${if eq{a}{b}{yes}fail}',
  ]);
  same(['-be', 'caf\u00e9 ${length_4:caf\u00e9}', '${escape:caf\u00e9}', '--', '-x']);
  same(['-be', '$sender_address $sender_ident $authenticated_id $return_path.']);
});

test('lines of standard input, with a prompt each', { skip }, () => {
  for (const input of [
    '',
    '\n',
    'a\n\n  b  \nc',
    'a\\\n   b  \\\n  c\nd \\  \n e\n\\\nf\nx\\',
    '${if eq{a}{\\\na}{y}{n}}\n#c\nquit\n',
    '   lead \ttrail  \\ \nx\n',
    '${uc:\xe9abc}\n',
  ])
    same(['-be'], input);
});

test('macros of -D and of the configuration are replaced, and new ones defined', { skip }, () => {
  same(['-be', '-DCOMMAND_MACRO=by.test', '$qualify_domain', 'COMMAND_MACRO', 'a WORLD_MACRO', '_HAVE_IPV6']);
  const input = [
    'FOO=bar',
    'FOO',
    '${uc:FOO}',
    'FOO == baz',
    'xFOOx',
    'FOO_=1',
    'Q==3',
    'AB = ${uc:x}',
    'AB',
    'Hello',
    'WORLD_MACRO',
    ' WORLD_MACRO',
    'EMPTY=',
    '[EMPTY]',
  ];
  same(['-be'], input.join('\n'));
});

test('-bem lets expansions see a message', { skip }, () => {
  const message = path.join(folder, 'message');
  same(['-bem', message], '$h_subject:\n$message_body\n$message_size\n$h_x-fold:\n');
  const missing = run(ours, ['-bem', path.join(folder, 'nosuch')], '$h_subject:\n');
  assert.deepEqual(missing, { status: 1, out: '' });
  assert.equal(run(ours, ['-bem'], '').status, 1);
});

test('ACLs can be called', { skip }, () => {
  same([
    '-be',
    '${acl{a1}{x}}|${acl{a2}}|${acl{a4}}',
    '${acl{a3}}',
    '${acl{nosuch}}',
    '${if acl{{a2}}{y}{n}}',
  ]);
});
