import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { formatRetryRule, parseRetryRule, type RetryRule } from './rules.ts';

const position = { file: 'conf', line: 7, column: 1 };

function parse(text: string): RetryRule | string {
  const result = parseRetryRule({ text, position });
  return 'rule' in result ? result.rule : result.diagnostic.message;
}

function rule(text: string): RetryRule {
  const result = parse(text);
  if (typeof result === 'string') assert.fail(`${text}: ${result}`);
  return result;
}

describe('parseRetryRule', () => {
  test('reads pattern, error, senders and parameter sets', () => {
    const r = rule('  "a b"  rcpt_45x  senders="x.test : y.test"  F,2h,15m; G,16h,1h,1.5; H,2d,10m,2');
    assert.equal(r.pattern, 'a b');
    assert.deepEqual(r.error, { kind: 'reply', to: 'rcpt', tens: 5 });
    assert.equal(r.senders, 'x.test : y.test');
    assert.deepEqual(r.algorithms, [
      { letter: 'F', cutoffMs: 7_200_000, intervalMs: 900_000 },
      { letter: 'G', cutoffMs: 57_600_000, intervalMs: 3_600_000, factor: 1.5 },
      { letter: 'H', cutoffMs: 172_800_000, intervalMs: 600_000, factor: 2 },
    ]);
  });

  // What the real exim4 printed for the same line.
  for (const [line, printed] of [
    ['* * F,1h,1m', '*  *  F,1h,1m; '],
    ['* * f,1h,1m', '*  *  F,1h,1m; '],
    ['* \t*\tF,1h,1m ;G,1d,1h,1.5 ;', '*  *  F,1h,1m; G,1d,1h,1.5; '],
    ['h.test * H,8h,10m,1.5;F,2d,1d12h30m5s', 'h.test  *  H,8h,10m; F,2d,1d12h30m5s; '],
    ['*.w.test * G,3w,1h,1.55555', '*.w.test  *  G,3w,1h,1.555; '],
    ['* * G,1h,1m,12', '*  *  G,1h,1m,12.0; '],
    ['* * G,1h,1m,1.', '*  *  G,1h,1m,1.0; '],
    ['* * F,1h1d,1m', '*  *  F,1d1h,1m; '],
    ['* * F,1h, 1m', '*  *  F,1h,1m; '],
    ['wonder.test quota_5d', 'wonder.test  quota_5d  '],
    ['* *', '*  *  '],
  ] as const)
    test(`prints ${line} as Exim does`, () => assert.equal(formatRetryRule(rule(line)), printed));

  // The messages of the real exim4, but that a name is said to be unknown wherever it stands.
  for (const [line, message] of [
    ['a.test', 'missing error type in retry rule'],
    ['* * F', 'comma expected'],
    ['* * F,1h', 'comma expected'],
    ['* * F,1h,1x', 'bad parameters for retry rule'],
    ['* * Q,1h,1m', 'unknown retry rule letter'],
    ['* * F,1h,1m G,2h,1m,2', 'semicolon expected'],
    ['* bogus F,1h,1m', 'unknown or malformed retry error "bogus"'],
    ['* * G,1h,1m', 'comma expected'],
    ['* * F,1h,1m,3', 'semicolon expected'],
    ['* rcpt_5xx F,1h,1m', 'unknown or malformed retry error "rcpt_5xx"'],
    ['* rcpt_4x1 F,1h,1m', 'rcpt_4 must be followed by xx, dx, or dd, where x is literal and d is any digit'],
    ['* * G,1h,1m,0.5', 'bad parameters for retry rule'],
    ['* * F,1h,0s', 'bad parameters for retry rule'],
    ['* * "F,1h,1m"', 'unknown retry rule letter'],
    ['"a b', 'unterminated quoted string in retry rule'],
  ] as const)
    test(`refuses ${line}`, () => assert.equal(parse(line), message));

  test('tells where in the line', () => {
    const result = parseRetryRule({ text: '* * F,1h,1m Q', position });
    assert.ok('diagnostic' in result);
    assert.deepEqual(result.diagnostic.position, { file: 'conf', line: 7, column: 13 });
  });

  test('never throws, and what it reads it reads again from its own print', () => {
    const piece = fc.constantFrom(
      '*',
      ' ',
      ',',
      ';',
      'F',
      'G',
      'H',
      '1h',
      '2m',
      '1.5',
      '"',
      '\\',
      'senders=',
      'rcpt_4xx',
      'x.test',
      'refused',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const first = parse(pieces.join(''));
        if (
          typeof first === 'string' ||
          first.senders !== undefined ||
          /[\s"\\]/.test(first.pattern) ||
          first.pattern === ''
        )
          return;
        if (first.algorithms.some((a) => a.letter === 'H')) return;
        const again = rule(formatRetryRule(first));
        assert.deepEqual(again.algorithms, first.algorithms);
        // As in Exim, some errors have no words of their own.
        const { error } = first;
        const named =
          error?.kind === 'host' ||
          error?.kind === 'quota' ||
          (error?.kind === 'plain' && error.name === 'auth_failed');
        assert.deepEqual(again.error, named ? error : undefined);
      }),
      { numRuns: 2000 },
    );
  });
});
