/** `${eval:` and `${eval10:` (Exim manual, "Expansion operators"): 64-bit integer arithmetic with the priorities of C. */

/** The answer, or what is wrong with the expression in Exim's words. */
export type ArithmeticResult =
  | { readonly kind: 'value'; readonly value: bigint }
  | { readonly kind: 'error'; readonly reason: string };

const min = -(2n ** 63n);
const max = 2n ** 63n - 1n;
const maxDepth = 100;

interface State {
  readonly text: string;
  readonly decimal: boolean;
  at: number;
  depth: number;
  error: string | undefined;
}

/** Binary operators by priority, lowest first. */
const levels: readonly (readonly string[])[] = [
  ['|'],
  ['^'],
  ['&'],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];

/** @param decimal true for `eval10`: no octal, no hexadecimal */
export function evaluateArithmetic(text: string, decimal: boolean): ArithmeticResult {
  const state: State = { text, decimal, at: 0, depth: 0, error: undefined };
  const value = binary(state, 0);
  if (state.error === undefined && state.at < text.length) state.error = 'expecting operator';
  if (state.error === undefined) return { kind: 'value', value };
  return {
    kind: 'error',
    reason: `error in expression evaluation: ${state.error} (after processing "${text.slice(0, state.at)}")`,
  };
}

function binary(s: State, level: number): bigint {
  const operators = levels[level];
  if (operators === undefined) return unary(s);
  let left = binary(s, level + 1);
  while (s.error === undefined) {
    const operator = operators.find((o) => s.text.startsWith(o, s.at));
    if (operator === undefined) return left;
    s.at += operator.length;
    const right = binary(s, level + 1);
    if (s.error === undefined) left = apply(s, operator, left, right);
  }
  return left;
}

function apply(s: State, operator: string, a: bigint, b: bigint): bigint {
  switch (operator) {
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '&':
      return a & b;
    case '<<':
      // As the machine does it: the count modulo 64.
      return BigInt.asIntN(64, a << (b & 63n));
    case '>>':
      return a >> (b & 63n);
    case '+':
      return checked(s, a + b, 'overflow in sum');
    case '-':
      return checked(s, a - b, 'overflow in difference');
    case '*':
      return checked(s, a * b, 'overflow in multiplication');
    case '/':
      if (b === 0n) return failed(s, 'divide by zero');
      return a === min && b === -1n ? max : a / b;
    default:
      if (b === 0n) return failed(s, 'modulo by zero');
      return a % b;
  }
}

function unary(s: State): bigint {
  skipSpace(s);
  if (s.depth >= maxDepth) return failed(s, 'expression is nested too deeply');
  const c = s.text[s.at];
  s.depth++;
  let value: bigint;
  if (c === '-' || c === '+') {
    s.at++;
    value = unary(s);
    if (c === '-') value = value === min ? max : -value;
  } else if (c === '~') {
    s.at++;
    value = ~unary(s);
  } else if (c === '(') value = parenthesis(s);
  else value = number(s);
  s.depth--;
  return value;
}

function parenthesis(s: State): bigint {
  s.at++;
  const value = binary(s, 0);
  if (s.error !== undefined) return value;
  if (s.text[s.at] !== ')') return failed(s, 'expecting closing parenthesis');
  s.at++;
  skipSpace(s);
  return value;
}

function number(s: State): bigint {
  const pattern = s.decimal ? /[0-9]+/y : /0[xX][0-9A-Fa-f]*|0[0-7]*|[0-9]+/y;
  pattern.lastIndex = s.at;
  const found = pattern.exec(s.text)?.[0];
  if (found === undefined) return failed(s, 'expecting number or opening parenthesis');
  s.at += found.length;
  const octal = !s.decimal && /^0[0-7]+$/.test(found);
  // As scanf reads it: a bare 0x is zero.
  const digits = /^0x$/i.test(found) ? '0' : found;
  let value = BigInt(octal ? `0o${digits.slice(1)}` : digits);
  if (value > max) value = max;
  const unit = /[kKmMgG]/y;
  unit.lastIndex = s.at;
  const scale = unit.exec(s.text)?.[0].toLowerCase();
  if (scale !== undefined) {
    s.at++;
    value = checked(s, value * 1024n ** BigInt('kmg'.indexOf(scale) + 1), 'overflow in number');
  }
  skipSpace(s);
  return value;
}

function skipSpace(s: State): void {
  while (s.at < s.text.length && /\s/.test(s.text.charAt(s.at))) s.at++;
}

function checked(s: State, value: bigint, what: string): bigint {
  return value > max || value < min ? failed(s, what) : value;
}

function failed(s: State, what: string): bigint {
  s.error ??= what;
  return 0n;
}
