import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { addDefine, maxDefines } from './define.ts';

test('-D in its forms', () => {
  const defines = new Map<string, string>();
  for (const word of ['-DAB=c', '-DB', '-DC=', '-D D = e f ', '-DE==x', '-DFa_1=y'])
    assert.equal(addDefine(word, defines), undefined, word);
  assert.deepEqual(
    [...defines],
    [
      ['AB', 'c'],
      ['B', ''],
      ['C', ''],
      ['D', 'e f '],
      ['E', '=x'],
      ['Fa_1', 'y'],
    ],
  );
});

test('what -D may not be', () => {
  const defines = new Map([['A', '']]);
  const capital = 'macro name set by -D must start with an upper case letter';
  for (const word of ['-D', '-D=', '-Da=b', '-D_A=b', '-D1=b'])
    assert.equal(addDefine(word, defines), capital);
  assert.equal(addDefine('-DA=2', defines), 'duplicated -D in command line');
  assert.match(addDefine('-DB y', defines) ?? '', /^unknown, malformed, or incomplete option -DB y$/);
  for (let i = 1; i < maxDefines; i++) assert.equal(addDefine(`-DX${i}=`, defines), undefined);
  assert.equal(addDefine('-DY', defines), 'too many -D options on command line');
});

test('no word breaks it, and a value comes back as it was given', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      addDefine(`-D${text}`, new Map());
      const defines = new Map<string, string>();
      assert.equal(addDefine(`-DX=x${text}`, defines), undefined);
      assert.equal(defines.get('X'), `x${text}`);
    }),
  );
});
