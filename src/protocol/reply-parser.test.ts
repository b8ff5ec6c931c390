import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatReply, type Reply } from '../mail/reply.ts';
import { defaultReplyLimits, ReplyParser } from './reply-parser.ts';

function read(parser: ReplyParser, ...chunks: readonly string[]): Reply[] {
  const out: Reply[] = [];
  for (const chunk of chunks) {
    parser.push(Buffer.from(chunk, 'latin1'));
    for (let r = parser.next(); r !== undefined; r = parser.next()) out.push(r);
  }
  return out;
}

function split(text: string, cuts: readonly number[]): string[] {
  const places = [...new Set(cuts.map((c) => c % (text.length + 1)))].sort((a, b) => a - b);
  return [...places, text.length].map((to, i) => text.slice(i === 0 ? 0 : places[i - 1], to));
}

test('single and multi-line replies, with and without text, CRLF or bare LF', () => {
  const parser = new ReplyParser();
  assert.deepEqual(read(parser, '220 hello\r\n250-a\r\n250-b\n250 c\r\n354\r\n'), [
    { code: 220, lines: ['hello'] },
    { code: 250, lines: ['a', 'b', 'c'] },
    { code: 354, lines: [''] },
  ]);
  assert.equal(parser.pending, false);
  assert.equal(parser.fault, undefined);
});

test('the enhanced status is taken off only where every line has it and the class agrees', () => {
  const parser = new ReplyParser();
  assert.deepEqual(read(parser, '550-5.1.1 no\r\n550 5.1.1 really\r\n'), [
    { code: 550, status: '5.1.1', lines: ['no', 'really'] },
  ]);
  assert.deepEqual(read(parser, '250 2.1.5\r\n'), [{ code: 250, status: '2.1.5', lines: [''] }]);
  for (const text of [
    '550-5.1.1 no\r\n550 really\r\n',
    '550 4.1.1 no\r\n',
    '250 2.1.5x\r\n',
    '250 2.1 x\r\n',
    '354 3.0.0 go\r\n',
  ]) {
    assert.equal(read(parser, text)[0]?.status, undefined, text);
  }
});

test('malformed input stops the parser and is shown in printable form', () => {
  for (const bad of [
    'hello\r\n',
    '25\r\n',
    '\r\n',
    '150 wait\r\n',
    '650 what\r\n',
    '2x0 what\r\n',
    '250_what\r\n',
    '250-a\r\n251 b\r\n',
    '250-a\r\n250_b\r\n',
    ' 250 ok\r\n',
  ]) {
    const parser = new ReplyParser();
    assert.deepEqual(read(parser, bad, '250 ok\r\n'), [], bad);
    assert.notEqual(parser.fault, undefined, bad);
  }
  const parser = new ReplyParser();
  read(parser, 'a\x00\x1bb\r\n');
  assert.equal(parser.fault, 'a??b');
});

test('control characters in a reply cannot forge another line', () => {
  assert.deepEqual(read(new ReplyParser(), '250 a\rb\x00c\td\r\n'), [{ code: 250, lines: ['a?b?c\td'] }]);
});

test('every bound holds: line length, also without an end, number of lines, size of a reply', () => {
  const limits = { maxLineOctets: 20, maxLines: 3, maxReplyOctets: 40 };
  const fault = (...chunks: string[]): string | undefined => {
    const parser = new ReplyParser(limits);
    read(parser, ...chunks);
    return parser.fault;
  };
  assert.equal(fault(`250 ${'x'.repeat(16)}\r\n`), undefined);
  assert.notEqual(fault(`250 ${'x'.repeat(17)}\r\n`), undefined);
  assert.equal(fault(`250 ${'x'.repeat(16)}\r`), undefined);
  assert.notEqual(fault('250 ', 'x'.repeat(18)), undefined);
  assert.equal(fault('250-a\r\n250-a\r\n250 a\r\n'), undefined);
  assert.notEqual(fault('250-a\r\n250-a\r\n250-a\r\n250 a\r\n'), undefined);
  assert.notEqual(fault(`250-${'x'.repeat(16)}\r\n`, `250-${'x'.repeat(16)}\r\n`, '250 x\r\n'), undefined);
});

const line = fc.string({
  unit: fc
    .integer({ min: 0x20, max: 0xff })
    .filter((c) => c !== 0x7f)
    .map((c) => String.fromCharCode(c)),
  maxLength: 40,
});
const replyArb = fc
  .record({
    code: fc.integer({ min: 200, max: 599 }),
    subject: fc.option(fc.tuple(fc.nat(999), fc.nat(999)), { nil: undefined }),
    lines: fc.array(line, { minLength: 1, maxLength: 5 }),
  })
  .map(({ code, subject, lines: [first = '', ...rest] }): Reply => {
    const digit = Math.floor(code / 100);
    const lines = [first, ...rest] as const;
    if (subject === undefined || digit === 3) return { code, lines };
    return { code, status: `${digit}.${subject[0]}.${subject[1]}` as NonNullable<Reply['status']>, lines };
  })
  // A text that begins like a status, in a reply without one, is read as the status it looks like.
  .filter((r) => r.status !== undefined || !r.lines.every((l) => /^\d\.\d+\.\d+( |$)/.test(l)));

test('property: what formatReply writes is read back, in any chunks', () => {
  fc.assert(
    fc.property(
      fc.array(replyArb, { maxLength: 5 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (replies, cuts) => {
        const parser = new ReplyParser();
        assert.deepEqual(read(parser, ...split(replies.map(formatReply).join(''), cuts)), replies);
        assert.equal(parser.pending, false);
      },
    ),
  );
});

test('property: any octets in any chunks give the same replies and the same fault, and never throw', () => {
  const text = fc.string({
    unit: fc.constantFrom('2', '5', '0', '1', ' ', '-', '\r', '\n', 'x', '.', '\xe4'),
    maxLength: 200,
  });
  fc.assert(
    fc.property(text, fc.array(fc.nat(), { maxLength: 12 }), (octets, cuts) => {
      const whole = new ReplyParser();
      const cut = new ReplyParser();
      assert.deepEqual(read(cut, ...split(octets, cuts)), read(whole, octets));
      assert.equal(cut.fault, whole.fault);
      assert.equal(cut.pending, whole.pending);
    }),
  );
  assert.ok(defaultReplyLimits.maxReplyOctets > 512);
});
