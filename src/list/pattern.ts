/** Patterns for one string: domains, local parts, host names (Exim manual, "Domain lists"). */
import { lowerAscii, sameText } from '../expand/ascii.ts';
import { askLookup, parseLookupItem } from './lookup-item.ts';
import { regexTest } from './regex-item.ts';
import { defer, no, yes, type ItemTest, type Subject, type CompiledItem, type Taint } from './model.ts';

export interface PatternOptions {
  /** `@`, `@[]` and the like have their meaning. */
  readonly atSpecial: boolean;
  /** `partial-` applies to lookups. */
  readonly partial: boolean;
  readonly taint: Taint;
}

/** Compiles a pattern that is neither a named list nor a file. */
export function compilePattern(pattern: string, options: PatternOptions): CompiledItem {
  const first = pattern.charAt(0);
  if (first === '^') return regexTest(pattern, options.taint.tainted);
  if (first === '*') return { test: tailTest(pattern, options.taint.tainted) };
  if (first === '@' && options.atSpecial) {
    const special = atItem(pattern);
    if (special !== undefined) return special;
  }
  if (!pattern.includes(';')) return { test: literalTest(pattern, options.taint.tainted) };
  const lookup = parseLookupItem(pattern);
  if (typeof lookup === 'string') return broken(lookup);
  const use = { partial: options.partial, taint: options.taint };
  return { test: (subject, context) => askLookup(lookup, subject.text, use, context) };
}

/** An item that cannot be used: it defers, so that no mail is accepted or refused because of it. */
export function broken(problem: string): CompiledItem {
  const answer = defer(problem);
  return { test: () => answer, problem };
}

/** `*tail`: what follows the star ends the subject; it need not begin with a dot. */
function tailTest(pattern: string, tainted: boolean): ItemTest {
  const answer = yes(pattern, tainted);
  if (pattern === '*') return () => answer;
  const exact = pattern.slice(1);
  const folded = lowerAscii(exact);
  return (subject) => {
    const { text } = subject;
    const matches = subject.caseful ? text.endsWith(exact) : lowerAscii(text).endsWith(folded);
    return matches ? { ...answer, captures: [text, text.slice(0, text.length - exact.length)] } : no;
  };
}

function literalTest(pattern: string, tainted: boolean): ItemTest {
  const answer = yes(pattern, tainted);
  return (subject) => (sameAs(subject, pattern) ? answer : no);
}

function sameAs(subject: Subject, text: string): boolean {
  return subject.caseful ? subject.text === text : sameText(subject.text, text);
}

/** `@` and `@[]`; undefined where the pattern is neither. */
function atItem(pattern: string): CompiledItem | undefined {
  if (pattern === '@')
    return {
      test: (subject, { scope }) =>
        sameAs(subject, scope.main.primaryHostname) ? yes(scope.main.primaryHostname, false) : no,
    };
  if (pattern === '@[]') {
    const answer = yes(pattern, false);
    return {
      test: ({ text }, { environment }) =>
        text.startsWith('[') && text.endsWith(']') && environment.localAddresses().includes(text.slice(1, -1))
          ? answer
          : no,
    };
  }
  return undefined;
}
