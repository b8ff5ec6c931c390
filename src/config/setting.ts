/** The words of an option setting (Exim manual, "Common option syntax"): `[hide] [no_|not_]name [= value]`. */
import type { SourcePosition, SourceText } from '../mail/diagnostic.ts';
import { positionAt, sliceSource } from '../mail/source-text.ts';
import { isNameCharacter, isSpace } from './lines.ts';

export interface Setting {
  /** As written, without `no_` or `not_`. */
  readonly name: string;
  readonly negated: boolean;
  /** As written, for messages. */
  readonly fullName: string;
  readonly hidden: boolean;
  readonly position: SourcePosition;
  /** What follows an equals sign, without white space around; absent where there is none. */
  readonly value?: SourceText;
  /** What follows the name where that is no equals sign. */
  readonly extra?: SourceText;
}

/** Reads one logical line; undefined where it does not begin with a name. */
export function lexSetting(line: SourceText): Setting | undefined {
  const { text } = line;
  let at = 0;
  let hidden = false;
  let name = nameAt(text, at);
  if (name === 'hide' && isSpace(text[4])) {
    hidden = true;
    at = skipSpace(text, 4);
    name = nameAt(text, at);
  }
  if (name === '') return undefined;
  const negation = name.startsWith('no_') ? 3 : name.startsWith('not_') ? 4 : 0;
  const position = positionAt(line, at);
  const after = skipSpace(text, at + name.length);
  const base = { name: name.slice(negation), negated: negation > 0, fullName: name, hidden, position };
  if (text[after] === '=') return { ...base, value: sliceSource(line, skipSpace(text, after + 1)) };
  return after < text.length ? { ...base, extra: sliceSource(line, after) } : base;
}

/** A name at `at`: a letter, then letters, digits and underscores; empty where there is none. */
export function nameAt(text: string, at: number): string {
  const first = text[at];
  if (!isNameCharacter(first) || first === '_' || (first !== undefined && first >= '0' && first <= '9'))
    return '';
  let end = at;
  while (isNameCharacter(text[end])) end++;
  return text.slice(at, end);
}

export function skipSpace(text: string, at: number): number {
  let i = at;
  while (isSpace(text[i])) i++;
  return i;
}

/** `NAME = text` or `NAME == text` at the begin of a line. */
export interface MacroDefinition {
  readonly name: string;
  readonly redefine: boolean;
  readonly text: string;
}

/** Reads a line that may define a macro: a name that begins with a capital, and an equals sign. Else undefined. */
export function lexMacroDefinition(text: string): MacroDefinition | undefined {
  const name = nameAt(text, 0);
  if (name === '' || name.charAt(0) > 'Z') return undefined;
  const at = skipSpace(text, name.length);
  if (text[at] !== '=') return undefined;
  const redefine = text[at + 1] === '=';
  return { name, redefine, text: text.slice(at + (redefine ? 2 : 1)).trim() };
}
