import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { formatAddress } from '../mail/address.ts';
import { isHeloName, parseCommand } from './command.ts';
import type { Command, Grammar } from './grammar.ts';

const exim: Grammar = {
  parameters: true,
  dsn: true,
  orcpt: true,
  size: true,
  smtputf8: true,
  loosePath: true,
  unqualified: false,
  domainLiterals: false,
};
const strict: Grammar = {
  ...exim,
  dsn: false,
  orcpt: false,
  size: false,
  smtputf8: false,
  loosePath: false,
  unqualified: true,
};
const parse = (line: string, g: Grammar = exim): Command => parseCommand(line, g);

function sender(line: string, g?: Grammar): string {
  const c = parse(line, g);
  assert.ok(c.verb === 'MAIL', JSON.stringify(c));
  return formatAddress(c.sender);
}

function fault(line: string, g?: Grammar): string {
  const c = parse(line, g);
  assert.ok(c.verb === 'error', JSON.stringify(c));
  return c.error.kind === 'path'
    ? `path ${c.error.fault.kind}`
    : c.error.kind === 'parameter'
      ? `${c.error.name} ${c.error.fault}`
      : c.error.kind;
}

describe('parseCommand', () => {
  it('reads verbs without regard to case or trailing space', () => {
    assert.deepEqual(parse('quit '), { verb: 'QUIT' });
    assert.deepEqual(parse('Ehlo  host\t'), { verb: 'EHLO', argument: 'host' });
    assert.deepEqual(parse('NOOP'), { verb: 'NOOP', argument: '' });
    assert.equal(fault(' QUIT'), 'unknown-command');
    assert.equal(fault('QUIT now'), 'unexpected-argument');
    assert.equal(fault('MAILFROM:<a@b.test>'), 'unknown-command');
  });
  it('reads paths', () => {
    assert.equal(sender('MAIL FROM:<>'), '');
    assert.equal(sender('mail from:<A.b@c.test>'), 'A.b@c.test');
    assert.equal(sender('MAIL FROM:<"a > b"@c.test> SIZE=3'), '"a > b"@c.test');
    assert.equal(sender('MAIL FROM:<"a\\">"@c.test>'), '"a\\">"@c.test');
    assert.equal(sender('MAIL FROM:<@one.test,@two.test:a@c.test>'), 'a@c.test');
    assert.equal(sender('MAIL FROM: a@c.test BODY=7BIT'), 'a@c.test');
    assert.equal(sender('MAIL FROM:<\xe9@c.test>'), '\xe9@c.test');
    assert.equal(sender('MAIL FROM:<a>', strict), 'a');
  });
  it('knows postmaster, and only as a recipient', () => {
    assert.equal(parse('RCPT TO:<PostMaster>').verb, 'RCPT');
    assert.equal(fault('MAIL FROM:<postmaster>'), 'path unqualified');
    assert.equal(fault('RCPT TO:<webmaster>'), 'path unqualified');
  });
  it('tells what is wrong with a path', () => {
    assert.equal(fault('RCPT TO:<>'), 'path null');
    assert.equal(fault('RCPT TO:'), 'path empty');
    assert.equal(fault('RCPT FROM:<a@b.test>'), 'no-keyword');
    assert.equal(fault('MAIL FROM:<a@b.test'), 'path no-close');
    assert.equal(fault('MAIL FROM:<a@b.test>x'), 'path trailing');
    assert.equal(fault('MAIL FROM:<a@@b>'), 'path domain');
    assert.equal(fault('MAIL FROM:<@:a@b.test>'), 'path domain');
    assert.equal(fault('MAIL FROM:<a b@c.test>'), 'path address');
    assert.equal(fault('MAIL FROM:<a@[192.0.2.1]>'), 'path domain-literal');
    assert.equal(fault('MAIL FROM: <a@b.test>', strict), 'path leading-space');
    assert.equal(fault('MAIL FROM:a@b.test', strict), 'path no-open');
  });
  it('reads parameters', () => {
    const c = parse('MAIL FROM:<a@b.test> SIZE=10 body=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb');
    assert.deepEqual(c.verb === 'MAIL' && c.params, {
      declaredSize: 10,
      body: '8BITMIME',
      smtputf8: true,
      ret: 'HDRS',
      envid: 'a+2Bb',
    });
    const r = parse('RCPT TO:<a@b.test> NOTIFY=SUCCESS,delay ORCPT=rfc822;a+40b');
    assert.deepEqual(r.verb === 'RCPT' && [r.recipient.notify, r.recipient.orcpt], [
      ['success', 'delay'],
      'rfc822;a+40b',
    ]);
    const never = parse('RCPT TO:<a@b.test> NOTIFY=never');
    assert.equal(never.verb === 'RCPT' && never.recipient.notify, 'never');
  });
  it('refuses parameters that are wrong, repeated or not offered', () => {
    assert.equal(fault('MAIL FROM:<a@b.test> SIZE=x'), 'SIZE value');
    assert.equal(fault('MAIL FROM:<a@b.test> SIZE=1 SIZE=1'), 'SIZE repeated');
    assert.equal(fault('MAIL FROM:<a@b.test> BODY=BINARYMIME'), 'BODY value');
    assert.equal(fault('MAIL FROM:<a@b.test> ENVID=a+2x'), 'ENVID value');
    assert.equal(fault('MAIL FROM:<a@b.test> ENVID=a=b'), 'unknown-parameter');
    assert.equal(fault('MAIL FROM:<a@b.test> SMTPUTF8=1'), 'unknown-parameter');
    assert.equal(fault('MAIL FROM:<a@b.test> NOTIFY=NEVER'), 'unknown-parameter');
    assert.equal(fault('MAIL FROM:<a@b.test> SIZE=1', strict), 'unknown-parameter');
    assert.equal(fault('MAIL FROM:<a@b.test> SIZE=1', { ...exim, parameters: false }), 'unknown-parameter');
    assert.equal(fault('RCPT TO:<a@b.test> NOTIFY=NEVER,DELAY'), 'NOTIFY value');
    assert.equal(fault('RCPT TO:<a@b.test> NOTIFY='), 'NOTIFY value');
    assert.equal(fault('RCPT TO:<a@b.test> ORCPT=rfc822'), 'ORCPT value');
    assert.equal(fault('RCPT TO:<a@b.test> ORCPT=rfc822;a+4'), 'ORCPT value');
  });
  it('reads BDAT', () => {
    assert.deepEqual(parse('BDAT 10 last'), { verb: 'BDAT', octets: 10, last: true });
    assert.deepEqual(parse('BDAT 0'), { verb: 'BDAT', octets: 0, last: false });
    for (const line of ['BDAT', 'BDAT -1', 'BDAT 1e3', 'BDAT 99999999999999999999', 'BDAT 0x10']) {
      assert.equal(fault(line), 'chunk-size', line);
    }
    assert.equal(fault('BDAT 10 LAST x'), 'chunk-marker');
  });
  it('never throws, and what it accepts has no line end or null recipient in it', () => {
    const octets = fc.string({
      unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)),
      maxLength: 60,
    });
    const tokens = fc.array(
      fc.constantFrom(
        'MAIL',
        'RCPT',
        ' ',
        'FROM:',
        'TO:',
        '<',
        '>',
        '@',
        'a',
        '"',
        '\\',
        '.',
        ',',
        ':',
        '[',
        ']',
        'SIZE=',
        'NOTIFY=',
        'ORCPT=',
        ';',
        '+',
        '\xff',
        '\t',
        '=',
      ),
      { maxLength: 25 },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          octets,
          tokens.map((t) => t.join('')),
          tokens.map((t) => `RCPT TO:${t.join('')}`),
        ),
        fc.boolean(),
        (line, lax) => {
          const c = parse(line, lax ? exim : strict);
          if (c.verb === 'RCPT') {
            assert.notEqual(c.recipient.address.local, '');
            assert.doesNotMatch(formatAddress(c.recipient.address), /[\r\n\0]/);
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});

describe('isHeloName', () => {
  it('takes what Exim takes', () => {
    for (const good of ['a', 'a.b-c.test', 'a.test.', '[192.0.2.1]', '[IPv6:2001:db8::1]', '-'])
      assert.ok(isHeloName(good, ''), good);
    for (const bad of ['', 'a b', 'a_b', '[192.0.2.1', 'a;b', '[x]', '\xe9'])
      assert.ok(!isHeloName(bad, ''), bad);
    assert.ok(isHeloName('a_b', '_'));
  });
});
