/** Compiles a tree to closures, so that a template is read once and evaluated many times. */
import type { Ast, Branches, ConditionAst } from './ast.ts';
import { conditionTable } from './conditions/table.ts';
import type { BranchEvaluator, Compiler, Evaluator, Test } from './evaluator.ts';
import type { Frame } from './frame.ts';
import { headerText } from './headers.ts';
import { itemTable } from './items/table.ts';
import { findOperator } from './operators/table.ts';
import { bounded, chain, finish, maxTextOctets, type Outcome, type Result } from './outcome.ts';
import { readVariable } from './variables.ts';

export function compile(ast: Ast): Evaluator {
  return compiler.text(ast);
}

const compiler: Compiler = { text: compileText, test: compileTest, branches: compileBranches };

function compileText(ast: Ast): Evaluator {
  switch (ast.kind) {
    case 'text': {
      const { text } = ast;
      return () => text;
    }
    case 'concat':
      return concat(ast.parts.map(compileText));
    case 'variable':
      return readVariable(ast.name);
    case 'capture': {
      const { index } = ast;
      return (frame) => {
        const text = frame.captures[index] ?? '';
        if (text !== '' && frame.capturesTainted) frame.tainted = true;
        return text;
      };
    }
    case 'header':
      return (frame) => {
        const text = headerText(ast.form, ast.name, frame.scope);
        if (text !== '') frame.tainted = true;
        return text;
      };
    case 'operator':
      return compileOperator(ast.name, ast.argument, compileText(ast.operand));
    case 'item': {
      const row = itemTable.get(ast.name);
      if (row === undefined) throw new Error(`no item ${ast.name}`);
      return row.compile(ast, compiler, ast.name);
    }
  }
}

function compileOperator(name: string, argument: string | undefined, operand: Evaluator): Evaluator {
  const row = findOperator(name)?.row;
  if (row === undefined) throw new Error(`no operator ${name}`);
  const { apply } = row;
  const cleans = row.cleans === true;
  return (frame) => {
    const before = frame.tainted;
    // The operator itself looks at the taint of its operand alone.
    frame.tainted = false;
    const text = operand(frame);
    const run = (s: string): Result<string> =>
      finish(apply(s, argument, frame, name), () => {
        frame.tainted = before || (frame.tainted && !cleans);
      });
    if (typeof text === 'string') return run(text);
    if (text instanceof Promise)
      return text.then((t): Result<string> => (typeof t === 'string' ? run(t) : t));
    return text;
  };
}

function concat(parts: readonly Evaluator[]): Evaluator {
  return (frame) => {
    let out = '';
    for (let i = 0; i < parts.length; i++) {
      const r = parts[i]?.(frame) ?? '';
      if (typeof r === 'string') out += r;
      else if (r instanceof Promise) return concatRest(parts, i, r, out, frame);
      else return r;
    }
    return out.length > maxTextOctets ? bounded(out) : out;
  };
}

async function concatRest(
  parts: readonly Evaluator[],
  at: number,
  pending: Promise<Outcome<string>>,
  head: string,
  frame: Frame,
): Promise<Outcome<string>> {
  let out = head;
  let r = await pending;
  for (let i = at; ; ) {
    if (typeof r !== 'string') return r;
    out += r;
    i++;
    const part = parts[i];
    if (part === undefined) return bounded(out);
    r = await part(frame);
  }
}

function compileTest(condition: ConditionAst): Test {
  if (condition.kind === 'not') {
    const inner = compileTest(condition.condition);
    return (frame) => chain(inner(frame), (yes) => !yes);
  }
  const row = conditionTable.get(condition.name);
  if (row === undefined) throw new Error(`no condition ${condition.name}`);
  const test = row.compile(condition, compiler, condition.name);
  // What a condition looks at does not flow into the result.
  return (frame) => {
    const before = frame.tainted;
    const r = test(frame);
    if (r instanceof Promise) return finish(r, () => void (frame.tainted = before));
    frame.tainted = before;
    return r;
  };
}

function compileBranches(name: string, branches: Branches | undefined): BranchEvaluator {
  const yes = branches?.yes === undefined ? undefined : compileText(branches.yes);
  const no = branches?.no === undefined || branches.no === 'fail' ? undefined : compileText(branches.no);
  const failure = { kind: 'forced-fail', reason: `"${name}" failed and "fail" requested` } as const;
  const fails = branches?.no === 'fail';
  return {
    yes(frame, value, valueTainted) {
      if (yes === undefined) {
        if (valueTainted) frame.tainted = true;
        return value;
      }
      const { value: oldValue, valueTainted: oldTainted } = frame;
      frame.value = value;
      frame.valueTainted = valueTainted;
      const r = yes(frame);
      if (r instanceof Promise)
        return finish(r, () => {
          frame.value = oldValue;
          frame.valueTainted = oldTainted;
        });
      frame.value = oldValue;
      frame.valueTainted = oldTainted;
      return r;
    },
    plainYes: (frame, otherwise) => (yes === undefined ? otherwise : yes(frame)),
    no: (frame) => (fails ? failure : no === undefined ? '' : no(frame)),
  };
}
