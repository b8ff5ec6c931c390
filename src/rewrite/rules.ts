/** Rewriting rules as a configuration writes them (Exim manual, "Rewriting rules" and "Rewriting flags"). */
import { unquoteText } from '../expand/quoted-text.ts';
import type { Diagnostic, SourceText } from '../mail/diagnostic.ts';
import { positionAt } from '../mail/source-text.ts';

/** Where an address stands. */
export type RewritePlace =
  | 'sender'
  | 'from'
  | 'to'
  | 'cc'
  | 'bcc'
  | 'reply-to'
  | 'env-from'
  | 'env-to'
  /** What MAIL or RCPT gives, before anything else looks at it (flag S). */
  | 'smtp';

export const headerPlaces: readonly RewritePlace[] = ['sender', 'from', 'to', 'cc', 'bcc', 'reply-to'];
/** Of header lines and of the envelope, in the order in which `-brw` tells of them. */
export const commonPlaces: readonly RewritePlace[] = [...headerPlaces, 'env-from', 'env-to'];

export interface RewriteRule {
  /** One address list item, not yet expanded; a regular expression for the place `smtp`. */
  readonly pattern: string;
  /** Not yet expanded; `*` ends rewriting. */
  readonly replacement: string;
  readonly places: ReadonlySet<RewritePlace>;
  /** q: no rules after this one once it matched. */
  readonly quit: boolean;
  /** Q: an unqualified result gets `qualify_recipient`. */
  readonly qualify: boolean;
  /** R: applied again to what it made. */
  readonly repeat: boolean;
  /** w: in header lines the whole item is replaced, comments and names too. */
  readonly whole: boolean;
}

const letters: ReadonlyMap<string, readonly RewritePlace[]> = new Map([
  ['E', ['env-from', 'env-to']],
  ['F', ['env-from']],
  ['T', ['env-to']],
  ['S', ['smtp']],
  ['b', ['bcc']],
  ['c', ['cc']],
  ['f', ['from']],
  ['h', headerPlaces],
  ['r', ['reply-to']],
  ['s', ['sender']],
  ['t', ['to']],
]);
const onlyGlobal = 'EFTS';

/**
 * Reads one rule.
 *
 * @param global of the rewrite section; else an item of `headers_rewrite`, which is for header lines only
 */
export function parseRewriteRule(
  source: SourceText,
  global: boolean,
): { readonly rule: RewriteRule } | { readonly diagnostic: Diagnostic } {
  const { text } = source;
  let at = 0;
  const fail = (message: string): { diagnostic: Diagnostic } => ({
    diagnostic: { severity: 'error', position: positionAt(source, at), message },
  });
  const skip = (): void => {
    while (/\s/.test(text.charAt(at))) at++;
  };
  const word = (): string => {
    skip();
    const start = at;
    if (text[at] !== '"') {
      while (at < text.length && !/\s/.test(text.charAt(at))) at++;
      return text.slice(start, at);
    }
    for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++;
    at = Math.min(at + 1, text.length);
    return unquoteText(text.slice(start, at));
  };
  const pattern = word();
  skip();
  if (at >= text.length) return fail('missing rewrite replacement string');
  const replacement = word();
  const places = new Set<RewritePlace>();
  const flags = new Set<string>();
  for (skip(); at < text.length; at++, skip()) {
    const c = text.charAt(at);
    const some = letters.get(c);
    if (some !== undefined) {
      if (!global && onlyGlobal.includes(c))
        return fail(`rewrite flag '${c}' is not permitted at transport time`);
      for (const place of some) places.add(place);
    } else if ('qQRw'.includes(c)) flags.add(c);
    else
      return fail(`unknown rewrite flag character '${c}' (could be missing quotes round replacement item)`);
  }
  if (places.has('smtp') && !pattern.startsWith('^')) {
    at = 0;
    return fail('rewrite rule has the S flag but is not a regular expression');
  }
  if (places.size === 0) for (const place of global ? commonPlaces : headerPlaces) places.add(place);
  return {
    rule: {
      pattern,
      replacement,
      places,
      quit: flags.has('q'),
      qualify: flags.has('Q'),
      repeat: flags.has('R'),
      whole: flags.has('w'),
    },
  };
}
