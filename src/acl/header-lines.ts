/** The text of `add_header` (Exim manual, "Adding header lines in ACLs"). */
import type { HeaderEdit } from '../mail/headers.ts';

type Where = Extract<HeaderEdit, { kind: 'add' }>['where'];

const places: ReadonlyMap<string, Where> = new Map([
  ['at_start', 'top'],
  ['at_end', 'bottom'],
  ['after_received', 'after-received'],
  // Before the first line that is not Received or Resent: the same place where the message carries no Resent lines.
  ['at_start_rfc', 'after-received'],
]);

const place = /^:(at_start_rfc|at_start|at_end|after_received):/;
const field = /^[!-9;-~]+[ \t]*:/;

/** The header lines of a text: newlines not followed by white space part them. */
export function headerLines(text: string): HeaderEdit[] {
  const trimmed = text.replace(/^\n+|\n+$/g, '');
  if (trimmed === '') return [];
  return trimmed.split(/\n(?![ \t])/).map((line) => {
    const m = place.exec(line);
    const body = m === null ? line : line.slice(m[0].length);
    const whole = field.test(body) ? body : `X-ACL-Warn: ${body}`;
    return {
      kind: 'add',
      where: places.get(m?.[1] ?? '') ?? 'bottom',
      text: `${whole.replace(/\r?\n/g, '\r\n')}\r\n`,
    };
  });
}
