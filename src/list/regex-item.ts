import { compileRegex, type Regex, type RegexFailure } from '../expand/regex.ts';
import { defer, no, yes, type CompiledItem } from './model.ts';

/** An item that begins with `^`: caseless until `+caseful`. */
export function regexTest(pattern: string, tainted: boolean): CompiledItem {
  const caseless = compileRegex(pattern, { caseless: true });
  const answer = yes(pattern, tainted);
  let sensitive: Regex | RegexFailure | undefined;
  const problem = caseless.kind === 'error' ? { problem: caseless.reason } : {};
  return {
    ...problem,
    test: (subject) => {
      const regex = subject.caseful ? (sensitive ??= compileRegex(pattern)) : caseless;
      if (regex.kind === 'error') return defer(regex.reason);
      const m = regex.match(subject.text);
      if (m === undefined) return no;
      return m.kind === 'match' ? { ...answer, captures: m.groups } : defer(m.reason);
    },
  };
}
