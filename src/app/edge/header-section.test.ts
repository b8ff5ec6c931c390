import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { headerSection } from './header-section.ts';

function gathered(content: string, sizes: readonly number[], maxOctets = 1000): string | undefined {
  const section = headerSection(maxOctets);
  const octets = Buffer.from(content, 'latin1');
  for (let at = 0, i = 0; at < octets.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1);
    section.take(Uint8Array.from(octets.subarray(at, at + size)));
    at += size;
  }
  return section.text();
}

test('the section ends at the first blank line, however the content is cut', () => {
  const piece = fc.constantFrom('\r\n', 'A: b', '\r', '\n', ' x\xff', '.');
  fc.assert(
    fc.property(
      fc.array(piece).map((pieces) => pieces.join('')),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (content, sizes) => {
        const end = content.startsWith('\r\n') ? 0 : content.indexOf('\r\n\r\n') + 2;
        assert.equal(gathered(content, sizes), end === 1 ? content : content.slice(0, end));
      },
    ),
  );
  assert.equal(gathered('', [1]), '');
});

test('a section beyond the bound is told, one at the bound is kept', () => {
  for (const size of [1, 7, 100]) {
    assert.equal(gathered(`${'x'.repeat(16)}\r\n\r\n${'y'.repeat(99)}`, [size], 20), `${'x'.repeat(16)}\r\n`);
    assert.equal(gathered(`${'x'.repeat(17)}\r\n\r\n${'y'.repeat(99)}`, [size], 20), undefined);
    assert.equal(gathered('x'.repeat(20), [size], 20), 'x'.repeat(20));
    assert.equal(gathered('x'.repeat(21), [size], 20), undefined);
  }
});
