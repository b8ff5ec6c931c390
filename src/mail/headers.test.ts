import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, constantFrom, property, string } from 'fast-check';
import { findHeader, headerBody, inAngleBrackets, parseHeaderFields } from './headers.ts';

test('fields keep their folding, and the blank line ends them', () => {
  const fields = parseHeaderFields('A: one\r\n two\r\nb:x\r\n\r\nC: body\r\n');
  assert.deepEqual(fields, [
    { name: 'A', raw: 'A: one\r\n two\r\n' },
    { name: 'b', raw: 'b:x\r\n' },
  ]);
  assert.equal(headerBody(fields[0] ?? { name: '', raw: '' }), 'one two');
  assert.equal(findHeader(fields, 'B')?.raw, 'b:x\r\n');
  assert.equal(findHeader(fields, 'C'), undefined);
});

test('a line that is no field has no name, and nothing is lost', () => {
  assert.deepEqual(parseHeaderFields('no colon here\r\nbad name: x\r\n'), [
    { name: '', raw: 'no colon here\r\n' },
    { name: '', raw: 'bad name: x\r\n' },
  ]);
  check(
    property(string({ unit: constantFrom('a', ':', ' ', '\r\n', '\r\n ', '\t') }), (text) => {
      const joined = parseHeaderFields(text)
        .map((f) => f.raw)
        .join('');
      assert.ok(text.startsWith(joined));
      assert.ok(joined.length === text.length || text.startsWith('\r\n', joined.length));
    }),
  );
});

test('the id of a Message-ID, whatever stands around it', () => {
  assert.equal(inAngleBrackets('(a) <one@a.test> <two@a.test>'), 'one@a.test');
  assert.equal(inAngleBrackets('>x<y>'), 'y');
  assert.equal(inAngleBrackets('<<a>'), '<a');
  assert.equal(inAngleBrackets('<>'), '');
  for (const none of ['', 'a', '<', '>', '> <', '<'.repeat(1_000_000)])
    assert.equal(inAngleBrackets(none), undefined);
});
