/** `${run{command}{yes}{no}}`: runs a program without a shell (Exim manual, "Expansion items"). */
import type { Ast } from '../ast.ts';
import { runCommand, type CommandResult } from '../command.ts';
import { commandWords } from '../command-words.ts';
import { aside, type BranchEvaluator, type Evaluator, type ItemRow } from '../evaluator.ts';
import type { Frame } from '../frame.ts';
import { remember } from '../memory.ts';
import { error, finish, maxTextOctets, type Outcome, type Result } from '../outcome.ts';
import type { Parser } from '../parser.ts';
import { taintedNameReason } from '../taint.ts';
import { compileGroup } from './helpers.ts';

const limits = { timeoutMs: 60_000, maxOctets: maxTextOctets };

function readOptions(p: Parser): boolean | undefined {
  let expandFirst = false;
  while (p.take(',')) {
    const option = p.name() || p.source.charAt(p.position);
    if (option !== 'preexpand') return p.fail(`bad option '${option}' for run`);
    expandFirst = true;
  }
  return expandFirst;
}

/** The arguments are split before they are expanded, so each is a template of its own. */
function readArguments(p: Parser, source: string): { groups: Ast[]; sources: string[] } | undefined {
  const sources = commandWords(source);
  const groups: Ast[] = [];
  for (const word of sources) {
    const group = p.apart(word);
    if ('reason' in group) return p.fail(argumentReason(word, source, group.reason));
    groups.push(group);
  }
  return { groups, sources: [source, ...sources] };
}

function argumentReason(word: string, source: string, reason: string): string {
  return `Expansion of "${word}" from command "${source}" in \${run} expansion failed: ${reason}`;
}

/** Gives the reasons of failures in a word the place they come from. */
function placed(evaluate: Evaluator, word: string, source: string): Evaluator {
  const amend = (o: Outcome<string>): Outcome<string> =>
    typeof o === 'object' && o.kind !== 'defer'
      ? { kind: o.kind, reason: argumentReason(word, source, o.reason) }
      : o;
  return (frame) => {
    const r = evaluate(frame);
    return r instanceof Promise ? r.then(amend) : amend(r);
  };
}

/** Evaluates the words one by one. Only the program's name may not come from the wire. */
function eachWord(
  words: readonly Evaluator[],
  program: Ast | undefined,
  frame: Frame,
  proceed: (texts: readonly string[]) => Result<string>,
): Result<string> {
  const from = (texts: readonly string[]): Result<string> => {
    const word = words[texts.length];
    if (word === undefined) return proceed(texts);
    return aside(word, frame, (text, tainted) =>
      tainted && texts.length === 0
        ? error(taintedNameReason('command for run', text, program))
        : from([...texts, text]),
    );
  };
  return from([]);
}

function start(words: readonly string[], branches: BranchEvaluator, frame: Frame): Result<string> {
  const { spoolDirectory, environment } = frame.scope.main;
  const setting = { cwd: spoolDirectory, environment: environment ?? {} };
  return runCommand(words, setting, limits).then((r) => finished(r, branches, frame));
}

function finished(r: CommandResult, branches: BranchEvaluator, frame: Frame): Result<string> {
  if (r.kind === 'error') return error(r.reason);
  const code = r.kind === 'exited' ? r.code : -r.signal;
  remember(frame.scope, 'runrc', { text: String(code), tainted: false });
  if (r.kind === 'killed') return error(`command killed by signal ${r.signal}`);
  // The output stays in $value for what follows, also in later expansions.
  frame.hasRun = true;
  const text = r.code === 0 ? branches.yes(frame, r.output, false) : branches.noWith(frame, r.output, false);
  return finish(text, () => {
    frame.value = r.output;
    frame.valueTainted = false;
  });
}

export const run: ItemRow = {
  parse(p, name) {
    const expandFirst = readOptions(p);
    if (expandFirst === undefined) return undefined;
    p.skipSpace();
    if (!p.at('{')) return p.fail("missing '{' for command arg of run");
    if (expandFirst) {
      const group = p.group();
      if (group === undefined) return undefined;
      const branches = p.branches(name);
      return branches && { groups: [group], word: 'preexpand', branches };
    }
    const source = p.rawGroup();
    if (source === undefined) return p.fail("missing '}' closing command arg of run");
    const parts = readArguments(p, source);
    if (parts === undefined) return undefined;
    const branches = p.branches(name);
    return branches && { ...parts, branches };
  },
  compile(parts, compiler, name) {
    const branches = compiler.branches(name, parts.branches);
    if (parts.word === 'preexpand') {
      const command = compileGroup(parts, 0, compiler);
      return (frame) =>
        aside(command, frame, (text, tainted) =>
          tainted
            ? error(taintedNameReason('command for run', text, parts.groups[0]))
            : start(commandWords(text), branches, frame),
        );
    }
    const [source = '', ...sources] = parts.sources ?? [];
    const words = parts.groups.map((g, i) => placed(compiler.text(g), sources[i] ?? '', source));
    return (frame) => eachWord(words, parts.groups[0], frame, (texts) => start(texts, branches, frame));
  },
};
