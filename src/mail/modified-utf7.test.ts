import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { modifiedUtf7 } from './modified-utf7.ts';

const octets = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

test('the names that Dovecot writes for the same UTF-8', () => {
  // RFC 3501 §5.1.3's own examples, and what `doveadm mailbox create` made of the others.
  const cases = [
    ['~peter/mail/台北/日本語', '~peter/mail/&U,BTFw-/&ZeVnLIqe-'],
    ['é', '&AOk-'],
    ['e\u0301', 'e&AwE-'],
    ['a&é&b', 'a&-&AOk-&-b'],
    ['日本', '&ZeVnLA-'],
    ['😀', '&2D3eAA-'],
    ['\u{e0041}', '&20DcQQ-'],
    ['\u007fx', '&AH8-x'],
    ['\u0080x', '&AIA-x'],
    ['\ufffe', '&,,4-'],
    ['x\ufffd', 'x&,,0-'],
    ['&', '&-'],
    ['&AOk-', '&-AOk-'],
    ['plain ~!"%*\\', 'plain ~!"%*\\'],
    ['', ''],
  ] as const;
  for (const [text, written] of cases) assert.equal(modifiedUtf7(octets(text)), written, text);
});

test('what is not UTF-8 has no form', () => {
  for (const text of [
    '\xff',
    '\x80',
    'a\xc3',
    '\xc3(',
    '\xc0\x80',
    '\xc1\xbf',
    '\xe0\x80\x80',
    '\xe0\x9f\xbf',
    '\xed\xa0\x80',
    '\xf0\x80\x80\x80',
    '\xf4\x90\x80\x80',
    '\xf5\x80\x80\x80',
    '\xe2\x82',
  ])
    assert.equal(modifiedUtf7(text), undefined, JSON.stringify(text));
});

test('any text can be read back, and any octets are taken exactly where they are UTF-8', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
      const written = modifiedUtf7(octets(text));
      assert.match(written ?? 'none', /^[\x20-\x7e]*$/);
      assert.equal(readBack(written ?? ''), text);
    }),
  );
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 6 }), (bytes) => {
      let valid = true;
      try {
        strict.decode(bytes);
      } catch {
        valid = false;
      }
      assert.equal(modifiedUtf7(Buffer.from(bytes).toString('latin1')) !== undefined, valid);
    }),
    { numRuns: 5000 },
  );
});

function readBack(written: string): string {
  return written.replace(/&([A-Za-z0-9+,]*)-/g, (_, base64: string) =>
    base64 === '' ? '&' : Buffer.from(base64.replaceAll(',', '/'), 'base64').swap16().toString('utf16le'),
  );
}
