/** Items of address lists (Exim manual, "Address lists"). */
import { lowerAscii } from '../expand/ascii.ts';
import type { Awaitable, ListAnswer } from '../expand/scope.ts';
import { readList } from '../mail/list-text.ts';
import { askLookup, parseLookupItem, type LookupItem } from './lookup-item.ts';
import { broken, compilePattern } from './pattern.ts';
import { regexTest } from './regex-item.ts';
import {
  defer,
  no,
  plainYes,
  type ItemAnswer,
  type CompiledItem,
  type Taint,
  type CompiledList,
  type MatchContext,
  type Subject,
} from './model.ts';

/** A whole-address lookup: a search type, perhaps with a default, and a semicolon. */
const wholeLookup = /^[A-Za-z0-9-]*\*?@?(?:,[^;@]*)?\s*;/;
const magicDomain = /^(?:|\[\]|mx_any|mx_primary|mx_secondary)$/;

/** `domain` compiles the domain part of a pattern, which is a domain list of one item. */
export function compileAddressItem(
  pattern: string,
  taint: Taint,
  domain: (item: string) => CompiledList,
): CompiledItem {
  if (pattern === '') return { test: (subject) => (subject.text === '' ? plainYes : no) };
  const inner = compileForAddress(pattern, taint, domain);
  // What is neither empty nor has a domain is no address and matches nothing.
  return {
    ...inner,
    test: (subject, context) =>
      subject.text === '' || subject.text.includes('@') ? inner.test(subject, context) : no,
  };
}

function compileForAddress(
  pattern: string,
  taint: Taint,
  domain: (item: string) => CompiledList,
): CompiledItem {
  if (pattern.startsWith('^')) {
    const { test, ...rest } = regexTest(pattern, taint.tainted);
    // Exim gives no value for these.
    return { ...rest, test: (subject, context) => withoutData(test(subject, context)) };
  }
  if (wholeLookup.test(pattern)) return addressLookup(pattern.replace(/\s*;/, ';'), taint);
  const split = pattern.startsWith('@@');
  if (split && !pattern.includes(';')) return { test: () => no };
  const inner = split ? splitLookup(pattern, taint) : localAndDomain(pattern, domain);
  return { ...inner, test: (subject, context) => (subject.text === '' ? no : inner.test(subject, context)) };
}

function withoutData(r: Awaitable<ItemAnswer>): Awaitable<ItemAnswer> {
  if (r instanceof Promise) return r.then(onlyCaptures);
  return onlyCaptures(r);
}

function onlyCaptures(r: ItemAnswer): ItemAnswer {
  if (r.kind !== 'yes') return r;
  return r.captures === undefined ? plainYes : { kind: 'yes', captures: r.captures };
}

function addressLookup(pattern: string, taint: Taint): CompiledItem {
  const lookup = parseLookupItem(pattern);
  if (typeof lookup === 'string') return broken(lookup);
  const use = { partial: false, taint };
  return {
    test: (subject, context) =>
      subject.text === '' && lookup.search.style === 'single-key'
        ? no
        : askLookup(lookup, subject.text, use, context),
  };
}

/** `local@domain` where the local part may begin with a star, or a domain alone; the domain part is one domain list item. */
function localAndDomain(pattern: string, domain: (item: string) => CompiledList): CompiledItem {
  let at = pattern.lastIndexOf('@');
  if (at > 0 && pattern[at - 1] === '@' && magicDomain.test(pattern.slice(at + 1))) at--;
  const local = at < 0 ? undefined : pattern.slice(0, at);
  // After `something@@` the second @ is the domain item.
  const domains = domain(pattern.slice(at + 1));
  const matchesLocal = localTest(local);
  const wild = local?.startsWith('*') === true ? local.length - 1 : undefined;
  const join = (answer: ListAnswer, text: string, sign: number): ListAnswer => {
    if (answer.kind !== 'yes') return answer;
    const data = answer.data === undefined ? undefined : { data: `${local ?? ''}@${answer.data}` };
    if (wild === undefined && answer.captures === undefined) return { ...answer, ...data };
    const star = wild === undefined ? [] : [text.slice(0, sign - wild)];
    return { ...answer, ...data, captures: [text, ...star, ...(answer.captures?.slice(1) ?? [])] };
  };
  return {
    ...(domains.problems[0] === undefined ? {} : { problem: domains.problems[0] }),
    test: (subject, context) => {
      const sign = subject.text.lastIndexOf('@');
      if (!matchesLocal(subject, sign)) return no;
      const domain = subject.text.slice(sign + 1);
      // After +caseful Exim compares the domain, which is in lower case, by letter case too.
      const r = context.run(domains, { text: domain, original: domain, caseful: subject.caseful }, context);
      const { text } = subject;
      return r instanceof Promise ? r.then((a) => join(a, text, sign)) : join(r, text, sign);
    },
  };
}

function localTest(local: string | undefined): (subject: Subject, end: number) => boolean {
  if (local === undefined || local === '*') return () => true;
  const wild = local.startsWith('*');
  const exact = wild ? local.slice(1) : local;
  const folded = lowerAscii(exact);
  return (subject, end) => {
    const part = subject.text.slice(0, end);
    const wanted = subject.caseful ? exact : folded;
    return wild ? part.endsWith(wanted) : part === wanted;
  };
}

/** `@@type;file`: the domain is looked up, and what is found is a list of local parts, perhaps continued by `>key`. */
function splitLookup(pattern: string, taint: Taint): CompiledItem {
  const lookup = parseLookupItem(pattern.slice(2));
  if (typeof lookup === 'string') return broken(lookup);
  return { test: (subject, context) => localPartsOf(lookup, subject, taint, context) };
}

const maxChain = 50;

async function localPartsOf(
  lookup: LookupItem,
  subject: Subject,
  taint: Taint,
  context: MatchContext,
): Promise<ItemAnswer> {
  const at = subject.text.lastIndexOf('@');
  const local: Subject = {
    text: subject.text.slice(0, at),
    original: subject.original.slice(0, at),
    caseful: subject.caseful,
  };
  let key = subject.text.slice(at + 1);
  for (let i = 0; i < maxChain; i++) {
    const answer = await askLookup(lookup, key, { partial: true, taint }, context);
    if (answer.kind !== 'yes') return answer;
    const { items } = readList(answer.data ?? '');
    const last = items.at(-1);
    const next =
      last?.startsWith('>') === true && lookup.search.style === 'single-key'
        ? last.slice(1).trim()
        : undefined;
    const r = await firstLocalPart(next === undefined ? items : items.slice(0, -1), local, context);
    if (r !== undefined) return r;
    if (next === undefined) return no;
    key = next;
  }
  return defer(
    `Loop detected in lookup of local part of address "${subject.text}" in "@@${lookup.search.type};${lookup.argument}"`,
  );
}

/** The first item that decides; the sign of the last does not count here. */
async function firstLocalPart(
  items: readonly string[],
  local: Subject,
  context: MatchContext,
): Promise<ItemAnswer | undefined> {
  for (const item of items) {
    const negated = item.startsWith('!');
    const pattern = negated ? item.slice(1).trimStart() : item;
    const { test } = compilePattern(pattern, {
      atSpecial: false,
      partial: true,
      taint: { tainted: false },
    });
    const r = await test(local, context);
    if (r.kind === 'yes') return negated ? no : r;
    if (r.kind !== 'no') return r;
  }
  return undefined;
}
