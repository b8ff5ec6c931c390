import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { createBodyMeter } from './body-meter.ts';

/** Measures `message` in parts of these lengths, reused as a socket's buffer would be. */
function measure(message: Buffer, lengths: readonly number[], visible: number) {
  const blank = message.indexOf('\r\n\r\n');
  const at = message.indexOf('\r\n') === 0 ? 2 : blank < 0 ? undefined : blank + 4;
  let taken = 0;
  const meter = createBodyMeter(visible, () => (at !== undefined && at <= taken ? at : undefined));
  for (let i = 0; taken < message.length; i++) {
    const chunk = Buffer.from(message.subarray(taken, taken + (lengths[i % lengths.length] ?? 1)));
    taken += chunk.length;
    meter.take(chunk);
    chunk.fill(0x21);
  }
  return { ...meter.facts(), octetsOfAll: meter.octets(), linesOfAll: meter.lines() };
}

test('whatever the parts a message comes in, the body is measured as Exim counts it', () => {
  const line = fc.string({ unit: fc.constantFrom('a', '\0', ' ', '.'), maxLength: 9 });
  const headers = fc.constantFrom('', 'A: b\r\n', 'A: b\r\n c\r\nD: e\r\n');
  fc.assert(
    fc.property(
      headers,
      fc.array(line, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 0, max: 30 }),
      (head, lines, lengths, visible) => {
        const text = lines.map((l) => `${l}\r\n`).join('');
        const body = text.replaceAll('\r\n', '\n');
        const whole = `${head}\r\n${text}`;
        assert.deepEqual(measure(Buffer.from(whole, 'latin1'), lengths, visible), {
          start: body.slice(0, visible),
          end: body.slice(Math.max(0, body.length - visible)),
          octets: body.length,
          lines: lines.length,
          zeroOctets: body.split('\0').length - 1,
          longestLine: Math.max(...whole.split('\r\n').map((l) => l.length)),
          blankLine: true,
          octetsOfAll: whole.length,
          linesOfAll: whole.split('\n').length - 1,
        });
      },
    ),
  );
});

test('a message of header lines only has no body', () => {
  assert.deepEqual(measure(Buffer.from('A: b\r\nC: d\r\n'), [5], 10), {
    start: '',
    end: '',
    octets: 0,
    lines: 0,
    zeroOctets: 0,
    longestLine: 4,
    blankLine: false,
    octetsOfAll: 12,
    linesOfAll: 2,
  });
});
