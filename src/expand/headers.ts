/** `$h_name:` and its variants, `$message_headers` (Exim manual, "Expansion items", $header_). */
import type { HeaderForm } from './ast.ts';
import { decodeRfc2047 } from './rfc2047.ts';
import type { ExpandScope } from './scope.ts';

const maxOctets = 64 * 1024;
const addressLists = /^(?:resent-)?(?:from|to|cc|bcc|sender|reply-to)$/;

export function hasHeader(name: string, scope: ExpandScope): boolean {
  return contents(name, scope).length > 0;
}

/** The content of the named header lines; always tainted. Lines end in LF, as in Exim. */
export function headerText(form: HeaderForm, name: string, scope: ExpandScope): string {
  const all = contents(name, scope);
  if (all.length === 0) return '';
  if (form === 'r') return all.join('').slice(0, maxOctets);
  if (form === 'l')
    return all
      .map((c) => c.replace(/\n$/, '').replaceAll(':', '::'))
      .join(':')
      .slice(0, maxOctets);
  const joint = addressLists.test(name.toLowerCase()) ? ',\n' : '\n';
  const text = all
    .map((c) => c.trim())
    .filter((c) => c !== '')
    .join(joint)
    .slice(0, maxOctets);
  const target = form === 'b' ? undefined : (scope.main.headersCharset ?? 'UTF-8');
  return decodeRfc2047(text, target, scope.main.checkRfc2047Length);
}

/** All header lines, the last newline dropped; `decoded` as `$bh_` does it. */
export function allHeaders(scope: ExpandScope, decoded: boolean): string {
  const text = (scope.message?.headers?.() ?? [])
    .map((h) => h.raw.replaceAll('\r\n', '\n'))
    .join('')
    .slice(0, maxOctets)
    .replace(/\n$/, '');
  return decoded ? decodeRfc2047(text, undefined, scope.main.checkRfc2047Length) : text;
}

/** What follows the colon of each header line of that name, with its line end. */
function contents(name: string, scope: ExpandScope): string[] {
  const headers = scope.message?.headers?.();
  if (headers === undefined) return [];
  const wanted = name.toLowerCase();
  return headers
    .filter((h) => h.name.toLowerCase() === wanted)
    .map((h) => {
      const content = h.raw.slice(h.raw.indexOf(':') + 1).replaceAll('\r\n', '\n');
      return content.endsWith('\n') ? content : `${content}\n`;
    });
}
