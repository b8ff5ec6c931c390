/** A configuration made ready to run: what a file says, with everything checked that can be checked without mail. */
import { hostname } from 'node:os';
import type { Acl } from '../acl/ast.ts';
import { parseAcl } from '../acl/parse.ts';
import type { ConfigModel } from '../config/model.ts';
import { readConfig } from '../config/read.ts';
import type { Diagnostic } from '../mail/diagnostic.ts';
import { parseRetryRule, type RetryRule } from '../retry/rules.ts';
import { makeScopeParts, type ScopeParts } from './scope.ts';

export interface Program extends ScopeParts {
  readonly model: ConfigModel;
  readonly acls: ReadonlyMap<string, Acl>;
  readonly retryRules: readonly RetryRule[];
}

export interface Loaded {
  /** Absent where there are errors. */
  readonly program: Program | undefined;
  readonly diagnostics: readonly Diagnostic[];
  /** Lines of the files that were read, to show where an error is. */
  readonly sources: ReadonlyMap<string, readonly string[]>;
}

/** Reads a file and everything it includes; tells all that is wrong with it. */
export function loadProgram(file: string, defines: ReadonlyMap<string, string>): Loaded {
  const { model, diagnostics, sources } = readConfig(file, { defines });
  const all = [...diagnostics];
  if (model === undefined) return { program: undefined, diagnostics: all, sources };
  const acls = new Map<string, Acl>();
  for (const text of model.acls.values()) {
    const parsed = parseAcl(text);
    all.push(...parsed.diagnostics);
    acls.set(text.name, parsed.acl);
  }
  const retryRules: RetryRule[] = [];
  for (const line of model.retry) {
    const parsed = parseRetryRule(line);
    if ('rule' in parsed) retryRules.push(parsed.rule);
    else all.push(parsed.diagnostic);
  }
  if (all.some((d) => d.severity === 'error')) return { program: undefined, diagnostics: all, sources };
  return { program: { ...makeScopeParts(model, hostname()), model, acls, retryRules }, diagnostics: all, sources };
}
