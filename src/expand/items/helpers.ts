/** Shapes that items share. */
import type { Ast, ItemParts } from '../ast.ts';
import { evaluateAll, type Compiler, type Evaluator, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { error, finish, type Outcome, type Result } from '../outcome.ts';
import type { Parser } from '../parser.ts';

export const nothing: Evaluator = () => '';

/**
 * An item that takes `min` to `max` groups and makes a text of them. `apply` finds the taint of the groups in the frame,
 * and leaves there that of its result; `cleans` says that nothing of the groups can be seen in the result.
 */
export function groupsItem(
  min: number,
  max: number,
  apply: (texts: readonly string[], frame: Frame, name: string) => Result<string>,
  cleans = false,
): ItemRow {
  return {
    parse(p, name) {
      const groups = p.arguments(name, min, max);
      return groups && { groups };
    },
    compile(parts, compiler, name) {
      const evaluators = parts.groups.map((g) => compiler.text(g));
      return (frame) => {
        const before = frame.tainted;
        frame.tainted = false;
        const r = evaluateAll(evaluators, frame, (texts) => apply(texts, frame, name));
        return finish(r, () => {
          frame.tainted = before || (frame.tainted && !cleans);
        });
      };
    },
  };
}

/** An item that cannot be used here: refused when it is read. */
export function refusedItem(why: string): ItemRow {
  return {
    parse: (p, name) => p.fail(`"${name}" expansion item is not supported: ${why}`),
    compile: () => nothing,
  };
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
export function numberArgument(
  text: string,
  name: string,
  signed: boolean,
  first: boolean,
): Outcome<string> | number {
  // As strtol reads it: the empty text is zero.
  if (text === '') return 0;
  const n = /^\s*[-+]?[0-9]+$/.test(text) ? Number(text) : undefined;
  if (n !== undefined && (signed || n >= 0)) return n;
  const kind = first && name !== 'length' && n === undefined ? '' : ' positive';
  return error(`"${text}" is not a${kind} number (in "${name}" expansion)`);
}
