/** Going through a tree without evaluating it. */
import type { Ast, ConditionAst, ItemAst, OperatorAst } from './ast.ts';

/** All items and operators of a tree, outer ones first, those in conditions and branches included. */
export function itemsIn(ast: Ast): (ItemAst | OperatorAst)[] {
  switch (ast.kind) {
    case 'text':
    case 'variable':
    case 'header':
    case 'capture':
      return [];
    case 'concat':
      return ast.parts.flatMap(itemsIn);
    case 'operator':
      return [ast, ...itemsIn(ast.operand)];
    case 'item': {
      const { yes, no } = ast.branches ?? {};
      const inner = [...ast.groups, yes, no].filter((a) => typeof a === 'object').flatMap(itemsIn);
      return [ast, ...inner, ...(ast.condition === undefined ? [] : itemsInCondition(ast.condition))];
    }
  }
}

function itemsInCondition(condition: ConditionAst): (ItemAst | OperatorAst)[] {
  if (condition.kind === 'not') return itemsInCondition(condition.condition);
  return [...condition.groups.flatMap(itemsIn), ...(condition.conditions ?? []).flatMap(itemsInCondition)];
}
