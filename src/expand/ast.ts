/** The syntax tree of an expansion string. Positions are offsets in octets from the start of the string. */

export type Ast =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'concat'; readonly parts: readonly Ast[] }
  | VariableAst
  | HeaderAst
  /** `$1`, `${1}` */
  | { readonly kind: 'capture'; readonly index: number }
  | OperatorAst
  | ItemAst;

export interface VariableAst {
  readonly kind: 'variable';
  readonly name: string;
  readonly position: number;
}

/** `$h_`, `$bh_`, `$rh_`, `$lh_` by their first letter. */
export type HeaderForm = 'h' | 'b' | 'r' | 'l';

export interface HeaderAst {
  readonly kind: 'header';
  readonly form: HeaderForm;
  readonly name: string;
}

/** `${name_argument:operand}` */
export interface OperatorAst {
  readonly kind: 'operator';
  readonly name: string;
  /** What follows the underscore. */
  readonly argument: string | undefined;
  readonly operand: Ast;
  readonly position: number;
}

/** The parts of an item that follow its name, as the item's own row in the table reads them. */
export interface ItemParts {
  readonly groups: readonly Ast[];
  /** A bare word: the search type of `lookup`, `json` of `extract`. */
  readonly word?: string;
  readonly condition?: ConditionAst;
  readonly branches?: Branches;
  /** For complaints: the command of `run` as written, then each of its words; the extractor of `sort`. */
  readonly sources?: readonly string[];
}

export interface ItemAst extends ItemParts {
  readonly kind: 'item';
  readonly name: string;
  readonly position: number;
}

/** `{yes}{no}`, `{yes}fail` or nothing. */
export interface Branches {
  readonly yes?: Ast;
  readonly no?: Ast | 'fail';
}

/** The parts of a condition that follow its name. */
export interface ConditionParts {
  readonly groups: readonly Ast[];
  readonly conditions?: readonly ConditionAst[];
  /** `def:` */
  readonly subject?: VariableAst | HeaderAst;
}

export type ConditionAst =
  | { readonly kind: 'not'; readonly condition: ConditionAst }
  | ({ readonly kind: 'test'; readonly name: string; readonly position: number } & ConditionParts);
