/** What happens when a statement's outcome is known: its messages are expanded (Exim manual, "ACL modifiers"), `warn` writes and adds. */
import type { Template } from '../expand/expand.ts';
import type { Awaitable } from '../expand/scope.ts';
import type { Statement } from './ast.ts';
import { messageText } from './expansion.ts';
import { addHeaders } from './modifiers.ts';
import { firstLine } from './messages.ts';
import { maxRemembered } from './environment.ts';
import { panic, type AclState, type Outcome } from './state.ts';
import { messagePhases } from './tables.ts';

/** The modifiers of a statement met so far that take effect at its end. */
export interface Progress {
  message: Template | undefined;
  logMessage: Template | undefined;
  endpass: boolean;
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

/** Expands `message` and `log_message` where they are for this outcome; the outcome comes back. */
export function expandMessages(
  state: AclState,
  statement: Statement,
  outcome: Outcome,
  progress: Progress,
): Awaitable<Outcome> {
  const { verb } = statement;
  if (!usesMessages(verb, outcome)) return endStatement(state, outcome);
  // With endpass, `message` is for the denial.
  const message = progress.endpass && outcome === 'ok' ? undefined : progress.message;
  const earlierUser = state.userMessage;
  const earlierLog = state.logMessage ?? earlierUser;
  // Messages of conditions do not count where the verb lets pass or warns; `$acl_verify_message` still shows them.
  if (verb === 'warn' || (outcome === 'ok' && (verb === 'accept' || verb === 'discard')))
    state.userMessage = state.logMessage = undefined;
  if (message === undefined && progress.logMessage === undefined) {
    if (verb !== 'warn') state.logMessage ??= state.userMessage;
    return endStatement(state, outcome);
  }
  const takeLog = (text: string | undefined): Outcome => {
    if (text !== undefined)
      state.logMessage = state.logMessage === undefined ? text : `${text}: ${state.logMessage}`;
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

function withMessage(
  state: AclState,
  template: Template | undefined,
  take: (text: string | undefined) => Awaitable<Outcome>,
): Awaitable<Outcome> {
  if (template === undefined) return take(undefined);
  const text = messageText(state, template, (reason) => panic(state, reason));
  return text instanceof Promise ? text.then(take) : take(text);
}

function setVerifyMessage({ facts }: AclState, text: string | undefined): void {
  if (text === undefined) delete facts.verifyMessage;
  else facts.verifyMessage = text;
}

function endStatement(state: AclState, outcome: Outcome): Outcome {
  setVerifyMessage(state, undefined);
  return outcome;
}

/** A `warn` statement has come to its end. */
export function warn(state: AclState, outcome: Outcome): void {
  const { env, logMessage, userMessage } = state;
  if (outcome === 'defer') {
    const why = logMessage === undefined ? '' : `: ${logMessage}`;
    env.log({
      text: `Warning: ACL "warn" statement skipped: condition test deferred${why}`,
      logs: ['main'],
      withHost: true,
      item: 'acl_warn_skipped',
    });
    return;
  }
  if (outcome !== 'ok') return;
  if (logMessage !== undefined && !env.memory.warned.has(logMessage)) {
    if (env.memory.warned.size >= maxRemembered) env.memory.warned.clear();
    env.memory.warned.add(logMessage);
    // Exim adds the reason to this one text.
    const why =
      logMessage.toLowerCase() === 'sender verify failed' ? env.memory.senderFailure?.logReason : undefined;
    env.log({
      text: `Warning: ${firstLine(logMessage)}${why === undefined ? '' : `: ${why}`}`,
      logs: ['main'],
      withHost: true,
    });
  }
  // A `message` on `warn` adds header lines, in the ACLs that have a message to add them to.
  if (userMessage !== undefined && messagePhases.has(env.phase)) addHeaders(state, userMessage);
}
