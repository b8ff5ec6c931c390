/**
 * Reads an expansion string into its tree (Exim manual, "String expansions"). Item and condition rows read their own
 * arguments through the {@link Parser} interface; what is common stands here.
 */
import type { Ast, Branches, ConditionAst, HeaderAst, HeaderForm, VariableAst } from './ast.ts';
import { conditionTable } from './conditions/table.ts';
import { itemTable } from './items/table.ts';
import { findOperator } from './operators/table.ts';
import type { Parser } from './parser.ts';
import { findVariable } from './variables.ts';
import { escapes } from './quoted-text.ts';

export interface TemplateError {
  readonly kind: 'template-error';
  /** In Exim's words where Exim has some. */
  readonly reason: string;
  /** Where in the source, in octets from its start. */
  readonly offset: number;
}

/** Braces may nest this deep; deeper ones are refused, since evaluation recurses as parsing does. */
const maxDepth = 250;

export function parse(source: string): Ast | TemplateError {
  const p = new SourceParser(source);
  const ast = p.string(false, false);
  if (ast !== undefined) return ast;
  return {
    kind: 'template-error',
    reason: p.failure?.reason ?? 'malformed expansion',
    offset: p.failure?.offset ?? p.position,
  };
}

const headerName = /^(r|b|l|)h(?:eader)?_/;
const simpleName = /[A-Za-z][A-Za-z0-9_]*/y;
const bracedName = /[A-Za-z][A-Za-z0-9_-]*/y;
const digits = /[0-9]+/y;
const special = /[\\$}]/g;
const specialOutside = /[\\$]/g;
const headerEnd = /[^!-9;-~\x80-\xff]/g;

class SourceParser implements Parser {
  readonly source: string;
  position = 0;
  failure: { reason: string; readonly offset: number } | undefined;
  private depth = 0;
  private headerWithoutColon = false;

  constructor(source: string) {
    this.source = source;
  }

  fail(reason: string): undefined {
    this.failure ??= { reason, offset: Math.min(this.position, this.source.length) };
    return undefined;
  }

  amendFailure(suffix: string): undefined {
    if (this.failure !== undefined) this.failure.reason += suffix;
    return undefined;
  }

  skipSpace(): void {
    for (;;) {
      const c = this.source.charCodeAt(this.position);
      if (c === 0x20 || (c >= 0x09 && c <= 0x0d)) this.position++;
      else return;
    }
  }

  at(c: string): boolean {
    return this.source.startsWith(c, this.position);
  }

  take(c: string): boolean {
    if (!this.at(c)) return false;
    this.position += c.length;
    return true;
  }

  name(): string {
    return this.match(simpleName);
  }

  word(): string {
    const start = this.position;
    while (this.position < this.source.length && !/[\s{]/.test(this.source.charAt(this.position)))
      this.position++;
    return this.source.slice(start, this.position);
  }

  group(literalDollar = false): Ast | undefined {
    if (!this.take('{')) return this.fail('missing {');
    return this.string(true, literalDollar);
  }

  rawGroup(): string | undefined {
    if (!this.take('{')) return undefined;
    const start = this.position;
    if (this.string(true, false) !== undefined) return this.source.slice(start, this.position - 1);
    // What cannot be read may still end here: its words are read again one by one.
    this.failure = undefined;
    this.name();
    const end = this.position;
    return this.take('}') ? this.source.slice(start, end) : undefined;
  }

  apart(source: string): Ast | { readonly reason: string } {
    const p = new SourceParser(source);
    p.depth = this.depth;
    return p.string(false, false) ?? { reason: p.failure?.reason ?? 'malformed expansion' };
  }

  arguments(name: string, min: number, max: number): readonly Ast[] | undefined {
    const groups: Ast[] = [];
    this.skipSpace();
    while (groups.length < max && this.at('{')) {
      const group = this.group();
      if (group === undefined) return undefined;
      groups.push(group);
      this.skipSpace();
    }
    if (groups.length < min) return this.fail(`Not enough arguments for '${name}' (min is ${min})`);
    if (this.take('}')) return groups;
    return this.fail(
      this.at('{') ? `Too many arguments for '${name}' (max is ${max})` : `missing '}' after '${name}'`,
    );
  }

  condition(): ConditionAst | undefined {
    this.skipSpace();
    const position = this.position;
    if (this.take('!')) {
      const condition = this.nested(() => this.condition());
      return condition && { kind: 'not', condition };
    }
    const name = this.conditionName();
    if (name === '')
      return this.fail(`condition name expected, but found "${this.source.slice(position, position + 16)}"`);
    const row = conditionTable.get(name);
    if (row === undefined) return this.fail(`unknown condition "${name}"`);
    const parts = this.nested(() => row.parse(this, name));
    return parts && { kind: 'test', name, position, ...parts };
  }

  branches(name: string): Branches | undefined {
    this.skipSpace();
    if (this.take('}')) return {};
    if (!this.at('{')) return this.badBranch("'yes' part did not start with '{'");
    const yes = this.group();
    if (yes === undefined) return undefined;
    this.skipSpace();
    if (this.at('{')) {
      const no = this.group();
      if (no === undefined) return undefined;
      this.skipSpace();
      return this.take('}') ? { yes, no } : this.badBranch("did not close with '}'");
    }
    if (this.take('}')) return { yes };
    const word = this.name();
    if (word === 'fail') {
      this.skipSpace();
      return this.take('}') ? { yes, no: 'fail' } : this.badBranch("did not close with '}' after forcedfail");
    }
    return this.fail(`syntax error in "${name}" item - "fail" expected`);
  }

  reference(): VariableAst | HeaderAst | undefined {
    const position = this.position;
    const header = this.header();
    if (header !== undefined) return header;
    const name = this.name() || this.match(digits);
    if (name === '') return this.fail('variable name omitted after "def:"');
    const row = findVariable(name);
    if (typeof row !== 'string') return { kind: 'variable', name, position };
    this.position = position;
    return this.fail(`unknown variable "${name}" after "def:"${row}`);
  }

  /** Reads to the end of the source, or past the closing brace where `braced`. */
  string(braced: boolean, literalDollar: boolean): Ast | undefined {
    const parts: Ast[] = [];
    let text = '';
    const pattern = braced ? special : specialOutside;
    for (;;) {
      pattern.lastIndex = this.position;
      const found = pattern.exec(this.source);
      const end = found === null ? this.source.length : found.index;
      text += this.source.slice(this.position, end);
      this.position = end;
      if (found === null) {
        if (braced) return this.fail(`missing } at end of string${this.headerHint()}`);
        return concat(parts, text);
      }
      if (found[0] === '}') {
        this.position++;
        return concat(parts, text);
      }
      if (found[0] === '\\') {
        const escaped = this.escape();
        if (escaped === undefined) return undefined;
        text += escaped;
      } else if (literalDollar) {
        this.position++;
        text += '$';
      } else {
        const part = this.nested(() => this.dollar());
        if (part === undefined) return undefined;
        if (text !== '') parts.push({ kind: 'text', text });
        text = '';
        parts.push(part);
      }
    }
  }

  /** Exim manual, "Literal text in expanded strings" and "Character escape sequences in expanded strings". */
  private escape(): string | undefined {
    this.position++;
    if (this.position >= this.source.length) return this.fail('\\ at end of string');
    const c = this.source.charAt(this.position);
    if (c === 'N') {
      const start = this.position + 1;
      const end = this.source.indexOf('\\N', start);
      this.position = end < 0 ? this.source.length : end + 2;
      return this.source.slice(start, end < 0 ? undefined : end);
    }
    const octal = this.match(/[0-7]{1,3}/y);
    if (octal !== '') return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
    this.position++;
    if (c === 'x') {
      const hex = this.match(/[0-9A-Fa-f]{0,2}/y);
      return String.fromCharCode(hex === '' ? 0 : Number.parseInt(hex, 16));
    }
    return escapes.get(c) ?? c;
  }

  private dollar(): Ast | undefined {
    this.position++;
    const start = this.position;
    const header = this.header();
    if (header !== undefined) return header;
    const name = this.name();
    if (name !== '') return this.variable(name, start, (hint) => `unknown variable name "${name}"${hint}`);
    const number = this.match(digits);
    if (number !== '') return { kind: 'capture', index: Number(number) };
    if (this.take('{')) return this.braced(start);
    return this.fail('$ not followed by letter, digit, or {');
  }

  private braced(position: number): Ast | undefined {
    const number = this.match(digits);
    if (number !== '') {
      if (!this.take('}')) return this.fail('} expected after number');
      return { kind: 'capture', index: Number(number) };
    }
    const name = this.match(bracedName);
    if (name === '') return this.fail('letter or digit expected after ${');
    const row = itemTable.get(name);
    if (row !== undefined) {
      const parts = row.parse(this, name);
      return parts && { kind: 'item', name, position, ...parts };
    }
    if (this.take(':')) return this.operator(name, position);
    if (this.take('}'))
      return this.variable(name, position, (hint) => `unknown variable in "\${${name}}"${hint}`);
    return this.fail(`"\${${name}" is not a known operator (or a } is missing in a variable reference)`);
  }

  private operator(text: string, position: number): Ast | undefined {
    const operand = this.string(true, false);
    if (operand === undefined) return undefined;
    const found = findOperator(text);
    if (found === undefined) return this.fail(`unknown expansion operator "${text}"`);
    const refused = found.row.check?.(found.argument, text);
    if (refused !== undefined) return this.fail(refused);
    return { kind: 'operator', name: found.name, argument: found.argument, operand, position };
  }

  private variable(name: string, position: number, unknown: (hint: string) => string): Ast | undefined {
    const row = findVariable(name);
    if (typeof row !== 'string') return { kind: 'variable', name, position };
    this.position = position;
    return this.fail(unknown(row));
  }

  private header(): HeaderAst | undefined {
    const found = headerName.exec(this.source.slice(this.position, this.position + 8));
    if (found === null) return undefined;
    this.position += found[0].length;
    headerEnd.lastIndex = this.position;
    const end = headerEnd.exec(this.source)?.index ?? this.source.length;
    const name = this.source.slice(this.position, end);
    this.position = end;
    if (!this.take(':')) this.headerWithoutColon = true;
    return { kind: 'header', form: (found[1] === '' ? 'h' : found[1]) as HeaderForm, name };
  }

  private headerHint(): string {
    return this.headerWithoutColon ? ' - could be header name not terminated by colon' : '';
  }

  private badBranch(what: string): undefined {
    const rest = this.source.slice(this.position);
    return this.fail(
      this.headerWithoutColon
        ? `missing or misplaced { or }${this.headerHint()}`
        : `curly-bracket problem in conditional yes/no parsing: ${what}\n remaining string is '${rest}'`,
    );
  }

  private conditionName(): string {
    return this.match(/[A-Za-z0-9]\w*|[<>=]=?/y);
  }

  private nested<T>(read: () => T | undefined): T | undefined {
    if (this.depth >= maxDepth) return this.fail('expansion is nested too deeply');
    this.depth++;
    const result = read();
    this.depth--;
    return result;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.position;
    const found = pattern.exec(this.source);
    if (found === null) return '';
    this.position += found[0].length;
    return found[0];
  }
}

function concat(parts: Ast[], text: string): Ast {
  if (parts.length === 0) return { kind: 'text', text };
  if (text !== '') parts.push({ kind: 'text', text });
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : { kind: 'concat', parts };
}
