/**
 * Runs ACLs (Exim manual, "ACL verbs", "Condition and modifier processing"). Works without a promise until a condition
 * returns one, since most statements need no I/O.
 */
import { expandText, type Template } from '../expand/expand.ts';
import type { Awaitable } from '../expand/scope.ts';
import { lowerAscii } from '../mail/local-part.ts';
import type { Acl, Condition, Statement, Step } from './ast.ts';
import { testCondition } from './conditions.ts';
import type { AclEnvironment } from './environment.ts';
import { messageText, withText } from './expansion.ts';
import { findAcl } from './find.ts';
import { breakLines, takeCode } from './messages.ts';
import { addHeaders, applyModifier } from './modifiers.ts';
import type { AclResult, AclVerdict } from './result.ts';
import { fail, panic, type AclState, type Outcome } from './state.ts';
import { messagePhases, phases } from './tables.ts';

const maxDepth = 20;

/**
 * Runs the ACL that an option like `acl_smtp_rcpt` names.
 *
 * @param source the option's value, not yet expanded: a name, or the text of an ACL
 * @returns at once where no condition had to wait; rejects only when the signal aborts
 */
export function runAcl(source: string, env: AclEnvironment): Awaitable<AclResult> {
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
  const restore = lowerLocalPart(state);
  const finish = (outcome: Outcome): AclResult => {
    restore?.();
    return toResult(state, outcome);
  };
  const outcome = startAcl(state, source);
  return outcome instanceof Promise ? outcome.then(finish) : finish(outcome);
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
      return outcome.then((o) => conclude(state, statement, o, progress) ?? statementsFrom(state, acl, i + 1));
    const end = conclude(state, statement, outcome, progress);
    if (end !== undefined) return end;
  }
  // Every ACL ends in an unconditional deny.
  return 'fail';
}

/** The modifiers of a statement met so far that take effect at its end. */
interface Progress {
  message: Template | undefined;
  logMessage: Template | undefined;
  endpass: boolean;
}

function runStatement(state: AclState, statement: Statement, progress: Progress): Awaitable<Outcome> {
  const outcome = stepsFrom(state, statement, 0, progress);
  if (outcome instanceof Promise) return outcome.then((o) => expandMessages(state, statement, o, progress));
  return expandMessages(state, statement, outcome, progress);
}

function stepsFrom(state: AclState, statement: Statement, from: number, progress: Progress): Awaitable<Outcome> {
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

type Active = Exclude<Step, { kind: 'message' | 'log_message' | 'endpass' }>;

function isCondition(step: Active): step is Condition {
  return 'negated' in step;
}

function runStep(state: AclState, step: Active, verb: Statement['verb']): Awaitable<Outcome> {
  if (!isCondition(step)) return applyModifier(state, step);
  return step.kind === 'acl' ? nestedAcl(state, step.words, verb) : testCondition(state, step, verb === 'warn');
}

/** A negated condition turns true and false around and nothing else. */
function sign(step: Active, outcome: Outcome): Outcome {
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
  return wordsFrom(0);
}

function callWith(state: AclState, texts: readonly string[], tainted: boolean, verb: Statement['verb']): Awaitable<Outcome> {
  const [name = '', ...args] = texts;
  const { facts } = state;
  const before = facts.args;
  facts.args = args;
  const after = (outcome: Outcome): Outcome => {
    if (before === undefined) delete facts.args;
    else facts.args = before;
    if (outcome === 'discard' && verb !== 'accept' && verb !== 'discard')
      return fail(state, `nested ACL returned "discard" for "${verb}" command (only allowed with "accept" or "discard")`);
    return outcome;
  };
  const outcome = callNamed(state, name, tainted);
  return outcome instanceof Promise ? outcome.then(after) : after(outcome);
}

/** True where the verb's `message` and `log_message` are for this outcome. */
function usesMessages(verb: Statement['verb'], outcome: Outcome): boolean {
  switch (verb) {
    case 'accept':
    case 'discard':
      return outcome === 'ok' || outcome === 'fail' || outcome === 'drop';
    case 'require':
      return outcome === 'fail' || outcome === 'drop';
    case 'defer':
    case 'deny':
    case 'drop':
    case 'warn':
      return outcome === 'ok';
  }
}

function expandMessages(state: AclState, statement: Statement, outcome: Outcome, progress: Progress): Awaitable<Outcome> {
  const { verb } = statement;
  if (!usesMessages(verb, outcome)) return endStatement(state, outcome);
  // With endpass, `message` is for the denial.
  const message = progress.endpass && outcome === 'ok' ? undefined : progress.message;
  const earlierUser = state.userMessage;
  const earlierLog = state.logMessage ?? earlierUser;
  // Messages of conditions do not count where the verb lets pass or warns; `$acl_verify_message` still shows them.
  if (verb === 'warn' || (outcome === 'ok' && (verb === 'accept' || verb === 'discard'))) state.userMessage = state.logMessage = undefined;
  if (message === undefined && progress.logMessage === undefined) {
    if (verb !== 'warn') state.logMessage ??= state.userMessage;
    return endStatement(state, outcome);
  }
  const takeLog = (text: string | undefined): Outcome => {
    if (text !== undefined) state.logMessage = state.logMessage === undefined ? text : `${text}: ${state.logMessage}`;
    if (verb !== 'warn') state.logMessage ??= state.userMessage;
    return endStatement(state, outcome);
  };
  const takeUser = (text: string | undefined): Awaitable<Outcome> => {
    if (text !== undefined) state.userMessage = text;
    setVerifyMessage(state, earlierLog);
    return withMessage(state, progress.logMessage, takeLog);
  };
  setVerifyMessage(state, earlierUser);
  return withMessage(state, message, takeUser);
}

function withMessage(state: AclState, template: Template | undefined, next: (text: string | undefined) => Awaitable<Outcome>): Awaitable<Outcome> {
  if (template === undefined) return next(undefined);
  const text = messageText(state, template, (reason) => panic(state, reason));
  return text instanceof Promise ? text.then(next) : next(text);
}

function setVerifyMessage({ facts }: AclState, text: string | undefined): void {
  if (text === undefined) delete facts.verifyMessage;
  else facts.verifyMessage = text;
}

function endStatement(state: AclState, outcome: Outcome): Outcome {
  setVerifyMessage(state, undefined);
  return outcome;
}

/** What the ACL returns because of this statement; undefined where control passes to the next. */
function conclude(state: AclState, { verb }: Statement, outcome: Outcome, { endpass }: Progress): Outcome | undefined {
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

function warn(state: AclState, outcome: Outcome): void {
  const { env, logMessage, userMessage } = state;
  if (outcome === 'defer') {
    const why = logMessage === undefined ? '' : `: ${logMessage}`;
    env.log({ text: `Warning: ACL "warn" statement skipped: condition test deferred${why}`, logs: ['main'], withHost: true });
    return;
  }
  if (outcome !== 'ok') return;
  if (logMessage !== undefined && !env.memory.warned.has(logMessage)) {
    env.memory.warned.add(logMessage);
    env.log({ text: `Warning: ${firstLine(logMessage)}`, logs: ['main'], withHost: true });
  }
  // A `message` on `warn` adds header lines, in the ACLs that have a message to add them to.
  if (userMessage !== undefined && messagePhases.has(env.phase)) addHeaders(state, userMessage);
}

function firstLine(text: string): string {
  const end = text.indexOf('\n');
  return end < 0 ? text : text.slice(0, end);
}

const verdicts: Readonly<Record<Outcome, AclVerdict>> = {
  ok: 'accept',
  fail: 'deny',
  drop: 'drop',
  discard: 'discard',
  defer: 'defer',
  error: 'defer',
};

function toResult(state: AclState, last: Outcome): AclResult {
  const { env } = state;
  let outcome = last;
  if (outcome === 'discard' && (!messagePhases.has(env.phase) || env.phase === 'predata')) {
    panic(state, `"discard" verb not allowed in ${phases[env.phase].title} ACL`);
    outcome = 'error';
    state.userMessage = state.logMessage = undefined;
  }
  const verdict = verdicts[outcome];
  const shown = verdict !== 'defer' || (outcome === 'defer' && state.showDeferral);
  const defaultCode = verdict === 'defer' ? 451 : verdict === 'deny' || verdict === 'drop' ? phases[env.phase].denyCode : acceptCode(env);
  const { userMessage } = state;
  let { logMessage } = state;
  const coded = userMessage === undefined ? undefined : takeCode(userMessage, defaultCode);
  if (coded?.wrongDigit === true) {
    const digit = String(defaultCode).charAt(0);
    panic(state, `configured error code starts with incorrect digit (expected ${digit}) in "${userMessage ?? ''}"`);
    if (logMessage === userMessage) logMessage = `${defaultCode} ${coded.text}`;
  }
  const details = verdict === 'deny' || verdict === 'drop' || verdict === 'defer' ? senderDetails(state, verdict) : undefined;
  return {
    verdict,
    logTargets: state.logTargets,
    headerEdits: state.headerEdits,
    controls: state.controls,
    ...(coded !== undefined && shown ? { userMessage: breakLines(coded.text) } : {}),
    ...(coded?.code === undefined ? {} : { code: coded.code }),
    ...(coded?.status === undefined ? {} : { status: coded.status }),
    ...(logMessage === undefined ? {} : { logMessage: firstLine(logMessage) }),
    ...(details === undefined ? {} : { details }),
  };
}

function acceptCode({ phase }: AclEnvironment): number {
  return phase === 'predata' ? 354 : phase === 'connect' || phase === 'starttls' ? 220 : 250;
}

/** Why the sender did not verify, told with the first refusal of the message. */
function senderDetails({ env }: AclState, verdict: AclVerdict): string | undefined {
  const sender = env.memory.untoldSender;
  if (sender === undefined) return undefined;
  delete env.memory.untoldSender;
  const why = sender.logReason === '' ? '' : `: ${sender.logReason}`;
  env.log({ text: `sender verify ${sender.kind} for <${sender.address}>${why}`, logs: ['main', 'reject'], withHost: true });
  return verdict === 'defer' ? undefined : `Verification failed for <${sender.address}>\n${sender.message}`;
}
