/** Matches an address with a rule's pattern and says what its wild parts were (Exim manual, "Rewriting patterns"). */
import { lowerAscii } from '../expand/ascii.ts';
import { expandText } from '../expand/expand.ts';
import { parseLookupType } from '../expand/lookup-type.ts';
import { compileRegex } from '../expand/regex.ts';
import type { ExpandScope } from '../expand/scope.ts';
import { joinList } from '../mail/list-text.ts';

/** `$0`, `$1`... of a match; undefined for none. */
export type Captures = readonly string[] | undefined;

/**
 * @param address qualified
 * @param problem told why a pattern cannot be used; it then matches nothing
 */
export async function matchPattern(
  pattern: string,
  address: string,
  scope: ExpandScope,
  problem: (text: string) => void,
): Promise<Captures> {
  const expanded = await expandText(pattern, scope);
  if (expanded.kind !== 'ok') {
    if (expanded.kind !== 'forced-fail')
      problem(`failed to expand "${pattern}" while checking a list: ${expanded.reason}`);
    return undefined;
  }
  const item = expanded.text;
  // Local parts count by letter case, domains are in lower case.
  const list = joinList(['+caseful', item]);
  const answer = await scope.services.matchList('address', list, address, scope, expanded.tainted);
  if (answer.kind === 'defer') problem(answer.reason);
  if (answer.kind !== 'yes') return undefined;
  return [address, ...(await wildParts(item, address, answer.data, scope))];
}

async function wildParts(
  item: string,
  address: string,
  data: string | undefined,
  scope: ExpandScope,
): Promise<readonly string[]> {
  const at = address.lastIndexOf('@');
  const local = address.slice(0, at);
  const domain = lowerAscii(address.slice(at + 1));
  if (item.startsWith('^')) return regexGroups(item, `${local}@${domain}`);
  const sign = item.lastIndexOf('@');
  const parts: string[] = [];
  if (sign > 0 && item.startsWith('*')) parts.push(local.slice(0, local.length - (sign - 1)));
  const domainItem = item.slice(sign + 1);
  if (domainItem.includes(';')) return [...parts, ...(await partialParts(domainItem, domain, scope))];
  // In a named list it is the item that matched.
  const matched = domainItem.startsWith('+') ? (data?.slice(data.lastIndexOf('@') + 1) ?? '') : domainItem;
  if (matched.startsWith('*') && domain.endsWith(matched.slice(1)))
    parts.push(domain.slice(0, domain.length - (matched.length - 1)));
  return parts;
}

function regexGroups(pattern: string, subject: string): readonly string[] {
  const regex = compileRegex(pattern);
  if (regex.kind === 'error') return [];
  const found = regex.match(subject);
  return found?.kind === 'match' ? found.groups.slice(1) : [];
}

/** A partial lookup gives the wild and the fixed part of the domain. */
async function partialParts(item: string, domain: string, scope: ExpandScope): Promise<readonly string[]> {
  const semicolon = item.indexOf(';');
  const type = parseLookupType(item.slice(0, semicolon));
  if (typeof type === 'string' || type.partial === undefined) return [];
  const answer = await scope.services.lookup({
    type: type.type,
    partial: type.partial,
    ...(type.defaultStar === undefined ? {} : { defaultStar: type.defaultStar }),
    options: type.options,
    key: domain,
    file: item.slice(semicolon + 1).trimStart(),
    fileTainted: false,
    keyTainted: true,
  });
  if (answer.kind !== 'found') return [];
  return answer.parts ?? ['', domain];
}
