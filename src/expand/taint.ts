/** Words for what taint forbids (DESIGN §2.6): a name from the wire may not become a file name, command or query text. */
import type { Ast, ItemAst } from './ast.ts';
import { findOperator } from './operators/table.ts';
import { findVariable } from './variables.ts';
import { itemsIn } from './walk.ts';

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
  const names = ast === undefined ? [] : taintedVariables(ast);
  return `tainted ${what}: "${text}"${names.length === 0 ? '' : ` comes from ${listed(names)}`}; use ${advice(names)} instead`;
}

function listed(names: readonly string[]): string {
  return names.map((n) => `$${n}`).join(', ');
}

function advice(names: readonly string[]): string {
  return (
    names.map((n) => clean.get(n)).find((b) => b !== undefined) ??
    "a value that a lookup or a list's match gave"
  );
}

/** A use of what comes from the wire that is refused whenever it is reached. */
export interface TaintProblem {
  /** Octets from the start of the template. */
  readonly offset: number;
  readonly message: string;
}

/** Finds in a template what can be told to be tainted without any mail. */
export function taintProblems(ast: Ast): TaintProblem[] {
  return itemsIn(ast).flatMap((node) => {
    if (node.kind === 'item') return uses(node).flatMap(([what, part]) => problem(what, part, node.position));
    return node.name === 'expand' ? problem('string to expand', node.operand, node.position) : [];
  });
}

/** The parts of an item that may not be tainted, and what they are. */
function uses(item: ItemAst): (readonly [what: string, ast: Ast])[] {
  const [first, second] = item.groups;
  switch (item.name) {
    case 'lookup':
      return second === undefined ? [] : [[`file name for the ${item.word ?? ''} lookup`, second]];
    case 'readfile':
      return first === undefined ? [] : [['file name for readfile', first]];
    case 'readsocket':
      return first === undefined ? [] : [['name for readsocket', first]];
    case 'run':
      return first === undefined ? [] : [['command for run', first]];
    default:
      return [];
  }
}

function problem(what: string, ast: Ast, offset: number): TaintProblem[] {
  const names = taintedVariables(ast);
  if (names.length === 0) return [];
  return [
    {
      // Positions are those after the dollar.
      offset: offset - 1,
      message: `${what} comes from ${listed(names)}, which is tainted; use ${advice(names)} instead`,
    },
  ];
}

/** Items whose result is made of their own groups' text. */
const copies = new Set([
  'extract',
  'hash',
  'imapfolder',
  'length',
  'listextract',
  'listquote',
  'sg',
  'substr',
]);

/** Variables whose text flows into the result and that are always tainted, and headers. */
function taintedVariables(ast: Ast): string[] {
  return [...new Set(sources(ast))];
}

function sources(ast: Ast): string[] {
  switch (ast.kind) {
    case 'variable': {
      const row = findVariable(ast.name);
      // Those of the second kind are clean in tests of expansions only.
      return typeof row !== 'string' && (row.tainted === true || clean.has(ast.name)) ? [ast.name] : [];
    }
    case 'header':
      return [`${ast.form === 'h' ? '' : ast.form}h_${ast.name}:`];
    case 'concat':
      return ast.parts.flatMap(sources);
    case 'operator':
      return findOperator(ast.name)?.row.cleans === true ? [] : sources(ast.operand);
    case 'item': {
      const { yes, no } = ast.branches ?? {};
      const parts = copies.has(ast.name) ? [...ast.groups, yes, no] : [yes, no];
      return parts.filter((a) => typeof a === 'object').flatMap(sources);
    }
    case 'text':
    case 'capture':
      return [];
  }
}
