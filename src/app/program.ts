/** A configuration made ready to run: what a file says, with everything checked that can be checked without mail. */
import { hostname } from 'node:os';
import type { Acl } from '../acl/ast.ts';
import { type AclUse, checkAcls } from '../acl/check.ts';
import { parseAcl } from '../acl/parse.ts';
import type { Checked } from '../config/checked.ts';
import type { ConfigModel } from '../config/model.ts';
import { inFileOrder, readConfig } from '../config/read.ts';
import { listProblems } from '../list/match.ts';
import type { MatchKind } from '../expand/scope.ts';
import type { Diagnostic, SourceText } from '../mail/diagnostic.ts';
import { splitList } from '../mail/list-text.ts';
import { parseRetryRule, type RetryRule } from '../retry/rules.ts';
import { parseRewriteRule, type RewriteRule } from '../rewrite/rules.ts';
import { aclMacros } from './acl-macros.ts';
import { brokenDirectories } from './store/check-directories.ts';
import { brokenQuotas } from './store/check-quotas.ts';
import { makeScopeParts, type ScopeParts } from './scope.ts';
import { uncallable } from './uncallable.ts';

export interface Program extends ScopeParts {
  readonly model: ConfigModel;
  readonly acls: ReadonlyMap<string, Acl>;
  readonly retryRules: readonly RetryRule[];
  readonly rewriteRules: readonly RewriteRule[];
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
  const { model, checked, diagnostics, sources } = readConfig(file, { defines, builtIn: aclMacros() });
  const all = [...diagnostics];
  if (checked === undefined) return { program: undefined, diagnostics: all, sources };
  const acls = new Map<string, Acl>();
  for (const text of checked.acls.values()) {
    const parsed = parseAcl(text);
    all.push(...parsed.diagnostics);
    acls.set(text.name, parsed.acl);
  }
  all.push(...checkAcls(acls, aclUses(checked)), ...brokenLists(checked));
  const retryRules: RetryRule[] = [];
  for (const line of checked.retry) {
    const parsed = parseRetryRule(line);
    if ('rule' in parsed) retryRules.push(parsed.rule);
    else all.push(parsed.diagnostic);
  }
  const rewriteRules: RewriteRule[] = [];
  for (const line of checked.rewrite) {
    const parsed = parseRewriteRule(line, true);
    if ('rule' in parsed) rewriteRules.push(parsed.rule);
    else all.push(parsed.diagnostic);
  }
  all.push(...brokenRewriting(checked), ...brokenDirectories(checked.directories));
  all.push(...brokenQuotas(checked.stores));
  if (model !== undefined) all.push(...uncallable(model, acls.values()));
  const told = inFileOrder(oncePerPlace(all), sources);
  if (model === undefined || told.some((d) => d.severity === 'error'))
    return { program: undefined, diagnostics: told, sources };
  return {
    program: { ...makeScopeParts(model, hostname()), model, acls, retryRules, rewriteRules },
    diagnostics: told,
    sources,
  };
}

/** The reader and the checks of ACLs and lists may find the same thing: the first to say so is heard. */
function oncePerPlace(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const seen = new Set<string>();
  return diagnostics.filter(({ severity, position: { file, line, column } }) => {
    const place = `${severity} ${file}:${line}:${column}`;
    return !seen.has(place) && seen.add(place);
  });
}

const aclOptions = ['connect', 'helo', 'mail', 'rcpt', 'predata', 'data', 'quit', 'notquit', 'vrfy'] as const;

function aclUses(model: Pick<Checked, 'mainGiven'>): AclUse[] {
  return aclOptions.flatMap((phase) => {
    const option = `acl_smtp_${phase}`;
    const [value] = model.mainGiven.get(option)?.sources ?? [];
    return value === undefined ? [] : [{ option, phase, value }];
  });
}

/** Named lists and the list options of routers and stores: what cannot match is told now, not when mail comes. */
function brokenLists(model: Pick<Checked, 'lists' | 'routers' | 'stores'>): Diagnostic[] {
  const named = Object.values(model.lists).flatMap((lists) =>
    [...lists.values()].map((l) => tell(l.kind, l.text)),
  );
  const routers = [...model.routers, ...model.stores].flatMap(({ given }) =>
    routerLists.flatMap(([option, kind]) =>
      (given.get(option)?.sources ?? []).map((text) => tell(kind, text)),
    ),
  );
  return [...named, ...routers].flat();
}

/** `headers_rewrite` of transports: each item is a rule. */
function brokenRewriting({ transports }: Pick<Checked, 'transports'>): Diagnostic[] {
  return transports.flatMap(({ given }) =>
    (given.get('headers_rewrite')?.sources ?? []).flatMap(({ text, position }) =>
      splitList(text).flatMap((item) => {
        const parsed = parseRewriteRule({ text: item, position }, false);
        return 'rule' in parsed ? [] : [{ ...parsed.diagnostic, position }];
      }),
    ),
  );
}

const routerLists: readonly (readonly [option: string, kind: MatchKind])[] = [
  ['domains', 'domain'],
  ['local_parts', 'local_part'],
  ['senders', 'address'],
  ['allowed_hosts', 'host'],
  ['trusted_hosts', 'host'],
];

function tell(kind: MatchKind, { text, position }: SourceText): Diagnostic[] {
  return listProblems(kind, text).map((message) => ({ severity: 'error', position, message }));
}
