/** `+name` in lists: a named list of that kind must exist (Exim manual, "Named lists"). */
import type { MatchKind } from '../expand/scope.ts';
import type { SourceText } from '../mail/diagnostic.ts';
import { readList } from '../mail/list-text.ts';
import { positionAt, sliceSource } from '../mail/source-text.ts';
import type { NamedList } from './model.ts';
import type { Report } from './report.ts';
import { nameAt, skipSpace } from './setting.ts';
import { didYouMean } from '../mail/suggest.ts';

export type ListNames = Readonly<Record<MatchKind, ReadonlyMap<string, NamedList>>>;

/** Items with a plus that are no names. */
const controls = new Set(['include_unknown', 'ignore_unknown', 'include_defer', 'ignore_defer', 'caseful']);

/** Reports names in a list's text that are not defined. What an expansion might make is not looked at. */
export function checkListNames(kind: MatchKind, list: SourceText, lists: ListNames, report: Report): void {
  const dollar = list.text.indexOf('$');
  const constant = dollar < 0 ? list.text : list.text.slice(0, dollar);
  const { items } = readList(constant);
  // The last item of the part before a dollar goes on behind it.
  const whole = dollar < 0 || /[:;,]\s*$/.test(constant) ? items : items.slice(0, -1);
  for (const item of whole) {
    const name = /^(?:!\s*)?\+(\w+)$/.exec(item)?.[1];
    if (name === undefined || controls.has(name) || lists[kind].has(name)) continue;
    const at = list.text.search(new RegExp(`\\+${name}(?!\\w)`));
    report.error(
      positionAt(list, Math.max(0, at)),
      `unknown named ${kind.replace('_', ' ')} list "+${name}"`,
      elsewhere(name, kind, lists) ?? didYouMean(name, lists[kind].keys()),
    );
  }
}

function elsewhere(name: string, kind: MatchKind, lists: ListNames): string | undefined {
  for (const other of ['domain', 'host', 'address', 'local_part'] as const)
    if (other !== kind && lists[other].has(name))
      return `there is a ${other.replace('_', ' ')} list of that name`;
  return undefined;
}

const aclConditions: ReadonlyMap<string, MatchKind> = new Map([
  ['domains', 'domain'],
  ['sender_domains', 'domain'],
  ['hosts', 'host'],
  ['local_parts', 'local_part'],
  ['senders', 'address'],
  ['recipients', 'address'],
]);

const verbs = new Set(['accept', 'defer', 'deny', 'discard', 'drop', 'require', 'warn']);

/** The same for a line of an ACL that holds a condition with a list: `[verb] [!]name = list`. */
export function checkAclLists(line: SourceText, lists: ListNames, report: Report): void {
  const { text } = line;
  let at = 0;
  let name = nameAt(text, at);
  if (verbs.has(name)) {
    at = skipSpace(text, name.length);
    name = '';
  }
  if (text[at] === '!') at = skipSpace(text, at + 1);
  if (name === '') name = nameAt(text, at);
  const kind = aclConditions.get(name);
  const equals = skipSpace(text, at + name.length);
  if (kind === undefined || text[equals] !== '=') return;
  checkListNames(kind, sliceSource(line, skipSpace(text, equals + 1)), lists, report);
}
