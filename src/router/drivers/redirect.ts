/** The redirect router: aliases and forward files (Exim manual, "The redirect router"). */
import { expandText } from '../../expand/expand.ts';
import { type Address, type Domain, formatAddress, type LocalPart } from '../../mail/address.ts';
import type { DirectTarget } from '../../mail/local-delivery.ts';
import type { Status } from '../../mail/outcome.ts';
import { type EnhancedStatus, replyFromText } from '../../mail/reply.ts';
import type { Child, LocalUser, LocalUsers, RouteOutcome, RouteRequest, RouterDriver } from '../router.ts';
import { extractParts } from '../../mail/extract-address.ts';
import { readForwardFile, readIncludedFile } from './redirect-file.ts';
import { redirectItems } from './redirect-list.ts';

export interface RedirectOptions {
  /** Exactly one of the two is set. */
  readonly data?: string;
  readonly file?: string;
  readonly allowDefer?: boolean;
  readonly allowFail?: boolean;
  /** A filter is told from a list, and is put off: it cannot be run. */
  readonly allowFilter?: boolean;
  readonly checkAncestor?: boolean;
  /** Default: true where there is a local user and `modemask` lets the group write, or `owngroups` is set. */
  readonly checkGroup?: boolean;
  /** Default: true where there is a local user or `owners` is set. */
  readonly checkOwner?: boolean;
  readonly owners?: readonly string[];
  readonly owngroups?: readonly string[];
  /** Default 022. */
  readonly modemask?: number;
  readonly directoryTransport?: string;
  readonly fileTransport?: string;
  readonly pipeTransport?: string;
  readonly forbidBlackhole?: boolean;
  readonly forbidFile?: boolean;
  readonly forbidInclude?: boolean;
  readonly forbidPipe?: boolean;
  readonly forbidSmtpCode?: boolean;
  readonly hideChildInErrmsg?: boolean;
  readonly ignoreEacces?: boolean;
  readonly ignoreEnotdir?: boolean;
  readonly includeDirectory?: string;
  readonly oneTime?: boolean;
  /** Default true. */
  readonly rewrite?: boolean;
  readonly qualifyDomain?: string;
  readonly qualifyPreserveDomain?: boolean;
  /** Default true. */
  readonly repeatUse?: boolean;
  readonly skipSyntaxErrors?: boolean;
  readonly syntaxErrorsTo?: string;
  readonly syntaxErrorsText?: string;
}

/** A list as it is taken apart. */
interface Reading {
  readonly o: RedirectOptions;
  readonly request: RouteRequest;
  readonly qualify: Domain;
  readonly children: Child[];
  /** What is wrong with items that were skipped. */
  readonly skipped: string[];
}

/** How a list ended before its last item. */
type Ending =
  | { readonly kind: 'fail' | 'defer'; readonly text: string }
  | { readonly kind: 'blackhole' | 'unknown' }
  | { readonly kind: 'error'; readonly text: string };

const decline: RouteOutcome = { kind: 'decline' };
const maxIncludeDepth = 8;
/** Malformed items that one report tells of. */
const maxTold = 100;

export function createRedirectRouter(o: RedirectOptions, users: LocalUsers): RouterDriver {
  return {
    driver: 'redirect',
    ...(o.repeatUse === false ? { once: true } : undefined),
    route: (request) => redirect(o, users, request),
  };
}

function defer(text: string): RouteOutcome {
  return { kind: 'defer', reason: { text } };
}

async function redirect(o: RedirectOptions, users: LocalUsers, request: RouteRequest): Promise<RouteOutcome> {
  const source = o.file ?? o.data ?? '';
  const expanded = await expandText(source, request.scope);
  if (expanded.kind === 'forced-fail') return decline;
  if (expanded.kind !== 'ok') return defer(`failed to expand "${source}": ${expanded.reason}`);
  let { text } = expanded;
  let tainted = expanded.tainted;
  if (o.file !== undefined) {
    if (!text.startsWith('/')) return defer(`"${text}" is not an absolute path`);
    if (tainted) return defer(`Tainted name '${text}' for file read not permitted`);
    const checks = fileChecks(o, users, request.localUser);
    if (typeof checks === 'string') return defer(checks);
    const read = readForwardFile(text, checks);
    if (read.kind === 'missing') return decline;
    if (read.kind === 'problem') return defer(read.text);
    ({ text } = read);
    tainted = false;
  }
  if (/^#\s*(?:exim|sieve)\s+filter/i.test(text))
    return defer(
      `error in filter ${o.file === undefined ? 'data' : 'file'}: ${o.allowFilter === true ? 'filters cannot be run' : 'filtering not enabled'}`,
    );
  const qualify = await qualifyDomain(o, request);
  if (qualify === undefined) return decline;
  const reading: Reading = { o, request, qualify, children: [], skipped: [] };
  const ending = await readList(reading, text, tainted, 0);
  if (reading.skipped.length > 0 && request.report !== undefined) {
    const wrong = await tellOwner(reading, request.report);
    if (wrong !== undefined) request.note(`${request.router} router: ${wrong}`);
  }
  return finish(reading, ending);
}

function finish({ o, request, children }: Reading, ending: Ending | undefined): RouteOutcome {
  const redirected = {
    kind: 'redirected',
    children,
    oneTime: o.oneTime === true,
    hideChild: o.hideChildInErrmsg === true,
    ...(o.rewrite === false ? { rewrite: false as const } : undefined),
  } as const;
  switch (ending?.kind) {
    case 'error':
      return defer(`error in redirect data: ${ending.text}`);
    case 'unknown':
      return children.length === 0 ? decline : redirected;
    case 'blackhole':
      return { kind: 'discard' };
    case 'fail':
    case 'defer': {
      const reason = statusOf(ending.kind, ending.text, o.forbidSmtpCode === true, request);
      if (children.length === 0) return { kind: ending.kind, reason };
      return { ...redirected, verdict: { kind: ending.kind, reason } };
    }
    case undefined:
      return children.length === 0 ? decline : redirected;
  }
}

/** Mail to `syntax_errors_to`. A text says why there is none. */
async function tellOwner(
  { o, request, children, skipped }: Reading,
  report: NonNullable<RouteRequest['report']>,
): Promise<string | undefined> {
  if (o.syntaxErrorsTo === undefined) return undefined;
  const to = await expandText(o.syntaxErrorsTo, request.scope);
  if (to.kind !== 'ok') return `failed to expand syntax_errors_to "${o.syntaxErrorsTo}"`;
  const found = extractParts(to.text);
  if (!('local' in found) || found.local === '') return `syntax_errors_to "${to.text}" is not an address`;
  const address: Address = {
    local: found.local as LocalPart,
    domain: (found.domain === '' ? request.scope.main.qualifyRecipient : found.domain) as Domain,
  };
  const text =
    o.syntaxErrorsText === undefined ? undefined : await expandText(o.syntaxErrorsText, request.scope);
  report({
    router: request.router,
    to: address,
    ...(text?.kind === 'ok' ? { text: text.text } : undefined),
    errors: skipped.slice(0, maxTold),
    others: children.length > 0,
  });
  return undefined;
}

/** Undefined: to the end. */
async function readList(
  reading: Reading,
  text: string,
  tainted: boolean,
  depth: number,
): Promise<Ending | undefined> {
  const { o, request, children } = reading;
  for (const item of redirectItems(text)) {
    switch (item.kind) {
      case 'error':
        if (o.skipSyntaxErrors !== true || item.text.startsWith('file name missing'))
          return { kind: 'error', text: item.text };
        reading.skipped.push(item.text);
        request.note(`${request.router} router: skipped error: ${item.text}`);
        break;
      case 'fail':
      case 'defer': {
        const allowed = item.kind === 'fail' ? o.allowFail : o.allowDefer;
        if (allowed !== true) return { kind: 'error', text: `"${item.rest}" is not permitted` };
        return { kind: item.kind, text: item.text };
      }
      case 'blackhole':
        if (o.forbidBlackhole === true) return { kind: 'error', text: `"${item.rest}" is not permitted` };
        return { kind: 'blackhole' };
      case 'unknown':
        return { kind: 'unknown' };
      case 'include': {
        const ending = await include(reading, item.file, tainted, depth);
        if (ending !== undefined) return ending;
        break;
      }
      case 'file':
      case 'directory':
      case 'pipe':
        children.push(await direct(reading, { kind: item.kind, text: item.text }, tainted));
        break;
      case 'address':
        children.push({ kind: 'address', address: qualified(reading, item) });
    }
  }
  return undefined;
}

async function include(
  reading: Reading,
  file: string,
  tainted: boolean,
  depth: number,
): Promise<Ending | undefined> {
  const { o } = reading;
  if (o.forbidInclude === true) return { kind: 'error', text: 'included files not permitted' };
  if (tainted) return { kind: 'error', text: `Tainted name for included file '${file}' not permitted` };
  if (depth >= maxIncludeDepth)
    return { kind: 'error', text: `included files are nested deeper than ${maxIncludeDepth}: ${file}` };
  const read = readIncludedFile(file, o.includeDirectory);
  if (read.kind !== 'text') return { kind: 'error', text: read.kind === 'problem' ? read.text : file };
  return readList(reading, read.text, false, depth + 1);
}

/** Without a domain an address gets one; with `check_ancestor` one of the ancestors becomes the address at hand. */
function qualified(
  { o, request, qualify }: Reading,
  item: { readonly local: string; readonly domain: string; readonly backslash: boolean },
): Address {
  const preserve = o.qualifyPreserveDomain === true || item.backslash;
  const domain = item.domain !== '' ? item.domain : preserve ? request.address.domain : qualify;
  const address: Address = { local: item.local as LocalPart, domain: domain as Domain };
  if (o.checkAncestor !== true) return address;
  const text = formatAddress(address).toLowerCase();
  const [self] = request.ancestors;
  return self !== undefined && request.ancestors.some((a) => formatAddress(a).toLowerCase() === text)
    ? self
    : address;
}

async function qualifyDomain(o: RedirectOptions, request: RouteRequest): Promise<Domain | undefined> {
  const otherwise = request.scope.main.qualifyRecipient as Domain;
  if (o.qualifyDomain === undefined) return otherwise;
  const expanded = await expandText(o.qualifyDomain, request.scope);
  return expanded.kind === 'ok' ? (expanded.text as Domain) : undefined;
}

/** A file, directory or command with its transport. */
async function direct({ o, request }: Reading, target: DirectTarget, tainted: boolean): Promise<Child> {
  if (target.text === '/dev/null') return { kind: 'direct', target };
  const broken = (text: string): Child => ({ kind: 'direct', target, problem: { text } });
  if (target.kind === 'pipe' ? o.forbidPipe === true : o.forbidFile === true)
    return broken(`delivery to ${target.kind === 'pipe' ? 'pipe' : 'file'} forbidden`);
  const option = `${target.kind}_transport`;
  const name = { file: o.fileTransport, directory: o.directoryTransport, pipe: o.pipeTransport }[target.kind];
  if (name === undefined) return broken(`${option} unset in ${request.router} router`);
  const variable = target.kind === 'pipe' ? 'address_pipe' : 'address_file';
  const extra = new Map(request.scope.extra);
  extra.set(variable, { text: target.text, tainted });
  const expanded = await expandText(name, { ...request.scope, extra });
  if (expanded.kind !== 'ok')
    return broken(
      `failed to expand ${option} "${name}" in ${request.router} router: ${expanded.kind === 'forced-fail' ? 'forced failure' : expanded.reason}`,
    );
  if (expanded.tainted) return broken(`tainted ${option} "${expanded.text}" in ${request.router} router`);
  const chosen = await request.transport(expanded.text);
  if (chosen === undefined) return broken(`${option} unset in ${request.router} router`);
  if ('problem' in chosen) return { kind: 'direct', target, problem: chosen.problem };
  if (tainted)
    return broken(
      `Tainted '${target.text}' (${target.kind === 'pipe' ? 'command' : 'file or directory name'} for ${chosen.name} transport) not permitted`,
    );
  return { kind: 'direct', target, transport: chosen.name };
}

function fileChecks(
  o: RedirectOptions,
  users: LocalUsers,
  local: LocalUser | undefined,
): Parameters<typeof readForwardFile>[1] | string {
  const modemask = o.modemask ?? 0o022;
  const checkOwner = o.checkOwner ?? (local !== undefined || o.owners !== undefined);
  const checkGroup =
    o.checkGroup ?? ((local !== undefined && (modemask & 0o020) === 0) || o.owngroups !== undefined);
  const owners = local === undefined ? [] : [local.uid];
  for (const name of o.owners ?? []) {
    const uid = /^\d+$/.test(name) ? Number(name) : users.byName(name)?.uid;
    if (uid === undefined) return `owners: unknown user "${name}"`;
    owners.push(uid);
  }
  const groups = local === undefined ? [] : [local.gid];
  for (const name of o.owngroups ?? []) {
    const gid = users.groupNumber(name);
    if (gid === undefined) return `owngroups: unknown group "${name}"`;
    groups.push(gid);
  }
  return {
    modemask,
    ...(checkOwner ? { owners } : undefined),
    ...(checkGroup ? { groups } : undefined),
    ignoreEnotdir: o.ignoreEnotdir === true,
    ignoreEacces: o.ignoreEacces === true,
  };
}

/** The text after `:fail:` or `:defer:`, which may begin with an SMTP code and an enhanced one of the same kind. */
function statusOf(kind: 'fail' | 'defer', text: string, forbidCode: boolean, request: RouteRequest): Status {
  const first = kind === 'fail' ? '5' : '4';
  const found = /^(\d{3}) (?:(\d\.\d{1,3}\.\d{1,3}) )?/.exec(text);
  if (found === null)
    return kind === 'fail' ? { text } : { text, reply: replyFromText(451, undefined, text) };
  const bare = text.slice(found[0].length);
  const usable = !forbidCode && found[1]?.startsWith(first) === true;
  if (!usable && !forbidCode)
    request.note(`${request.router} router: SMTP code of ":${kind}: ${text}" is not ${first}xx and not used`);
  const code = usable && found[2]?.startsWith(first) === true ? (found[2] as EnhancedStatus) : undefined;
  return {
    text: forbidCode ? bare : text,
    ...(code === undefined ? undefined : { code }),
    reply: replyFromText(usable ? Number(found[1]) : kind === 'fail' ? 550 : 451, code, bare),
  };
}
