/** `${if`, `${lookup`, `${env`: items that pick one of two texts. */
import type { ItemParts, Ast } from '../ast.ts';
import { aside, type Compiler, type Evaluator, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { parseLookupType, type LookupType } from '../lookup-type.ts';
import { remember } from '../memory.ts';
import { error, finish, type Result } from '../outcome.ts';
import { quotedTypes } from '../quoted.ts';
import type { LookupAnswer } from '../scope.ts';
import { taintedNameReason } from '../taint.ts';
import { compileGroup, groupOr, nothing } from './helpers.ts';

/** Restores what a condition may set once the whole item is done. */
function restore(
  frame: Frame,
  captures: readonly string[],
  capturesTainted: boolean,
  value: string,
  valueTainted: boolean,
): void {
  frame.captures = captures;
  frame.capturesTainted = capturesTainted;
  frame.value = value;
  frame.valueTainted = valueTainted;
}

const ifItem: ItemRow = {
  parse(p, name) {
    const condition = p.condition();
    if (condition === undefined) return undefined;
    const branches = p.branches(name);
    return branches && { groups: [], condition, branches };
  },
  compile(parts, compiler, name) {
    const { condition } = parts;
    if (condition === undefined) return nothing;
    const test = compiler.test(condition);
    const branches = compiler.branches(name, parts.branches);
    const pick = (yes: boolean, frame: Frame): Result<string> =>
      yes ? branches.plainYes(frame, 'true') : branches.no(frame);
    return (frame) => {
      const { captures, capturesTainted, value, valueTainted } = frame;
      const answer = test(frame);
      let r: Result<string>;
      if (typeof answer === 'boolean') r = pick(answer, frame);
      else if (answer instanceof Promise)
        r = answer.then((a): Result<string> => (typeof a === 'boolean' ? pick(a, frame) : a));
      else r = answer;
      if (r instanceof Promise)
        return finish(r, () => restore(frame, captures, capturesTainted, value, valueTainted));
      restore(frame, captures, capturesTainted, value, valueTainted);
      return r;
    };
  },
};

const lookupItem: ItemRow = {
  parse(p, name) {
    p.skipSpace();
    const groups: Ast[] = [];
    if (p.at('{')) {
      const key = p.group();
      if (key === undefined) return undefined;
      groups.push(key);
      p.skipSpace();
    }
    if (!/[A-Za-z]/.test(p.source.charAt(p.position))) return p.fail('missing lookup type');
    const word = p.word();
    const type = parseLookupType(word);
    if (typeof type === 'string') return p.fail(type);
    if (type.style === 'single-key' && groups.length === 0)
      return p.fail(`missing {key} for single-key "${word}" lookup`);
    if (type.style === 'query' && groups.length > 0)
      return p.fail(
        `a single key was given for lookup type "${word}", which is not a single-key lookup type`,
      );
    const file = groupOr(p, "missing '{' for lookup file-or-query arg");
    if (file === undefined) return undefined;
    groups.push(file);
    const branches = p.branches(name);
    return branches && { groups, word, branches };
  },
  compile(parts, compiler, name) {
    const type = parseLookupType(parts.word ?? '');
    if (typeof type === 'string') throw new Error(type);
    const branches = compiler.branches(name, parts.branches);
    const ask =
      type.style === 'query' ? queryLookup(parts, compiler, type) : fileLookup(parts, compiler, type);
    const take = (answer: LookupAnswer, frame: Frame): Result<string> => {
      if (answer.kind === 'defer') return answer;
      const { authenticated } = answer;
      if (authenticated !== undefined)
        remember(frame.scope, 'lookup_dnssec_authenticated', { text: authenticated, tainted: false });
      if (answer.kind === 'missing') return branches.no(frame);
      if (answer.parts === undefined) return branches.yes(frame, answer.value, false);
      const { captures, capturesTainted } = frame;
      frame.captures = ['', ...answer.parts];
      frame.capturesTainted = true;
      return finish(branches.yes(frame, answer.value, false), () => {
        frame.captures = captures;
        frame.capturesTainted = capturesTainted;
      });
    };
    return (frame) => ask(frame, take);
  },
};

type Ask = (frame: Frame, take: (answer: LookupAnswer, frame: Frame) => Result<string>) => Result<string>;

function queryLookup(parts: ItemParts, compiler: Compiler, type: LookupType): Ask {
  const ast = parts.groups[0];
  const query = ast === undefined ? nothing : compiler.query(ast, type.type);
  const keyQuoted = ast !== undefined && quotedTypes(ast).length > 0;
  return (frame, take) =>
    aside(query, frame, (key, keyTainted) => {
      const answer = frame.scope.services.lookup({
        ...request(type),
        key,
        fileTainted: false,
        keyTainted,
        ...(keyQuoted ? { keyQuoted } : {}),
      });
      return answer instanceof Promise ? answer.then((a) => take(a, frame)) : take(answer, frame);
    });
}

function request(type: LookupType): Pick<LookupType, 'type' | 'partial' | 'defaultStar' | 'options'> {
  const { type: name, partial, defaultStar, options } = type;
  return {
    type: name,
    options,
    ...(partial === undefined ? {} : { partial }),
    ...(defaultStar === undefined ? {} : { defaultStar }),
  };
}

function fileLookup(parts: ItemParts, compiler: Compiler, type: LookupType): Ask {
  const key = compileGroup(parts, 0, compiler);
  const file = compileGroup(parts, 1, compiler);
  const base = request(type);
  const fileAst = parts.groups[1];
  return (frame, take) =>
    aside(key, frame, (keyText, keyTainted) =>
      aside(file, frame, (fileName, fileTainted) => {
        if (fileTainted)
          return error(taintedNameReason(`file name for the ${type.type} lookup`, fileName, fileAst));
        const answer = frame.scope.services.lookup({
          ...base,
          key: keyText,
          file: fileName,
          fileTainted,
          keyTainted,
        });
        return answer instanceof Promise ? answer.then((a) => take(a, frame)) : take(answer, frame);
      }),
    );
}

/** `${env{NAME}{yes}{no}}` */
const envItem: ItemRow = {
  parse(p, name) {
    const group = groupOr(p, "missing '}' for name arg of env");
    if (group === undefined) return undefined;
    const branches = p.branches(name);
    return branches && { groups: [group], branches };
  },
  compile(parts, compiler, name) {
    const key = compileGroup(parts, 0, compiler);
    const branches = compiler.branches(name, parts.branches);
    const evaluate: Evaluator = (frame) =>
      aside(key, frame, (text) => {
        const value = (frame.scope.main.environment ?? process.env)[text.trim()];
        return value === undefined ? branches.no(frame) : branches.yes(frame, value, false);
      });
    return evaluate;
  },
};

export const chooseItems: Readonly<Record<string, ItemRow>> = {
  if: ifItem,
  lookup: lookupItem,
  env: envItem,
};
