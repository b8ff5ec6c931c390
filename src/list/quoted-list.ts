/**
 * Lists whose queries hold text from the wire, such as `pgsql;select ... '${quote_pgsql:$domain}'`. Quoting for the
 * database does not keep a separator in the text from ending the list's item and beginning another one; so these texts get
 * their separators doubled, and only lists are taken whose items begin, up to the query, with what the configuration says.
 */
import type { Ast } from '../expand/ast.ts';
import { asQuery, quotedTypes, type Template } from '../expand/expand.ts';
import { quotesFor } from '../expand/quoted.ts';
import { readList } from '../mail/list-text.ts';

export interface QuotedList {
  /** Evaluates to the list; what is quoted does not taint it. */
  readonly template: Template;
  /** The lookup type. */
  readonly type: string;
}

/** Undefined where nothing is quoted, or where it is not certain that it stays within one query. */
export function quotedList(template: Template): QuotedList | undefined {
  const [type, ...more] = new Set(quotedTypes(template.ast));
  const { ast } = template;
  if (type === undefined || more.length > 0 || ast.kind !== 'concat') return undefined;
  const [first] = ast.parts;
  if (first?.kind !== 'text') return undefined;
  const { separator } = readList(first.text);
  // A control character cannot be doubled.
  if (separator < ' ' || separator === '\x7f') return undefined;
  if (!staysInQueries(ast.parts, type, separator)) return undefined;
  const double = (text: string): string => text.replaceAll(separator, separator + separator);
  return { template: asQuery(template, type, double), type };
}

/** A lookup item up to its query, or into it. */
const query = /^\s*(?:<.\s*)?!?\s*([a-z]+)(?:,[^;]*)?;/s;

function staysInQueries(parts: readonly Ast[], type: string, separator: string): boolean {
  /** The literal text of the item so far; undefined where it began with something else. */
  let item: string | undefined = '';
  for (const part of parts) {
    if (part.kind === 'text') {
      const pieces = part.text.split(separator);
      const [head = ''] = pieces;
      item = pieces.length > 1 ? (pieces.at(-1) ?? '') : item === undefined ? undefined : item + head;
      // The mark of another separator is not the end of an item.
      if (part === parts[0] && pieces.length === 2 && pieces[0]?.trim() === '<') item = pieces[1] ?? '';
    } else if (quotesFor(part, type)) {
      const found = item === undefined ? null : query.exec(item);
      if (found === null || !quotesFor(part, found[1] ?? '')) return false;
      // A separator at the end would be taken together with one in the text.
      if (item?.endsWith(separator) === true) return false;
    } else if (item === undefined || !query.test(item)) item = undefined;
  }
  return true;
}
