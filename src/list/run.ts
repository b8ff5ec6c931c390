/** Runs a compiled list from left to right until an item decides (Exim manual, "Negated items in lists"). */
import { lowerAscii } from '../expand/ascii.ts';
import type { Awaitable, ListAnswer, MatchKind } from '../expand/scope.ts';
import { readListFile } from './list-file.ts';
import {
  makeCaseful,
  defer,
  no,
  plainYes,
  yesByDefault,
  type CompiledList,
  type ItemAnswer,
  type MatchContext,
  type Step,
  type Subject,
} from './model.ts';

/** Finds and runs a named list. */
export type NamedRunner = (
  kind: MatchKind,
  name: string,
  subject: Subject,
  context: MatchContext,
) => Awaitable<ListAnswer>;

/**
 * Answers for the subject. `endsNegated` is the sign of the last item before `from`, which decides where no item matches:
 * a list that ends in a negative item matches everything else.
 */
export function runSteps(
  list: CompiledList,
  subject: Subject,
  context: MatchContext,
  runNamed: NamedRunner,
  from = 0,
  negatedBefore = false,
): Awaitable<ListAnswer> {
  const { steps } = list;
  let endsNegated = negatedBefore;
  for (let i = from; i < steps.length; i++) {
    const step = steps[i];
    if (step === undefined) break;
    if (step.kind === 'caseful') {
      makeCaseful(list.kind, subject);
      continue;
    }
    if (step.kind === 'file') {
      const file = openFile(list, step.path);
      if (file.kind === 'defer') return file;
      const r = runFile(file.list, step.negated, subject, context);
      if (r instanceof Promise)
        return r.then((v) =>
          typeof v === 'object' ? v : runSteps(list, subject, context, runNamed, i + 1, v),
        );
      if (typeof r === 'object') return r;
      endsNegated = r;
      continue;
    }
    const { negated } = step;
    const answer = ask(list.kind, step, subject, context, runNamed);
    if (answer instanceof Promise)
      return answer.then(
        (a) => decide(step, negated, a) ?? runSteps(list, subject, context, runNamed, i + 1, negated),
      );
    const decided = decide(step, negated, answer);
    if (decided !== undefined) return decided;
    endsNegated = negated;
  }
  return endsNegated ? yesByDefault : no;
}

function ask(
  kind: MatchKind,
  step: Exclude<Step, { kind: 'caseful' | 'file' }>,
  subject: Subject,
  context: MatchContext,
  runNamed: NamedRunner,
): Awaitable<ItemAnswer> {
  switch (step.kind) {
    case 'literals':
      return (
        (subject.caseful ? step.exact.get(subject.text) : step.folded.get(lowerAscii(subject.text))) ?? no
      );
    case 'named':
      return runNamed(kind, step.name, subject, context);
    case 'item':
      return step.test(subject, context);
  }
}

/** The list's answer where the item's settles it. */
function decide(step: Step, negated: boolean, answer: ItemAnswer): ListAnswer | undefined {
  switch (answer.kind) {
    case 'no':
      return undefined;
    case 'yes':
      return negated ? no : answer;
    case 'defer':
    case 'unknown': {
      const how = step.kind !== 'item' ? 'fail' : answer.kind === 'defer' ? step.deferred : step.unknown;
      // Exim includes or fails without regard to the item's sign.
      if (how === 'include') return plainYes;
      if (how === 'ignore') return undefined;
      return answer.kind === 'defer' ? answer : no;
    }
  }
}

function openFile(
  list: CompiledList,
  path: string,
): { kind: 'file'; list: CompiledList } | { kind: 'defer'; reason: string } {
  if (list.tainted) return defer(`Tainted filename '${path}' in a list: it came from the wire`);
  const file = readListFile(list.kind, path);
  return typeof file === 'string' ? defer(file) : { kind: 'file', list: file };
}

/** The file's answer, or where nothing in it matched the sign of its last line. `negated` inverts each line's sign. */
function runFile(
  file: CompiledList,
  negated: boolean,
  subject: Subject,
  context: MatchContext,
  from = 0,
  negatedBefore = negated,
): Awaitable<ListAnswer | boolean> {
  let endsNegated = negatedBefore;
  for (let i = from; i < file.steps.length; i++) {
    const step = file.steps[i];
    if (step === undefined || step.kind === 'caseful' || step.kind === 'file' || step.kind === 'named')
      continue;
    const sign = step.negated !== negated;
    const answer = ask(file.kind, step, subject, context, noNames);
    if (answer instanceof Promise)
      return answer.then(
        (a) => decide(step, sign, a) ?? runFile(file, negated, subject, context, i + 1, sign),
      );
    const decided = decide(step, sign, answer);
    if (decided !== undefined) return decided;
    endsNegated = sign;
  }
  return endsNegated;
}

const noNames: NamedRunner = () => no;
