/** Shapes that items share. */
import type { Ast, ItemParts } from '../ast.ts';
import { evaluateAll, type Compiler, type Evaluator, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { error, type Outcome, type Result } from '../outcome.ts';
import type { Parser } from '../parser.ts';

export const nothing: Evaluator = () => '';

/** An item that takes `min` to `max` groups and makes a text of them. */
export function groupsItem(
  min: number,
  max: number,
  apply: (texts: readonly string[], frame: Frame, name: string) => Result<string>,
): ItemRow {
  return {
    parse(p, name) {
      const groups = p.arguments(name, min, max);
      return groups && { groups };
    },
    compile(parts, compiler, name) {
      const evaluators = parts.groups.map((g) => compiler.text(g));
      return (frame) => evaluateAll(evaluators, frame, (texts) => apply(texts, frame, name));
    },
  };
}

/** An item that cannot be used here: refused when it is read. */
export function refusedItem(why: string): ItemRow {
  return { parse: (p, name) => p.fail(`"${name}" expansion item is not supported: ${why}`), compile: () => nothing };
}

/** Reads one group; `missing` is the complaint where none starts here. */
export function groupOr(p: Parser, missing: string): Ast | undefined {
  p.skipSpace();
  return p.at('{') ? p.group() : p.fail(missing);
}

export function compileGroup(parts: ItemParts, index: number, compiler: Compiler): Evaluator {
  const group = parts.groups[index];
  return group === undefined ? nothing : compiler.text(group);
}

/** A number argument of `length`, `substr`, `hash`, `nhash`. */
export function numberArgument(text: string, name: string, signed: boolean): Outcome<string> | number {
  const t = text.trim();
  if (!(signed ? /^-?[0-9]+$/ : /^[0-9]+$/).test(t)) {
    const what = /^-[0-9]+$/.test(t) || name !== 'hash' ? '' : '';
    return error(`"${text}" is not a${signed ? '' : ' positive'}${what} number (in "${name}" expansion)`);
  }
  return Number(t);
}
