/**
 * Runs ACLs (Exim manual, "ACL verbs", "Condition and modifier processing"). Works without a promise until a condition
 * returns one, since most statements need no I/O.
 */
import { expandText, type Template } from '../expand/expand.ts';
import type { Awaitable, ExpandScope, ExpandServices } from '../expand/scope.ts';
import { lowerAscii } from '../mail/local-part.ts';
import type { Acl, Condition, ImmediateModifier, Statement } from './ast.ts';
import { testCondition } from './conditions.ts';
import type { AclEnvironment } from './environment.ts';
import { withText } from './expansion.ts';
import { findAcl } from './find.ts';
import { toResult } from './finish.ts';
import { applyModifier } from './modifiers.ts';
import type { AclResult } from './result.ts';
import { fail, panic, type AclState, type Outcome } from './state.ts';
import { expandMessages, warn, type Progress } from './statement-end.ts';

const maxDepth = 20;

/**
 * Runs the ACL that an option like `acl_smtp_rcpt` names.
 *
 * @param source the option's value, not yet expanded: a name, or the text of an ACL
 * @returns at once where no condition had to wait; rejects only when the signal aborts
 */
export function runAcl(source: string, env: AclEnvironment): Awaitable<AclResult> {
  const state = newState(env);
  const restore = lowerLocalPart(state);
  const finish = (outcome: Outcome): AclResult => {
    restore?.();
    return toResult(state, outcome);
  };
  const outcome = startAcl(state, source);
  return outcome instanceof Promise ? outcome.then(finish) : finish(outcome);
}

/** Calls an ACL for `${acl` and the expansion condition `acl` where no ACL runs yet. */
export function callAclAlone(
  name: string,
  args: readonly string[],
  nameTainted: boolean,
  env: AclEnvironment,
): Awaitable<AclCallAnswer> {
  return callWithin(newState(env), name, args, nameTainted);
}

function newState(env: AclEnvironment): AclState {
  const facts = env.scope.acl ?? {};
  const state: AclState = {
    env,
    scope: env.scope.acl === undefined ? { ...env.scope, acl: facts } : env.scope,
    facts,
    userMessage: undefined,
    logMessage: undefined,
    showDeferral: false,
    headerEdits: [],
    controls: {},
    logTargets: ['main', 'reject'],
    depth: 0,
  };
  state.scope = withAclCalls(state);
  return state;
}

/** Lets `${acl` and the expansion condition `acl` call ACLs that share this run's state. */
function withAclCalls(state: AclState): ExpandScope {
  const { scope } = state;
  const callAcl: ExpandServices['callAcl'] = (name, args, _, nameTainted) =>
    callWithin(state, name, args, nameTainted);
  return { ...scope, services: { ...scope.services, callAcl } };
}

function callWithin(
  state: AclState,
  name: string,
  args: readonly string[],
  nameTainted: boolean,
): Awaitable<AclCallAnswer> {
  const { userMessage, logMessage } = state;
  state.userMessage = state.logMessage = undefined;
  const answer = (outcome: Outcome): AclCallAnswer => {
    const message = state.userMessage ?? '';
    state.userMessage = userMessage;
    state.logMessage = logMessage;
    return {
      verdict: verdicts[outcome],
      message,
    };
  };
  const outcome = withArguments(state, args, () => callNamed(state, name, nameTainted));
  return outcome instanceof Promise ? outcome.then(answer) : answer(outcome);
}

/** How the outcome of a called ACL reads in an expansion. */
const verdicts: Readonly<Record<Outcome, AclCallAnswer['verdict']>> = {
  ok: 'accept',
  ignored: 'accept',
  fail: 'deny',
  discard: 'discard',
  drop: 'drop',
  defer: 'defer',
  error: 'error',
};

type AclCallAnswer = Awaited<ReturnType<NonNullable<ExpandServices['callAcl']>>>;

/** Runs with `$acl_arg1` and so on set, and puts the earlier ones back. */
function withArguments(
  state: AclState,
  args: readonly string[],
  run: () => Awaitable<Outcome>,
): Awaitable<Outcome> {
  const { facts } = state;
  const before = facts.args;
  facts.args = args;
  const outcome = run();
  const after = (o: Outcome): Outcome => {
    if (before === undefined) delete facts.args;
    else facts.args = before;
    return o;
  };
  return outcome instanceof Promise ? outcome.then(after) : after(outcome);
}

/** `$local_part` is in lower case while an ACL runs (Exim manual, `control = caseful_local_part`). */
function lowerLocalPart({ scope, env }: AclState): (() => void) | undefined {
  const { address } = scope;
  if (env.phase !== 'rcpt' || address === undefined) return undefined;
  const { local, domain, original } = address;
  const lower = lowerAscii(local);
  if (lower === local) return undefined;
  address.original ??= { local, domain } as NonNullable<typeof original>;
  address.local = lower;
  return () => {
    address.local = local;
    if (original === undefined) delete address.original;
  };
}

function startAcl(state: AclState, source: string): Awaitable<Outcome> {
  if (!/[$\\]/.test(source)) return callNamed(state, source, false);
  const r = expandText(source, state.scope);
  const go = (e: Awaited<typeof r>): Awaitable<Outcome> => {
    if (e.kind === 'ok') return callNamed(state, e.text, e.tainted);
    if (e.kind === 'forced-fail') return 'ok';
    return fail(state, `failed to expand ACL string "${source}": ${e.reason}`);
  };
  return r instanceof Promise ? r.then(go) : go(r);
}

function callNamed(state: AclState, text: string, tainted: boolean): Awaitable<Outcome> {
  if (state.depth >= maxDepth) return fail(state, 'ACL nested too deep: possible loop');
  const found = findAcl(state.env.acls, text.trim());
  if (found.kind === 'broken') return fail(state, found.reason);
  if (tainted && found.kind === 'inline') {
    panic(state, `attempt to use tainted ACL text "${text}"`);
    return fail(state, 'internal configuration error');
  }
  state.depth++;
  const outcome = statementsFrom(state, found.acl, 0);
  if (outcome instanceof Promise)
    return outcome.then((o) => {
      state.depth--;
      return o;
    });
  state.depth--;
  return outcome;
}

function statementsFrom(state: AclState, acl: Acl, from: number): Awaitable<Outcome> {
  for (let i = from; i < acl.statements.length; i++) {
    const statement = acl.statements[i];
    if (statement === undefined) break;
    state.userMessage = state.logMessage = undefined;
    state.showDeferral = false;
    const progress: Progress = { message: undefined, logMessage: undefined, endpass: false };
    const outcome = runStatement(state, statement, progress);
    if (outcome instanceof Promise)
      return outcome.then(
        (o) => conclude(state, statement, o, progress) ?? statementsFrom(state, acl, i + 1),
      );
    const end = conclude(state, statement, outcome, progress);
    if (end !== undefined) return end;
  }
  // Every ACL ends in an unconditional deny.
  return 'fail';
}

function runStatement(state: AclState, statement: Statement, progress: Progress): Awaitable<Outcome> {
  const outcome = stepsFrom(state, statement, 0, progress);
  if (outcome instanceof Promise) return outcome.then((o) => expandMessages(state, statement, o, progress));
  return expandMessages(state, statement, outcome, progress);
}

function stepsFrom(
  state: AclState,
  statement: Statement,
  from: number,
  progress: Progress,
): Awaitable<Outcome> {
  const { steps, verb } = statement;
  for (let i = from; i < steps.length; i++) {
    const step = steps[i];
    if (step === undefined) break;
    if (step.kind === 'message') progress.message = step.template;
    else if (step.kind === 'log_message') progress.logMessage = step.template;
    else if (step.kind === 'endpass') progress.endpass = true;
    else {
      const outcome = runStep(state, step, verb);
      if (outcome instanceof Promise)
        return outcome.then((o) => {
          const signed = sign(step, o);
          return signed === 'ok' ? stepsFrom(state, statement, i + 1, progress) : signed;
        });
      const signed = sign(step, outcome);
      if (signed !== 'ok') return signed;
    }
  }
  return 'ok';
}

type Active = Condition | ImmediateModifier;

function isCondition(step: Active): step is Condition {
  return 'negated' in step;
}

function runStep(state: AclState, step: Active, verb: Statement['verb']): Awaitable<Outcome> {
  if (!isCondition(step)) return applyModifier(state, step);
  return step.kind === 'acl'
    ? nestedAcl(state, step.words, verb)
    : testCondition(state, step, verb === 'warn');
}

/** A negated condition turns true and false around and nothing else. */
function sign(step: Active, outcome: Outcome): Outcome {
  if (outcome === 'ignored') return 'ok';
  if (!isCondition(step) || !step.negated) return outcome;
  if (outcome === 'ok') return 'fail';
  return outcome === 'fail' || outcome === 'drop' ? 'ok' : outcome;
}

function nestedAcl(state: AclState, words: readonly Template[], verb: Statement['verb']): Awaitable<Outcome> {
  const texts: string[] = [];
  let nameTainted = false;
  const wordsFrom = (i: number): Awaitable<Outcome> => {
    const template = words[i];
    if (template === undefined) return callWith(state, texts, nameTainted, verb);
    return withText(state, template, (text, tainted) => {
      texts.push(text);
      if (i === 0) nameTainted = tainted;
      return wordsFrom(i + 1);
    });
  };
  const outcome = wordsFrom(0);
  // Exim takes a forced failure here for a mistake.
  const checked = (o: Outcome): Outcome => (o === 'ignored' ? 'error' : o);
  return outcome instanceof Promise ? outcome.then(checked) : checked(outcome);
}

function callWith(
  state: AclState,
  texts: readonly string[],
  tainted: boolean,
  verb: Statement['verb'],
): Awaitable<Outcome> {
  const [name = '', ...args] = texts;
  const check = (outcome: Outcome): Outcome =>
    outcome === 'discard' && verb !== 'accept' && verb !== 'discard'
      ? fail(
          state,
          `nested ACL returned "discard" for "${verb}" command (only allowed with "accept" or "discard")`,
        )
      : outcome;
  const outcome = withArguments(state, args, () => callNamed(state, name, tainted));
  return outcome instanceof Promise ? outcome.then(check) : check(outcome);
}

/** What the ACL returns because of this statement; undefined where control passes to the next. */
function conclude(
  state: AclState,
  { verb }: Statement,
  outcome: Outcome,
  { endpass }: Progress,
): Outcome | undefined {
  if (outcome === 'error' || (outcome === 'defer' && verb !== 'warn')) return outcome;
  switch (verb) {
    case 'accept':
      if (outcome === 'ok' || outcome === 'discard') return outcome;
      return endpass ? outcome : undefined;
    case 'discard':
      if (outcome === 'ok' || outcome === 'discard') return 'discard';
      return endpass ? outcome : undefined;
    case 'deny':
      return outcome === 'ok' ? refuse(state, verb, 'fail') : undefined;
    case 'drop':
      return outcome === 'ok' ? refuse(state, verb, 'drop') : undefined;
    case 'defer':
      if (outcome !== 'ok') return undefined;
      state.showDeferral = true;
      return refuse(state, verb, 'defer');
    case 'require':
      return outcome === 'ok' ? undefined : refuse(state, verb, outcome);
    case 'warn':
      warn(state, outcome);
      state.userMessage = state.logMessage = undefined;
      return undefined;
  }
}

/** QUIT cannot be refused. */
function refuse(state: AclState, verb: Statement['verb'], outcome: Outcome): Outcome {
  const { phase } = state.env;
  if (state.depth > 1 || (phase !== 'quit' && phase !== 'notquit')) return outcome;
  return fail(state, `QUIT or not-QUIT toplevel ACL may not fail ('${verb}' verb used incorrectly)`);
}
