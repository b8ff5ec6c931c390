/** Who gets copies of bounces (Exim manual, `errors_copy`). */
import { expandText } from '../../expand/expand.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import { type Address, formatAddress } from '../../mail/address.ts';
import { splitList } from '../../mail/list-text.ts';
import { inList } from '../../router/preconditions.ts';
import { mailboxes } from './mailboxes.ts';

interface Rule {
  /** A list of one item. */
  readonly pattern: string;
  readonly copies: string;
}

/**
 * Gives the further recipients of a bounce to an address; undefined where the option asks for none.
 *
 * @param domain for addresses without one
 * @param problem told of copies that cannot be expanded, as Exim's panic log is
 */
export function errorsCopy(
  option: string | undefined,
  scope: ExpandScope,
  domain: string,
  problem: (text: string) => void,
): ((to: Address) => Promise<readonly Address[]>) | undefined {
  const rules = splitList(option ?? '').flatMap(parseRule);
  if (rules.length === 0) return undefined;
  return async (to) => {
    const here = { ...scope, address: { local: to.local, domain: to.domain.toLowerCase() } };
    for (const { pattern, copies } of rules) {
      const answer = await inList('address', pattern, formatAddress(to), here, { problem });
      if (answer.kind !== 'yes') continue;
      const captures = answer.captures === undefined ? undefined : { captures: answer.captures };
      const expanded = await expandText(copies, { ...here, ...captures });
      if (expanded.kind === 'ok') return mailboxes(expanded.text, domain);
      const why = expanded.kind === 'forced-fail' ? 'forced failure' : expanded.reason;
      problem(`Failed to expand ${copies} when processing errors_copy: ${why}`);
      return [];
    }
    return [];
  };
}

/** The pattern, which may be quoted, and what follows it; an item without addresses is skipped, as in Exim. */
function parseRule(item: string): Rule[] {
  const m = /^\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))\s+(\S.*)$/s.exec(item);
  if (m === null) return [];
  const pattern = m[1]?.replace(/\\(.)/gs, '$1') ?? m[2] ?? '';
  return [{ pattern: pattern.replaceAll(':', '::'), copies: m[3] ?? '' }];
}
