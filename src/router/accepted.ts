/** What a router that takes an address attaches to it: errors_to, headers_add, headers_remove, transport, in this order. */
import { expandText } from '../expand/expand.ts';
import type { Awaitable, ExpandScope } from '../expand/scope.ts';
import { type Address, type Domain, isSyntaxError, parseAddress, type ReversePath } from '../mail/address.ts';
import type { HeaderEdit } from '../mail/headers.ts';
import { splitList } from '../mail/list-text.ts';
import type { Status } from '../mail/outcome.ts';
import type { RouteEnvironment } from './environment.ts';
import type { RouterOptions } from './options.ts';
import { isPlain } from './preconditions.ts';
import type { ChosenTransport } from './router.ts';
import type { Inherited } from './item.ts';

export const noEdits: readonly HeaderEdit[] = [];

export interface Attached {
  readonly errorsTo?: ReversePath;
  readonly edits: readonly HeaderEdit[];
}

/**
 * What this router and those before it say of errors and header lines.
 *
 * @param verify tells whether an `errors_to` is good; absent while an address is verified, which needs no header lines either
 */
export async function attachments(
  o: RouterOptions,
  scope: ExpandScope,
  env: RouteEnvironment,
  inherited: Inherited,
  verify: ((address: Address) => Promise<boolean>) | undefined,
): Promise<Attached | { readonly defer: Status }> {
  let { errorsTo } = inherited;
  if (o.errorsTo !== undefined) {
    const errors = await expandErrorsTo(o, scope, env);
    if (errors !== undefined && 'defer' in errors) return errors;
    if (errors !== undefined && (errors.path === null || verify === undefined || (await verify(errors.path))))
      errorsTo = errors.path;
  }
  if (verify === undefined) return { ...(errorsTo === undefined ? undefined : { errorsTo }), edits: noEdits };
  const edits = await expandHeaderEdits(o, scope);
  if ('defer' in edits) return edits;
  return {
    ...(errorsTo === undefined ? undefined : { errorsTo }),
    edits: edits.length === 0 ? inherited.edits : merged(inherited.edits, edits),
  };
}

/** Removals concern the message as it came, never what a router adds, so they stand first. */
function merged(before: readonly HeaderEdit[], own: readonly HeaderEdit[]): readonly HeaderEdit[] {
  const all = [...before, ...own];
  return [...all.filter((e) => e.kind === 'remove'), ...all.filter((e) => e.kind !== 'remove')];
}

/**
 * `errors_to`, expanded and qualified, not yet verified. Undefined: unset, forced to fail, or no address; the sender
 * keeps the errors then.
 */
export async function expandErrorsTo(
  o: RouterOptions,
  scope: ExpandScope,
  env: RouteEnvironment,
): Promise<{ readonly path: ReversePath } | { readonly defer: Status } | undefined> {
  if (o.errorsTo === undefined) return undefined;
  const expanded = await expandText(o.errorsTo, scope);
  if (expanded.kind === 'forced-fail') return undefined;
  if (expanded.kind !== 'ok')
    return { defer: { text: `expansion of "${o.errorsTo}" failed in ${o.name} router: ${expanded.reason}` } };
  const text = expanded.text.trim().replace(/^<(.*)>$/s, '$1');
  if (text === '') return { path: null };
  const address = parseAddress(text);
  if (isSyntaxError(address)) {
    env.problem?.(`errors_to of ${o.name} router: "${text}": ${address.text}`);
    return undefined;
  }
  return { path: address.domain === '' ? { ...address, domain: env.main.qualifyDomain as Domain } : address };
}

/** `headers_add` and `headers_remove`: items that are empty or forced to fail have no effect. */
export async function expandHeaderEdits(
  o: RouterOptions,
  scope: ExpandScope,
): Promise<readonly HeaderEdit[] | { readonly defer: Status }> {
  if (o.headersAdd === undefined && o.headersRemove === undefined) return noEdits;
  const edits: HeaderEdit[] = [];
  const removals: HeaderEdit[] = [];
  for (const list of o.headersAdd ?? [])
    for (const item of splitList(withSeparator(list, '\n'))) {
      const text = await expandItem('headers_add', item, o.name, scope);
      if (typeof text !== 'string') return text;
      if (text !== '') edits.push({ kind: 'add', where: 'bottom', text: asHeaderLines(text) });
    }
  for (const list of o.headersRemove ?? [])
    for (const item of splitList(list)) {
      const text = await expandItem('headers_remove', item, o.name, scope);
      if (typeof text !== 'string') return text;
      if (text !== '') removals.push({ kind: 'remove', name: text });
    }
  // Removals concern the message as it came, never what is added here.
  return [...removals, ...edits];
}

/** The transport by name, or what the generic option expands to. */
export function chooseTransport(
  name: string | undefined,
  o: RouterOptions,
  scope: ExpandScope,
  env: RouteEnvironment,
): Awaitable<ChosenTransport | { readonly problem: Status } | undefined> {
  if (name !== undefined) return known(name, o, env);
  const option = o.transport;
  if (option === undefined) return undefined;
  if (isPlain(option)) return known(option, o, env);
  return expandTransport(option, o, scope, env);
}

async function expandTransport(
  option: string,
  o: RouterOptions,
  scope: ExpandScope,
  env: RouteEnvironment,
): Promise<ChosenTransport | { readonly problem: Status }> {
  const expanded = await expandText(option, scope);
  if (expanded.kind !== 'ok')
    return {
      problem: { text: `failed to expand transport "${option}" in ${o.name} router: ${expanded.reason}` },
    };
  if (expanded.tainted) {
    env.problem?.(
      `attempt to use tainted value '${expanded.text}' from '${option}' for transport of ${o.name} router`,
    );
    return { problem: { text: 'internal configuration error' } };
  }
  return known(expanded.text, o, env);
}

function known(
  name: string,
  o: RouterOptions,
  env: RouteEnvironment,
): ChosenTransport | { readonly problem: Status } {
  const traits = env.transport(name);
  return traits === undefined
    ? { problem: { text: `transport "${name}" not found in ${o.name} router` } }
    : { name, local: traits.local };
}

async function expandItem(
  option: string,
  item: string,
  router: string,
  scope: ExpandScope,
): Promise<string | { readonly defer: Status }> {
  const expanded = await expandText(item, scope);
  if (expanded.kind === 'ok') return expanded.text;
  if (expanded.kind === 'forced-fail') return '';
  return {
    defer: { text: `failed to expand ${option} item "${item}" in ${router} router: ${expanded.reason}` },
  };
}

/** Lines of a header are folded by a newline and white space; on the wire every line ends in CRLF. */
function asHeaderLines(text: string): string {
  return `${text.replace(/\r?\n$/, '').replace(/\r?\n/g, '\r\n')}\r\n`;
}

/** Gives a list another default separator, unless it names its own. */
function withSeparator(list: string, separator: string): string {
  return /^\s*<[^\w\s]/.test(list) ? list : `<${separator}${list}`;
}
