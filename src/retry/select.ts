/** Which retry rule governs a failure (Exim manual, "Choosing which retry rule to use"). */
import { expandText } from '../expand/expand.ts';
import type { ExpandScope } from '../expand/scope.ts';
import { formatAddress, type ReversePath } from '../mail/address.ts';
import { joinList } from '../mail/list-text.ts';
import { type RetryError, errorMatches } from './error.ts';
import type { RetryRule } from './rules.ts';

export interface RetrySubject {
  /** What is matched first: a whole address, a domain, or the name of a host. */
  readonly key: string;
  /** Tried where `key` does not match: the domain of the address, for a host error. */
  readonly alternate?: string;
  readonly error: RetryError;
  /** The message's sender; absent where none is known, and then rules with `senders` never match (`-brt` without `-f`). */
  readonly sender?: ReversePath;
}

/**
 * The first rule that matches, or undefined: then there are no retries. A pattern that cannot be expanded or matched
 * now matches nothing, as in Exim; `problem` is told why.
 */
export async function selectRetryRule(
  rules: readonly RetryRule[],
  subject: RetrySubject,
  scope: ExpandScope,
  problem: (text: string) => void = () => {},
): Promise<RetryRule | undefined> {
  for (const rule of rules) {
    if (rule.error !== undefined && !errorMatches(rule.error, subject.error)) continue;
    if (rule.senders !== undefined) {
      if (subject.sender === undefined) continue;
      if (!(await listed(rule.senders, formatAddress(subject.sender), scope, problem))) continue;
    }
    if (rule.pattern === '*') return rule;
    if (await listed(rule.pattern, asAddress(subject.key), scope, problem, true)) return rule;
    if (
      subject.alternate !== undefined &&
      (await listed(rule.pattern, asAddress(subject.alternate), scope, problem, true))
    )
      return rule;
  }
  return undefined;
}

/** @param single the text is one item even where it holds the separator */
async function listed(
  list: string,
  subject: string,
  scope: ExpandScope,
  problem: (text: string) => void,
  single = false,
): Promise<boolean> {
  const expanded = await expandText(list, scope);
  if (expanded.kind !== 'ok') {
    if (expanded.kind !== 'forced-fail')
      problem(`failed to expand "${list}" while checking a list: ${expanded.reason}`);
    return false;
  }
  const answer = await scope.services.matchList(
    'address',
    single ? joinList([expanded.text]) : expanded.text,
    subject,
    scope,
    expanded.tainted,
  );
  if (answer.kind === 'defer') problem(`retry rule "${list}": ${answer.reason}`);
  return answer.kind === 'yes';
}

/** A host or domain stands for every address in it. */
function asAddress(key: string): string {
  return key.includes('@') ? key : `*@${key}`;
}
