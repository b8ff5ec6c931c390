import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, constantFrom, property, string } from 'fast-check';
import {
  formatAddress,
  formatPath,
  isSyntaxError,
  parseAddress,
  sameDomain,
  type Domain,
} from './address.ts';

const good = [
  'user@example.test',
  'user+detail@example.test',
  'first.last@sub.example.test',
  '"quoted @ \\" part"@example.test',
  'b\xfcro@example.test',
  "o'brien@example.test",
  'user@[192.0.2.1]',
  'user@[IPv6:2001:db8::1]',
  'postmaster',
];
const bad: readonly (readonly [text: string, why: RegExp])[] = [
  ['', /missing local part/],
  ['@example.test', /missing local part/],
  ['.user@example.test', /starting a local part/],
  ['user.@example.test', /ending a local part/],
  ['a..b@example.test', /two dots/],
  ['a b@example.test', /illegal character/],
  ['user@', /missing or malformed domain/],
  ['user@a..b', /empty label/],
  ['user@.a', /empty label/],
  ['user@a b', /illegal character/],
  ['user@a/b', /illegal character/],
  ['user@[x', /literal/],
  ['"open@example.test', /unclosed quote/],
  ['"a"b@example.test', /after the local part/],
  ['"a\r\nRCPT"@example.test', /control character/],
  ['a\0b@example.test', /illegal character/],
  // Written as octets these would be CR and LF.
  ['a\u010d\u010aRSET@example.test', /not octets/],
  ['a@example.test\u010d\u010aRSET', /not octets/],
  [`${'a'.repeat(2000)}@b`, /too long/],
];

test('addresses are read and written unchanged', () => {
  for (const text of good) {
    const a = parseAddress(text);
    assert.ok(!isSyntaxError(a), text);
    assert.equal(formatAddress(a), text);
    assert.equal(formatPath(a), `<${text}>`);
  }
  assert.equal(formatPath(null), '<>');
});

test('what is no address is told why', () => {
  for (const [text, why] of bad) {
    const a = parseAddress(text);
    assert.ok(isSyntaxError(a), text);
    assert.match(a.text, why);
  }
});

test('domains compare without case', () => {
  assert.ok(sameDomain('Example.TEST' as Domain, 'example.test' as Domain));
  assert.ok(!sameDomain('example.test' as Domain, 'example.tes' as Domain));
});

test('no text breaks the reader, and what it takes has no line end and no space outside quotes', () => {
  check(
    property(
      string({
        unit: constantFrom('a', '.', '@', '"', '\\', ' ', '\r', '\n', '\0', '[', ']', '<', '\xe9'),
      }),
      (text) => {
        const a = parseAddress(text);
        if (isSyntaxError(a)) return;
        assert.equal(formatAddress(a), text);
        assert.doesNotMatch(text, /[\r\n\0]/);
        if (!text.startsWith('"')) assert.doesNotMatch(text, /[ <]/);
      },
    ),
  );
});
