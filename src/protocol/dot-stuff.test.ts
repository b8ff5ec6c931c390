import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DotStuffer, dataParts } from './dot-stuff.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const encoded = (text: string): string => Buffer.concat(dataParts(bytes(text))).toString('latin1');

test('dots at line starts are doubled, and the end of data follows a CRLF', () => {
  assert.equal(encoded('a\r\nb\r\n'), 'a\r\nb\r\n.\r\n');
  assert.equal(encoded('.a\r\n..\r\n.\r\nx.y\r\n'), '..a\r\n...\r\n..\r\nx.y\r\n.\r\n');
  assert.equal(encoded(''), '.\r\n');
  assert.equal(encoded('.'), '..\r\n.\r\n');
  assert.equal(encoded('a'), 'a\r\n.\r\n');
  assert.equal(encoded('a\r'), 'a\r\n.\r\n');
  assert.equal(encoded('a\n'), 'a\n\r\n.\r\n');
});

test('a lone dot after a bare LF is no end of data for a lenient peer', () => {
  assert.equal(encoded('a\n.\r\nMAIL\r\n'), 'a\n..\r\nMAIL\r\n.\r\n');
});

test('content without such dots is not copied', () => {
  const content = bytes('Subject: x\r\n\r\nno dots. at starts\r\n');
  assert.equal(dataParts(content)[0], content);
});

/** RFC 5321 §4.5.2, receiving side, for CRLF lines. */
function unstuff(octets: string): string {
  return octets.replace(/(^|\r\n)\./g, '$1');
}

const content = fc.string({ unit: fc.constantFrom('.', '\r\n', 'a', '\xff', '..', 'text '), maxLength: 120 });

test('property: a receiver gets the content back, with a final CRLF', () => {
  fc.assert(
    fc.property(content, (text) => {
      const wire = encoded(text);
      assert.ok(wire === '.\r\n' || wire.endsWith('\r\n.\r\n'));
      const body = wire.slice(0, -3);
      assert.ok(!`\r\n${body}`.includes('\r\n.\r\n'), 'no end of data inside');
      const expected = text === '' || text.endsWith('\r\n') ? text : `${text}\r\n`;
      assert.equal(unstuff(body), expected);
    }),
  );
});

test('property: chunk borders make no difference', () => {
  const octets = fc.string({ unit: fc.constantFrom('.', '\r', '\n', 'a'), maxLength: 60 });
  fc.assert(
    fc.property(octets, fc.array(fc.nat(60), { maxLength: 10 }), (text, cuts) => {
      const stuffer = new DotStuffer();
      const places = [...cuts.map((c) => Math.min(c, text.length)).sort((a, b) => a - b), text.length];
      const parts = places.map((to, i) => stuffer.encode(bytes(text.slice(i === 0 ? 0 : places[i - 1], to))));
      assert.equal(Buffer.concat([...parts, stuffer.end()]).toString('latin1'), encoded(text));
    }),
  );
});
