/** Words for what taint forbids (DESIGN §2.6): a name from the wire may not become a file name, command or query text. */
import type { Ast } from './ast.ts';
import { findVariable } from './variables.ts';

/** The untainted value to use in place of a tainted variable. */
const clean: ReadonlyMap<string, string> = new Map([
  ['domain', '$domain_data'],
  ['local_part', '$local_part_data'],
  ['original_domain', '$domain_data'],
  ['original_local_part', '$local_part_data'],
  ['sender_address', 'the result of a lookup of $sender_address'],
  ['sender_address_domain', 'the result of a lookup of $sender_address_domain'],
  ['sender_address_local_part', 'the result of a lookup of $sender_address_local_part'],
]);

/** `what` names the use, `text` the offending name, `ast` where it came from. */
export function taintedNameReason(what: string, text: string, ast: Ast | undefined): string {
  const names = [...new Set(ast === undefined ? [] : taintedVariables(ast))];
  const culprits = names.map((n) => `$${n}`).join(', ');
  const better = names.map((n) => clean.get(n)).find((b) => b !== undefined);
  const advice = better ?? "a value that a lookup or a list's match gave";
  return `tainted ${what}: "${text}"${culprits === '' ? '' : ` comes from ${culprits}`}; use ${advice} instead`;
}

/** Variables in the text itself that are always tainted, and headers. */
function taintedVariables(ast: Ast): string[] {
  switch (ast.kind) {
    case 'variable': {
      const row = findVariable(ast.name);
      return typeof row !== 'string' && row.tainted !== undefined ? [ast.name] : [];
    }
    case 'header':
      return [`${ast.form === 'h' ? '' : ast.form}h_${ast.name}:`];
    case 'concat':
      return ast.parts.flatMap(taintedVariables);
    case 'operator':
      return taintedVariables(ast.operand);
    case 'item':
      return ast.groups.flatMap(taintedVariables);
    case 'text':
    case 'capture':
      return [];
  }
}
