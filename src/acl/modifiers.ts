/** The modifiers that act as soon as they are met (Exim manual, "ACL modifiers"). `message` and `log_message` are the runner's. */
import type { HeaderEdit } from '../mail/headers.ts';
import { splitList } from '../mail/list-text.ts';
import { lowerAscii } from '../mail/local-part.ts';
import type { Awaitable, ExpandScope } from '../expand/scope.ts';
import type { ImmediateModifier } from './ast.ts';
import { controlAllowed, parseControl, type AclControl } from './control.ts';
import { recipientLocal } from './conditions.ts';
import { withArgument, withText } from './expansion.ts';
import { headerLines } from './header-lines.ts';
import { parseDelay } from './parse.ts';
import type { LogName } from './result.ts';
import { fail, panic, type AclState, type Outcome } from './state.ts';
import { modifiers, phases } from './tables.ts';

/** Obeys a modifier; anything but `ok` ends the statement. */
export function applyModifier(state: AclState, m: ImmediateModifier): Awaitable<Outcome> {
  const { phase } = state.env;
  if (modifiers.get(m.kind)?.allowed(phase) === false)
    return fail(state, `cannot use ${m.kind} condition in ${phases[phase].title} ACL`);
  switch (m.kind) {
    case 'set':
      return withText(state, m.template, (text, tainted) => setVariable(state, m.variable, text, tainted));
    case 'continue':
      return withText(state, m.template, () => 'ok');
    case 'logwrite':
      return withText(state, m.template, (text) => logWrite(state, text));
    case 'log_reject_target':
      return withText(state, m.template, (text) => setLogTargets(state, text));
    case 'add_header':
      return withText(state, m.template, (text) => addHeaders(state, text));
    case 'remove_header':
      return withText(state, m.template, (text) => removeHeaders(state, text));
    case 'delay':
      return withArgument(state, m.ms, parseDelay, (ms) => delay(ms, state.env.signal));
    case 'control':
      return withArgument(state, m.control, parseControl, (control) => applyControl(state, control));
  }
}

function setVariable(state: AclState, variable: string, text: string, tainted: boolean): Outcome {
  const holder = variableHolder(state.scope, variable);
  if (holder === undefined)
    return fail(state, `cannot set acl_${variable} in ${phases[state.env.phase].title} ACL`);
  holder.variables.set(variable, text);
  if (tainted) holder.taintedVariables?.add(variable);
  else holder.taintedVariables?.delete(variable);
  return 'ok';
}

function variableHolder(
  scope: ExpandScope,
  variable: string,
): ExpandScope['connection'] | ExpandScope['message'] {
  return variable.startsWith('c') ? scope.connection : scope.message;
}

const logNames: ReadonlySet<string> = new Set<LogName>(['main', 'panic', 'reject']);

function readLogNames(names: readonly string[]): { logs: LogName[]; unknown: string[] } {
  return {
    logs: names.filter((n): n is LogName => logNames.has(n)),
    unknown: names.filter((n) => !logNames.has(n)),
  };
}

/** `:main,reject: text` names the logs. */
function logWrite(state: AclState, text: string): Outcome {
  const m = /^\s*:([^:]*):\s*([^]*)$/.exec(text);
  if (m === null) {
    state.env.log({ text: text.trimStart(), logs: ['main'], withHost: false });
    return 'ok';
  }
  const { logs, unknown } = readLogNames((m[1] ?? '').split(',').map((n) => n.trim()));
  if (unknown.length > 0)
    panic(state, `unknown log name in "${text}" in "logwrite" in ${phases[state.env.phase].title} ACL`);
  if (logs.length > 0) state.env.log({ text: m[2] ?? '', logs, withHost: false });
  return 'ok';
}

function setLogTargets(state: AclState, text: string): Outcome {
  const { logs, unknown } = readLogNames(splitList(text));
  if (unknown[0] !== undefined)
    panic(
      state,
      `unknown log name "${unknown[0]}" in "log_reject_target" in ${phases[state.env.phase].title} ACL`,
    );
  state.logTargets = logs;
  return 'ok';
}

/** Adds header lines; what is no header line becomes `X-ACL-Warn`. Also serves `message` on `warn`. */
export function addHeaders(state: AclState, text: string): 'ok' {
  for (const edit of headerLines(text)) {
    const isKnown = state.headerEdits.some(
      (e) => e.kind === 'add' && edit.kind === 'add' && e.text === edit.text,
    );
    if (!isKnown) state.headerEdits.push(edit);
  }
  return 'ok';
}

function removeHeaders(state: AclState, text: string): Outcome {
  const edits: HeaderEdit[] = splitList(text)
    .filter((name) => name !== '')
    .map((name) => ({ kind: 'remove', name }));
  state.headerEdits.push(...edits);
  return 'ok';
}

function applyControl(state: AclState, control: AclControl): Outcome {
  const { phase } = state.env;
  if (!controlAllowed(control, phase))
    return fail(state, `cannot use "control=${control.name}" in ${phases[phase].title} ACL`);
  if (control.kind === 'set') setControls(state, control.controls);
  else if (control.kind === 'local_part_case' && state.scope.address !== undefined) {
    const local = recipientLocal(state.scope.address);
    state.scope.address.local = control.caseful ? local : lowerAscii(local);
  }
  return 'ok';
}

function setControls({ controls }: AclState, more: AclState['controls']): void {
  const quiet = controls.freeze?.tell === false && more.freeze?.tell === false;
  const firstFreeze = controls.freeze === undefined;
  Object.assign(controls, more);
  // Nobody is told only if every freeze of the message says so.
  if (more.freeze !== undefined && !firstFreeze) controls.freeze = { tell: !quiet };
}

function delay(ms: number, signal: AbortSignal): Awaitable<Outcome> {
  if (ms === 0) return 'ok';
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', aborted);
      resolve('ok');
    }, ms);
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
  });
}
