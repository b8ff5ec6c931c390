/** Shapes that most conditions have: `name{a}` and `name{a}{b}`. */
import type { Ast } from '../ast.ts';
import { aside, type ConditionRow, type Evaluator, type Test } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import type { Result } from '../outcome.ts';
import type { Parser } from '../parser.ts';

const nothing: Evaluator = () => '';

/** Reads the one group of `name{a}`. */
export function oneGroup(p: Parser, name: string): { readonly groups: readonly Ast[] } | undefined {
  p.skipSpace();
  if (!p.at('{')) return p.fail(`missing { after "${name}"`);
  const group = p.group();
  return group && { groups: [group] };
}

/** Reads the groups of `name{a}{b}`; `plainSecond` leaves dollars in the second alone. */
export function twoGroups(
  p: Parser,
  name: string,
  plainSecond = false,
): { readonly groups: readonly Ast[] } | undefined {
  const first = oneGroup(p, name);
  if (first === undefined) return undefined;
  p.skipSpace();
  if (!p.at('{')) return p.fail(`missing 2nd string in {} after "${name}"`);
  const second = p.group(plainSecond);
  return second && { groups: [...first.groups, second] };
}

export function unaryCondition(
  test: (text: string, frame: Frame, tainted: boolean) => Result<boolean>,
): ConditionRow {
  return {
    parse: oneGroup,
    compile(parts, compiler) {
      const operand = parts.groups[0] === undefined ? nothing : compiler.text(parts.groups[0]);
      return (frame) => aside(operand, frame, (text, tainted) => test(text, frame, tainted));
    },
  };
}

export interface Taints {
  readonly first: boolean;
  readonly second: boolean;
}

export function binaryCondition(
  test: (a: string, b: string, frame: Frame, taints: Taints, name: string) => Result<boolean>,
  plainSecond = false,
): ConditionRow {
  return {
    parse: (p, name) => twoGroups(p, name, plainSecond),
    compile(parts, compiler, name) {
      const first = parts.groups[0] === undefined ? nothing : compiler.text(parts.groups[0]);
      const second = parts.groups[1] === undefined ? nothing : compiler.text(parts.groups[1]);
      return (frame) =>
        aside(first, frame, (a, firstTaint) =>
          aside(second, frame, (b, secondTaint) =>
            test(a, b, frame, { first: firstTaint, second: secondTaint }, name),
          ),
        );
    },
  };
}

/** A comparison of two texts and nothing else: taint does not matter, so the common case allocates nothing. */
export function compareTexts(test: (a: string, b: string) => Result<boolean>): ConditionRow {
  return {
    parse: (p, name) => twoGroups(p, name),
    compile(parts, compiler) {
      const first = parts.groups[0] === undefined ? nothing : compiler.text(parts.groups[0]);
      const second = parts.groups[1] === undefined ? nothing : compiler.text(parts.groups[1]);
      const compare: Test = (frame) => {
        const a = first(frame);
        if (typeof a !== 'string')
          return a instanceof Promise ? a.then((v) => (typeof v === 'string' ? after(v, frame) : v)) : a;
        return after(a, frame);
      };
      const after = (a: string, frame: Frame): Result<boolean> => {
        const b = second(frame);
        if (typeof b === 'string') return test(a, b);
        return b instanceof Promise
          ? b.then((v): Result<boolean> => (typeof v === 'string' ? test(a, v) : v))
          : b;
      };
      return compare;
    },
  };
}

/** A condition that cannot be used here: refused when it is read. */
export function refusedCondition(why: string): ConditionRow {
  return {
    parse: (p, name) => p.fail(`"${name}" condition is not supported: ${why}`),
    compile: () => () => false,
  };
}
