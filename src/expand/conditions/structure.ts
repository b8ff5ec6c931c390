/** Conditions made of other conditions, and those on the state of the scope. */
import type { ConditionAst } from '../ast.ts';
import { readList } from '../../mail/list-text.ts';
import { aside, type ConditionRow, type Evaluator, type Test } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { hasHeader } from '../headers.ts';
import { compileAclCall } from '../acl-call.ts';
import { jsonElements } from '../json.ts';
import { chain, finish, type Failure, type Outcome, type Result } from '../outcome.ts';
import type { Parser } from '../parser.ts';
import { readVariable } from '../variables.ts';

const nothing: Evaluator = () => '';

/** Adds ` inside "..."`, with which Exim tells the way out. */
function amend<T extends boolean>(r: Result<T>, where: string): Result<T> {
  const one = (o: Outcome<T>): Outcome<T> =>
    typeof o === 'object' && o.kind !== 'defer' ? { kind: o.kind, reason: `${o.reason}${where}` } : o;
  return r instanceof Promise ? r.then(one) : one(r);
}

function readGroupOfConditions(
  p: Parser,
  name: string,
): { groups: []; conditions: ConditionAst[] } | undefined {
  p.skipSpace();
  if (!p.take('{')) return p.fail(`missing { after "${name}"`);
  const conditions: ConditionAst[] = [];
  for (;;) {
    p.skipSpace();
    if (p.take('}')) return { groups: [], conditions };
    if (!p.take('{'))
      return p.fail(`each subcondition inside an "${name}{...}" condition must be in its own {}`);
    const condition = p.condition();
    if (condition === undefined) return p.amendFailure(` inside "${name}{...}" condition`);
    p.skipSpace();
    if (!p.take('}')) return p.fail(`missing } at end of condition inside "${name}" group`);
    conditions.push(condition);
  }
}

/** `and` stops at the first false, `or` at the first true. */
function junction(stop: boolean): ConditionRow {
  return {
    parse: readGroupOfConditions,
    compile(parts, compiler, name) {
      const tests = (parts.conditions ?? []).map((c) => compiler.test(c));
      const where = ` inside "${name}{...}" condition`;
      const from = (start: number, frame: Frame): Result<boolean> => {
        for (let i = start; i < tests.length; i++) {
          const r = tests[i]?.(frame) ?? false;
          if (r === stop) return stop;
          if (typeof r === 'object') {
            const amended = amend(r, where);
            if (!(amended instanceof Promise)) return amended;
            return amended.then(
              (v): Result<boolean> => (v === stop || typeof v === 'object' ? v : from(i + 1, frame)),
            );
          }
        }
        return !stop;
      };
      return (frame) => from(0, frame);
    },
  };
}

/** Runs the test on each item until one gives `stop`. An empty list is false. */
export function overItems(
  items: readonly string[],
  tainted: boolean,
  test: Test,
  frame: Frame,
  stop: boolean,
): Result<boolean> {
  if (items.length === 0) return false;
  const { item, itemTainted } = frame;
  const from = (start: number): Result<boolean> => {
    for (let i = start; i < items.length; i++) {
      frame.item = items[i] ?? '';
      frame.itemTainted = tainted;
      const r = test(frame);
      if (r === stop) return stop;
      if (r instanceof Promise)
        return r.then((v): Result<boolean> => (v === stop || typeof v === 'object' ? v : from(i + 1)));
      if (typeof r === 'object') return r;
    }
    return !stop;
  };
  return finish(from(0), () => {
    frame.item = item;
    frame.itemTainted = itemTainted;
  });
}

function iteration(stop: boolean, split: (text: string) => readonly string[] | Failure): ConditionRow {
  return {
    parse(p, name) {
      p.skipSpace();
      if (!p.at('{')) return p.fail(`missing { after "${name}"`);
      const list = p.group();
      if (list === undefined) return undefined;
      p.skipSpace();
      if (!p.take('{')) return p.fail(`missing { after "${name}"`);
      const condition = p.condition();
      if (condition === undefined) return p.amendFailure(` inside "${name}" condition`);
      p.skipSpace();
      if (!p.take('}')) return p.fail(`missing } at end of condition inside "${name}"`);
      return { groups: [list], conditions: [condition] };
    },
    compile(parts, compiler, name) {
      const list = parts.groups[0] === undefined ? nothing : compiler.text(parts.groups[0]);
      const [condition] = parts.conditions ?? [];
      const test: Test = condition === undefined ? () => false : compiler.test(condition);
      return (frame) =>
        aside(list, frame, (text, tainted) => {
          const items = split(text);
          if ('kind' in items) return items;
          return amend(overItems(items, tainted, test, frame, stop), ` inside "${name}" condition`);
        });
    },
  };
}

const lists = (text: string): readonly string[] => readList(text).items;
const json = (text: string): readonly string[] | Failure => jsonElements(text, false);
const jsons = (text: string): readonly string[] | Failure => jsonElements(text, true);

const flag = (test: (f: Frame) => boolean): ConditionRow => ({
  parse: () => ({ groups: [] }),
  compile: () => test,
});

const def: ConditionRow = {
  parse(p) {
    if (!p.take(':')) return p.fail('":" expected after "def"');
    const subject = p.reference();
    return subject && { groups: [], subject };
  },
  compile(parts) {
    const { subject } = parts;
    if (subject === undefined) return () => false;
    if (subject.kind === 'header') return (frame) => hasHeader(subject.name, frame.scope);
    const read = readVariable(subject.name);
    return (frame) => chain(read(frame), (text) => text !== '');
  },
};

const acl: ConditionRow = {
  parse(p, name) {
    p.skipSpace();
    if (!p.take('{')) return p.fail(`missing { after "${name}"`);
    p.skipSpace();
    if (!p.at('{')) return p.fail('too few arguments or bracketing error for acl');
    const groups = p.arguments(name, 1, 10);
    return groups && { groups };
  },
  compile(parts, compiler) {
    const call = compileAclCall(parts.groups, compiler);
    return (frame) => {
      let verdict = false;
      const message: Evaluator = (f) =>
        call(f, (accepted) => {
          verdict = accepted;
        });
      return aside(message, frame, (text, tainted) => {
        frame.value = text;
        frame.valueTainted = tainted;
        return verdict;
      });
    };
  },
};

export const structureConditions: Readonly<Record<string, ConditionRow>> = {
  and: junction(false),
  or: junction(true),
  forany: iteration(true, lists),
  forall: iteration(false, lists),
  forany_json: iteration(true, json),
  forall_json: iteration(false, json),
  forany_jsons: iteration(true, jsons),
  forall_jsons: iteration(false, jsons),
  def,
  acl,
  first_delivery: flag((f) => f.scope.message?.firstDelivery === true),
  queue_running: flag((f) => f.scope.queueRunning === true),
};
