/** Rewrites one address by a set of rules (Exim manual, "Address rewriting"). */
import { expandText } from '../expand/expand.ts';
import { compileRegex } from '../expand/regex.ts';
import { encodeRfc2047 } from '../expand/rfc2047.ts';
import type { ExpandScope } from '../expand/scope.ts';
import { extractAddress } from '../mail/extract-address.ts';
import { type Captures, matchPattern } from './pattern.ts';
import { headerPlaces, type RewritePlace, type RewriteRule } from './rules.ts';

export interface Rewritten {
  /** The working part of the address; the empty string for `<>`. The one given where no rule changed it. */
  readonly address: string;
  readonly changed: boolean;
  /** In a header line: what stands in place of the whole item (flag w). */
  readonly item?: string;
}

export interface RewriteContext {
  readonly rules: readonly RewriteRule[];
  /** `$local_part` and `$domain` are set from the address that is rewritten. */
  readonly scope: ExpandScope;
  /** Told what Exim puts on its logs: rules that cannot be used. */
  readonly problem: (text: string) => void;
  /** Told of each change, in the words of Exim's log. */
  readonly told?: (text: string) => void;
}

/** A rule with R is repeated so often. */
const maxRepeats = 10;

/** @param address for the place `smtp` whatever MAIL or RCPT gave, else `local@domain` */
export async function rewriteAddress(
  address: string,
  place: RewritePlace,
  context: RewriteContext,
): Promise<Rewritten> {
  let current = address;
  let item: Item | undefined;
  let changed = false;
  const inHeader = headerPlaces.includes(place);
  for (const [number, rule] of context.rules.entries()) {
    if (!rule.places.has(place)) continue;
    let quit = false;
    for (let repeats = 0; ; repeats++) {
      const outcome = await applyRule(rule, current, place, context);
      if (outcome === 'unmatched') break;
      if (outcome === 'stop') return result();
      if (outcome === 'declined') {
        quit = rule.quit;
        break;
      }
      quit ||= rule.quit;
      changed = true;
      context.told?.(
        `"${current}" from ${nameOf(place)} rewritten as "${outcome.address}" by rule ${number + 1}`,
      );
      current = outcome.address;
      if (rule.whole && inHeader) item = encodeItem(outcome, context.scope);
      if (!rule.repeat) break;
      if (repeats >= maxRepeats) {
        context.problem('rewrite rule repeat ignored after 10 times');
        break;
      }
    }
    if (quit) break;
  }
  return result();

  function result(): Rewritten {
    return {
      address: current,
      changed,
      ...(item === undefined ? {} : { item: item.before + current + item.after }),
    };
  }
}

/** As the log calls a place. */
function nameOf(place: RewritePlace): string {
  if (place === 'smtp') return 'smtp';
  return headerPlaces.includes(place) ? `${place}:` : place;
}

/** What stands around the address in place of a whole item. */
interface Item {
  readonly before: string;
  readonly after: string;
}

interface Applied {
  readonly address: string;
  /** The whole expanded replacement, with where the address stands in it. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** `declined`: the replacement was forced to fail. `stop`: no more rules for this address. */
async function applyRule(
  rule: RewriteRule,
  address: string,
  place: RewritePlace,
  context: RewriteContext,
): Promise<Applied | 'unmatched' | 'declined' | 'stop'> {
  const { scope, problem } = context;
  const captures = await capturesOf(rule, address, place, context);
  if (captures === undefined) return 'unmatched';
  if (place !== 'smtp' && rule.replacement === '*') return 'stop';
  const at = address.lastIndexOf('@');
  const expanded = await expandText(rule.replacement, {
    ...scope,
    captures,
    ...(place === 'smtp'
      ? {}
      : {
          address: {
            ...scope.address,
            local: address.slice(0, at),
            domain: address.slice(at + 1),
            asWritten: true,
          },
        }),
  });
  if (expanded.kind === 'forced-fail') return 'declined';
  if (expanded.kind !== 'ok') {
    problem(`Expansion of ${rule.replacement} failed while rewriting: ${expanded.reason}`);
    return 'stop';
  }
  const { text } = expanded;
  const parsed = extractAddress(text, { allowNull: place === 'env-from' });
  if ('error' in parsed) {
    problem(`Rewrite of ${address} yielded unparseable address: ${parsed.error} in address ${text}`);
    return 'stop';
  }
  if (!parsed.hasDomain && parsed.address !== '') {
    if (!rule.qualify) {
      problem(`Rewrite of ${address} yielded unqualified address "${parsed.address}"`);
      return 'stop';
    }
    const full = `${parsed.address}@${scope.main.qualifyRecipient}`;
    const { start, end } = parsed;
    return {
      address: full,
      text: text.slice(0, start) + full + text.slice(end),
      start,
      end: start + full.length,
    };
  }
  return { address: parsed.address, text, start: parsed.start, end: parsed.end };
}

async function capturesOf(
  rule: RewriteRule,
  address: string,
  place: RewritePlace,
  { scope, problem }: RewriteContext,
): Promise<Captures> {
  if (place !== 'smtp')
    return address.includes('@') ? matchPattern(rule.pattern, address, scope, problem) : undefined;
  const expanded = await expandText(rule.pattern, scope);
  if (expanded.kind !== 'ok') {
    if (expanded.kind !== 'forced-fail')
      problem(`failed to expand "${rule.pattern}" while checking for SMTP rewriting: ${expanded.reason}`);
    return undefined;
  }
  const regex = compileRegex(expanded.text);
  const found = regex.kind === 'error' ? regex : regex.match(address);
  if (found?.kind === 'error') problem(`regular expression "${expanded.text}": ${found.reason}`);
  return found?.kind === 'match' ? found.groups : undefined;
}

/** What stands outside the address is encoded where it must be (RFC 2047); white space around it stays. */
function encodeItem({ text, start, end }: Applied, scope: ExpandScope): Item {
  const charset = scope.main.headersCharset ?? 'UTF-8';
  const encode = (part: string): string => {
    if (!/[^\t\x20-\x7e]/.test(part)) return part;
    const [, before = '', words = '', after = ''] = /^(\s*)([^]*?)(\s*)$/.exec(part) ?? [];
    return before + encodeRfc2047(words, charset) + after;
  };
  const open = text[start - 1] === '<' ? '<' : '';
  const close = text[end] === '>' ? '>' : '';
  return {
    before: encode(text.slice(0, start - open.length)) + open,
    after: close + encode(text.slice(end + close.length)),
  };
}
