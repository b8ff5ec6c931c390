/** A configuration made ready to run: what a file says, with everything checked that can be checked without mail. */
import { hostname } from 'node:os';
import type { Acl } from '../acl/ast.ts';
import { type AclUse, checkAcls } from '../acl/check.ts';
import { parseAcl } from '../acl/parse.ts';
import type { ConfigModel } from '../config/model.ts';
import { readConfig } from '../config/read.ts';
import { listProblems } from '../list/match.ts';
import type { MatchKind } from '../expand/scope.ts';
import type { Diagnostic, SourceText } from '../mail/diagnostic.ts';
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
  all.push(...checkAcls(acls, aclUses(model)), ...brokenLists(model));
  const retryRules: RetryRule[] = [];
  for (const line of model.retry) {
    const parsed = parseRetryRule(line);
    if ('rule' in parsed) retryRules.push(parsed.rule);
    else all.push(parsed.diagnostic);
  }
  if (all.some((d) => d.severity === 'error')) return { program: undefined, diagnostics: all, sources };
  return {
    program: { ...makeScopeParts(model, hostname()), model, acls, retryRules },
    diagnostics: all,
    sources,
  };
}

const aclOptions = ['connect', 'helo', 'mail', 'rcpt', 'data', 'vrfy'] as const;

function aclUses(model: ConfigModel): AclUse[] {
  return aclOptions.flatMap((phase) => {
    const option = `acl_smtp_${phase}`;
    const [value] = model.mainGiven.get(option)?.sources ?? [];
    return value === undefined ? [] : [{ option, phase, value }];
  });
}

/** Named lists and the list options of routers: what cannot match is told now, not when mail comes. */
function brokenLists(model: ConfigModel): Diagnostic[] {
  const named = Object.values(model.lists).flatMap((lists) =>
    [...lists.values()].map((l) => tell(l.kind, l.text)),
  );
  const routers = model.routers.flatMap(({ given }) =>
    routerLists.flatMap(([option, kind]) =>
      (given.get(option)?.sources ?? []).map((text) => tell(kind, text)),
    ),
  );
  return [...named, ...routers].flat();
}

const routerLists: readonly (readonly [option: string, kind: MatchKind])[] = [
  ['domains', 'domain'],
  ['local_parts', 'local_part'],
  ['senders', 'address'],
];

function tell(kind: MatchKind, { text, position }: SourceText): Diagnostic[] {
  return listProblems(kind, text).map((message) => ({ severity: 'error', position, message }));
}
