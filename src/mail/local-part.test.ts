import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { isSyntaxError, parseAddress } from './address.ts';
import { lowerAscii, quoteLocalPart, unquoteLocalPart } from './local-part.ts';

test('quotes are written only where the grammar needs them', () => {
  const cases = [
    ['user', 'user'],
    ['a.b+c', 'a.b+c'],
    ['us/er', 'us/er'],
    ['caf\xe9', 'caf\xe9'],
    ['a b', '"a b"'],
    ['../x', '"../x"'],
    ['.', '"."'],
    ['', '""'],
    ['a"b\\c', '"a\\"b\\\\c"'],
  ] as const;
  for (const [name, written] of cases) assert.equal(quoteLocalPart(name), written);
});

test('what is written is an address again, and means the same', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[\x20-\x7e\x80-\xff]{1,20}$/), (name) => {
      const written = quoteLocalPart(name);
      assert.equal(unquoteLocalPart(written), name);
      const parsed = parseAddress(`${written}@example.test`);
      assert.ok(!isSyntaxError(parsed) && parsed.local === written, written);
    }),
  );
});

test('needless quoting is taken off, and only ASCII letters change case', () => {
  assert.equal(unquoteLocalPart('"user"'), 'user');
  assert.equal(unquoteLocalPart('"u\\s\\"er"'), 'us"er');
  assert.equal(unquoteLocalPart('"'), '');
  assert.equal(lowerAscii('USER\xc3\x89'), 'user\xc3\x89');
});
