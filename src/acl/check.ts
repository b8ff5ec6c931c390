/** What can be said about ACLs before any mail comes, once it is known which option uses which. */
import { constantText } from '../expand/expand.ts';
import type { Diagnostic, SourcePosition, SourceText } from '../mail/diagnostic.ts';
import type { Acl, Step } from './ast.ts';
import { controlAllowed } from './control.ts';
import { findAcl } from './find.ts';
import { nearest } from '../mail/suggest.ts';
import { conditions, messagePhases, modifiers, phases, verbs, type AclPhase } from './tables.ts';

/** An option such as `acl_smtp_rcpt` and what it says. */
export interface AclUse {
  readonly option: string;
  readonly phase: AclPhase;
  readonly value: SourceText;
}

/**
 * Tells of conditions, modifiers and controls that cannot work where an ACL is used (Exim finds that out when mail comes,
 * and defers it), and of calls to ACLs that do not exist. Values that need expansion are not looked at.
 */
export function checkAcls(acls: ReadonlyMap<string, Acl>, uses: readonly AclUse[]): Diagnostic[] {
  const check: Check = { acls, diagnostics: [], seen: new Set() };
  for (const use of uses) {
    if (/[$\\]/.test(use.value.text)) continue;
    const acl = resolve(check, use.value.text.trim(), use.value.position);
    if (acl !== undefined) checkAcl(check, acl, use.phase, use.option);
  }
  // ACLs that only expansions name are checked for what holds everywhere.
  for (const acl of acls.values())
    for (const { steps } of acl.statements) for (const step of steps) called(check, step);
  return check.diagnostics;
}

interface Check {
  readonly acls: ReadonlyMap<string, Acl>;
  readonly diagnostics: Diagnostic[];
  /** ACL and phase, or a place that was complained about. */
  readonly seen: Set<string>;
}

function complain(check: Check, position: SourcePosition, message: string, hint?: string): undefined {
  const key = `${position.file}:${position.line}:${position.column} ${message}`;
  if (check.seen.has(key)) return undefined;
  check.seen.add(key);
  check.diagnostics.push({ severity: 'error', position, message, ...(hint === undefined ? {} : { hint }) });
  return undefined;
}

function resolve(check: Check, text: string, position: SourcePosition): Acl | undefined {
  const first = /^\w+/.exec(text)?.[0] ?? '';
  if (!check.acls.has(text) && !text.startsWith('/') && !verbs.has(first)) {
    const near = nearest(text, check.acls.keys());
    return complain(
      check,
      position,
      `there is no ACL "${text}"`,
      near === undefined ? undefined : `did you mean "${near}"?`,
    );
  }
  const found = findAcl(check.acls, text);
  return found.kind === 'broken' ? complain(check, position, found.reason) : found.acl;
}

function checkAcl(check: Check, acl: Acl, phase: AclPhase, option: string): void {
  const key = `${acl.name} ${phase}`;
  if (acl.name !== 'inline ACL' && check.seen.has(key)) return;
  check.seen.add(key);
  const { title } = phases[phase];
  for (const statement of acl.statements) {
    if (statement.verb === 'discard' && (!messagePhases.has(phase) || phase === 'predata'))
      complain(check, statement.position, `"discard" is not allowed in ${title} ACL (${option})`);
    for (const step of statement.steps) {
      const problem = stepProblem(step, phase, title);
      if (problem !== undefined) complain(check, step.position, `${problem} (${option})`);
      const inner = called(check, step);
      if (inner !== undefined) checkAcl(check, inner, phase, option);
    }
  }
}

/** The ACL that a step calls by a name that is known now. */
function called(check: Check, step: Step): Acl | undefined {
  if (step.kind !== 'acl') return undefined;
  const [name] = step.words;
  const text = name === undefined ? undefined : constantText(name);
  return text === undefined ? undefined : resolve(check, text, step.position);
}

function stepProblem(step: Step, phase: AclPhase, title: string): string | undefined {
  if ('negated' in step) {
    if (conditions.get(step.name)?.allowed(phase) === false)
      return `cannot test ${step.name} condition in ${title} ACL`;
    if (step.kind === 'verify' && step.test.kind === 'known') {
      const { what } = step.test.value;
      const possible = what === 'recipient' ? phase === 'rcpt' : messagePhases.has(phase);
      if (!possible) return `cannot verify ${what} in ACL for ${title}`;
    }
    return undefined;
  }
  if (modifiers.get(step.kind)?.allowed(phase) === false) return `cannot use ${step.name} in ${title} ACL`;
  if (step.kind === 'control' && step.control.kind === 'known' && !controlAllowed(step.control.value, phase))
    return `cannot use "control=${step.control.value.name}" in ${title} ACL`;
  if (step.kind === 'set' && step.variable.startsWith('m') && !messagePhases.has(phase))
    return `cannot ${step.name} in ${title} ACL: there is no message yet (acl_c variables last for the connection)`;
  return undefined;
}
