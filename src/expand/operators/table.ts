/** All operators: `${name:text}`. To add one is to add a row to one of the groups. */
import type { OperatorRow } from '../evaluator.ts';
import { findLookupType } from '../lookup-type.ts';
import { quoteForLookup } from '../lookup-quote.ts';
import { error } from '../outcome.ts';
import { encodeOperators } from './encode.ts';
import { mailOperators } from './mail.ts';
import { numberOperators } from './number.ts';
import { textOperators } from './text.ts';

const table: ReadonlyMap<string, OperatorRow> = new Map(
  Object.entries({ ...textOperators, ...encodeOperators, ...mailOperators, ...numberOperators }),
);

export function operatorNames(): readonly string[] {
  return [...table.keys()];
}

/** Splits `substr_1_2` into the operator and what follows its underscore; names that contain one themselves win. */
export function findOperator(
  text: string,
): { readonly name: string; readonly argument: string | undefined; readonly row: OperatorRow } | undefined {
  const whole = table.get(text);
  if (whole !== undefined) return { name: text, argument: undefined, row: whole };
  const underscore = text.indexOf('_');
  if (underscore < 0) return undefined;
  const name = text.slice(0, underscore);
  const argument = text.slice(underscore + 1);
  if (name === 'quote') return { name: text, argument, row: quoteRow };
  const row = table.get(name);
  return row === undefined ? undefined : { name, argument, row };
}

/** Types that neither Mailchute nor Debian's Exim has: an unknown name to both. */
const notThere: ReadonlySet<string> = new Set(['ibase', 'nisplus', 'oracle', 'testdb', 'whoson']);

/** `${quote_pgsql:`: the quoting rules of a lookup type (Exim manual, "Quoting lookup data"). */
const quoteRow: OperatorRow = {
  check(argument = '') {
    const [type = '', ...rest] = argument.split('_');
    const option = rest.length === 0 ? undefined : rest.join('_');
    if (findLookupType(type) === undefined || notThere.has(type)) return `unknown lookup type "${type}"`;
    return quoteForLookup(type, '', option) === undefined
      ? `"${option ?? ''}" unrecognized after "\${quote_${type}"`
      : undefined;
  },
  apply(text, argument = '') {
    const [type = '', ...rest] = argument.split('_');
    return (
      quoteForLookup(type, text, rest.length === 0 ? undefined : rest.join('_')) ??
      error(`cannot quote for ${type}`)
    );
  },
};
