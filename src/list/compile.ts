/**
 * A list's text as a sequence of steps, so that it is taken apart once and matched many times (Exim manual, "Domain,
 * host, address, and local part lists"). Pure: what a step needs from outside comes with the match.
 */
import { lowerAscii } from '../expand/ascii.ts';
import type { ListAnswer, MatchKind } from '../expand/scope.ts';
import { readList } from '../mail/list-text.ts';
import { compileAddressItem } from './address-item.ts';
import { compileHostItem } from './host-item.ts';
import { mxItem } from './mx-item.ts';
import { compilePattern } from './pattern.ts';
import { yes, type CompiledItem, type CompiledList, type Step, type Taint, type Unfound } from './model.ts';

/** Compiles a list's text after expansion. `tainted` says whether any of it came from the wire. */
export function compileList(kind: MatchKind, text: string, taint: Taint): CompiledList {
  return compileItems(kind, readList(text).items, taint, false);
}

/** Compiles items that are already apart: those of a list, or the lines of a file (which may not name lists or files). */
export function compileItems(
  kind: MatchKind,
  items: readonly string[],
  taint: Taint,
  inFile: boolean,
): CompiledList {
  const steps: Step[] = [];
  const problems: string[] = [];
  let unknown: Unfound = 'fail';
  let deferred: Unfound = 'fail';
  for (const item of items) {
    const special = inFile ? undefined : specialItem(kind, item);
    if (special !== undefined) {
      if (special.sets === 'caseful') steps.push({ kind: 'caseful' });
      else if (special.sets === 'unknown') unknown = special.to;
      else deferred = special.to;
      continue;
    }
    const negated = item.startsWith('!');
    const pattern = negated ? item.slice(1).trimStart() : item;
    if (!inFile && pattern.startsWith('/')) steps.push({ kind: 'file', negated, path: pattern });
    else if (!inFile && pattern.startsWith('+'))
      steps.push({ kind: 'named', negated, name: pattern.slice(1) });
    else if (isLiteral(kind, pattern)) addLiteral(steps, negated, pattern, yes(pattern, taint.tainted));
    else {
      const compiled = compileItem(kind, pattern, taint);
      if (compiled.problem !== undefined) problems.push(compiled.problem);
      steps.push({ kind: 'item', negated, test: compiled.test, unknown, deferred });
    }
  }
  return { kind, steps, ...taint, problems };
}

function compileItem(kind: MatchKind, pattern: string, taint: Taint): CompiledItem {
  switch (kind) {
    case 'domain':
      return (
        mxItem(pattern, (text) => compileList('host', text, taint)) ??
        compilePattern(pattern, { atSpecial: true, partial: true, taint })
      );
    case 'local_part':
      return compilePattern(pattern, { atSpecial: false, partial: true, taint });
    case 'host':
      return compileHostItem(pattern, taint);
    case 'address':
      return compileAddressItem(pattern, taint, (item) => compileItems('domain', [item], taint, false));
  }
}

type Special = { readonly sets: 'caseful' } | { readonly sets: 'unknown' | 'deferred'; readonly to: Unfound };

function specialItem(kind: MatchKind, item: string): Special | undefined {
  if (!item.startsWith('+')) return undefined;
  if (kind === 'address' || kind === 'local_part')
    return item === '+caseful' ? { sets: 'caseful' } : undefined;
  return kind === 'host' ? hostSpecials.get(item) : undefined;
}

const hostSpecials: ReadonlyMap<string, Special> = new Map([
  ['+include_unknown', { sets: 'unknown', to: 'include' }],
  ['+ignore_unknown', { sets: 'unknown', to: 'ignore' }],
  ['+include_defer', { sets: 'deferred', to: 'include' }],
  ['+ignore_defer', { sets: 'deferred', to: 'ignore' }],
]);

/** True for what is compared letter by letter with the whole subject. */
function isLiteral(kind: MatchKind, pattern: string): boolean {
  if (kind !== 'domain' && kind !== 'local_part') return false;
  if (pattern.includes(';')) return false;
  const first = pattern.charAt(0);
  return first !== '^' && first !== '*' && !(first === '@' && kind === 'domain');
}

/** Maps under construction; the first of equal items gives the data. */
interface Literals {
  readonly kind: 'literals';
  readonly negated: boolean;
  readonly folded: Map<string, ListAnswer>;
  readonly exact: Map<string, ListAnswer>;
}

function addLiteral(steps: (Step | Literals)[], negated: boolean, pattern: string, answer: ListAnswer): void {
  const last = steps.at(-1);
  let open: Literals;
  if (last?.kind === 'literals' && last.negated === negated) open = last as Literals;
  else {
    open = { kind: 'literals', negated, folded: new Map(), exact: new Map() };
    steps.push(open);
  }
  const key = lowerAscii(pattern);
  if (!open.folded.has(key)) open.folded.set(key, answer);
  if (!open.exact.has(pattern)) open.exact.set(pattern, answer);
}
