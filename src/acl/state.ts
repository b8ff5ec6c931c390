/** The state of one ACL run, shared by the ACLs it calls, as in Exim. */
import type { AclFacts, ExpandScope, ExtraValue } from '../expand/scope.ts';
import type { HeaderEdit } from '../mail/headers.ts';
import type { AclControls } from './control.ts';
import type { AclEnvironment } from './environment.ts';
import type { LogName } from './result.ts';

/**
 * `ok` and `fail` are a condition's truth or an ACL's accept and deny; the others end the run or are handed on.
 * `error` is a configuration that cannot be obeyed, `ignored` a condition whose expansion was forced to fail.
 */
export type Outcome = 'ok' | 'fail' | 'drop' | 'discard' | 'defer' | 'error' | 'ignored';

export interface AclState {
  readonly env: AclEnvironment;
  /** The environment's scope, or a copy with more in it. */
  scope: ExpandScope;
  readonly facts: AclFacts;
  /** For the client and for the log, as last set; cleared when a statement begins. */
  userMessage: string | undefined;
  logMessage: string | undefined;
  /** The message of a deferral may be shown to the client. */
  showDeferral: boolean;
  readonly headerEdits: HeaderEdit[];
  readonly controls: AclControls;
  logTargets: readonly LogName[];
  /** ACLs within ACLs. */
  depth: number;
}

export function fail(state: AclState, reason: string): 'error' {
  state.logMessage = reason;
  return 'error';
}

export function deferred(state: AclState, reason: string): 'defer' {
  state.logMessage = reason;
  return 'defer';
}

/** Sets a variable that has no place among the facts: `$host_data`, `$sender_data`. */
export function setExtra(state: AclState, name: string, value: ExtraValue | undefined): void {
  const extra = new Map(state.scope.extra);
  if (value === undefined) extra.delete(name);
  else extra.set(name, value);
  state.scope = { ...state.scope, extra };
}

export function panic(state: AclState, text: string): void {
  state.env.log({ text, logs: ['main', 'panic'], withHost: false });
}
