import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { lineEnds } from './line-ends.ts';

/** The rule in the plainest words: every CRLF becomes LF; the virtual size counts each LF without CR before it once more. */
function expected(text: string): { stored: string; virtual: number } {
  const stored = text.replaceAll('\r\n', '\n');
  const bare = [...stored.matchAll(/(?<!\r)\n/g)].length;
  return { stored, virtual: stored.length + bare };
}

test('any text in any chunks is converted as if it came whole, and its sizes are right', () => {
  const text = fc
    .array(fc.constantFrom('\r\n', '\r', '\n', 'a', 'bc', '\xff', '\0'), { maxLength: 40 })
    .map((p) => p.join(''));
  fc.assert(
    fc.property(text, fc.array(fc.nat(40), { maxLength: 8 }), (source, cuts) => {
      const bytes = Buffer.from(source, 'latin1');
      const ends = lineEnds();
      let out = '';
      let at = 0;
      for (const cut of [...cuts.filter((c) => c < bytes.length).sort((a, b) => a - b), bytes.length]) {
        out += Buffer.from(ends.convert(bytes.subarray(at, cut))).toString('latin1');
        at = cut;
      }
      out += Buffer.from(ends.finish()).toString('latin1');
      const want = expected(source);
      assert.equal(out, want.stored);
      assert.equal(ends.storedBytes(), want.stored.length);
      assert.equal(ends.virtualBytes(), want.virtual);
    }),
    { numRuns: 5000 },
  );
});
