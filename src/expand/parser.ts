/** What the rows of the item and condition tables see of the parser. */
import type {
  Ast,
  Branches,
  ConditionAst,
  HeaderAst,
  ItemParts,
  ConditionParts,
  VariableAst,
} from './ast.ts';

/**
 * Reads one expansion string from left to right. A method that cannot read what it should returns undefined after
 * noting the first failure; callers pass undefined up.
 */
export interface Parser {
  readonly source: string;
  position: number;
  /** Notes the failure (the first one counts) and gives undefined. */
  fail(reason: string): undefined;
  /** Appends a text to the reason noted: Exim tells the way out of nested conditions like that. */
  amendFailure(suffix: string): undefined;
  skipSpace(): void;
  /** True where the next character is `c`. */
  at(c: string): boolean;
  /** Takes `c` if it is next. */
  take(c: string): boolean;
  /** Reads letters, digits and underscores, a letter first; the empty string where there is no name. */
  name(): string;
  /** Reads up to white space, an opening brace or the end. */
  word(): string;
  /** Reads `{...}`; the opening brace must be next. With `literalDollar`, `$` has no meaning inside. */
  group(literalDollar?: boolean): Ast | undefined;
  /**
   * Reads `{...}` and gives what stands between the braces, unread; undefined, without a failure noted, where no end of it
   * can be found.
   */
  rawGroup(): string | undefined;
  /** Reads a text that is a template of its own, wherever this parser stands. */
  apart(source: string): Ast | { readonly reason: string };
  /** Reads `min` to `max` groups and the closing brace of the item, with Exim's complaints about `name`. */
  arguments(name: string, min: number, max: number): readonly Ast[] | undefined;
  condition(): ConditionAst | undefined;
  /** Reads `{yes}{no}`, `{yes} fail` or nothing, and the closing brace of the item. */
  branches(name: string): Branches | undefined;
  /** Reads the name of a variable or `h_name:` without dollar, as `def:` has it. */
  reference(): VariableAst | HeaderAst | undefined;
}

export type ItemParser = (p: Parser, name: string) => ItemParts | undefined;
export type ConditionParser = (p: Parser, name: string) => ConditionParts | undefined;
