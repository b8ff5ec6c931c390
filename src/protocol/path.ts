import { isSyntaxError, parseAddress, type ReversePath } from '../mail/address.ts';
import type { PathFault } from './grammar.ts';

export interface PathRules {
  readonly loosePath: boolean;
  readonly unqualified: boolean;
  readonly domainLiterals: boolean;
  /** `<<user@example.test>>` reads as if it had one pair (Exim: `strip_excess_angle_brackets`). */
  readonly excessBrackets?: boolean;
  /** A dot at the end of the domain is left out (Exim: `strip_trailing_dot`). */
  readonly trailingDot?: boolean;
  readonly nullPath: boolean;
  /** `<postmaster>` without a domain, in any case (RFC 5321 §4.1.1.3). */
  readonly postmaster: boolean;
}

export type PathResult =
  | { readonly kind: 'path'; readonly address: ReversePath; readonly rest: string }
  | { readonly kind: 'fault'; readonly fault: PathFault };

/**
 * Reads the path of MAIL or RCPT at the start of an operand (RFC 5321 §4.1.2). A source route is dropped (appendix C).
 * `rest` is what follows the path without the spaces between: the parameters.
 */
export function parsePath(operand: string, rules: PathRules): PathResult {
  let start = 0;
  while (operand.charCodeAt(start) === 0x20 || operand.charCodeAt(start) === 0x09) start++;
  if (start === operand.length) return fault('empty');
  if (start > 0 && !rules.loosePath) return fault('leading-space');
  if (operand.charCodeAt(start) !== 0x3c) return bare(operand, start, rules);
  let open = start;
  while (operand.charCodeAt(open + 1) === 0x3c) open++;
  if (open > start && rules.excessBrackets !== true) return because('missing or malformed local part');
  const inner = closingBracket(operand, open + 1);
  const close = inner + open - start;
  if (inner < 0 || operand.slice(inner, close + 1) !== '>'.repeat(close - inner + 1))
    return fault('no-close');
  const behind = operand.charCodeAt(close + 1);
  if (close + 1 < operand.length && behind !== 0x20) {
    return {
      kind: 'fault',
      fault: { kind: 'trailing', path: operand.slice(start, close + 1), text: operand.slice(close + 1) },
    };
  }
  return address(operand.slice(open + 1, inner), operand.slice(close + 2), rules);
}

function bare(operand: string, start: number, rules: PathRules): PathResult {
  if (!rules.loosePath) return fault('no-open');
  const quoted = operand.charCodeAt(start) === 0x22 ? operand.indexOf('"', start + 1) : -1;
  const space = operand.indexOf(' ', Math.max(start, quoted));
  return space < 0
    ? address(operand.slice(start), '', rules)
    : address(operand.slice(start, space), operand.slice(space + 1), rules);
}

/** The index of the `>` that ends the path; one inside a quoted local part does not. */
function closingBracket(operand: string, from: number): number {
  const close = operand.indexOf('>', from);
  const quote = operand.indexOf('"', from);
  if (quote < 0 || close < quote) return close;
  for (let i = from, quoted = false; i < operand.length; i++) {
    const c = operand.charCodeAt(i);
    if (c === 0x22) quoted = !quoted;
    else if (c === 0x5c && quoted) i++;
    else if (c === 0x3e && !quoted) return i;
  }
  return -1;
}

function address(text: string, rest: string, rules: PathRules): PathResult {
  if (text === '') return rules.nullPath ? { kind: 'path', address: null, rest } : fault('null');
  const mailbox = text.charCodeAt(0) === 0x40 ? withoutRoute(text) : text;
  const parsed = parseAddress(
    rules.trailingDot === true && mailbox.endsWith('.') ? mailbox.slice(0, -1) : mailbox,
  );
  if (isSyntaxError(parsed)) return addressFault(mailbox, parsed.text);
  if (parsed.domain === '') {
    const known = rules.unqualified || (rules.postmaster && parsed.local.toLowerCase() === 'postmaster');
    if (!known) return fault('unqualified');
  } else if (parsed.domain.charCodeAt(0) === 0x5b && !rules.domainLiterals) return fault('domain-literal');
  return { kind: 'path', address: parsed, rest };
}

/** `@one.test,@two.test:user@three.test` without its route; a text that is none comes back as it is. */
function withoutRoute(text: string): string {
  const colon = text.indexOf(':');
  if (colon < 0) return text;
  const hops = text.slice(0, colon).split(',');
  return hops.every((hop) => /^ *@[^\s@,:<>"]+$/.test(hop)) ? text.slice(colon + 1) : text;
}

/** Sorts out which half of the address is wrong, in Exim's terms. */
function addressFault(text: string, reason: string): PathResult {
  const at = text.startsWith('"') ? text.lastIndexOf('@') : text.indexOf('@');
  if (at > 0 && !isSyntaxError(parseAddress(text.slice(0, at)))) return fault('domain');
  if (at === 0) return fault('domain');
  if (/^[^\w"]/.test(text) && /^[\s<>()[\]:;,\\]/.test(text))
    return because('missing or malformed local part');
  if (text.startsWith('"') && reason.includes('unclosed'))
    return because('unmatched doublequote in local part');
  return because(reason);
}

function because(reason: string): PathResult {
  return { kind: 'fault', fault: { kind: 'address', reason } };
}

function fault(kind: Exclude<PathFault['kind'], 'address' | 'trailing'>): PathResult {
  return { kind: 'fault', fault: { kind } };
}
