import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { joinList, readList, splitList } from './list-text.ts';

// As the real Exim 4.96 takes them apart with ${map}.
const texts: readonly (readonly [text: string, items: readonly string[]])[] = [
  ['a:b', ['a', 'b']],
  [':', ['']],
  ['::', [':']],
  ['a:', ['a']],
  ['a: :', ['a', '']],
  [': a', ['', 'a']],
  ['a::b', ['a:b']],
  ['a:::b', ['a:', 'b']],
  ['a::::b', ['a::b']],
  ['<;a;b:c', ['a', 'b:c']],
  ['<; a ;; b ; c', ['a ; b', 'c']],
  ['<  a', ['<  a']],
  ['<:a', ['a']],
  ['<<a<b', ['a', 'b']],
  ['< a:b', ['< a', 'b']],
  ['', []],
  ['  ', []],
  ['  a b  :  c ', ['a b', 'c']],
  ['a\\ :b', ['a\\ ', 'b']],
  ['x\\  : b', ['x\\ ', 'b']],
  ['<;', []],
  ['<; ', []],
  ['<;;', ['']],
  ['<', []],
  ['<,a,,b', ['a,b']],
  [';a', [';a']],
  ['<a:b', ['<a', 'b']],
  [':::', [':']],
  [': :', ['', '']],
  ['a: :b', ['a', '', 'b']],
  ['<\n a\nb\n\nc\n \nd', ['a', 'b', '', 'c', '', 'd']],
  ['<\t a\tb \t\tc', ['a', 'b', '', 'c']],
];

test('lists are taken apart as Exim does it', () => {
  for (const [text, items] of texts) assert.deepEqual(splitList(text), items, JSON.stringify(text));
});

test('the separator is told', () => {
  assert.equal(readList('a:b').separator, ':');
  assert.equal(readList(' <; a').separator, ';');
  assert.equal(readList('<\na').separator, '\n');
});

const item = fc.stringMatching(/^(?:[!-~](?:[ -~]*[!-~])?)?$/).filter((t) => !/\\ /.test(t));

test('what is joined is taken apart again', () => {
  fc.assert(
    fc.property(fc.array(item), fc.constantFrom(':', ';', '|', ',', '<'), (items, separator) => {
      assert.deepEqual(splitList(joinList(items, separator)), items);
    }),
  );
});

test('any text is a list', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => Array.isArray(splitList(text))));
});
