/** Comparisons of texts and numbers, and conditions on one text. */
import { existsSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { orderCaseless, sameText } from '../ascii.ts';
import type { ConditionRow } from '../evaluator.ts';
import { parseInteger } from '../numbers.ts';
import { error, type Result } from '../outcome.ts';
import { compareTexts, unaryCondition } from './helpers.ts';

function lexical(accept: (order: number) => boolean, caseless: boolean): ConditionRow {
  return compareTexts((a, b) => {
    if (caseless) return accept(orderCaseless(a, b));
    return accept(a < b ? -1 : a > b ? 1 : 0);
  });
}

/** Numbers that need no more than a double holds, and no suffix. */
const small = /^[0-9]{1,15}$/;

function numeric(accept: (a: bigint | number, b: bigint | number) => boolean): ConditionRow {
  return compareTexts((a, b) => {
    if (small.test(a) && small.test(b)) return accept(Number(a), Number(b));
    const x = parseInteger(a);
    if (x.kind !== 'integer') return x;
    const y = parseInteger(b);
    return y.kind === 'integer' ? accept(x.value, y.value) : y;
  });
}

function bool(text: string): Result<boolean> {
  const t = text.trim().toLowerCase();
  if (t === '' || t === 'false' || t === 'no') return false;
  if (t === 'true' || t === 'yes') return true;
  return /^-?[0-9]+$/.test(t) ? !/^-?0+$/.test(t) : error(`unrecognised boolean value "${text.trim()}"`);
}

const equal = numeric((a, b) => a === b);

export const compareConditions: Readonly<Record<string, ConditionRow>> = {
  eq: compareTexts((a, b) => a === b),
  eqi: compareTexts(sameText),
  lt: lexical((o) => o < 0, false),
  lti: lexical((o) => o < 0, true),
  le: lexical((o) => o <= 0, false),
  lei: lexical((o) => o <= 0, true),
  gt: lexical((o) => o > 0, false),
  gti: lexical((o) => o > 0, true),
  ge: lexical((o) => o >= 0, false),
  gei: lexical((o) => o >= 0, true),
  '=': equal,
  '==': equal,
  '<': numeric((a, b) => a < b),
  '<=': numeric((a, b) => a <= b),
  '>': numeric((a, b) => a > b),
  '>=': numeric((a, b) => a >= b),
  bool: unaryCondition(bool),
  bool_lax: unaryCondition((text) => !/^\s*(?:0|no|false)?\s*$/i.test(text)),
  isip: unaryCondition((text) => isIPv4(text) || isIPv6(text)),
  isip4: unaryCondition((text) => isIPv4(text)),
  isip6: unaryCondition((text) => isIPv6(text)),
  exists: unaryCondition((text) => text.startsWith('/') && existsSync(Buffer.from(text, 'latin1'))),
};
