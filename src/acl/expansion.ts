/** Expansion of what stands in ACLs (Exim manual, "Condition and modifier processing"). */
import { constantText, expand, type Expansion, type Template } from '../expand/expand.ts';
import type { Awaitable } from '../expand/scope.ts';
import type { Argument } from './ast.ts';
import { deferred, fail, type AclState, type Outcome } from './state.ts';

/** Continues with the text; a forced failure makes the condition or modifier count for nothing, negated or not. */
export function withText(
  state: AclState,
  template: Template,
  next: (text: string, tainted: boolean) => Awaitable<Outcome>,
): Awaitable<Outcome> {
  const constant = constantText(template);
  if (constant !== undefined) return next(constant, false);
  const r = expand(template, state.scope);
  return r instanceof Promise
    ? r.then((e) => settled(state, template, e, next))
    : settled(state, template, r, next);
}

function settled(
  state: AclState,
  template: Template,
  r: Expansion,
  next: (text: string, tainted: boolean) => Awaitable<Outcome>,
): Awaitable<Outcome> {
  if (r.kind === 'ok') return next(r.text, r.tainted);
  if (r.kind === 'forced-fail') return 'ignored';
  const reason = `failed to expand ACL string "${template.source}": ${r.reason}`;
  return r.kind === 'defer' ? deferred(state, reason) : fail(state, reason);
}

/** Like {@link withText} for a value that is read from the text, where the text may turn out malformed. */
export function withArgument<T>(
  state: AclState,
  argument: Argument<T>,
  read: (text: string) => T | string,
  next: (value: T) => Awaitable<Outcome>,
): Awaitable<Outcome> {
  if (argument.kind === 'known') return next(argument.value);
  return withText(state, argument.template, (text) => {
    const value = read(text);
    return typeof value === 'string' ? fail(state, value) : next(value);
  });
}

/** Expands a `message` or `log_message`; undefined where it is to be ignored: empty, failed (which is logged). */
export function messageText(
  state: AclState,
  template: Template,
  onFailure: (reason: string) => void,
): Awaitable<string | undefined> {
  const take = (r: Expansion): string | undefined => {
    if (r.kind === 'ok') return r.text === '' ? undefined : r.text;
    if (r.kind !== 'forced-fail') onFailure(`failed to expand ACL message "${template.source}": ${r.reason}`);
    return undefined;
  };
  const r = expand(template, state.scope);
  return r instanceof Promise ? r.then(take) : take(r);
}
