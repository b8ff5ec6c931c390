import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { extractParts } from '../../mail/extract-address.ts';
import { type ListItem, redirectItems } from './redirect-list.ts';

function items(text: string): readonly ListItem[] {
  return [...redirectItems(text)];
}

/** Addresses as text, other items as `kind text`. */
function shown(text: string): readonly string[] {
  return items(text).map((item) => {
    switch (item.kind) {
      case 'address':
        return `${item.backslash ? '\\' : ''}${item.local}${item.domain === '' ? '' : `@${item.domain}`}`;
      case 'include':
        return `include ${item.file}`;
      case 'file':
      case 'directory':
      case 'pipe':
      case 'fail':
      case 'defer':
      case 'blackhole':
      case 'unknown':
      case 'error':
        return `${item.kind} ${item.text}`;
    }
  });
}

describe('redirection lists', () => {
  test('commas and newlines part items; comments begin an item', () => {
    assert.deepEqual(shown('a, b@x.test\n# all of this, too\n , c, # and this\nd#e'), [
      'a',
      'b@x.test',
      'c',
      'd#e',
    ]);
  });

  test('quotes around a whole item go away; others stay', () => {
    assert.deepEqual(shown('"a@x.test", "b c"@x.test, "Last, First" <d@x.test>, "|/bin/e f,g"'), [
      'a@x.test',
      '"b c"@x.test',
      'd@x.test',
      'pipe |/bin/e f,g',
    ]);
  });

  test('what begins like a path or command and is an address with a domain is an address', () => {
    assert.deepEqual(shown('/x, /x/, /x@y.test, |x, |x@y.test'), [
      'file /x',
      'directory /x/',
      '/x@y.test',
      'pipe |x',
      '|x@y.test',
    ]);
  });

  test('a backslash marks an unqualified address only', () => {
    assert.deepEqual(shown('\\a, \\b@x.test'), ['\\a', '\\b@x.test']);
  });

  test('special items end the list; their text goes to the end of the line', () => {
    assert.deepEqual(shown('a, :fail: gone, really\nb'), ['a', 'fail gone, really']);
    assert.deepEqual(shown(':blackhole:, a'), ['blackhole , a']);
    assert.deepEqual(shown(':include:/a, :include: b'), ['include /a', 'include b']);
  });

  test('source routes and comments with commas are one item', () => {
    assert.deepEqual(shown('@a.test,@b.test:c@d.test, <@a.test,@b.test:e@f.test>, g (x, y) @h.test, ()'), [
      'c@d.test',
      'e@f.test',
      'g@h.test',
    ]);
  });

  test('a malformed item says what is wrong with it', () => {
    assert.deepEqual(shown('a@@b, c d'), [
      'error domain missing or malformed in "a@@b"',
      'error missing or malformed local part (expected word or "<") in "c d"',
    ]);
  });

  test('random text never throws, and addresses found are found again', () => {
    const alphabet = fc.constantFrom(...'ab@.,<>()"\\|/:#\n ;[]1\xe9'.split(''));
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 60 }), (chars) => {
        const text = chars.join('');
        for (const item of items(text)) {
          if (item.kind !== 'address') continue;
          const again = extractParts(item.domain === '' ? item.local : `${item.local}@${item.domain}`);
          assert.ok('local' in again, `${JSON.stringify(text)} gives ${JSON.stringify(item)}`);
          assert.deepEqual([again.local, again.domain], [item.local, item.domain]);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
