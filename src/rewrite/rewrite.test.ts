import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { expandServices, mainFacts } from '../../test/support/routing-world.ts';
import type { HeaderField } from '../mail/headers.ts';
import { addressEnd, extractAddress } from '../mail/extract-address.ts';
import { rewriteHeader } from './header.ts';
import { rewriteAddress, type RewriteContext } from './rewrite.ts';
import { parseRewriteRule, type RewriteRule } from './rules.ts';

const position = { file: 'conf', line: 1, column: 1 };

function ruleOf(text: string, global = true): RewriteRule {
  const parsed = parseRewriteRule({ text, position }, global);
  assert.ok('rule' in parsed, text);
  return parsed.rule;
}

function contextOf(rules: readonly string[], told: string[] = []): RewriteContext {
  return {
    rules: rules.map((text) => ruleOf(text)),
    scope: { main: mainFacts, services: expandServices({ 'domain:ours': '*.ours.test' }) },
    problem: (text) => void told.push(text),
  };
}

const field = (raw: string): HeaderField => ({ name: raw.slice(0, raw.indexOf(':')), raw });

describe('rules', () => {
  test('what headers_rewrite may not have is refused, with its place', () => {
    const parsed = parseRewriteRule({ text: '*@a.test b@c.test tF', position }, false);
    assert.ok('diagnostic' in parsed);
    assert.equal(parsed.diagnostic.message, "rewrite flag 'F' is not permitted at transport time");
    assert.equal(parsed.diagnostic.position.column, 20);
  });

  test('no flags mean every place that the rules are for', () => {
    assert.equal(ruleOf('*@a.test b@c.test').places.size, 8);
    assert.equal(ruleOf('*@a.test b@c.test', false).places.size, 6);
    assert.deepEqual([...ruleOf('*@a.test b@c.test w').places].length, 8);
  });

  test('no text makes the parser throw', () => {
    fc.assert(
      fc.property(fc.string(), fc.boolean(), (text, global) => {
        parseRewriteRule({ text, position }, global);
      }),
    );
  });
});

describe('addresses', () => {
  test('the working part is where it says, whatever the text', () => {
    const piece = fc.constantFrom(
      'a',
      '@',
      '.',
      '<',
      '>',
      '(',
      ')',
      '"',
      '\\',
      ' ',
      ',',
      ':',
      ';',
      'b.test',
      '[',
      ']',
      '\n',
      '\xe9',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.boolean(), (pieces, allowNull) => {
        const text = pieces.join('');
        const found = extractAddress(text, { allowNull, group: { allowed: true, open: false } });
        if ('error' in found) return;
        assert.ok(found.start >= 0 && found.start <= found.end && found.end <= text.length);
        // An escaped or quoted @ belongs to the local part.
        const bare = found.address.replaceAll(/\\.|"(?:[^"\\]|\\.)*"/gs, '');
        if (bare.includes('@')) assert.ok(found.hasDomain, text);
        const again = extractAddress(found.address === '' ? '<>' : found.address, { allowNull: true });
        assert.ok(!('error' in again) && again.address === found.address, text);
      }),
    );
  });

  test('addresses of a list follow each other to its end', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii' }), (text) => {
        for (let at = 0; at < text.length; ) {
          const end = addressEnd(text, at);
          assert.ok(end >= at && end <= text.length);
          at = end + 1;
        }
      }),
    );
  });
});

describe('rewriting', () => {
  test('a text that is no address ends rewriting and is told', async () => {
    const told: string[] = [];
    const made = await rewriteAddress(
      'u@a.test',
      'to',
      contextOf(['*@a.test x@@y', '*@a.test z@z.test'], told),
    );
    assert.equal(made.changed, false);
    assert.deepEqual(told, [
      'Rewrite of u@a.test yielded unparseable address: domain missing or malformed in address x@@y',
    ]);
  });

  test('only the envelope sender may become <>', async () => {
    const context = contextOf(['*@a.test "<>"']);
    assert.deepEqual(await rewriteAddress('u@a.test', 'env-from', context), { address: '', changed: true });
    assert.equal((await rewriteAddress('u@a.test', 'env-to', context)).changed, false);
  });

  test('an address from the wire names no file', async () => {
    const told: string[] = [];
    const context = contextOf(['*@a.test "${lookup{x}lsearch{/tmp/$local_part}}@b.test"'], told);
    assert.equal((await rewriteAddress('u@a.test', 'to', context)).changed, false);
    assert.match(told.join(), /tainted/);
  });

  test('fields without an address that changes are left alone, to the octet', async () => {
    const context = contextOf(['*@a.test $1@b.test']);
    for (const raw of [
      'To: x@y.test\r\n',
      'Subject: u@a.test\r\n',
      'To: broken <\r\n',
      'To:\r\n',
      'X-To: u@a.test\r\n',
    ])
      assert.equal(await rewriteHeader(field(raw), context), undefined, raw);
    const made = await rewriteHeader(field('Resent-To: "u@a.test" <u@a.test>,\r\n\tx@y.test\r\n'), context);
    assert.equal(made?.raw, 'Resent-To: "u@a.test" <u@b.test>,\r\n\tx@y.test\r\n');
  });

  test('any field keeps its name and its end', async () => {
    const context = contextOf(['*@a.test $1@long-domain-name.b.test', '*@w.test "W <$1@x.test>" w']);
    const item = fc.constantFrom('u@a.test', 'N <v@w.test>', 'g: x@a.test;', '(c) y@z.test', 'bad bad', '');
    const parts = fc.array(fc.tuple(item, fc.constantFrom(', ', ',', ' ,\r\n ', ', \r\n\t')), {
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(parts, async (list) => {
        const raw = `To: ${list.map(([a, b]) => a + b).join('')}\r\n`;
        const made = await rewriteHeader(field(raw), context);
        if (made === undefined) return;
        assert.match(made.raw, /^To: [^]*\r\n$/);
        assert.doesNotMatch(made.raw, /\n[^ \t]/, 'every line but the first is a folded one');
        assert.doesNotMatch(made.raw, /[^\r]\n/);
        assert.doesNotMatch(made.raw, /@a\.test|@w\.test/);
      }),
    );
  });
});
