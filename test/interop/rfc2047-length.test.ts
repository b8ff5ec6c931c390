// check_rfc2047_length: encoded words that are longer than RFC 2047 allows, by the real Exim and by ours.
import assert from 'node:assert/strict';
import path from 'node:path';
import { chmodSync, writeFileSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { root } from '../support/mailchute.ts';
import { findProgram, needs } from '../support/peers.ts';
import { runToEnd, temporaryFolder } from '../support/process.ts';

const folder = temporaryFolder('rfc2047');
chmodSync(folder.path, 0o755);

suite('check_rfc2047_length', { skip: needs('exim4') }, () => {
  after(() => folder.remove());
  for (const value of ['true', 'false'])
    test(value, async () => {
      const file = path.join(folder.path, `${value}.conf`);
      writeFileSync(
        file,
        `primary_hostname = mx.example.test\nspool_directory = ${folder.path}\ncheck_rfc2047_length = ${value}\n`,
      );
      chmodSync(file, 0o644);
      const words = [57, 58, 59, 60, 200].map((n) => `\${rfc2047d:=?utf-8?q?=C3=A4${'x'.repeat(n)}?=}`);
      const ask = async (program: string): Promise<string[]> => {
        const { output } = await runToEnd(program, ['-C', file, '-be', ...words]);
        return output.split('\n').filter((line) => line !== '');
      };
      const theirs = await ask(findProgram('exim4') ?? 'exim4');
      assert.equal(theirs.length, words.length, theirs.join('\n'));
      assert.equal(theirs.filter((line) => line.startsWith('=?')).length === 0, value === 'false');
      assert.deepEqual(await ask(path.join(root, 'bin/exim')), theirs);
    });
});
