import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assert as check, property, string } from 'fast-check';
import { compileRegex, regexUnavailable, type Regex } from './regex.ts';

function regex(pattern: string, caseless = false): Regex {
  const r = compileRegex(pattern, { caseless });
  assert.ok(r.kind === 'regex', pattern);
  return r;
}

describe('regular expressions', { skip: regexUnavailable() ?? false }, () => {
  it('give offsets and groups, absent ones empty', () => {
    assert.deepEqual(regex('(a)(x)?b(.)').match('zzabc'), {
      kind: 'match',
      start: 2,
      end: 5,
      groups: ['abc', 'a', '', 'c'],
    });
    assert.equal(regex('q').match('abc'), undefined);
    assert.equal(regex('A', true).match('bab')?.kind, 'match');
  });

  it('work on octets', () => {
    assert.deepEqual(regex('^.(.)').match('\xc3\xa9'), {
      kind: 'match',
      start: 0,
      end: 2,
      groups: ['\xc3\xa9', '\xa9'],
    });
    assert.equal(regex('\0x').match('a\0x')?.kind, 'match');
  });

  it('tell what is wrong with a pattern and where', () => {
    assert.deepEqual(compileRegex('a('), {
      kind: 'error',
      reason: 'regular expression error in "a(": missing closing parenthesis at offset 2',
    });
  });

  it('bound the work of one match', () => {
    const r = regex('^(a+)+$').match(`${'a'.repeat(60)}!`);
    assert.ok(r?.kind === 'error');
    assert.match(r.reason, /needs more than 100000 steps/);
  });

  // Each of these ran for minutes or hours where steps are counted for each starting place anew and scanning is not counted.
  it('bound the work of one search, whatever the place it starts from', () => {
    const digits = '1'.repeat(1_000_000);
    for (const [pattern, subject] of [
      ['\\d*[a-c]\\d', digits],
      ['x*x*x*[yz]w', 'x'.repeat(2000)],
      ['(?:(?=\\d*+x)|.)*q', digits],
      ['(a|b|ab)*c', 'ab'.repeat(500_000)],
    ] as const) {
      const r = regex(pattern).match(subject);
      assert.ok(r === undefined || r.kind === 'error', pattern);
    }
  });

  it('find what starts late in a long subject', () => {
    const subject = `${'x'.repeat(5000)}\nneedle 42`;
    const found = regex('(?<=\\n)needle (\\d+)').match(subject);
    assert.ok(found?.kind === 'match');
    assert.deepEqual([found.start, found.groups[1]], [5001, '42']);
    assert.equal(regex('^needle').match(subject), undefined);
    assert.equal(regex('(?m)^needle').match(subject)?.kind, 'match');
    assert.equal(regex('\\Gneedle').match(subject), undefined);
    assert.equal(regex('$').match(subject)?.kind, 'match');
  });

  it('work after their code has been given up for others', () => {
    const first = regex('^kept (\\w+)$');
    for (let i = 0; i < 1500; i++) assert.equal(regex(`pattern ${i}`).match('x'), undefined);
    const found = first.match('kept well');
    assert.ok(found?.kind === 'match');
    assert.equal(found.groups[1], 'well');
  });

  it('do not overflow the stack of the library', () => {
    const r = regex('^(?:(a)|b)*$').match('ab'.repeat(200_000));
    assert.ok(r !== undefined);
  });

  it('take subjects of any length and more groups than they keep', () => {
    assert.equal(regex('z$').match(`${'x'.repeat(3_000_000)}z`)?.kind, 'match');
    const many = regex('(.)'.repeat(300)).match('y'.repeat(300));
    assert.ok(many?.kind === 'match');
    assert.equal(many.groups.length, 100);
  });

  it('never throw', () => {
    check(
      property(string({ unit: 'binary-ascii' }), string({ unit: 'binary-ascii' }), (pattern, subject) => {
        const r = compileRegex(pattern);
        if (r.kind === 'regex') r.match(subject);
      }),
    );
  });
});
