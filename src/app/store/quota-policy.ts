/** What quota a user has: a store's options, and over them what his directory entry says (Dovecot's userdb fields `quota`, `quota_rule`, `quota_rule2`, ...). */
import type { StoreInstance } from '../../config/model.ts';
import { expandText } from '../../expand/expand.ts';
import type { ExpandScope } from '../../expand/scope.ts';
import type { Awaitable } from '../../mail/awaitable.ts';
import type { MailUser } from '../../mail/mail-user.ts';
import type { PolicyAnswer, QuotaPolicy } from '../../store/quota/policy.ts';
import { readQuotaRules, readValue } from '../../store/quota/rules.ts';
import type { QuotaRules } from '../../store/quota/rules.ts';
import type { UsageSource } from '../../store/quota/usage.ts';
import { readQuotaWarning } from '../../store/quota/warnings.ts';
import type { QuotaWarning } from '../../store/quota/warnings.ts';
import type { Program } from '../program.ts';
import { readRoot } from './quota-root.ts';

/** Texts of one user, expanded. */
interface Texts {
  readonly root: string;
  readonly rules: readonly string[];
  readonly grace: string;
  readonly maxMailSize: string;
  readonly exceeded: string;
}

const maxRules = 100;
const maxKept = 1000;

/** Throws where an option cannot be used whoever the user is. */
export function quotaPolicies(
  { name, options: o }: StoreInstance,
  program: Program,
  sources: ReadonlyMap<string, UsageSource>,
): (user: MailUser) => Awaitable<PolicyAnswer> {
  const warnings = (o.quota_warning ?? []).map((text): QuotaWarning => {
    const read = readQuotaWarning(text);
    if (read.kind === 'refused') throw new Error(`${name} store: quota_warning: ${read.reason}`);
    return read.value;
  });
  const common = {
    root: o.quota ?? '',
    rules: o.quota_rule ?? [],
    grace: o.quota_grace,
    maxMailSize: String(o.quota_max_mail_size),
    exceeded: o.quota_exceeded_message,
  };
  // Most users have the same: what was read of their texts is kept.
  const kept = new Map<string, PolicyAnswer>();
  const read = (texts: Texts): PolicyAnswer => {
    const key = JSON.stringify(texts);
    let answer = kept.get(key);
    if (answer === undefined) {
      if (kept.size >= maxKept) kept.clear();
      answer = readPolicy(texts, warnings, sources);
      kept.set(key, answer);
    }
    return answer;
  };
  const constant = ![...common.rules, common.exceeded].some((text) => /[$\\]/.test(text));
  const forAll = constant ? read(common) : undefined;
  if (forAll?.kind === 'unavailable') throw new Error(`${name} store: ${forAll.reason}`);
  return (user) => {
    const own = Object.keys(user.extra).some((field) => field.startsWith('quota'));
    if (forAll !== undefined && !own) return forAll;
    if (user.extra['quota2'] !== undefined)
      return { kind: 'unavailable', reason: 'quota2: a second quota of a user is not supported' };
    const texts = withOwn(common, user.extra);
    return constant ? read(texts) : expandAll(texts, common, user, program, read);
  };
}

/** A field of the entry takes the place of the option of its name and number; the rules end at the first number that neither has. */
function withOwn(common: Texts, extra: Readonly<Record<string, string>>): Texts {
  const rules: string[] = [];
  while (rules.length < maxRules) {
    const field = rules.length === 0 ? 'quota_rule' : `quota_rule${rules.length + 1}`;
    const rule = extra[field] ?? common.rules[rules.length];
    if (rule === undefined) break;
    rules.push(rule);
  }
  return {
    root: extra['quota'] ?? common.root,
    rules,
    grace: extra['quota_grace'] ?? common.grace,
    maxMailSize: extra['quota_max_mail_size'] ?? common.maxMailSize,
    exceeded: extra['quota_exceeded_message'] ?? common.exceeded,
  };
}

/** Only the options are templates; what a directory says is taken as it stands. */
async function expandAll(
  texts: Texts,
  common: Texts,
  user: MailUser,
  program: Program,
  read: (texts: Texts) => PolicyAnswer,
): Promise<PolicyAnswer> {
  const scope = userScope(user, program);
  const rules: string[] = [];
  for (const [i, text] of texts.rules.entries()) {
    const rule = text === common.rules[i] ? await expandOne('quota_rule', text, scope) : text;
    if (typeof rule !== 'string') return rule;
    rules.push(rule);
  }
  const exceeded =
    texts.exceeded === common.exceeded
      ? await expandOne('quota_exceeded_message', texts.exceeded, scope)
      : texts.exceeded;
  return typeof exceeded === 'string' ? read({ ...texts, rules, exceeded }) : exceeded;
}

async function expandOne(option: string, text: string, scope: ExpandScope): Promise<string | PolicyAnswer> {
  const result = await expandText(text, scope);
  if (result.kind === 'ok') return result.text;
  return {
    kind: 'unavailable',
    reason: `${option}: ${result.kind === 'forced-fail' ? 'forced failure' : result.reason}`,
  };
}

/** `$local_part_data`, `$domain_data` and `$home`, as for the option `maildir`. */
export function userScope(
  { username, home }: MailUser,
  { main, services }: Pick<Program, 'main' | 'services'>,
): ExpandScope {
  const at = username.lastIndexOf('@');
  const local = at < 0 ? username : username.slice(0, at);
  const domain = at < 0 ? '' : username.slice(at + 1);
  return {
    main,
    services,
    address: { local, domain, localPartData: local, ...(domain === '' ? {} : { domainData: domain }) },
    extra: new Map([['home', { text: home ?? '', tainted: false }]]),
  };
}

function readPolicy(
  texts: Texts,
  warnings: readonly QuotaWarning[],
  sources: ReadonlyMap<string, UsageSource>,
): PolicyAnswer {
  if (texts.root === '') return { kind: 'none' };
  const root = readRoot(texts.root, [...sources.keys()]);
  if (root.kind === 'refused') return { kind: 'unavailable', reason: `quota: ${root.reason}` };
  const source = sources.get(root.value.backend);
  if (source === undefined) throw new RangeError(root.value.backend);
  const rules = readQuotaRules(texts.rules, texts.grace);
  if (rules.kind === 'refused') return { kind: 'unavailable', reason: `quota_rule: ${rules.reason}` };
  if (!source.countsMessages && hasMessageLimit(rules.value, warnings))
    return { kind: 'unavailable', reason: 'quota_rule: messages are not counted in mbox files, only octets' };
  const size = readValue(texts.maxMailSize, 1, 'number');
  if (size.kind === 'refused' || size.value.fixed < 0)
    return { kind: 'unavailable', reason: `quota_max_mail_size: "${texts.maxMailSize}" is not a size` };
  const { limits } = rules.value;
  if (root.value.ignoreUnlimited && limits.bytes === 0 && limits.messages === 0 && size.value.fixed === 0)
    return { kind: 'none' };
  const policy: QuotaPolicy = {
    rules: rules.value,
    source,
    enforced: root.value.enforced,
    warnings,
    maxMailBytes: size.value.fixed,
    exceededText: texts.exceeded,
  };
  return { kind: 'policy', policy };
}

function hasMessageLimit({ limits, folders }: QuotaRules, warnings: readonly QuotaWarning[]): boolean {
  return (
    limits.messages !== 0 ||
    [...folders, ...warnings].some(({ messages }) => messages.fixed !== 0 || messages.percent !== undefined)
  );
}
