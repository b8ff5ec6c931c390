/**
 * Which parts of a query went through the quoting operator of its lookup type (Exim manual, "Quoting lookup data"). Seen
 * from the text of the query alone: what a variable holds does not count as quoted.
 */
import type { Ast } from './ast.ts';

/** Types that share one operator: `${quote_ldap:` and `${quote_ldap_dn:` serve all of LDAP. */
function family(type: string): string {
  return type.startsWith('ldap') ? 'ldap' : type;
}

/** True where what was quoted for one type may stand in a query of the other. */
export function isQuotedFor(quoted: string, type: string): boolean {
  return family(quoted) === family(type);
}

/** True for `${quote_<type>:`, with or without an option. */
export function quotesFor(ast: Ast, type: string): boolean {
  if (ast.kind !== 'operator' || !ast.name.startsWith('quote_')) return false;
  return family(ast.name.split('_')[1] ?? '') === family(type);
}

/**
 * In the query of the condition `ldapauth`, `${quote:` serves where it makes the whole value of `pass=`; inside quotes it would
 * end them.
 *
 * @param before what stands before it
 */
export function quotesPassword(ast: Ast, before: Ast | undefined, type: string): boolean {
  if (type !== 'ldapauth' || ast.kind !== 'operator' || ast.name !== 'quote') return false;
  return before?.kind === 'text' && /(?:^|\s)pass=$/i.test(before.text);
}

/** The lookup types whose quoting operators stand anywhere in a text. */
export function quotedTypes(ast: Ast): string[] {
  switch (ast.kind) {
    case 'operator': {
      const inner = quotedTypes(ast.operand);
      return ast.name.startsWith('quote_') ? [family(ast.name.split('_')[1] ?? ''), ...inner] : inner;
    }
    case 'concat':
      return ast.parts.flatMap(quotedTypes);
    case 'item':
      return [ast.branches?.yes, ast.branches?.no].filter((b) => typeof b === 'object').flatMap(quotedTypes);
    case 'text':
    case 'variable':
    case 'capture':
    case 'header':
      return [];
  }
}
