/** What the rows of the tables compile to, and what they see of the compiler. */
import type { Ast, Branches, ConditionAst, ConditionParts, ItemParts } from './ast.ts';
import type { Frame } from './frame.ts';
import type { Outcome, Result } from './outcome.ts';
import type { ConditionParser, ItemParser } from './parser.ts';

/** Gives a text, and ORs its taint into the frame. */
export type Evaluator = (frame: Frame) => Result<string>;
/** Gives an answer and leaves the frame's taint as it was; may set captures and `$value`. */
export type Test = (frame: Frame) => Result<boolean>;

/**
 * Picks between `{yes}` and `{no}`. With a value, `$value` is that inside `{yes}`, and the value itself is the result
 * where there is no `{yes}`.
 */
export interface BranchEvaluator {
  yes(frame: Frame, value: string, valueTainted: boolean): Result<string>;
  /** Without touching `$value`; gives `otherwise` where there is no `{yes}`. */
  plainYes(frame: Frame, otherwise: string): Result<string>;
  no(frame: Frame): Result<string>;
  /** `no` with `$value` set inside it. */
  noWith(frame: Frame, value: string, valueTainted: boolean): Result<string>;
}

export interface Compiler {
  text(ast: Ast): Evaluator;
  test(condition: ConditionAst): Test;
  branches(name: string, branches: Branches | undefined): BranchEvaluator;
  /** As `text`, but what goes through the quoting operator of this lookup type does not taint. */
  query(ast: Ast, type: string): Evaluator;
}

export interface ItemRow {
  readonly parse: ItemParser;
  readonly compile: (parts: ItemParts, compiler: Compiler, name: string) => Evaluator;
}

export interface ConditionRow {
  readonly parse: ConditionParser;
  readonly compile: (parts: ConditionParts, compiler: Compiler, name: string) => Test;
}

/** `argument` is what follows the underscore in the operator's name. */
export interface OperatorRow {
  readonly apply: (text: string, argument: string | undefined, frame: Frame, name: string) => Result<string>;
  /** True where the result cannot carry text of the operand (digests, counts): then it is untainted. */
  readonly cleans?: true;
  /** Where there is something to refuse before any evaluation. */
  readonly check?: (argument: string | undefined, name: string) => string | undefined;
}

export interface VariableRow {
  readonly read: Evaluator;
  /** Absent: never tainted. */
  readonly tainted?: true | ((frame: Frame) => boolean);
}

/** Evaluates in order and collects the texts; a failure ends it. */
export function evaluateAll(
  evaluators: readonly Evaluator[],
  frame: Frame,
  proceed: (texts: readonly string[]) => Result<string>,
): Result<string> {
  const texts: string[] = [];
  for (let i = 0; i < evaluators.length; i++) {
    const r = evaluators[i]?.(frame) ?? '';
    if (typeof r === 'string') texts.push(r);
    else if (r instanceof Promise) return evaluateRest(evaluators, i, r, texts, frame, proceed);
    else return r;
  }
  return proceed(texts);
}

async function evaluateRest(
  evaluators: readonly Evaluator[],
  at: number,
  pending: Promise<Outcome<string>>,
  texts: string[],
  frame: Frame,
  proceed: (texts: readonly string[]) => Result<string>,
): Promise<Outcome<string>> {
  let r = await pending;
  for (let i = at; ; ) {
    if (typeof r !== 'string') return r;
    texts.push(r);
    i++;
    const evaluator = evaluators[i];
    if (evaluator === undefined) return proceed(texts);
    r = await evaluator(frame);
  }
}

/** Evaluates a text whose taint does not flow into the result; `proceed` hears of it. */
export function aside<B>(
  evaluator: Evaluator,
  frame: Frame,
  proceed: (text: string, tainted: boolean) => Result<B>,
): Result<B> {
  const before = frame.tainted;
  frame.tainted = false;
  const r = evaluator(frame);
  if (r instanceof Promise)
    return r.then((text): Result<B> => {
      const tainted = frame.tainted;
      frame.tainted = before;
      return typeof text === 'string' ? proceed(text, tainted) : text;
    });
  const tainted = frame.tainted;
  frame.tainted = before;
  return typeof r === 'string' ? proceed(r, tainted) : r;
}
