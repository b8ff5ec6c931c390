/** `${extract`, `${listextract`: a part of a text by name or number. */
import { readList } from '../../mail/list-text.ts';
import type { Ast, Branches } from '../ast.ts';
import { sameText } from '../ascii.ts';
import { aside, type BranchEvaluator, type Compiler, type Evaluator, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { jsonElements, jsonMember, unwrapString } from '../json.ts';
import { error, type Failure, type Outcome, type Result } from '../outcome.ts';
import type { Parser } from '../parser.ts';
import { unquoteText } from '../quoted-text.ts';
import { compileGroup, groupOr } from './helpers.ts';

type Found = string | undefined | Failure;

/** The value of `key` in `a=1 b="2 3"`; keys compare without case. */
function namedField(key: string, text: string): string | undefined {
  let at = 0;
  const match = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? '';
    at += found.length;
    return found;
  };
  for (;;) {
    match(/\s+/y);
    if (at >= text.length) return undefined;
    const name = match(/[^\s=]+/y);
    match(/\s*(?:=\s*)?/y);
    const value = text[at] === '"' ? unquoteText(match(/"(?:[^"\\]|\\[^])*"?/y)) : match(/\S*/y);
    if (sameText(name, key)) return value;
    if (name === '' && value === '') return undefined;
  }
}

function pick(items: readonly string[], n: number): string | undefined {
  return n > 0 ? items[n - 1] : items[items.length + n];
}

/** The field of that number, counted from the end where negative; 0 is the whole text. */
function numberedField(n: number, separators: string, text: string): string | undefined {
  if (n === 0) return text;
  const fields: string[] = [''];
  for (const c of text)
    if (separators.includes(c)) fields.push('');
    else fields.push((fields.pop() ?? '') + c);
  return pick(fields, n);
}

function jsonField(key: string, text: string, unwrap: boolean): Found {
  const found = jsonPart(key, text);
  return typeof found === 'string' && unwrap ? unwrapString(found) : found;
}

function jsonPart(key: string, text: string): Found {
  if (!/^-?[0-9]+$/.test(key)) return jsonMember(text, key);
  const elements = jsonElements(text, false);
  if ('kind' in elements) return elements;
  const n = Number(key);
  return n > 0 ? elements[n - 1]?.trimEnd() : error('first argument of "extract" must be greater than zero');
}

function choose(found: Found, branches: BranchEvaluator, frame: Frame, tainted: boolean): Result<string> {
  if (typeof found === 'object') return found;
  return found === undefined ? branches.no(frame) : branches.yes(frame, found, tainted);
}

/** How many groups precede the branches is known only once the first is evaluated: a number takes three. */
interface Arities {
  readonly named: BranchEvaluator;
  readonly numbered: BranchEvaluator;
}

/** What follows the second group, read as `{yes}{no}` of the named form or as `{text}{yes}{no}` of the numbered one. */
function arities(groups: readonly Ast[], fails: boolean, compiler: Compiler): Arities {
  const from = (start: number): BranchEvaluator => {
    const [yes, no] = groups.slice(start);
    const branches: Branches = {
      ...(yes === undefined ? {} : { yes }),
      ...(fails ? { no: 'fail' as const } : no === undefined ? {} : { no }),
    };
    return compiler.branches('extract', branches);
  };
  return { named: from(2), numbered: from(3) };
}

const isNumber = (s: string): boolean => /^-?[0-9]+$/.test(s);

function readExtract(p: Parser): { groups: Ast[]; word: string; branches?: Branches } | undefined {
  p.skipSpace();
  const json = p.take('jsons') ? 'jsons' : p.take('json') ? 'json' : '';
  const groups: Ast[] = [];
  const first = groupOr(p, "missing '{' for arg 1 of extract");
  if (first === undefined) return undefined;
  groups.push(first);
  if (first.kind === 'text' && first.text.trim() === '')
    return p.fail('first argument of "extract" must not be empty');
  const certain = json !== '' ? 2 : first.kind === 'text' ? (isNumber(first.text.trim()) ? 3 : 2) : undefined;
  for (let n = 2; n <= (certain ?? 2); n++) {
    const group = groupOr(p, `missing '{' for arg ${n} of extract`);
    if (group === undefined) return undefined;
    groups.push(group);
  }
  p.skipSpace();
  if (certain === undefined && p.at('{')) {
    const third = p.group();
    if (third === undefined) return undefined;
    groups.push(third);
    p.skipSpace();
    // `{a}{b}fail` is the named form with one text.
    if (!p.at('{')) return endExtract(p, groups);
  }
  const branches = p.branches('extract');
  return branches && { groups, word: json, branches };
}

function endExtract(
  p: Parser,
  groups: Ast[],
): { groups: Ast[]; word: string; branches?: Branches } | undefined {
  if (p.take('}')) return { groups, word: '' };
  if (p.name() !== 'fail') return p.fail('syntax error in "extract" item - "fail" expected');
  p.skipSpace();
  if (!p.take('}')) return p.fail("did not close with '}' after forcedfail");
  return { groups, word: '', branches: { no: 'fail' } };
}

const extract: ItemRow = {
  parse: readExtract,
  compile(parts, compiler) {
    const json = parts.word === 'json' || parts.word === 'jsons';
    const yes = parts.branches?.yes;
    const no = parts.branches?.no;
    const groups = [
      ...parts.groups,
      ...(yes === undefined ? [] : [yes]),
      ...(no === undefined || no === 'fail' ? [] : [no]),
    ];
    const { named, numbered } = arities(groups, no === 'fail', compiler);
    const at = (i: number): Evaluator => compileGroup({ groups }, i, compiler);
    const [first, second, third] = [at(0), at(1), at(2)];
    return (frame) =>
      aside(first, frame, (text) => {
        const key = text.trim();
        if (key === '') return error('first argument of "extract" must not be empty');
        if (json)
          return aside(second, frame, (s, tainted) =>
            choose(jsonField(key, s, parts.word === 'jsons'), named, frame, tainted),
          );
        if (!isNumber(key))
          return aside(second, frame, (s, tainted) => choose(namedField(key, s), named, frame, tainted));
        if (groups.length < 3) return error("missing '{' for arg 3 of extract");
        return aside(second, frame, (separators) =>
          aside(third, frame, (s, tainted) =>
            choose(numberedField(Number(key), separators, s), numbered, frame, tainted),
          ),
        );
      });
  },
};

const listextract: ItemRow = {
  parse(p, name) {
    const first = groupOr(p, `missing '{' for arg 1 of ${name}`);
    if (first === undefined) return undefined;
    if (first.kind === 'text') {
      const wrong = badIndex(first.text);
      if (typeof wrong === 'object') return p.fail(wrong.reason);
    }
    const second = groupOr(p, `missing '{' for arg 2 of ${name}`);
    if (second === undefined) return undefined;
    const branches = p.branches(name);
    return branches && { groups: [first, second], branches };
  },
  compile(parts, compiler, name) {
    const index = compileGroup(parts, 0, compiler);
    const list = compileGroup(parts, 1, compiler);
    const branches = compiler.branches(name, parts.branches);
    return (frame) =>
      aside(index, frame, (text) => {
        const n = badIndex(text);
        if (typeof n === 'object') return n;
        return aside(list, frame, (s, tainted) =>
          choose(n === '0' ? undefined : pick(readList(s).items, Number(n)), branches, frame, tainted),
        );
      });
  },
};

function badIndex(text: string): Outcome<string> {
  const t = text.trim();
  if (t === '') return error('first argument of "listextract" must not be empty');
  return isNumber(t) ? t : error('first argument of "listextract" must be numeric');
}

export const extractItems: Readonly<Record<string, ItemRow>> = { extract, listextract };
