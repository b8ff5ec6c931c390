/** Compiles a tree to closures, so that a template is read once and evaluated many times. */
import type { Ast, Branches, ConditionAst } from './ast.ts';
import { isCertificateVariable } from './certificate.ts';
import { conditionTable } from './conditions/table.ts';
import { aside, type BranchEvaluator, type Compiler, type Evaluator, type Test } from './evaluator.ts';
import type { Frame } from './frame.ts';
import { headerText } from './headers.ts';
import { itemTable } from './items/table.ts';
import { findOperator } from './operators/table.ts';
import { bounded, chain, finish, maxTextOctets, type Outcome, type Result } from './outcome.ts';
import { quotesFor, quotesPassword } from './quoted.ts';
import { readVariable } from './variables.ts';

export function compile(ast: Ast): Evaluator {
  return compiler.text(ast);
}

const compiler: Compiler = {
  text: compileText,
  test: compileTest,
  branches: (name, branches) => compileBranches(name, branches, compileText),
  query: compileQuery,
};

/** Compiles the text of a query: what goes through the quoting operator of its lookup type does not taint. */
export function compileQuery(
  ast: Ast,
  type: string,
  edit: (text: string) => string = (text) => text,
): Evaluator {
  const inner = (part: Ast): Evaluator => compileQuery(part, type, edit);
  const whole = (part: Ast): Evaluator => {
    const quoted = compileText(part);
    return (frame) => aside(quoted, frame, edit);
  };
  if (ast.kind === 'concat')
    return concat(
      ast.parts.map((part, i) => (quotesPassword(part, ast.parts[i - 1], type) ? whole(part) : inner(part))),
    );
  if (quotesFor(ast, type)) return whole(ast);
  const row =
    ast.kind === 'item' && (ast.name === 'if' || ast.name === 'lookup') ? itemTable.get(ast.name) : undefined;
  if (ast.kind !== 'item' || row === undefined) return compileText(ast);
  const branching = {
    ...compiler,
    branches: (name: string, b: Branches | undefined) => compileBranches(name, b, inner),
  };
  return row.compile(ast, branching, ast.name);
}

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
      return ast.operand.kind === 'variable' && isCertificateVariable(ast.operand.name)
        ? certificateOperator(ast.name, ast.argument, ast.operand.name)
        : compileOperator(ast.name, ast.argument, compileText(ast.operand));
    case 'item': {
      const row = itemTable.get(ast.name);
      if (row === undefined) throw new Error(`no item ${ast.name}`);
      return row.compile(ast, compiler, ast.name);
    }
  }
}

/**
 * An operator on a certificate variable alone: digests and base64 are those of the certificate. Where there is none, Exim
 * takes them of the variable's name.
 */
function certificateOperator(name: string, argument: string | undefined, variable: string): Evaluator {
  const onText = compileOperator(name, argument, readVariable(variable));
  if (!['md5', 'sha1', 'sha256', 'base64'].includes(name)) return onText;
  return (frame) => {
    const der = frame.scope.certificates?.get(variable);
    const apply = compileOperator(name, argument, () => der?.toString('latin1') ?? variable);
    const text = apply(frame);
    return der !== undefined && name === 'md5' && typeof text === 'string' ? text.toUpperCase() : text;
  };
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

function withValue(evaluate: Evaluator, frame: Frame, value: string, valueTainted: boolean): Result<string> {
  const { value: oldValue, valueTainted: oldTainted } = frame;
  frame.value = value;
  frame.valueTainted = valueTainted;
  const r = evaluate(frame);
  if (r instanceof Promise)
    return finish(r, () => {
      frame.value = oldValue;
      frame.valueTainted = oldTainted;
    });
  frame.value = oldValue;
  frame.valueTainted = oldTainted;
  return r;
}

function compileBranches(
  name: string,
  branches: Branches | undefined,
  text: (ast: Ast) => Evaluator,
): BranchEvaluator {
  const yes = branches?.yes === undefined ? undefined : text(branches.yes);
  const no = branches?.no === undefined || branches.no === 'fail' ? undefined : text(branches.no);
  const failure = { kind: 'forced-fail', reason: `"${name}" failed and "fail" requested` } as const;
  const fails = branches?.no === 'fail';
  return {
    yes(frame, value, valueTainted) {
      if (yes !== undefined) return withValue(yes, frame, value, valueTainted);
      if (valueTainted) frame.tainted = true;
      return value;
    },
    noWith: (frame, value, valueTainted) =>
      fails ? failure : no === undefined ? '' : withValue(no, frame, value, valueTainted),
    plainYes: (frame, otherwise) => (yes === undefined ? otherwise : yes(frame)),
    no: (frame) => (fails ? failure : no === undefined ? '' : no(frame)),
  };
}
