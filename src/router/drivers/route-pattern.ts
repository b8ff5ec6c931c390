/** Matching a domain against the pattern of a routing rule, with what `$0`, `$1` and `$value` become. */
import { expandText } from '../../expand/expand.ts';
import { compileRegex } from '../../expand/regex.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import { joinList } from '../../mail/list-text.ts';

export type PatternAnswer =
  | { readonly kind: 'no' }
  | { readonly kind: 'defer'; readonly reason: string }
  /** `captures` are `$0`, `$1`...; `value` is `$value`. */
  | { readonly kind: 'yes'; readonly captures: readonly string[]; readonly value?: string };

export type PatternTest = (domain: string, scope: ExpandScope) => PatternAnswer | Promise<PatternAnswer>;

const no: PatternAnswer = { kind: 'no' };

/** Compiles one domain list item. `*`, whole names and `*suffix` need no list and are answered at once. */
export function compileRoutePattern(pattern: string): PatternTest {
  if (/^[\w.-]+$/.test(pattern)) {
    const wanted = pattern.toLowerCase();
    return (domain) => (domain === wanted ? { kind: 'yes', captures: [domain] } : no);
  }
  if (/^\*[\w.-]*$/.test(pattern)) {
    const suffix = pattern.slice(1).toLowerCase();
    return (domain) =>
      domain.endsWith(suffix)
        ? { kind: 'yes', captures: [domain, domain.slice(0, domain.length - suffix.length)] }
        : no;
  }
  return (domain, scope) => matchItem(pattern, domain, scope);
}

async function matchItem(pattern: string, domain: string, scope: ExpandScope): Promise<PatternAnswer> {
  const expanded = await expandText(pattern, scope);
  if (expanded.kind === 'forced-fail') return no;
  if (expanded.kind !== 'ok')
    return {
      kind: 'defer',
      reason: `failed to expand "${pattern}" while checking a list: ${expanded.reason}`,
    };
  const answer = await scope.services.matchList(
    'domain',
    joinList([expanded.text]),
    domain,
    scope,
    expanded.tainted,
  );
  if (answer.kind !== 'yes') return answer;
  const captures = expanded.text.startsWith('^') ? captured(expanded.text, domain) : [domain];
  return answer.data === undefined
    ? { kind: 'yes', captures }
    : { kind: 'yes', captures, value: answer.data };
}

/** `$0`, `$1`... of a regular expression that is known to match: list answers do not carry them. */
function captured(pattern: string, domain: string): readonly string[] {
  const regex = compileRegex(pattern, { caseless: true });
  const match = regex.kind === 'regex' ? regex.match(domain) : undefined;
  return match?.kind === 'match' ? match.groups : [domain];
}
